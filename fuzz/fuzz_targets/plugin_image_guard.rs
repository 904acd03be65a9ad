//! image-guard: forms and images are read in pieces of any length, to the same end.
#![no_main]
#![allow(dead_code, reason = "a plugin uses more of its modules")]

#[path = "../../plugins/image-guard/src/kind.rs"]
mod kind;
#[path = "../../plugins/image-guard/src/multipart.rs"]
mod multipart;
#[path = "../../plugins/image-guard/src/object.rs"]
mod object;
#[path = "../../plugins/image-guard/src/settings.rs"]
mod settings;

use kind::{Jpeg, Kind, Scan};
use multipart::{Event, Multipart};
use object::{Declared, Refusal};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&size, body)) = data.split_first() else { return };
    let size = usize::from(size).max(1);
    let whole = form(std::iter::once(body));
    assert_eq!(whole, form(body.chunks(size)), "of pieces of {size}");
    assert_eq!(scan(std::iter::once(body)), scan(body.chunks(size)), "of pieces of {size}");
    if let Some(kind) = Kind::of_bytes(body) {
        kind::pixels(kind, body);
        assert!(kind::needed(body) > 0);
    }
});

/// What it is said to be where it is a file, its bytes, and whether it has ended.
type Part = (Option<Declared>, Vec<u8>, bool);

/// What a form comes to: each part with all of its bytes, and how it ended.
fn form<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Part>, Result<(), Refusal>) {
    let mut parts: Vec<Part> = Vec::new();
    let mut multipart = Multipart::new("boundary=b").expect("a boundary");
    let mut note = |event: Event<'_>| {
        match event {
            Event::File(declared) => parts.push((Some(declared), Vec::new(), false)),
            Event::Field => parts.push((None, Vec::new(), false)),
            Event::Data(data) => parts.last_mut().expect("a part").1.extend_from_slice(data),
            Event::End => parts.last_mut().expect("a part").2 = true,
        }
        Ok(())
    };
    let fed = pieces.try_for_each(|piece| multipart.feed(piece, &mut note));
    let ended = fed.and_then(|()| multipart.end());
    if ended.is_err() {
        // How much of a part went on before it was refused follows from the pieces.
        parts.clear();
    }
    (parts, ended)
}

fn scan<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Scan {
    let mut jpeg = Jpeg::default();
    pieces.map(|piece| jpeg.feed(piece)).find(|scan| *scan != Scan::More).unwrap_or(Scan::More)
}

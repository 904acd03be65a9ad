//! Uploads as weir hands them to the plugin: what goes on, and why what does not.

use proptest::prelude::*;
use weir_guest::testing;

use super::*;
use crate::kind::tests::{jpeg, png};

fn guard(settings: &str) -> Guard {
    testing::load(settings).expect("settings").0
}

/// How an upload ends: nothing where it goes on byte for byte, else the status and the text.
fn upload<'a>(
    guard: &Guard,
    content_type: &str,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Option<(u16, String)> {
    let mut x = Exchange::default();
    let answer = |reply: Reply| Some((reply.status, String::from_utf8(reply.body).expect("text")));
    let req = Request::new("POST", "/").with_header("content-type", content_type);
    if let Verdict::Respond(reply) = guard.on_request(&mut x, &req).expect("on_request") {
        return answer(reply);
    }
    let (mut came, mut went) = (Vec::new(), Vec::new());
    for data in pieces.chain([&[][..]]) {
        came.extend_from_slice(data);
        match guard.on_request_body(&mut x, data, data.is_empty()).expect("on_request_body") {
            Piece::Pass => went.extend_from_slice(data),
            Piece::Replace(bytes) => went.extend_from_slice(&bytes),
            Piece::Respond(reply) => return answer(reply),
        }
    }
    assert_eq!(came, went);
    None
}

fn form(fields: &str, content: &[u8]) -> Vec<u8> {
    let begin = format!(
        "--b\r\ncontent-disposition: form-data; name=\"t\"\r\n\r\n<svg> is text\r\n--b\r\nContent-Disposition: \
         form-data; name=\"f\"; filename=\"f\"\r\n{fields}\r\n\r\n"
    );
    [begin.as_bytes(), content, b"\r\n--b--\r\n"].concat()
}

/// As the whole body and as a file of a form, in pieces of several lengths: the same each time.
fn check(settings: &str, content_type: &str, content: &[u8], expected: Option<(u16, &str)>) {
    let guard = guard(settings);
    let form = form(&format!("Content-Type: {content_type}"), content);
    let expected = expected.map(|(status, text)| (status, format!("{text}\n")));
    for piece in [1, 10, 63, 64, 65, 1000, 1_000_000] {
        assert_eq!(upload(&guard, content_type, content.chunks(piece)), expected, "{content_type} {piece}");
        let found = upload(&guard, "multipart/form-data; boundary=b", form.chunks(piece));
        assert_eq!(found, expected, "form: {content_type} {piece}");
    }
}

const SVG: &[u8] =
    b"<?xml version='1.0'?>\n<!-- a comment that takes some room -->\n<svg><script>x</script></svg>";

#[test]
fn images_that_are_what_they_say_go_on() {
    for (content_type, content) in [
        ("image/png", png(10, 10)),
        ("image/jpeg", jpeg(10, 10, 70)),
        ("image/JPG; x=y", jpeg(10, 10, 0)),
        ("application/octet-stream", png(10, 10)),
        ("image/gif", b"GIF89a\x01\0\x01\0\x80\0\0;".to_vec()),
        ("text/csv", b"a,b,c".to_vec()),
        ("text/html", b"<p>no image".to_vec()),
        ("application/octet-stream", Vec::new()),
        ("text/plain", Vec::new()),
    ] {
        check("{}", content_type, &content, None);
    }
    check(r#"{"types": ["svg"]}"#, "image/svg+xml", SVG, None);
}

#[test]
fn what_is_not_what_it_says_is_refused() {
    for (content_type, content, text) in [
        ("image/png", jpeg(1, 1, 0), "declared as image/png, but it is image/jpeg"),
        (
            "image/png",
            b"<?php system('id');".to_vec(),
            "declared as image/png, but it is no image that is known here",
        ),
        ("image/png", Vec::new(), "declared as image/png, but it is no image that is known here"),
        ("text/csv", png(1, 1), "declared as text/csv, but it is image/png"),
        ("image/x-new", png(1, 1), "declared as image/x-new, but it is image/png"),
        ("image/jpeg", SVG.to_vec(), "declared as image/jpeg, but it is image/svg+xml"),
        ("image/svg+xml", SVG.to_vec(), "images of the type image/svg+xml are not accepted here"),
        ("application/octet-stream", SVG.to_vec(), "images of the type image/svg+xml are not accepted here"),
    ] {
        check("{}", content_type, &content, Some((415, text)));
    }
    let settings = r#"{"types": ["jpeg"], "other": "refuse"}"#;
    let text = "images of the type image/png are not accepted here";
    check(settings, "image/png", &png(1, 1), Some((415, text)));
    check(settings, "application/pdf", b"%PDF-1.7", Some((415, "only images are accepted here")));
    check(settings, "image/jpeg", &jpeg(1, 1, 1), None);
}

#[test]
fn size_and_pixels_are_bounded() {
    let image = png(1, 1);
    let text = format!("an image may have {} bytes here", image.len() - 1);
    check(&format!(r#"{{"max_size": {}}}"#, image.len()), "image/png", &image, None);
    check(&format!(r#"{{"max_size": {}}}"#, image.len() - 1), "image/png", &image, Some((413, &text)));
    check(r#"{"max_size": 3}"#, "text/csv", b"a,b,c", None);

    let pixels = r#"{"max_pixels": 600}"#;
    let many = "an image may have 600 pixels here, and this has 620";
    for (content_type, few, more) in
        [("image/png", png(30, 20), png(31, 20)), ("image/jpeg", jpeg(30, 20, 3000), jpeg(31, 20, 3000))]
    {
        check(pixels, content_type, &few, None);
        check(pixels, content_type, &more, Some((413, many)));
    }
    let broken = "the image/jpeg does not tell its dimensions";
    check(pixels, "image/jpeg", b"\xff\xd8\xff\xe0\0\x40 and no more", Some((415, broken)));
    check(pixels, "image/jpeg", b"\xff\xd8\xff\xda\0\x40", Some((415, broken)));
}

#[test]
fn what_is_too_long_is_refused_before_it_comes() {
    let guard = guard(r#"{"max_size": 100}"#);
    for (length, expected) in [("100", 200), ("101", 413)] {
        let req = Request::new("PUT", "/")
            .with_header("content-type", "image/png")
            .with_header("content-length", length);
        let verdict = guard.on_request(&mut Exchange::default(), &req).expect("on_request");
        assert_eq!(
            if let Verdict::Respond(reply) = verdict { reply.status } else { 200 },
            expected,
            "{length}"
        );
    }
    assert_eq!(testing::metrics().get("refused{reason=\"size\"}"), Some(&1.0));
    assert_eq!(testing::log().len(), 1);
}

#[test]
fn no_more_than_the_first_bytes_are_held() {
    let guard = guard("{}");
    let mut x = Exchange::default();
    let req = Request::new("PUT", "/").with_header("content-type", "image/png");
    assert_eq!(guard.on_request(&mut x, &req), Ok(Verdict::Proceed));
    let image = png(1, 1);
    assert_eq!(guard.on_request_body(&mut x, &image[..40], false), Ok(Piece::hold()));
    let Ok(Piece::Replace(sent)) = guard.on_request_body(&mut x, &image[40..80], false) else {
        panic!("released")
    };
    assert_eq!(sent, image[..80]);
    assert_eq!(guard.on_request_body(&mut x, &image[80..], false), Ok(Piece::Pass));
    assert!(x.held.is_empty());
}

#[test]
fn forms_that_are_read_in_two_ways_are_refused() {
    let guard = guard("{}");
    let found = upload(&guard, "multipart/form-data", [&b"x"[..]].into_iter());
    assert_eq!(found.map(|found| found.0), Some(400));
    let unfinished = upload(&guard, "multipart/form-data; boundary=b", [&b"--b\r\n"[..]].into_iter());
    assert_eq!(unfinished.map(|found| found.0), Some(400));
    let twice =
        Request::new("POST", "/").with_header("content-type", "image/png").with_header("content-type", "a/b");
    let verdict = guard.on_request(&mut Exchange::default(), &twice).expect("on_request");
    assert!(matches!(verdict, Verdict::Respond(Reply { status: 400, .. })));
}

proptest! {
    #[test]
    fn any_split_of_a_form_gives_the_same(
        which in 0_usize..5,
        most in 1_u64..400,
        cuts in prop::collection::vec(1_usize..300, 1..20),
    ) {
        let contents = [png(30, 20), png(31, 20), jpeg(31, 20, 200), SVG.to_vec(), b"\xff\xd8\xff\xda".repeat(40)];
        let guard = guard(&format!(r#"{{"max_pixels": 600, "max_size": {most}}}"#));
        let form = form("Content-Type: image/jpeg", &contents[which]);
        let mut rest = form.as_slice();
        let mut cuts = cuts.iter().cycle();
        let pieces = std::iter::from_fn(|| {
            let (piece, after) = rest.split_at(cuts.next().map_or(1, |cut| *cut).min(rest.len()));
            rest = after;
            (!piece.is_empty()).then_some(piece)
        });
        let content_type = "multipart/form-data; boundary=b";
        let whole = upload(&guard, content_type, [form.as_slice()].into_iter());
        prop_assert_eq!(upload(&guard, content_type, pieces), whole);
    }
}

#[test]
fn settings_that_cannot_be_are_refused_with_what_would_be_right() {
    for (settings, expected) in [
        (r#"{"types": []}"#, "types: none would be accepted; name some"),
        (r#"{"types": ["pdf"]}"#, "settings: unknown variant `pdf`, expected one of `png`, `jpeg`"),
        (r#"{"max_size": 0}"#, "max_size: 0 bytes; at least 1"),
        (r#"{"max_pixels": 0}"#, "max_pixels: 0 pixels; at least 1"),
        (r#"{"other": "drop"}"#, "settings: unknown variant `drop`, expected `pass` or `refuse`"),
        (r#"{"size": 1}"#, "settings: unknown field `size`"),
    ] {
        let refused = testing::load::<Guard>(settings).err().expect(settings);
        assert!(refused.starts_with(expected), "{refused}");
    }
}

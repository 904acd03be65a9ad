//! What must hold of every parser of this crate for any bytes whatever: one function a fuzz target, which panics where
//! it does not. `cargo xtask fuzz` feeds them; `cargo test` runs the seeds in `fuzz/seeds` through them. No part of a
//! weir that is built for use.
//!
//! In reading order: [`http1`] (heads, framing, the chunked coding), [`edge`] (what comes before HTTP: PROXY protocol,
//! TLS), [`request`] (path, host, forwarding fields), [`ws`] (WebSocket), [`pattern`] (what a configuration writes).

mod edge;
mod http1;
mod pattern;
mod request;
#[cfg(test)]
mod tests;
mod ws;

pub use edge::{client_hello, proxy_protocol};
pub use http1::{chunked, framing, request_head, response_head};
pub use pattern::route_pattern;
pub use request::{forwarded, host, path};
pub use ws::{ws_extensions, ws_frames, ws_inflate};

use bytes::Bytes;
use http::HeaderMap;

use crate::http1::head::{Finder, HeadError, parse_request};

/// A fuzz target: panics where what must hold does not.
pub type Target = fn(&[u8]);

/// Every target of this crate by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("chunked", chunked),
    ("client_hello", client_hello),
    ("forwarded", forwarded),
    ("framing", framing),
    ("host", host),
    ("path", path),
    ("proxy_protocol", proxy_protocol),
    ("request_head", request_head),
    ("response_head", response_head),
    ("route_pattern", route_pattern),
    ("ws_extensions", ws_extensions),
    ("ws_frames", ws_frames),
    ("ws_inflate", ws_inflate),
];

/// Ways to cut bytes in pieces, each the places where it cuts: not at all, everywhere, and some that the bytes decide
/// by themselves, so that a seed is what it says and nothing else.
fn cuts(data: &[u8]) -> Vec<Vec<usize>> {
    let seed = data.iter().fold(data.len() as u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(*byte));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut ways = vec![Vec::new(), (1..data.len()).collect()];
    for _ in 0..3 {
        let mut places: Vec<usize> = (0..random.usize(1..8)).map(|_| random.usize(..=data.len())).collect();
        places.sort_unstable();
        ways.push(places);
    }
    ways
}

/// The pieces of `data` between these places.
fn pieces<'a>(data: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let ends = cuts.iter().copied().chain([data.len()]);
    let mut from = 0;
    ends.map(|end| &data[std::mem::replace(&mut from, end)..end]).collect()
}

/// The head at the front of `data`, found in the same place however the bytes come.
fn find(data: &[u8], limit: usize) -> Result<Option<Bytes>, HeadError> {
    let whole = Finder::default().find(data, limit);
    for cuts in cuts(data) {
        let mut finder = Finder::default();
        let ends = cuts.iter().copied().chain([data.len()]);
        let found = ends.map(|end| finder.find(&data[..end], limit)).find(|found| *found != Ok(None));
        let found = found.unwrap_or(Ok(None));
        // What is too long may be told before its end has come, as another kind of too long or as bad.
        assert!(found == whole || (found.is_err() && whole.is_err()), "{found:?}, in one piece {whole:?}");
    }
    let Some(length) = whole? else { return Ok(None) };
    assert!(length <= limit, "{length} is over the limit");
    Ok(Some(Bytes::copy_from_slice(&data[..length])))
}

/// Fields from lines `name: value`; `None` where a request could not have them.
fn fields(lines: &[u8]) -> Option<HeaderMap> {
    let head = [b"GET / HTTP/1.1\r\n", lines, b"\r\n\r\n"].concat();
    let end = Finder::default().find(&head, 64 << 10).ok()??;
    if end != head.len() {
        return None;
    }
    parse_request(&Bytes::from(head), 256).ok().map(|head| head.headers)
}

//! HTTP/1.1 messages: what is read is what the rules say, however the bytes come, and what weir writes of it is read
//! as the same again.

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Response, StatusCode, Uri, Version};

use super::{cuts, fields, find, pieces};
use crate::http1::chunked::{Chunked, Piece, may_be_trailer};
use crate::http1::client::{self, RequestParts};
use crate::http1::framing::{self, Decoder, Framing, FramingError};
use crate::http1::head::{parse_request, parse_response};
use crate::http1::{sender, server};

const LIMIT: usize = 4096;
const FIELDS: usize = 64;

/// A request from its first byte on, and its body.
pub fn request_head(data: &[u8]) {
    let Ok(Some(head)) = find(data, LIMIT) else { return };
    let Ok(request) = parse_request(&head, FIELDS) else { return };
    check_fields(&request.headers);
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let version: &[u8] = if request.version == Version::HTTP_10 { b"HTTP/1.0" } else { b"HTTP/1.1" };
    assert_eq!(words.len(), 3, "a request line has three words");
    assert_eq!((words[0], words[2]), (request.method.as_str().as_bytes(), version));
    assert!(words[1].iter().all(|byte| byte.is_ascii_graphic() || *byte >= 0x80), "a target is one word");
    let Ok(framing) = framing::of_request(request.version, &request.headers) else { return };
    decode_any_split(framing, &data[head.len()..]);
    forwarded_request(&request.method, &request.uri, &request.headers, framing);
}

/// What is sent to an upstream is read there as it was read here.
fn forwarded_request(method: &Method, uri: &Uri, headers: &HeaderMap, framing: Framing) {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    if !target.starts_with(['/', '*']) {
        // `http://host?query`: what admits a request writes its path out.
        return;
    }
    let mut out = Vec::new();
    client::write_head(&mut out, &RequestParts { method, uri, headers, upgrade: None }, framing);
    let again = find(&out, usize::MAX).expect("what is written ends").expect("what is written ends");
    assert_eq!(again.len(), out.len(), "it ends where it ends: {}", out.escape_ascii());
    let again = parse_request(&again, usize::MAX).expect("what is written is a request");
    assert_eq!((&again.method, again.uri.path_and_query().map(|t| t.as_str())), (method, Some(target)));
    assert_eq!(framing::of_request(again.version, &again.headers), Ok(framing));
    assert_eq!(end_to_end(&again.headers), end_to_end(headers));
}

/// A response from its first byte on, and its body.
pub fn response_head(data: &[u8]) {
    let Ok(Some(head)) = find(data, LIMIT) else { return };
    let Ok(response) = parse_response(&head, FIELDS) else { return };
    check_fields(&response.headers);
    let code = response.status.as_u16();
    assert!((100..600).contains(&code) && head.starts_with(b"HTTP/1."), "{code}");
    assert_eq!(&head[8..12], format!(" {code}").as_bytes());
    for method in [Method::GET, Method::HEAD] {
        let framing = framing::of_response(&method, response.status, response.version, &response.headers);
        let Ok(framing) = framing else { continue };
        decode_any_split(framing, &data[head.len()..]);
        if response.status.is_informational() {
            continue;
        }
        for version in [Version::HTTP_10, Version::HTTP_11] {
            let sent = match framing {
                Framing::Chunked | Framing::Close if version == Version::HTTP_11 => Framing::Chunked,
                Framing::Chunked => Framing::Close,
                framing => framing,
            };
            forwarded_response(&method, response.status, &response.headers, sent, version);
        }
    }
}

/// What is sent to a client is read there as it was read here.
fn forwarded_response(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
    framing: Framing,
    version: Version,
) {
    let (mut parts, ()) = Response::new(()).into_parts();
    (parts.status, parts.headers) = (status, headers.clone());
    let has_body = *method != Method::HEAD && !framing::has_no_body(status);
    // A body that is known to be empty is announced as such.
    let framing = if has_body && framing == Framing::None { Framing::Length(0) } else { framing };
    let mut out = Vec::new();
    server::write_head(&mut out, &parts, framing, true, version);
    let again = find(&out, usize::MAX).expect("what is written ends").expect("what is written ends");
    assert_eq!(again.len(), out.len(), "it ends where it ends: {}", out.escape_ascii());
    let again = parse_response(&again, usize::MAX).expect("what is written is a response");
    assert_eq!(again.status, status);
    let read = framing::of_response(method, status, again.version, &again.headers);
    let read = read.expect("what is written is framed in one way");
    assert!(
        read == framing || (read, framing) == (Framing::None, Framing::Length(0)),
        "{read:?} {framing:?}"
    );
    let (mut got, mut want) = (end_to_end(&again.headers), end_to_end(headers));
    if !headers.contains_key(DATE) {
        got.remove(DATE);
    }
    got.remove(UPGRADE);
    want.remove(UPGRADE);
    assert_eq!(got, want);
}

/// The fields that are not about one connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, TE, UPGRADE] {
        headers.remove(name);
    }
    headers
}

/// Nothing in a field can end it, or the head.
fn check_fields(headers: &HeaderMap) {
    assert!(headers.len() <= FIELDS, "{} fields", headers.len());
    for (name, value) in headers {
        let ends = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        assert!(!value.as_bytes().iter().any(ends), "{name}: {value:?}");
        assert!(
            !value.as_bytes().starts_with(b" ") && !value.as_bytes().ends_with(b" "),
            "{name}: {value:?}"
        );
        assert!(name.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b':'), "{name}");
    }
}

/// Fields of a message, one a line: how long its body is.
pub fn framing(data: &[u8]) {
    let Some(headers) = fields(data) else { return };
    let values = |name| headers.get_all(name).iter().map(|v| v.as_bytes()).collect::<Vec<_>>();
    let (codings, lengths) = (values(TRANSFER_ENCODING), values(CONTENT_LENGTH));
    let length = match lengths.as_slice() {
        [one] if one.len() <= 19 && !one.is_empty() && one.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(one).ok().and_then(|text| text.parse::<u64>().ok())
        }
        _ => None,
    };
    let chunked = matches!(codings.as_slice(), [one] if one.eq_ignore_ascii_case(b"chunked"));
    for version in [Version::HTTP_10, Version::HTTP_11] {
        let want = match (length, chunked) {
            _ if codings.is_empty() && lengths.is_empty() => Ok(None),
            (Some(n), _) if codings.is_empty() => Ok(Some(n)),
            (_, true) if lengths.is_empty() && version == Version::HTTP_11 => Ok(None),
            _ => Err(()),
        };
        let framed = framing::of_request(version, &headers);
        let got = framed.map(|framing| match framing {
            Framing::Length(n) => Some(n),
            Framing::None if lengths.len() == 1 => Some(0),
            Framing::None | Framing::Chunked | Framing::Close => None,
        });
        assert_eq!(got.map_err(drop), want, "{version:?} {headers:?}");
        assert!(framed != Ok(Framing::Close), "a request never ends with its connection");
        assert_eq!(framed == Ok(Framing::Chunked), chunked && want == Ok(None), "{version:?} {headers:?}");
        if framed == Err(FramingError::UnknownCoding) {
            assert!(codings.len() == 1 && lengths.is_empty(), "{headers:?}");
        }
        let answer = framing::of_response(&Method::GET, StatusCode::OK, version, &headers);
        let close = codings.is_empty() && lengths.is_empty();
        let want = if close { Ok(Framing::Close) } else { framed };
        assert_eq!(answer, want, "a response differs only where nothing is announced");
        let none = framing::of_response(&Method::HEAD, StatusCode::OK, version, &headers);
        assert!(none == Ok(Framing::None) || (none.is_err() && framed.is_err()), "{headers:?}");
    }
}

/// What came of decoding a body.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    body: Vec<u8>,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// After so many bytes.
    At(usize),
    /// Not yet.
    More,
    Bad,
}

fn decode(decoder: &mut Decoder, pieces: &[&[u8]]) -> Decoded {
    let (mut body, mut used) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let Ok((n, found)) = decoder.decode(rest) else { return Decoded { body, end: End::Bad } };
            used += n;
            match found {
                Piece::Data(data) => {
                    assert!(!data.is_empty() && data.len() <= n, "{} of {n}", data.len());
                    body.extend_from_slice(data);
                }
                Piece::More => {
                    assert_eq!(n, rest.len(), "all is used up where more is asked for");
                    break;
                }
                Piece::End => {
                    assert!(decoder.is_done());
                    return Decoded { body, end: End::At(used) };
                }
            }
            rest = &rest[n..];
        }
    }
    Decoded { body, end: if decoder.is_done() { End::At(used) } else { End::More } }
}

/// Any split of the bytes gives the same.
fn decode_any_split(framing: Framing, data: &[u8]) -> Decoded {
    let whole = decode(&mut Decoder::new(framing), &[data]);
    for cuts in cuts(data) {
        let split = decode(&mut Decoder::new(framing), &pieces(data, &cuts));
        assert_eq!(split, whole, "cut at {cuts:?}");
    }
    match framing {
        Framing::None => assert_eq!((whole.body.len(), &whole.end), (0, &End::At(0))),
        Framing::Length(n) => assert_eq!(whole.body.len() as u64, n.min(data.len() as u64)),
        Framing::Close => assert_eq!(whole, Decoded { body: data.to_vec(), end: End::More }),
        Framing::Chunked => {}
    }
    whole
}

/// A body in the chunked coding, and what follows it.
pub fn chunked(data: &[u8]) {
    let whole = decode_any_split(Framing::Chunked, data);
    let reference = reference(data);
    if let End::At(used) = whole.end {
        assert_eq!(reference, Some((whole.body.clone(), used)), "as the rules have it");
        let cut = decode(&mut Decoder::new(Framing::Chunked), &[&data[..used]]);
        assert_eq!(cut, whole, "what follows a body is not looked at");
        check_trailers(&data[..used]);
    } else {
        assert_eq!(reference, None, "as the rules have it");
    }
    let mut out = Vec::new();
    for piece in whole.body.chunks(7) {
        sender::write_data(&mut out, piece, true);
    }
    out.extend_from_slice(b"0\r\n\r\n");
    let again = decode(&mut Decoder::new(Framing::Chunked), &[&out]);
    assert_eq!(again, Decoded { body: whole.body, end: End::At(out.len()) }, "what is written is read again");
}

fn check_trailers(data: &[u8]) {
    let mut decoder = Chunked::default();
    let mut rest = data;
    while !decoder.is_done() {
        let (used, _) = decoder.decode(rest).expect("it was decoded before");
        rest = &rest[used..];
    }
    if let Ok(Some(trailers)) = decoder.take_trailers() {
        check_fields(&trailers);
        assert!(trailers.keys().all(may_be_trailer), "{trailers:?}");
    }
}

/// The chunked coding as RFC 9112 has it, read line by line: the body and how long it is on the wire, where it is
/// whole and keeps to the rules and bounds.
fn reference(data: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut rest = data;
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        let digits = line.iter().position(|&byte| byte == b';').unwrap_or(line.len());
        let (size, extension) = line.split_at(digits);
        let bad = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
        if !(1..=16).contains(&size.len())
            || !size.iter().all(u8::is_ascii_hexdigit)
            || extension.len() > 1024
            || extension.iter().any(bad)
        {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok()?;
        body.extend_from_slice(rest.get(..size)?);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
    let trailers =
        if rest.starts_with(b"\r\n") { 2 } else { rest.windows(4).position(|four| four == b"\r\n\r\n")? + 4 };
    let section = &rest[..trailers];
    let bare = section.iter().enumerate().any(|(i, &b)| b == b'\n' && (i == 0 || section[i - 1] != b'\r'));
    (!bare && trailers <= 8 << 10).then(|| (body, data.len() - rest.len() + trailers))
}

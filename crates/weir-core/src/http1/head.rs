//! Message heads (RFC 9112, sections 2 to 5): finding their end, parsing and writing them.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use httparse::{Header, ParserConfig, Status};

/// The head of a request.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
}

/// Why bytes are not a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// They break a rule.
    Bad(&'static str),
    /// The first line alone is over the limit.
    LineTooLong,
    /// Over the limit.
    TooLarge,
    /// More fields than the limit.
    TooMany,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
}

/// Fields that most heads stay below; more are parsed into a list on the heap.
const USUAL: usize = 48;

/// Looks for the end of a head, without looking at any byte twice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Finder {
    /// Looked at so far.
    seen: usize,
    /// Where the current line starts.
    line: usize,
    /// Lines that have ended.
    lines: usize,
    /// Where the first line ends.
    first: usize,
}

impl Finder {
    /// The length of the head at the front of `bytes`, its empty line included; None if it has not ended yet. `bytes`
    /// must be those of the last call and more.
    pub(crate) fn find(&mut self, bytes: &[u8], limit: usize) -> Result<Option<usize>, HeadError> {
        for at in memchr::memchr_iter(b'\n', bytes.get(self.seen..).unwrap_or_default()) {
            let at = self.seen + at;
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(HeadError::Bad("a line of the head does not end in CRLF"));
            }
            if at - self.line == 1 && self.lines > 0 {
                return if at < limit { Ok(Some(at + 1)) } else { Err(self.too_large(limit)) };
            }
            if self.lines == 0 {
                self.first = at;
            }
            self.lines += 1;
            self.line = at + 1;
        }
        self.seen = bytes.len();
        if bytes.len() > limit { Err(self.too_large(limit)) } else { Ok(None) }
    }

    fn too_large(&self, limit: usize) -> HeadError {
        if self.lines == 0 || self.first > limit { HeadError::LineTooLong } else { HeadError::TooLarge }
    }
}

/// Parses with as many fields as a head may have.
fn with_fields<'b, T>(
    limit: usize,
    mut parse: impl FnMut(&mut [MaybeUninit<Header<'b>>]) -> Result<T, httparse::Error>,
) -> Result<T, HeadError> {
    let mut result = parse(&mut [const { MaybeUninit::uninit() }; USUAL][..limit.min(USUAL)]);
    if limit > USUAL && matches!(result, Err(httparse::Error::TooManyHeaders)) {
        let mut fields = Vec::new();
        fields.resize_with(limit, MaybeUninit::uninit);
        result = parse(&mut fields);
    }
    result.map_err(|e| match e {
        httparse::Error::TooManyHeaders => HeadError::TooMany,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::HeaderName => HeadError::Bad("bad field name"),
        httparse::Error::HeaderValue => HeadError::Bad("bad field value"),
        httparse::Error::Status => HeadError::Bad("bad status"),
        _ => HeadError::Bad("bad first line"),
    })
}

/// Fields that a request usually gets on its way.
const FORWARDING: usize = 6;

/// Fields that share the head's memory, in a map with room for some more.
fn map_fields(head: &Bytes, fields: &[Header<'_>], spare: usize) -> Result<HeaderMap, httparse::Error> {
    let mut headers = HeaderMap::with_capacity(fields.len() + spare);
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| httparse::Error::HeaderName)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value))
            .map_err(|_| httparse::Error::HeaderValue)?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 }
}

/// Parses a whole request head, as found by [`Finder`].
pub(crate) fn parse_request(head: &Bytes, max_fields: usize) -> Result<RequestHead, HeadError> {
    if head.starts_with(b"\r") {
        return Err(HeadError::Bad("an empty line instead of a request line"));
    }
    let parsed = with_fields(max_fields, |fields| {
        let mut request = httparse::Request::new(&mut []);
        match ParserConfig::default().parse_request_with_uninit_headers(&mut request, head, fields)? {
            Status::Complete(n) if n == head.len() => {}
            _ => return Err(httparse::Error::NewLine),
        }
        let target = request.path.unwrap_or_default().as_bytes();
        if target.contains(&b'#') {
            return Err(httparse::Error::Token);
        }
        let method = request.method.unwrap_or_default().as_bytes();
        Ok(RequestHead {
            method: Method::from_bytes(method).map_err(|_| httparse::Error::Token)?,
            uri: Uri::from_maybe_shared(head.slice_ref(target)).map_err(|_| httparse::Error::Token)?,
            version: version(request.version),
            headers: map_fields(head, request.headers, FORWARDING)?,
        })
    });
    match parsed {
        Err(HeadError::Version) if !names_version(head) => Err(HeadError::Bad("bad first line")),
        parsed => parsed,
    }
}

/// Whether the first line is a request line that names some version of HTTP: `METHOD TARGET HTTP/d.d`.
fn names_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ').skip(2);
    let version = words.next().and_then(|word| word.strip_prefix(b"HTTP/"));
    matches!(version, Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit())
        && words.next().is_none()
}

/// Parses a whole response head, as found by [`Finder`].
pub(crate) fn parse_response(head: &Bytes, max_fields: usize) -> Result<ResponseHead, HeadError> {
    if !head.starts_with(b"HTTP/") {
        return Err(HeadError::Bad("no status line"));
    }
    with_fields(max_fields, |fields| {
        let mut response = httparse::Response::new(&mut []);
        match ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, fields)? {
            Status::Complete(n) if n == head.len() => {}
            _ => return Err(httparse::Error::NewLine),
        }
        let status = StatusCode::from_u16(response.code.unwrap_or(0)).map_err(|_| httparse::Error::Status)?;
        if status.as_u16() > 599 {
            return Err(httparse::Error::Status);
        }
        Ok(ResponseHead {
            status,
            version: version(response.version),
            headers: map_fields(head, response.headers, 0)?,
        })
    })
}

/// Appends a request line.
pub(crate) fn write_request_line(out: &mut Vec<u8>, method: &Method, uri: &Uri) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    match uri.path_and_query() {
        Some(target) if !target.as_str().is_empty() => out.extend_from_slice(target.as_str().as_bytes()),
        _ => out.push(b'/'),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Appends a status line. The reason phrase is the standard one.
pub(crate) fn write_status_line(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends fields.
pub(crate) fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        write_field(out, name.as_str(), value.as_bytes());
    }
}

/// Appends a field.
pub(crate) fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number as decimal digits.
pub(crate) fn write_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(head: &'static str) -> Result<RequestHead, HeadError> {
        let found = Finder::default().find(head.as_bytes(), 8192)?;
        assert_eq!(found, Some(head.len()), "{head:?}");
        parse_request(&Bytes::from_static(head.as_bytes()), 100)
    }

    #[test]
    fn good_requests() {
        let head = request("GET /a?b=c HTTP/1.1\r\nHost: x\r\nA: 1\r\na:  2 \r\n\r\n").unwrap();
        assert_eq!((head.method, head.uri.to_string()), (Method::GET, "/a?b=c".into()));
        let values: Vec<_> = head.headers.get_all("a").iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!((values, &head.headers["host"]), (vec!["1", "2"], &HeaderValue::from_static("x")));
        assert_eq!(request("PURGE * HTTP/1.0\r\n\r\n").unwrap().version, Version::HTTP_10);
        let absolute = request("GET http://h:1/p HTTP/1.1\r\nHost: h:1\r\n\r\n").unwrap();
        assert_eq!(absolute.uri.authority().unwrap(), "h:1");
    }

    #[test]
    fn bad_requests() {
        for head in [
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\n: x\r\n\r\n",
            "GET / HTTP/1.1\r\nA: x\u{0}y\r\n\r\n",
            "GET / HTTP/1.1\r\nA: x\ry\r\n\r\n",
            "GET / HTTP/1.1\r\nA\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "GET /a#b HTTP/1.1\r\n\r\n",
            "G@T /a HTTP/1.1\r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.2\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            " GET / HTTP/1.1\r\n\r\n",
        ] {
            assert!(request(head).is_err(), "{head:?}");
        }
    }

    #[test]
    fn versions() {
        for (line, want) in [
            ("GET / HTTP/1.2", HeadError::Version),
            ("GET / HTTP/2.0", HeadError::Version),
            ("GET / http/1.1", HeadError::Bad("bad first line")),
            ("GET /  HTTP/1.1", HeadError::Bad("bad first line")),
            ("GET / HTTP/1.1 ", HeadError::Bad("bad first line")),
            ("GET /a b HTTP/1.1", HeadError::Bad("bad first line")),
            ("GET / FTP/1.1", HeadError::Bad("bad first line")),
        ] {
            let head = Bytes::from(format!("{line}\r\nHost: x\r\n\r\n"));
            assert_eq!(parse_request(&head, 100).unwrap_err(), want, "{line}");
        }
    }

    #[test]
    fn ends() {
        let find = |bytes: &[u8]| Finder::default().find(bytes, 40);
        assert_eq!(find(b"GET / HTTP/1.1\r\nA: b\r\n"), Ok(None));
        assert_eq!(find(b"GET / HTTP/1.1\r\n\r\nmore"), Ok(Some(18)));
        assert!(matches!(find(b"GET / HTTP/1.1\n\r\n"), Err(HeadError::Bad(_))));
        assert_eq!(find(&[b'a'; 41]), Err(HeadError::LineTooLong));
        let line = [b"GET /".as_slice(), &[b'a'; 40], b" HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(find(&line), Err(HeadError::LineTooLong));
        assert_eq!(find(b"GET / HTTP/1.1\r\nA: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), Err(HeadError::TooLarge));
    }

    #[test]
    fn numbers() {
        for n in [0, 7, 10, 1234, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, n);
            assert_eq!(out, n.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(input in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(n)) = Finder::default().find(&input, 200) {
                let head = Bytes::copy_from_slice(&input[..n]);
                let _ = parse_request(&head, 3);
                let _ = parse_response(&head, 3);
            }
        }

        #[test]
        fn any_split_finds_the_same_end(input in "[a\r\n]{0,60}", step in 1usize..20) {
            let whole = Finder::default().find(input.as_bytes(), 50);
            let mut finder = Finder::default();
            let mut found = Ok(None);
            for end in (0..input.len()).step_by(step).chain([input.len()]) {
                found = finder.find(&input.as_bytes()[..end], 50);
                if found != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(found.is_err(), whole.is_err());
            if let Ok(end) = found {
                prop_assert_eq!(Ok(end), whole);
            }
        }
    }
}

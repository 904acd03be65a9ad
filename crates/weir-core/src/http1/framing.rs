//! How long a message body is (RFC 9112, section 6.3), strictly: what could be read in two ways is refused.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};

use super::chunked::{ChunkError, Chunked, Piece};

/// How the end of a body is told on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// All until the connection closes; responses only.
    Close,
}

/// Why the length of a body cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramingError {
    /// The fields contradict each other or are malformed.
    Bad(&'static str),
    /// A transfer coding that weir does not speak.
    UnknownCoding,
}

/// The framing that the fields announce: none, one of them, never two.
fn announced(version: Version, headers: &HeaderMap) -> Result<Option<Framing>, FramingError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() {
            return Err(FramingError::Bad("more than one transfer-encoding field"));
        }
        if lengths.next().is_some() {
            return Err(FramingError::Bad("content-length beside transfer-encoding"));
        }
        if version < Version::HTTP_11 {
            return Err(FramingError::Bad("transfer-encoding in an HTTP/1.0 message"));
        }
        return match coding.as_bytes() {
            value if value.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
            value if ends_in_one_chunked(value) => Err(FramingError::UnknownCoding),
            _ => Err(FramingError::Bad("transfer-encoding that does not end in one chunked")),
        };
    }
    let Some(length) = lengths.next() else { return Ok(None) };
    if lengths.next().is_some() {
        return Err(FramingError::Bad("more than one content-length field"));
    }
    parse_length(length.as_bytes()).map(|n| Some(Framing::Length(n)))
}

/// Whether a list of codings has `chunked` as its last and nowhere else.
fn ends_in_one_chunked(value: &[u8]) -> bool {
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    let count = value.split(|&b| b == b',').filter(|coding| is_chunked(coding)).count();
    let valid = value.split(|&b| b == b',').all(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && coding.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    });
    valid && count == 1 && value.rsplit(|&b| b == b',').next().is_some_and(is_chunked)
}

/// Digits only, and no more than fit 64 bits.
fn parse_length(value: &[u8]) -> Result<u64, FramingError> {
    let bad = FramingError::Bad("content-length is not a number");
    if value.is_empty() || value.len() > 19 {
        return Err(bad);
    }
    value.iter().try_fold(0u64, |n, b| match b {
        b'0'..=b'9' => Ok(n * 10 + u64::from(b - b'0')),
        _ => Err(bad),
    })
}

/// The framing of a request body.
pub(crate) fn of_request(version: Version, headers: &HeaderMap) -> Result<Framing, FramingError> {
    Ok(match announced(version, headers)? {
        None | Some(Framing::Length(0)) => Framing::None,
        Some(framing) => framing,
    })
}

/// The framing of a response body, by the request's method and the response's head.
pub(crate) fn of_response(
    method: &Method,
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
) -> Result<Framing, FramingError> {
    let announced = announced(version, headers)?;
    Ok(match announced {
        _ if *method == Method::HEAD || has_no_body(status) => Framing::None,
        None => Framing::Close,
        Some(Framing::Length(0)) => Framing::None,
        Some(framing) => framing,
    })
}

/// Statuses whose responses have no body (RFC 9110, section 6.4.1).
pub(crate) fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Takes a body off the wire.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// So many bytes are left; 0 is the end.
    Length(u64),
    /// In the chunked coding.
    Chunked(Box<Chunked>),
    /// Until the connection closes; true once it has.
    Close(bool),
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Decoder::Length(0),
            Framing::Length(n) => Decoder::Length(n),
            Framing::Chunked => Decoder::Chunked(Box::default()),
            Framing::Close => Decoder::Close(false),
        }
    }

    /// Decodes from the front of `input`: how many bytes are used up, and what they were.
    pub(crate) fn decode<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Piece<'a>), ChunkError> {
        match self {
            Decoder::Length(0) | Decoder::Close(true) => Ok((0, Piece::End)),
            Decoder::Chunked(chunked) => chunked.decode(input),
            _ if input.is_empty() => Ok((0, Piece::More)),
            Decoder::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= n as u64;
                Ok((n, Piece::Data(&input[..n])))
            }
            Decoder::Close(_) => Ok((input.len(), Piece::Data(input))),
        }
    }

    /// The connection has closed: whether that is the body's proper end.
    pub(crate) fn close(&mut self) -> bool {
        if let Decoder::Close(closed) = self {
            *closed = true;
        }
        self.is_done()
    }

    /// Whether the end was seen.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Decoder::Length(left) => *left == 0,
            Decoder::Chunked(chunked) => chunked.is_done(),
            Decoder::Close(closed) => *closed,
        }
    }

    /// So many bytes were taken past the decoder.
    pub(crate) fn skip(&mut self, n: u64) {
        if let Decoder::Length(left) = self {
            *left = left.saturating_sub(n);
        }
    }

    /// How many bytes are still to come, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Decoder::Length(left) => Some(*left),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field =
            |(k, v): &(&'static str, &'static str)| (HeaderName::from_static(k), HeaderValue::from_static(v));
        fields.iter().map(field).collect()
    }

    #[test]
    fn requests() {
        let (te, cl) = ("transfer-encoding", "content-length");
        for (version, fields, want) in [
            (Version::HTTP_11, &[][..], Some(Framing::None)),
            (Version::HTTP_11, &[(cl, "0")], Some(Framing::None)),
            (Version::HTTP_11, &[(cl, "5")], Some(Framing::Length(5))),
            (Version::HTTP_11, &[(te, "Chunked")], Some(Framing::Chunked)),
            (Version::HTTP_10, &[(te, "chunked")], None),
            (Version::HTTP_11, &[(te, "chunked"), (cl, "5")], None),
            (Version::HTTP_11, &[(te, "chunked"), (te, "chunked")], None),
            (Version::HTTP_11, &[(te, "chunked, chunked")], None),
            (Version::HTTP_11, &[(te, "chunked, gzip")], None),
            (Version::HTTP_11, &[(te, "chunked;q=1")], None),
            (Version::HTTP_11, &[(te, "")], None),
            (Version::HTTP_11, &[(cl, "5"), (cl, "5")], None),
            (Version::HTTP_11, &[(cl, "5, 5")], None),
            (Version::HTTP_11, &[(cl, "+5")], None),
            (Version::HTTP_11, &[(cl, "")], None),
            (Version::HTTP_11, &[(cl, "0x5")], None),
            (Version::HTTP_11, &[(cl, "99999999999999999999")], None),
        ] {
            assert_eq!(of_request(version, &headers(fields)).ok(), want, "{fields:?}");
        }
        let unknown = of_request(Version::HTTP_11, &headers(&[(te, "gzip, chunked")]));
        assert_eq!(unknown, Err(FramingError::UnknownCoding));
    }

    #[test]
    fn responses() {
        let length = headers(&[("content-length", "5")]);
        let (v, get) = (Version::HTTP_11, Method::GET);
        assert_eq!(of_response(&get, StatusCode::OK, v, &length), Ok(Framing::Length(5)));
        assert_eq!(of_response(&get, StatusCode::OK, v, &HeaderMap::new()), Ok(Framing::Close));
        assert_eq!(of_response(&Method::HEAD, StatusCode::OK, v, &length), Ok(Framing::None));
        assert_eq!(of_response(&get, StatusCode::NOT_MODIFIED, v, &length), Ok(Framing::None));
    }
}

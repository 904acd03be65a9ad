//! The chunked transfer coding (RFC 9112, section 7.1), sans-IO and strict: only CRLF ends a line, sizes are plain
//! hexadecimal, extensions are checked, bounded and dropped.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Longest chunk extension that is skipped, in bytes.
const MAX_EXTENSION: usize = 1024;
/// Largest trailer section, in bytes.
const MAX_TRAILERS: usize = 8 << 10;
/// Most trailer fields.
const MAX_TRAILER_FIELDS: usize = 64;

/// What the decoder found at the front of its input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Bytes of the body.
    Data(&'a [u8]),
    /// All input is used up.
    More,
    /// The body has ended.
    End,
}

/// Why bytes are not a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad chunked coding: {0}")]
pub(crate) struct ChunkError(&'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a chunk size, that many digits read.
    Size(u8),
    /// After the size, before CR: in extensions, that many bytes read.
    Extension(usize),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// In the trailer section.
    Trailers,
    Done,
}

/// Decodes one chunked body.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    /// Of the chunk size while it is read, of the chunk's data afterwards.
    left: u64,
    trailers: Vec<u8>,
}

impl Default for Chunked {
    fn default() -> Self {
        Chunked { state: State::Size(0), left: 0, trailers: Vec::new() }
    }
}

impl Chunked {
    /// Decodes from the front of `input`: how many bytes are used up, and what they were.
    pub(crate) fn decode<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Piece<'a>), ChunkError> {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            match self.state {
                State::Data => {
                    let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                    self.left -= n as u64;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok((at + n, Piece::Data(&input[at..at + n])));
                }
                State::Trailers => {
                    let (n, done) = self.trailer_bytes(&input[at..])?;
                    at += n;
                    if done {
                        self.state = State::Done;
                    }
                }
                State::Done => return Ok((at, Piece::End)),
                _ => {
                    self.control(byte)?;
                    at += 1;
                }
            }
        }
        Ok((at, if self.state == State::Done { Piece::End } else { Piece::More }))
    }

    /// Whether the end was seen.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// One byte outside of data and trailers.
    fn control(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (State::Size(n), _) if byte.is_ascii_hexdigit() => {
                if n == 16 {
                    return Err(ChunkError("chunk size too large"));
                }
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.left = self.left << 4 | u64::from(digit);
                State::Size(n + 1)
            }
            (State::Size(0), _) => return Err(ChunkError("no chunk size")),
            (State::Size(_), b'\r') => State::SizeLf,
            (State::Size(_), b';') => State::Extension(1),
            (State::Size(_), _) => return Err(ChunkError("bad byte in chunk size")),
            (State::Extension(_), b'\r') => State::SizeLf,
            (State::Extension(n), b'\t' | b' '..=b'~' | 0x80..) if n < MAX_EXTENSION => {
                State::Extension(n + 1)
            }
            (State::Extension(_), _) => return Err(ChunkError("bad or too long chunk extension")),
            (State::SizeLf, b'\n') if self.left == 0 => State::Trailers,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.left = 0;
                State::Size(0)
            }
            _ => return Err(ChunkError("line not ended by CRLF")),
        };
        Ok(())
    }

    /// Takes bytes of the trailer section up to its end: an empty line.
    fn trailer_bytes(&mut self, input: &[u8]) -> Result<(usize, bool), ChunkError> {
        for (i, &byte) in input.iter().enumerate() {
            if byte == b'\n' && self.trailers.last() != Some(&b'\r') {
                return Err(ChunkError("trailer line not ended by CRLF"));
            }
            if self.trailers.len() == MAX_TRAILERS {
                return Err(ChunkError("trailers too large"));
            }
            self.trailers.push(byte);
            if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                return Ok((i + 1, true));
            }
        }
        Ok((input.len(), false))
    }

    /// The trailer fields, once done. Those that must not be trailers (RFC 9110, section 6.5.1) are left out.
    pub(crate) fn take_trailers(&mut self) -> Result<Option<HeaderMap>, ChunkError> {
        let bytes = std::mem::take(&mut self.trailers);
        if bytes.len() <= 2 {
            return Ok(None);
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
        let parsed = match httparse::parse_headers(&bytes, &mut fields) {
            Ok(httparse::Status::Complete((_, parsed))) => parsed,
            _ => return Err(ChunkError("bad trailer field")),
        };
        let mut map = HeaderMap::with_capacity(parsed.len());
        for field in parsed {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let value = HeaderValue::from_bytes(field.value);
            let (Ok(name), Ok(value)) = (name, value) else { return Err(ChunkError("bad trailer field")) };
            if may_be_trailer(&name) {
                map.append(name, value);
            }
        }
        Ok((!map.is_empty()).then_some(map))
    }
}

/// Fields for framing, routing, authentication and the like are not taken from trailers.
pub(crate) fn may_be_trailer(name: &HeaderName) -> bool {
    use http::header as h;
    const FORBIDDEN: [HeaderName; 16] = [
        h::TRANSFER_ENCODING,
        h::CONTENT_LENGTH,
        h::CONTENT_ENCODING,
        h::CONTENT_TYPE,
        h::CONTENT_RANGE,
        h::TRAILER,
        h::HOST,
        h::CONNECTION,
        h::UPGRADE,
        h::TE,
        h::EXPECT,
        h::AUTHORIZATION,
        h::PROXY_AUTHORIZATION,
        h::COOKIE,
        h::SET_COOKIE,
        h::CACHE_CONTROL,
    ];
    !FORBIDDEN.contains(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes input in pieces of `step` bytes: the body and how many bytes were left over.
    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, usize), ChunkError> {
        let (mut decoder, mut body, mut at) = (Chunked::default(), Vec::new(), 0);
        loop {
            let end = (at + step).min(input.len());
            let (used, piece) = decoder.decode(&input[at..end])?;
            at += used;
            match piece {
                Piece::Data(data) => body.extend_from_slice(data),
                Piece::End => return Ok((body, input.len() - at)),
                Piece::More if at == input.len() => return Err(ChunkError("ended early")),
                Piece::More => {}
            }
        }
    }

    #[test]
    fn good_bodies() {
        for (input, body, left) in [
            (&b"0\r\n\r\n"[..], &b""[..], 0),
            (b"5\r\nhello\r\n0\r\n\r\nGET", b"hello", 3),
            (b"5;a=\"b\"\r\nhello\r\nA\r\n0123456789\r\n000\r\n\r\n", b"hello0123456789", 0),
            (b"1\r\nx\r\n0\r\nx-sum: 7\r\n\r\n", b"x", 0),
        ] {
            for step in [1, 2, 3, 1000] {
                assert_eq!(decode(input, step).unwrap(), (body.to_vec(), left), "{step}");
            }
        }
    }

    #[test]
    fn bad_bodies() {
        for input in [
            &b"\r\n"[..],
            b"g\r\n",
            b"-1\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello\r\n0\r\n\n",
            b"5\r\nhello\r\n0\n\r\n",
            b"11111111111111111\r\n",
            b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        ] {
            for step in [1, 1000] {
                assert!(decode(input, step).is_err(), "{}", input.escape_ascii());
            }
        }
        let long = [b"5;".as_slice(), &[b'a'; 5000], b"\r\nhello\r\n0\r\n\r\n"].concat();
        assert!(decode(&long, 1000).is_err());
    }

    #[test]
    fn trailers() {
        let mut decoder = Chunked::default();
        let input = b"0\r\nX-Sum: 7\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(decoder.decode(input).unwrap(), (input.len(), Piece::End));
        let trailers = decoder.take_trailers().unwrap().unwrap();
        assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &HeaderValue::from_static("7")));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_body(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..6),
                                         step in 1usize..40) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\nrest");
            prop_assert_eq!(decode(&wire, step).unwrap(), (chunks.concat(), 4));
        }

        #[test]
        fn no_input_panics(input in prop::collection::vec(any::<u8>(), 0..200), step in 1usize..40) {
            let _ = decode(&input, step);
        }
    }
}

//! `multipart/form-data` (RFC 7578) in pieces of any length. Strict, since what is behind may read it in another way: nothing
//! before the first boundary and after the last, lines end with CR LF, no boundary within a part's content.

use crate::object::{Declared, Refusal};

/// Bytes of a part's fields.
const FIELDS: usize = 8192;

/// What is found, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A file begins, with what it is said to be.
    File(Declared),
    /// A field of text begins.
    Field,
    /// Bytes of the part that has begun.
    Data(&'a [u8]),
    /// The part has ended.
    End,
}

/// A parser of one body. It holds at most a part's fields, or a boundary, beside the piece that it is fed.
#[derive(Debug)]
pub struct Multipart {
    /// `--` and the boundary.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    AfterDelimiter,
    Fields,
    Data,
    /// Behind the last boundary.
    Epilogue,
    /// And behind the end of its line.
    Ended,
}

fn malformed(text: &str) -> Refusal {
    Refusal::new(400, "multipart", format!("multipart/form-data: {text}"))
}

impl Multipart {
    /// For the parameters of a `content-type`, what is behind its first `;`.
    pub fn new(parameters: &str) -> Result<Multipart, Refusal> {
        let mut boundaries = parameters.split(';').filter_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
        });
        let (Some(boundary), None) = (boundaries.next(), boundaries.next()) else {
            return Err(malformed("there must be one boundary"));
        };
        let boundary = boundary.strip_prefix('"').and_then(|b| b.strip_suffix('"')).unwrap_or(boundary);
        let is_good = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
        if !(1..=70).contains(&boundary.len()) || !boundary.bytes().all(is_good) || boundary.ends_with(' ') {
            return Err(malformed("the boundary is none (RFC 2046, section 5.1.1)"));
        }
        let delimiter = [b"--", boundary.as_bytes()].concat();
        Ok(Multipart { delimiter, buffer: Vec::new(), state: State::Start })
    }

    /// The next bytes; events go to `each`, until it refuses.
    pub fn feed(
        &mut self,
        data: &[u8],
        each: &mut impl FnMut(Event<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(data);
        let mut rest = buffer.as_slice();
        while let Some(after) = self.step(rest, each)? {
            rest = after;
        }
        let done = buffer.len() - rest.len();
        buffer.drain(..done);
        self.buffer = buffer;
        Ok(())
    }

    /// There are no more bytes.
    pub fn end(&self) -> Result<(), Refusal> {
        match self.state {
            State::Start | State::Epilogue | State::Ended if self.buffer.is_empty() => Ok(()),
            _ => Err(malformed("it does not end with its boundary")),
        }
    }

    /// One step on: what is left then, or none where more bytes are needed.
    fn step<'a>(
        &mut self,
        rest: &'a [u8],
        each: &mut impl FnMut(Event<'_>) -> Result<(), Refusal>,
    ) -> Result<Option<&'a [u8]>, Refusal> {
        match self.state {
            State::Start => {
                let Some((begin, after)) = rest.split_at_checked(self.delimiter.len()) else {
                    return Ok(None);
                };
                if begin != self.delimiter {
                    return Err(malformed("it does not begin with its boundary"));
                }
                self.state = State::AfterDelimiter;
                Ok(Some(after))
            }
            State::AfterDelimiter => {
                let Some((begin, after)) = rest.split_at_checked(2) else { return Ok(None) };
                self.state = match begin {
                    b"\r\n" => State::Fields,
                    b"--" => State::Epilogue,
                    _ => return Err(malformed("there is something behind a boundary")),
                };
                Ok(Some(after))
            }
            State::Fields => {
                let end = find(rest.get(..FIELDS).unwrap_or(rest), b"\r\n\r\n");
                let Some(end) = end else {
                    if rest.len() < FIELDS {
                        return Ok(None);
                    }
                    return Err(malformed("a part has more than 8 KiB of fields"));
                };
                each(part(rest.get(..end).unwrap_or_default())?)?;
                self.state = State::Data;
                Ok(rest.get(end + 4..))
            }
            State::Data => self.data(rest, each),
            State::Epilogue if rest.len() < 2 && b"\r\n".starts_with(rest) => Ok(None),
            State::Epilogue if rest.starts_with(b"\r\n") => {
                self.state = State::Ended;
                Ok(rest.get(2..))
            }
            State::Ended if rest.is_empty() => Ok(None),
            State::Epilogue | State::Ended => Err(malformed("there is something behind its end")),
        }
    }

    /// Content, up to the next boundary. The two bytes before it are in `rest`, too: as many stay there.
    fn data<'a>(
        &mut self,
        rest: &'a [u8],
        each: &mut impl FnMut(Event<'_>) -> Result<(), Refusal>,
    ) -> Result<Option<&'a [u8]>, Refusal> {
        if let Some(at) = find(rest, &self.delimiter) {
            let (content, after) = rest.split_at(at);
            let Some(content) = content.strip_suffix(b"\r\n") else {
                each(Event::Data(content))?;
                return Err(malformed("its boundary is within a part"));
            };
            each(Event::Data(content))?;
            each(Event::End)?;
            self.state = State::AfterDelimiter;
            return Ok(after.get(self.delimiter.len()..));
        }
        let (content, kept) = rest.split_at(rest.len().saturating_sub(self.delimiter.len() + 1));
        if content.is_empty() {
            return Ok(None);
        }
        each(Event::Data(content))?;
        Ok(Some(kept))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// What begins with these fields.
fn part(fields: &[u8]) -> Result<Event<'static>, Refusal> {
    let (mut disposition, mut content_type) = (None, None);
    let text = std::str::from_utf8(fields).map_err(|_| malformed("the fields of a part are not UTF-8"))?;
    for line in text.split("\r\n") {
        let field = line.split_once(':').filter(|(name, _)| !name.is_empty() && !name.contains([' ', '\t']));
        let (Some((name, value)), false) = (field, line.contains(['\r', '\n', '\0'])) else {
            return Err(malformed("a part has a field that is none"));
        };
        let value = value.trim();
        let twice = match name.to_ascii_lowercase().as_str() {
            "content-disposition" => disposition.replace(value.to_ascii_lowercase()).is_some(),
            "content-type" => content_type.replace(value).is_some(),
            "content-transfer-encoding" if !["7bit", "8bit", "binary"].contains(&value) => {
                return Err(malformed("a part has a content-transfer-encoding"));
            }
            _ => false,
        };
        if twice {
            return Err(malformed("a part has a field twice"));
        }
    }
    let disposition = disposition.ok_or_else(|| malformed("a part has no content-disposition"))?;
    let declared = Declared::of(content_type);
    let is_text = matches!(&declared, Declared::Other(name) if name == "text/plain");
    if !disposition.contains("filename") && (content_type.is_none() || is_text) {
        return Ok(Event::Field);
    }
    Ok(Event::File(declared))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is found, contents in one, and how it ends.
    fn parse<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Option<String>) {
        let mut parser = Multipart::new("boundary=\"b-1\"").expect("a boundary");
        let (mut found, mut content) = (Vec::new(), Vec::new());
        let mut each = |event: Event<'_>| {
            match event {
                Event::Data(data) => content.extend_from_slice(data),
                Event::End => found.push(String::from_utf8_lossy(&std::mem::take(&mut content)).into_owned()),
                other => found.push(format!("{other:?}")),
            }
            Ok(())
        };
        let result = pieces.map(|piece| parser.feed(piece, &mut each)).collect::<Result<Vec<()>, _>>();
        let result = result.and_then(|_| parser.end());
        found.push(String::from_utf8_lossy(&content).into_owned());
        (found, result.err().map(|refusal| refusal.text))
    }

    fn body(parts: &[(&str, &str)]) -> String {
        let parts: String =
            parts.iter().map(|(fields, content)| format!("--b-1\r\n{fields}\r\n\r\n{content}\r\n")).collect();
        format!("{parts}--b-1--\r\n")
    }

    const FIELD: &str = "Content-Disposition: form-data; name=\"a\"";
    const FILE: &str =
        "content-disposition: form-data; name=\"f\"; filename=\"f.png\"\r\nContent-Type: image/png";

    #[test]
    fn parts_are_found() {
        let body = body(&[(FIELD, "one\r\n-- two --b-2"), (FILE, ""), (FILE, "\r\n")]);
        let (found, refused) = parse([body.as_bytes()].into_iter());
        assert_eq!(refused, None);
        let file = "File(Image(Png))";
        assert_eq!(found, ["Field", "one\r\n-- two --b-2", file, "", file, "\r\n", ""]);
    }

    #[test]
    fn what_others_may_read_differently_is_refused() {
        let good = body(&[(FIELD, "one")]);
        for (body, expected) in [
            (format!("x{good}"), "it does not begin with its boundary"),
            (good.replace("\r\n", "\n"), "there is something behind a boundary"),
            (good.replace("one", "one\n--b-1\ntwo"), "its boundary is within a part"),
            (good.replace("--b-1--\r\n", "--b-1--\r\nx"), "there is something behind its end"),
            (good.replace("--b-1--\r\n", "--b-1--\r\n\r\n"), "there is something behind its end"),
            (good.replace("--b-1--\r\n", ""), "it does not end with its boundary"),
            (good.replace("--b-1--\r\n", "--b-1\r\n"), "it does not end with its boundary"),
            (good.replace("Content", "X"), "a part has no content-disposition"),
            (good.replace(FIELD, &format!("{FIELD}\r\n{FIELD}")), "a part has a field twice"),
            (good.replace(FIELD, &format!("{FIELD}\r\n ; filename=x")), "a part has a field that is none"),
            (good.replace(FIELD, &format!("{FIELD}\nx: y")), "a part has a field that is none"),
            (
                good.replace(FIELD, &format!("{FIELD}\r\nContent-Transfer-Encoding: base64")),
                "a part has a content-transfer-encoding",
            ),
            (good.replace("name", &"n".repeat(9000)), "a part has more than 8 KiB of fields"),
        ] {
            for piece in [1, 7, 100_000] {
                let (_, refused) = parse(body.as_bytes().chunks(piece));
                assert_eq!(refused, Some(format!("multipart/form-data: {expected}")), "{piece}: {body}");
            }
        }
        for parameters in ["", "boundary=", "boundary=a; boundary=b", "boundary=a\u{e9}"] {
            Multipart::new(parameters).expect_err(parameters);
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            tokens in prop::collection::vec(0_usize..12, 0..40),
            cuts in prop::collection::vec(1_usize..40, 1..40),
        ) {
            let words =
                ["--b-1", "\r\n", "--", "\r", "\n", "-", "--b-", "x", FIELD, FILE, "\r\n--b-1\r\n", "\r\n\r\n"];
            let tail: String = tokens.iter().filter_map(|at| words.get(*at)).copied().collect();
            for begin in ["--b-1\r\n", &format!("--b-1\r\n{FILE}\r\n\r\n"), ""] {
                let body = format!("{begin}{tail}");
                let mut rest = body.as_bytes();
                let mut cuts = cuts.iter().cycle();
                let pieces = std::iter::from_fn(|| {
                    let (piece, after) = rest.split_at(cuts.next().map_or(1, |cut| *cut).min(rest.len()));
                    rest = after;
                    (!piece.is_empty()).then_some(piece)
                });
                prop_assert_eq!(parse(pieces), parse([body.as_bytes()].into_iter()));
            }
        }
    }
}

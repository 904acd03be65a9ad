//! What a body says: its fields, strings and texts, also of the begin of one, and of one that is not quite what it says.

use crate::normalise::percent_decode;

/// How a body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// Strings and names of JSON.
    Json,
    /// Names, file names and texts of `multipart/form-data`, with its boundary.
    Multipart(Vec<u8>),
    /// As one text.
    Text,
}

impl Kind {
    /// Of a `content-type`; none for what is no text: images, archives and the like.
    pub fn of(content_type: Option<&str>) -> Option<Kind> {
        let Some(content_type) = content_type else { return Some(Kind::Text) };
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let kind = kind.trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/x-www-form-urlencoded" => Some(Kind::Form),
            "multipart/form-data" => Some(boundary(parameters).map_or(Kind::Text, Kind::Multipart)),
            "" | "application/xml" | "application/graphql" | "application/javascript" => Some(Kind::Text),
            _ if kind.starts_with("text/") || kind.ends_with("+xml") => Some(Kind::Text),
            _ if kind.contains("json") => Some(Kind::Json),
            _ => None,
        }
    }
}

fn boundary(parameters: &str) -> Option<Vec<u8>> {
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim())
    })?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (!value.is_empty()).then(|| value.as_bytes().to_vec())
}

/// Hands each name and value to `each`, with the name that belongs to it.
pub fn values<E>(
    kind: &Kind,
    body: &[u8],
    mut each: impl FnMut(&str, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    match kind {
        Kind::Text => each("", body),
        Kind::Form => form(body, &mut each),
        Kind::Json => json(body, &mut each),
        Kind::Multipart(boundary) => multipart(boundary, body, &mut each),
    }
}

fn form<E>(body: &[u8], each: &mut impl FnMut(&str, &[u8]) -> Result<(), E>) -> Result<(), E> {
    for pair in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        let mut parts = pair.splitn(2, |b| *b == b'=');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let decode = |part: &[u8]| {
            let spaces: Vec<u8> = part.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
            percent_decode(&spaces)
        };
        let name = decode(name);
        let text = String::from_utf8_lossy(&name);
        each(&text, &name)?;
        each(&text, &decode(value))?;
    }
    Ok(())
}

/// All strings, whether the rest is JSON or not; what has none is a text.
fn json<E>(body: &[u8], each: &mut impl FnMut(&str, &[u8]) -> Result<(), E>) -> Result<(), E> {
    if !matches!(body.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) {
        return each("", body);
    }
    let mut name = String::new();
    let mut rest = body;
    while let Some(start) = rest.iter().position(|b| *b == b'"') {
        let (string, after) = string(rest.get(start + 1..).unwrap_or_default());
        if after.trim_ascii_start().first() == Some(&b':') {
            name = String::from_utf8_lossy(&string).into_owned();
        }
        each(&name, &string)?;
        rest = after;
    }
    Ok(())
}

/// A string after its first quotation mark, and what comes after it.
fn string(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'"' => return (out, rest),
            b'\\' => rest = escape(rest, &mut out),
            _ => out.push(first),
        }
    }
    (out, rest)
}

/// What a backslash and what comes after it stand for. Halves of surrogate pairs are a character that is none.
fn escape<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some((&first, after)) = rest.split_first() else { return rest };
    match first {
        b'n' => out.push(b'\n'),
        b't' => out.push(b'\t'),
        b'r' => out.push(b'\r'),
        b'b' | b'f' => out.push(b' '),
        b'u' => {
            let digits = after.get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
            let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
                return after;
            };
            let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            return after.get(4..).unwrap_or_default();
        }
        other => out.push(other),
    }
    after
}

/// Names and file names of all parts, contents of those that are no files.
fn multipart<E>(
    boundary: &[u8],
    body: &[u8],
    each: &mut impl FnMut(&str, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let delimiter = [b"--", boundary].concat();
    for part in split(body, &delimiter) {
        let Some(part) = part.strip_prefix(b"\r\n").or_else(|| part.strip_prefix(b"\n")) else { continue };
        let (head, content) = match (find(part, b"\r\n\r\n"), find(part, b"\n\n")) {
            (Some(end), _) => (part.get(..end), part.get(end + 4..)),
            (None, Some(end)) => (part.get(..end), part.get(end + 2..)),
            (None, None) => (Some(part), None),
        };
        let head = String::from_utf8_lossy(head.unwrap_or_default());
        let name = parameter(&head, "name").unwrap_or_default();
        let file = parameter(&head, "filename");
        each(&name, name.as_bytes())?;
        match file {
            Some(file) => each(&name, file.as_bytes())?,
            None => each(&name, content.unwrap_or_default().trim_ascii_end())?,
        }
    }
    Ok(())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// What is between delimiters, without what is before the first.
fn split<'a>(body: &'a [u8], delimiter: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = find(body, delimiter).and_then(|at| body.get(at + delimiter.len()..));
    std::iter::from_fn(move || {
        let part = rest?;
        let end = find(part, delimiter);
        rest = end.and_then(|end| part.get(end + delimiter.len()..));
        Some(end.and_then(|end| part.get(..end)).unwrap_or(part))
    })
}

/// A parameter of `content-disposition`: also `name*`, percent-encoded as it is.
fn parameter(head: &str, wanted: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let mut rest = line;
    while let Some(at) = rest.find(';') {
        rest = rest.get(at + 1..)?.trim_start();
        let (name, value) = rest.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => value.split_at(value.find(';').unwrap_or(value.len())),
        };
        if name.trim().trim_end_matches('*').eq_ignore_ascii_case(wanted) {
            return Some(value.to_owned());
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(kind: &Kind, body: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let each = |name: &str, value: &[u8]| {
            found.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
            Ok::<(), ()>(())
        };
        values(kind, body.as_bytes(), each).expect("values");
        found
    }

    fn check(kind: &Kind, body: &str, expected: &[(&str, &str)]) {
        let found = all(kind, body);
        let found: Vec<(&str, &str)> =
            found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn kinds_of_bodies() {
        for (content_type, expected) in [
            (Some("application/json; charset=utf-8"), Some(Kind::Json)),
            (Some("application/problem+json"), Some(Kind::Json)),
            (Some("Application/X-WWW-Form-Urlencoded"), Some(Kind::Form)),
            (Some("multipart/form-data; boundary=\"a b\""), Some(Kind::Multipart(b"a b".to_vec()))),
            (Some("multipart/form-data"), Some(Kind::Text)),
            (Some("text/plain"), Some(Kind::Text)),
            (None, Some(Kind::Text)),
            (Some("image/png"), None),
            (Some("application/octet-stream"), None),
        ] {
            assert_eq!(Kind::of(content_type), expected, "{content_type:?}");
        }
    }

    #[test]
    fn forms_are_decoded() {
        check(
            &Kind::Form,
            "a=b+c%27&d&%3C=1",
            &[("a", "a"), ("a", "b c'"), ("d", "d"), ("d", ""), ("<", "<"), ("<", "1")],
        );
    }

    #[test]
    fn strings_of_json_are_found_also_where_it_breaks_off() {
        check(
            &Kind::Json,
            r#"{"a": "x\u0027\n", "b": ["y", 1, {"c": "z\"#,
            &[("a", "a"), ("a", "x'\n"), ("b", "b"), ("b", "y"), ("c", "c"), ("c", "z")],
        );
        check(&Kind::Json, "' or 1=1", &[("", "' or 1=1")]);
        check(&Kind::Json, r#""\ud800\u00e9\u12""#, &[("", "\u{fffd}é12")]);
    }

    #[test]
    fn parts_of_multipart_are_found_contents_of_files_are_not() {
        let body = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--x\r\ncontent-disposition: form-data; \
                    name=b; filename=\"c;d.png\"\r\nContent-Type: image/png\r\n\r\nbytes\r\n--x--\r\n";
        check(
            &Kind::Multipart(b"x".to_vec()),
            body,
            &[("a", "a"), ("a", "one"), ("b", "b"), ("b", "c;d.png")],
        );
    }
}

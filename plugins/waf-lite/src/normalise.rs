//! What a value says, however it is written: decoded, in lower case, with one space for any white space.

/// What rules look at.
pub struct Views {
    /// Decoded, in lower case, white space as one space, without control characters.
    pub text: Vec<u8>,
    /// `text` with a space for each comment of SQL; none where there is no comment.
    pub sql: Option<Vec<u8>>,
    /// A NUL, where there was one.
    pub nul: Option<Vec<u8>>,
}

/// Both views of a value. `decode`: how often it is percent-decoded, as long as that changes anything.
pub fn views(value: &[u8], decode: u8) -> Views {
    let mut bytes = value.to_vec();
    for _ in 0..decode {
        if !bytes.contains(&b'%') {
            break;
        }
        bytes = percent_decode(&bytes);
    }
    if bytes.contains(&b'&') {
        bytes = entities(&bytes);
    }
    let text = fold(&bytes);
    let sql = has(&text, b"/*").then(|| fold(&uncomment(&text)));
    Views { text, sql, nul: bytes.contains(&0).then(|| vec![0]) }
}

fn has(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// `%41` and `%u0041`. What is no escape stays.
pub fn percent_decode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let escape = match (first, after) {
            (b'%', [b'u' | b'U', digits @ ..]) => {
                number(digits.get(..4), 16).map(|code| (code, digits.get(4..)))
            }
            (b'%', digits) => number(digits.get(..2), 16).map(|code| (code, digits.get(2..))),
            _ => None,
        };
        match escape {
            Some((code, then)) => {
                // A byte, or a character of `%u` beyond one.
                match u8::try_from(code) {
                    Ok(byte) => out.push(byte),
                    Err(_) => push(&mut out, code),
                }
                rest = then.unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

fn push(out: &mut Vec<u8>, code: u32) {
    let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

fn number(digits: Option<&[u8]>, radix: u32) -> Option<u32> {
    let digits =
        digits.filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_alphanumeric))?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

const NAMED: [(&[u8], u8); 16] = [
    (b"lt;", b'<'),
    (b"gt;", b'>'),
    (b"amp;", b'&'),
    (b"quot;", b'"'),
    (b"apos;", b'\''),
    (b"colon;", b':'),
    (b"lpar;", b'('),
    (b"rpar;", b')'),
    (b"sol;", b'/'),
    (b"equals;", b'='),
    (b"semi;", b';'),
    (b"grave;", b'`'),
    (b"tab;", b'\t'),
    (b"newline;", b'\n'),
    (b"nbsp;", b' '),
    (b"num;", b'#'),
];

/// Character references of HTML that stand for ASCII, and numbers. What is none stays.
fn entities(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let entity = if first == b'&' { entity(after) } else { None };
        match entity {
            Some((code, length)) => {
                push(&mut out, code);
                rest = after.get(length..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

/// The character, and how many bytes are its reference after `&`.
fn entity(after: &[u8]) -> Option<(u32, usize)> {
    if let Some(digits) = after.strip_prefix(b"#") {
        let (digits, radix, before) = match digits {
            [b'x' | b'X', digits @ ..] => (digits, 16, 2),
            _ => (digits, 10, 1),
        };
        let length = digits.iter().take(10).take_while(|b| char::from(**b).is_digit(radix)).count();
        let code = number(digits.get(..length), radix)?;
        let end = usize::from(digits.get(length) == Some(&b';'));
        return Some((code, before + length + end));
    }
    let (name, byte) = NAMED
        .iter()
        .find(|(name, _)| after.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))?;
    Some((u32::from(*byte), name.len()))
}

/// Lower case; any white space is one space; bytes that spell an ASCII character in too many (C0 AE for `.`), and wide forms
/// (U+FF1C for `<`), are that character; control characters are gone.
fn fold(bytes: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, length) = match (first, after) {
            (0xc0 | 0xc1, [b @ 0x80..=0xbf, ..]) => ((first & 1) << 6 | (b & 0x3f), 2),
            (0xe0, [a @ (0x80 | 0x81), b @ 0x80..=0xbf, ..]) => ((a & 1) << 6 | (b & 0x3f), 3),
            (0xef, [0xbc, b @ 0x81..=0xbf, ..]) => (b - 0x60, 3),
            (0xef, [0xbd, b @ 0x80..=0x9e, ..]) => (b - 0x20, 3),
            (0xc2, [0xa0, ..]) => (b' ', 2),
            (0xe2, [0x80, 0x80..=0x8a, ..]) | (0xe3, [0x80, 0x80, ..]) => (b' ', 3),
            // Nothing is seen of these.
            (0xe2, [0x80, 0x8b..=0x8f, ..]) | (0xef, [0xbb, 0xbf, ..]) => (0, 3),
            _ => (first, 1),
        };
        rest = rest.get(length..).unwrap_or_default();
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {
                if out.last() != Some(&b' ') {
                    out.push(b' ');
                }
            }
            0x00..=0x1f | 0x7f => {}
            _ => out.push(byte.to_ascii_lowercase()),
        }
    }
    out
}

/// Comments of SQL as a space; what MySQL executes in `/*! */` stays. A comment that does not end stays.
fn uncomment(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut executed = false;
    // Once no end is found, there is none further on.
    let mut ends = true;
    loop {
        match rest {
            [b'/', b'*', b'!', after @ ..] => {
                let version = after.iter().take(6).take_while(|b| b.is_ascii_digit()).count();
                rest = after.get(version..).unwrap_or_default();
                out.push(b' ');
                executed = true;
            }
            [b'/', b'*', after @ ..] if ends => match after.windows(2).position(|end| end == b"*/") {
                Some(end) => {
                    rest = after.get(end + 2..).unwrap_or_default();
                    out.push(b' ');
                }
                None => ends = false,
            },
            [b'*', b'/', after @ ..] if executed => {
                rest = after;
                out.push(b' ');
            }
            [first, after @ ..] => {
                out.push(*first);
                rest = after;
            }
            [] => return out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &[u8]) -> String {
        String::from_utf8(views(value, 2).text).expect("text")
    }

    #[test]
    fn values_are_decoded_and_folded() {
        for (value, expected) in [
            (&b"Select  *\t\nFROM"[..], "select * from"),
            (b"%253Cb%253E", "<b>"),
            (b"%25253Cb", "%3cb"),
            (b"100% sure, 5%zz", "100% sure, 5%zz"),
            (b"%u003cb%U003E", "<b>"),
            (b"&lt;b&GT; &#60; &#x3c &amp;lt;", "<b> < < &lt;"),
            (b"&ltitude &# &#x; &", "&ltitude &# &#x; &"),
            (b"\xc0\xae\xc0\xae\xc0\xaf \xe0\x80\xaf", "../ /"),
            ("＜ＳＣＲＩＰＴ＞ａ～".as_bytes(), "<script>a~"),
            ("a\u{a0}\u{3000}b".as_bytes(), "a b"),
            ("ja\u{200b}va\u{7}".as_bytes(), "java"),
            (b"a\0b", "ab"),
            (b"%", "%"),
            ("Übergröße".as_bytes(), "Übergröße"),
        ] {
            assert_eq!(text(value), expected, "{value:?}");
        }
    }

    #[test]
    fn comments_of_sql_are_a_space() {
        for (value, expected) in [
            ("un/**/ion", Some("un ion")),
            ("union/* a */ /**/select", Some("union select")),
            ("/*!50000union*/ select", Some(" union select")),
            ("a /* b", Some("a /* b")),
            ("a*/b", None),
        ] {
            let sql = views(value.as_bytes(), 2).sql;
            assert_eq!(sql.as_deref(), expected.map(str::as_bytes), "{value}");
        }
    }
}

//! Text that comes in pieces (RFC 6455, section 8.1): whether it is UTF-8, told at the first byte that cannot be.

use simdutf8::compat::from_utf8;

use super::Violation;

const INVALID: Violation = Violation::data("text is not UTF-8");

/// Checks one message of text after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    /// The beginning of a character that the last piece ended in.
    open: [u8; 4],
    length: u8,
}

impl Utf8 {
    /// Looks at the next bytes of a message. `last`: the message ends with them, and the next call begins another.
    ///
    /// # Errors
    ///
    /// A violation with code 1007 if these bytes cannot be part of UTF-8 whatever follows, or if the message ends inside
    /// a character. After it nothing more is to be fed.
    pub(crate) fn feed(&mut self, bytes: &[u8], last: bool) -> Result<(), Violation> {
        let rest = self.close(bytes)?;
        if let Err(error) = from_utf8(rest) {
            if error.error_len().is_some() {
                return Err(INVALID);
            }
            // At most three bytes: the beginning of a character.
            for byte in rest.get(error.valid_up_to()..).unwrap_or_default() {
                self.push(*byte)?;
            }
        }
        if last && self.length > 0 { Err(INVALID) } else { Ok(()) }
    }

    /// Goes on with the character that is open: the bytes behind it.
    fn close<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Violation> {
        let mut rest = bytes;
        while self.length > 0 {
            let Some((byte, behind)) = rest.split_first() else { break };
            self.push(*byte)?;
            rest = behind;
        }
        Ok(rest)
    }

    /// One more byte of the open character.
    fn push(&mut self, byte: u8) -> Result<(), Violation> {
        let length = usize::from(self.length);
        *self.open.get_mut(length).ok_or(INVALID)? = byte;
        self.length = match from_utf8(self.open.get(..=length).unwrap_or_default()) {
            Ok(_) => 0,
            Err(error) if error.error_len().is_none() => self.length + 1,
            Err(_) => return Err(INVALID),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where byte for byte goes wrong: the number of bytes that were right, or the length if only the end was wrong.
    fn wrong_at(bytes: &[u8]) -> Option<usize> {
        let mut utf8 = Utf8::default();
        let wrong = bytes.iter().position(|byte| utf8.feed(&[*byte], false).is_err());
        wrong.or_else(|| utf8.feed(&[], true).err().map(|_| bytes.len()))
    }

    #[test]
    fn fails_at_the_first_byte_that_cannot_be() {
        for (bytes, at) in [
            (&b"Hello"[..], None),
            ("κόσμε \u{10FFFF}\u{FFFF}".as_bytes(), None),
            (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80", Some(12)),
            (b"\xed\xa0\x80", Some(1)),
            (b"\xe0\x80", Some(1)),
            (b"\xf0\x8f", Some(1)),
            (b"\xf5", Some(0)),
            (b"a\xc0\x80", Some(1)),
            (b"\x80", Some(0)),
            (b"\xf0\x9f\x98a", Some(3)),
            (b"\xf0\x9f\x98", Some(3)),
        ] {
            assert_eq!(wrong_at(bytes), at, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_message_begins_afresh() {
        let mut utf8 = Utf8::default();
        for (piece, last) in [(&b"\xe2\x82"[..], false), (b"", false), (b"\xac", true), (b"\xe2", false)] {
            assert_eq!(utf8.feed(piece, last), Ok(()));
        }
        assert!(utf8.feed(b"", true).is_err_and(|v| v.code == 1007));
    }

    /// Bytes that are mostly UTF-8.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
            2 => prop::collection::vec(b'a'..=b'z', 0..20),
            1 => prop::collection::vec(prop::sample::select(&b"\xe2\x82\xed\xa0\xf4\x90\xf0\x8f\x80\xbf"[..]), 0..3),
        ];
        prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_split_says_the_same(bytes in bytes(), sizes in prop::collection::vec(0usize..9, 1..9)) {
            prop_assert_eq!(wrong_at(&bytes).is_none(), std::str::from_utf8(&bytes).is_ok());
            let (mut utf8, mut at, mut failed) = (Utf8::default(), 0, None);
            for size in sizes.iter().cycle().take(bytes.len() * sizes.len() + 1) {
                let end = (at + size).min(bytes.len());
                if utf8.feed(&bytes[at..end], end == bytes.len()).is_err() {
                    failed = Some((at, end));
                    break;
                }
                at = end;
                if at == bytes.len() {
                    break;
                }
            }
            // In the piece that brings the first wrong byte, or at the end of the message.
            match (wrong_at(&bytes), failed) {
                (None, None) => {}
                (Some(wrong), Some((from, to))) =>
                    prop_assert!((from <= wrong && wrong < to) || (wrong == bytes.len() && to == wrong)),
                (wrong, failed) => prop_assert!(at < bytes.len(), "{:?} {:?}", wrong, failed),
            }
        }
    }
}

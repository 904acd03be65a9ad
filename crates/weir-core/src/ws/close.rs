//! Why a connection is closed: the payload of close frames (RFC 6455, sections 5.5.1 and 7.4).

use super::Violation;
use super::frame::MAX_CONTROL;

/// The longest reason, in bytes: what a control frame has room for behind the code.
pub(crate) const MAX_REASON: usize = MAX_CONTROL as usize - 2;

/// What a close frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    /// Why; a frame may leave it out.
    pub(crate) code: Option<u16>,
    /// For people; at most [`MAX_REASON`] bytes.
    pub(crate) reason: Box<str>,
}

impl Close {
    /// Reads the payload of a close frame.
    ///
    /// # Errors
    ///
    /// Code 1002 for one that must not be sent or is cut off, 1007 for a reason that is not UTF-8.
    pub(crate) fn parse(payload: &[u8]) -> Result<Close, Violation> {
        if payload.is_empty() {
            return Ok(Close { code: None, reason: Box::default() });
        }
        let Some((code, reason)) = payload.split_first_chunk() else {
            return Err(Violation::protocol("close frame of one byte"));
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(Violation::protocol("close code that must not be sent"));
        }
        let Ok(reason) = std::str::from_utf8(reason) else {
            return Err(Violation::data("close reason is not UTF-8"));
        };
        Ok(Close { code: Some(code), reason: reason.into() })
    }
}

/// The payload of a close frame. Of a reason over [`MAX_REASON`] bytes as many characters as fit. `code` must be one
/// that [`may_be_sent`]; a close frame without a code has an empty payload.
pub(crate) fn encode(code: u16, reason: &str) -> Vec<u8> {
    debug_assert!(may_be_sent(code), "{code}");
    let reason = reason.get(..reason.floor_char_boundary(MAX_REASON)).unwrap_or_default();
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// Whether a close frame may carry this code: those of the RFC and of IANA's registry, except those that only tell how a
/// connection was lost, and those that are free for frameworks (3000) and applications (4000).
pub(crate) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads() {
        let close = |code, reason: &str| Ok(Close { code, reason: reason.into() });
        let long = [b"\x03\xe8", "x".repeat(123).as_bytes()].concat();
        for (payload, wanted) in [
            (&b""[..], close(None, "")),
            (b"\x03\xe8", close(Some(1000), "")),
            (b"\x03\xe8bye", close(Some(1000), "bye")),
            (b"\x0f\xa1\xe2\x82\xac", close(Some(4001), "€")),
            (&long, close(Some(1000), &"x".repeat(123))),
            (b"\x03", Err(1002)),
            (b"\x03\xed", Err(1002)),
            (b"\x03\xee", Err(1002)),
            (b"\0\0bye", Err(1002)),
            (b"\x03\xe8\xe2\x82", Err(1007)),
            (b"\x03\xe8\xed\xa0\x80", Err(1007)),
        ] {
            assert_eq!(Close::parse(payload).map_err(|v| v.code), wanted, "{}", payload.escape_ascii());
            if let Ok(Close { code: Some(code), reason }) = wanted {
                assert_eq!(encode(code, &reason), payload);
            }
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        for (reason, kept) in
            [("x".repeat(124), 123), ("€".repeat(42), 123), (format!("x{}", "€".repeat(42)), 121)]
        {
            let payload = encode(1008, &reason);
            assert_eq!(payload.len(), 2 + kept);
            assert_eq!(&*Close::parse(&payload).unwrap().reason, &reason[..kept]);
        }
    }

    #[test]
    fn codes_that_may_be_sent() {
        let ranges = [(1000, 1003), (1007, 1014), (3000, 4999)];
        for code in 0..=u16::MAX {
            assert_eq!(may_be_sent(code), ranges.iter().any(|(a, b)| (*a..=*b).contains(&code)), "{code}");
        }
    }
}

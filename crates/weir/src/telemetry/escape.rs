//! Writing values so that nothing that a peer sends can end a record, a field or a quote, or reach a terminal.

use std::cell::Cell;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_plugin::Peer;

/// Longer values are cut and end in `...`. Keeps a record small whatever a client sends.
pub(super) const MAX_VALUE: usize = 8 << 10;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes a JSON string. Control characters and those that change how a line is shown (C1, line separators,
/// bidirectional marks) are escaped, bytes that are not UTF-8 become U+FFFD.
pub(super) fn json_string(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    if value.len() <= MAX_VALUE && value.iter().all(|b| plain(*b)) {
        out.extend_from_slice(value);
    } else {
        json_slow(out, value);
    }
    out.push(b'"');
}

/// Needs no escaping in either format (but for a space outside quotes).
fn plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

#[cold]
fn json_slow(out: &mut Vec<u8>, value: &[u8]) {
    let (value, cut) = shorten(value);
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                c if c.is_control() || misleading(c) => {
                    let code = u32::from(c) as usize;
                    out.extend_from_slice(b"\\u");
                    out.extend([12, 8, 4, 0].map(|shift| HEX[code >> shift & 15]));
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    if cut {
        out.extend_from_slice(b"...");
    }
}

/// Changes how the rest of a line is shown without being seen itself. All below U+10000.
pub(crate) fn misleading(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Cuts at a character where the value is UTF-8.
fn shorten(value: &[u8]) -> (&[u8], bool) {
    if value.len() <= MAX_VALUE {
        return (value, false);
    }
    let mut end = MAX_VALUE;
    while end > MAX_VALUE - 4 && value[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    (&value[..end], true)
}

/// Writes a value into a line of text: `"`, `\`, and every byte that is not printable ASCII as `\xHH`; outside
/// quotes the space too, so that a value is always one word. An empty value is `-`.
pub(super) fn text(out: &mut Vec<u8>, value: &[u8], quoted: bool) {
    if value.is_empty() {
        out.push(b'-');
        return;
    }
    let (value, cut) = shorten(value);
    let fine = |b: &u8| plain(*b) && (quoted || *b != b' ');
    let mut rest = value;
    while let Some(at) = rest.iter().position(|b| !fine(b)) {
        let byte = rest[at];
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    if cut {
        out.extend_from_slice(b"...");
    }
}

/// Writes a number.
pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes milliseconds with three places.
pub(super) fn milliseconds(out: &mut Vec<u8>, value: Duration) {
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    number(out, micros / 1000);
    out.push(b'.');
    three_digits(out, micros % 1000);
}

fn three_digits(out: &mut Vec<u8>, value: u64) {
    out.extend([value / 100, value / 10, value].map(|d| b'0' + (d % 10) as u8));
}

/// Writes an address.
pub(super) fn ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            let [a, rest @ ..] = v4.octets();
            number(out, a.into());
            for octet in rest {
                out.push(b'.');
                number(out, octet.into());
            }
        }
        // Writing to a vector cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

/// Writes an address with its port, `unix:` for a Unix socket.
pub(super) fn peer(out: &mut Vec<u8>, peer: &Peer) {
    drop(write!(out, "{peer}"));
}

/// Writes the time as RFC 3339 in UTC with milliseconds: `2026-01-31T23:59:59.123Z`.
pub(super) fn time(out: &mut Vec<u8>, time: SystemTime) {
    thread_local!(static LAST: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) });
    let (seconds, millis) = since_epoch(time);
    let text = LAST.with(|last| {
        let (second, text) = last.get();
        if second == seconds {
            return text;
        }
        let d = Date::of(seconds);
        let mut text = *b"0000-00-00T00:00:00";
        for (at, width, value) in [
            (0, 4, d.year),
            (5, 2, d.month),
            (8, 2, d.day),
            (11, 2, d.hour),
            (14, 2, d.minute),
            (17, 2, d.second),
        ] {
            digits(&mut text[at..at + width], value);
        }
        last.set((seconds, text));
        text
    });
    out.extend_from_slice(&text);
    out.push(b'.');
    three_digits(out, millis);
    out.push(b'Z');
}

/// Writes the time as web servers do in UTC: `31/Jan/2026:23:59:59 +0000`.
pub(super) fn time_clf(out: &mut Vec<u8>, time: SystemTime) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let d = Date::of(since_epoch(time).0);
    let month = MONTHS[(d.month as usize).saturating_sub(1) % 12];
    drop(write!(
        out,
        "{:02}/{month}/{:04}:{:02}:{:02}:{:02} +0000",
        d.day, d.year, d.hour, d.minute, d.second
    ));
}

/// Writes the seconds since 1970 with three places.
pub(super) fn time_unix(out: &mut Vec<u8>, time: SystemTime) {
    let (seconds, millis) = since_epoch(time);
    number(out, seconds);
    out.push(b'.');
    three_digits(out, millis);
}

fn since_epoch(time: SystemTime) -> (u64, u64) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs(), since.subsec_millis().into())
}

/// The last digits of a number, padded with zeros.
fn digits(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// A moment in the Gregorian calendar, UTC.
struct Date {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Date {
    /// Counts in eras of 400 years that begin on the first of March, so that the leap day comes last.
    fn of(seconds: u64) -> Date {
        let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Date {
            year: era * 400 + year + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("logs are UTF-8")
    }

    #[test]
    fn times() {
        for (seconds, rfc, clf) in [
            (0, "1970-01-01T00:00:00.007Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_399, "2000-02-28T23:59:59.007Z", "28/Feb/2000:23:59:59 +0000"),
            (951_782_400, "2000-02-29T00:00:00.007Z", "29/Feb/2000:00:00:00 +0000"),
            (1_767_225_599, "2025-12-31T23:59:59.007Z", "31/Dec/2025:23:59:59 +0000"),
            (1_772_323_200, "2026-03-01T00:00:00.007Z", "01/Mar/2026:00:00:00 +0000"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z", "01/Mar/2100:00:00:00 +0000"),
        ] {
            let at = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7);
            assert_eq!(made(|out| time(out, at)), rfc);
            assert_eq!(made(|out| time_clf(out, at)), clf);
            assert_eq!(made(|out| time_unix(out, at)), format!("{seconds}.007"));
        }
    }

    #[test]
    fn numbers_and_addresses() {
        assert_eq!(made(|out| milliseconds(out, Duration::from_micros(1_002_034))), "1002.034");
        assert_eq!(made(|out| milliseconds(out, Duration::ZERO)), "0.000");
        for address in ["10.0.255.1", "2001:db8::1", "0.0.0.0"] {
            assert_eq!(made(|out| ip(out, address.parse().expect("an address"))), address);
        }
    }

    #[test]
    fn nothing_gets_out_of_a_value() {
        for (raw, json, quoted, bare) in [
            (&b"/a?b=c"[..], r#""/a?b=c""#, "/a?b=c", "/a?b=c"),
            (b"", r#""""#, "-", "-"),
            (b"a b", r#""a b""#, "a b", r"a\x20b"),
            (b"a\"b\\c", r#""a\"b\\c""#, r"a\x22b\x5cc", r"a\x22b\x5cc"),
            (b"a\r\nb\tc", r#""a\r\nb\tc""#, r"a\x0d\x0ab\x09c", r"a\x0d\x0ab\x09c"),
            (b"\x1b[31m\0\x7f", r#""\u001b[31m\u0000\u007f""#, r"\x1b[31m\x00\x7f", r"\x1b[31m\x00\x7f"),
            ("ü".as_bytes(), "\"ü\"", r"\xc3\xbc", r"\xc3\xbc"),
            (
                "\u{85}\u{2028}\u{202e}".as_bytes(),
                r#""\u0085\u2028\u202e""#,
                r"\xc2\x85\xe2\x80\xa8\xe2\x80\xae",
                r"\xc2\x85\xe2\x80\xa8\xe2\x80\xae",
            ),
            (b"a\xff\xfeb", "\"a\u{fffd}\u{fffd}b\"", r"a\xff\xfeb", r"a\xff\xfeb"),
        ] {
            assert_eq!(made(|out| json_string(out, raw)), json);
            assert_eq!(made(|out| text(out, raw, true)), quoted);
            assert_eq!(made(|out| text(out, raw, false)), bare);
        }
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let long = "ü".repeat(MAX_VALUE);
        let json = made(|out| json_string(out, long.as_bytes()));
        assert_eq!(json, format!("\"{}...\"", "ü".repeat(MAX_VALUE / 2)));
        let odd = format!("a{long}");
        let json = made(|out| json_string(out, odd.as_bytes()));
        assert_eq!(json, format!("\"a{}...\"", "ü".repeat(MAX_VALUE / 2 - 1)));
        let bare = made(|out| text(out, "x".repeat(MAX_VALUE + 1).as_bytes(), false));
        assert_eq!(bare, format!("{}...", "x".repeat(MAX_VALUE)));
    }

    proptest! {
        #[test]
        fn json_says_what_was_meant(value in any::<String>()) {
            let json = made(|out| json_string(out, value.as_bytes()));
            prop_assert_eq!(serde_json::from_str::<String>(&json).ok(), Some(value));
            prop_assert!(!json.chars().any(|c| c.is_control() || misleading(c)));
        }

        #[test]
        fn any_bytes_make_one_printable_word(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let json = made(|out| json_string(out, &value));
            prop_assert!(serde_json::from_str::<String>(&json).is_ok());
            let word = made(|out| text(out, &value, false));
            prop_assert!(word.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
            let quoted = made(|out| text(out, &value, true));
            prop_assert!(quoted.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b'"'));
        }
    }
}

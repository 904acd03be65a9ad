//! Paths: normalised once, then routed and forwarded as they are.
//!
//! What is always done (RFC 3986, section 6.2.2):
//! * percent-encoded unreserved characters (letters, digits, `-._~`) are decoded, so that `/%61dmin` is `/admin`;
//! * the hexadecimal digits of all other percent-encodings become upper case;
//! * bytes beyond ASCII are percent-encoded; `\` becomes `%5C`;
//! * an empty path becomes `/`.
//!
//! What [`PathPolicy`] says is then done, in this order: encoded slashes, double slashes, dot segments. `..` at the
//! root stays at the root (RFC 3986, section 5.2.4).
//!
//! What is always refused: a `%` without two hexadecimal digits, `%00`, control characters, spaces, `#`. Unless
//! dot segments are kept, also what some servers take for a dot segment though it is none: `..;x`, and `..` beside
//! an encoded slash that is kept.

use std::borrow::Cow;

use crate::error::{Error, Kind};
use crate::spec::{PathPolicy, PathRewrite, PathRule};

/// Why a path is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.detail())]
pub enum Reject {
    /// It is neither `*` nor does it begin with `/` (RFC 9112, section 3.2).
    NotAbsolute,
    /// A control character, a space or `#` (RFC 3986, section 3.3).
    Character,
    /// A `%` without two hexadecimal digits (RFC 3986, section 2.1).
    Encoding,
    /// `%00`.
    Nul,
    /// `.` or `..`, and the policy refuses them.
    DotSegment,
    /// A segment that some servers take for `..`: `..;x`, or `..` beside an encoded slash.
    HiddenDotSegment,
    /// `%2F` or `%5C`, and the policy refuses them.
    EncodedSlash,
    /// `//`, and the policy refuses it.
    DoubleSlash,
}

impl Reject {
    /// The reason in a few words, for the access log.
    pub fn detail(self) -> &'static str {
        match self {
            Reject::NotAbsolute => "the path does not begin with a slash",
            Reject::Character => "a character in the path must be percent-encoded",
            Reject::Encoding => "bad percent-encoding in the path",
            Reject::Nul => "encoded NUL in the path",
            Reject::DotSegment => "dot segment in the path",
            Reject::HiddenDotSegment => "hidden dot segment in the path",
            Reject::EncodedSlash => "encoded slash in the path",
            Reject::DoubleSlash => "double slash in the path",
        }
    }
}

impl From<Reject> for Error {
    fn from(reject: Reject) -> Self {
        Error::new(Kind::BadRequest, reject.detail())
    }
}

/// The path in the one form in which it is routed and forwarded. `raw` is without query; `*` (of OPTIONS) stays.
/// Borrows where nothing changes. Idempotent.
///
/// # Errors
/// See [`Reject`].
pub fn normalise<'a>(raw: &'a str, policy: &PathPolicy) -> Result<Cow<'a, str>, Reject> {
    if is_plain(raw.as_bytes(), policy) {
        return Ok(Cow::Borrowed(raw));
    }
    match raw {
        "" => return Ok(Cow::Borrowed("/")),
        "*" => return Ok(Cow::Borrowed(raw)),
        _ if !raw.starts_with('/') => return Err(Reject::NotAbsolute),
        _ => {}
    }
    let decoded = percent(raw, policy)?;
    let path = segments(&decoded, policy)?;
    Ok(if path == raw { Cow::Borrowed(raw) } else { Cow::Owned(path) })
}

/// Whether a path is certainly normalised already: the case that must cost nothing.
fn is_plain(raw: &[u8], policy: &PathPolicy) -> bool {
    if raw.first() != Some(&b'/') {
        return false;
    }
    let mut before = 0;
    for &byte in raw {
        match byte {
            b'%' | b'\\' | b'#' | b'?' | ..=b' ' | 0x7f.. => return false,
            // Any segment that begins with a dot is looked at closely, also `.well-known`.
            b'.' if before == b'/' && policy.dot_segments != PathRule::Keep => return false,
            b'/' if before == b'/' && policy.double_slashes != PathRule::Keep => return false,
            _ => before = byte,
        }
    }
    true
}

/// Percent-encoding into its one form; encoded slashes by the policy.
fn percent(raw: &str, policy: &PathPolicy) -> Result<String, Reject> {
    let mut out = String::with_capacity(raw.len() + 8);
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (Some(high), Some(low)) = (hex(bytes.next()), hex(bytes.next())) else {
                    return Err(Reject::Encoding);
                };
                match high << 4 | low {
                    0 => return Err(Reject::Nul),
                    slash @ (b'/' | b'\\') => push_slash(&mut out, slash, policy)?,
                    // `%2E` stays as it is where dot segments do.
                    b'.' if policy.dot_segments == PathRule::Keep => out.push_str("%2E"),
                    plain if is_unreserved(plain) => out.push(char::from(plain)),
                    other => push_encoded(&mut out, other),
                }
            }
            b'\\' => push_slash(&mut out, byte, policy)?,
            ..=b' ' | 0x7f | b'#' | b'?' => return Err(Reject::Character),
            0x80.. => push_encoded(&mut out, byte),
            _ => out.push(char::from(byte)),
        }
    }
    Ok(out)
}

fn hex(digit: Option<u8>) -> Option<u8> {
    char::from(digit?).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn push_encoded(out: &mut String, byte: u8) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

fn push_slash(out: &mut String, byte: u8, policy: &PathPolicy) -> Result<(), Reject> {
    match policy.encoded_slashes {
        PathRule::Keep => push_encoded(out, byte),
        PathRule::Normalise => out.push('/'),
        PathRule::Reject => return Err(Reject::EncodedSlash),
    }
    Ok(())
}

/// Double slashes and dot segments by the policy. `path` begins with `/`.
fn segments(path: &str, policy: &PathPolicy) -> Result<String, Reject> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.get(1..).unwrap_or_default().split('/').peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        if segment.is_empty() && !last {
            match policy.double_slashes {
                PathRule::Keep => {}
                PathRule::Normalise => continue,
                PathRule::Reject => return Err(Reject::DoubleSlash),
            }
        }
        if policy.dot_segments == PathRule::Keep || !segment.contains('.') {
            out.push('/');
            out.push_str(segment);
            continue;
        }
        match (segment, policy.dot_segments) {
            ("." | "..", PathRule::Reject) => return Err(Reject::DotSegment),
            (".", _) => {}
            ("..", _) => out.truncate(out.rfind('/').unwrap_or(0)),
            _ if is_hidden_dots(segment) => return Err(Reject::HiddenDotSegment),
            _ => {
                out.push('/');
                out.push_str(segment);
                continue;
            }
        }
        // A path that ends in a dot segment ends in a slash.
        if last {
            out.push('/');
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

/// `..` with parameters, or beside an encoded slash: a server that decodes once more would climb.
fn is_hidden_dots(segment: &str) -> bool {
    segment.split("%2F").flat_map(|part| part.split("%5C")).any(|part| {
        let name = part.split(';').next().unwrap_or(part);
        name == ".." || (name == "." && part.len() > 1)
    })
}

/// The path to forward: prefix stripped, replaced, prefix added, as a route asks. Captures are filled in with
/// `value`. What is made begins with a slash; borrows where nothing changes.
pub fn rewrite<'a, 'v>(
    path: &'a str,
    rewrite: &PathRewrite,
    value: impl Fn(&str) -> Option<Cow<'v, str>>,
) -> Cow<'a, str> {
    let mut path = Cow::Borrowed(path);
    if let Some(prefix) = &rewrite.strip_prefix {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let rest = path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(rest) = rest.map(str::len) {
            path = match path {
                _ if rest == 0 => Cow::Borrowed("/"),
                Cow::Borrowed(path) => Cow::Borrowed(&path[path.len() - rest..]),
                Cow::Owned(path) => Cow::Owned(path[path.len() - rest..].to_owned()),
            };
        }
    }
    if let Some(template) = &rewrite.replace {
        path = Cow::Owned(crate::headers::fill(template, value));
    }
    if let Some(prefix) = &rewrite.add_prefix {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        path = Cow::Owned(format!("{prefix}{path}"));
    }
    if path.starts_with('/') { path } else { Cow::Owned(format!("/{path}")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEEP: PathRule = PathRule::Keep;
    const NORMALISE: PathRule = PathRule::Normalise;
    const REJECT: PathRule = PathRule::Reject;

    fn policy(dot_segments: PathRule, encoded_slashes: PathRule, double_slashes: PathRule) -> PathPolicy {
        PathPolicy { dot_segments, encoded_slashes, double_slashes }
    }

    #[test]
    fn paths_have_one_form() {
        use Reject::{
            Character, DotSegment, DoubleSlash, EncodedSlash, Encoding, HiddenDotSegment, NotAbsolute, Nul,
        };
        let default = PathPolicy::default();
        let keep = policy(KEEP, KEEP, KEEP);
        let normalise = policy(NORMALISE, NORMALISE, NORMALISE);
        let reject = policy(REJECT, REJECT, REJECT);
        for (raw, policy, want) in [
            ("/", default, Ok("/")),
            ("", default, Ok("/")),
            ("*", default, Ok("*")),
            ("a", default, Err(NotAbsolute)),
            ("*/", default, Err(NotAbsolute)),
            // RFC 3986, sections 6.2.2.1 and 6.2.2.2
            ("/%61dmin/%7e%2d", default, Ok("/admin/~-")),
            ("/%c3%a9/%3b", default, Ok("/%C3%A9/%3B")),
            ("/\u{e9}", default, Ok("/%C3%A9")),
            ("/a;b=1,c:d@e!$&'()*+", default, Ok("/a;b=1,c:d@e!$&'()*+")),
            ("/{a}|\"<>^`", default, Ok("/{a}|\"<>^`")),
            ("/a%", default, Err(Encoding)),
            ("/a%4", default, Err(Encoding)),
            ("/a%zz", default, Err(Encoding)),
            ("/%2%34", default, Err(Encoding)),
            ("/a%00", default, Err(Nul)),
            ("/a\0", default, Err(Character)),
            ("/a b", default, Err(Character)),
            ("/a\tb", default, Err(Character)),
            ("/a\x7f", default, Err(Character)),
            ("/a#b", default, Err(Character)),
            ("/%252e%252e/a", default, Ok("/%252e%252e/a")),
            // RFC 3986, section 5.2.4
            ("/a/b/c/./../../g", default, Ok("/a/g")),
            ("/a/./b", default, Ok("/a/b")),
            ("/a/.", default, Ok("/a/")),
            ("/a/..", default, Ok("/")),
            ("/a/../", default, Ok("/")),
            ("/..", default, Ok("/")),
            ("/../../etc", default, Ok("/etc")),
            ("/%2e%2E/etc", default, Ok("/etc")),
            ("/a/.%2e/b", default, Ok("/b")),
            ("/a//../b", default, Ok("/a/b")),
            ("/...", default, Ok("/...")),
            ("/.well-known/x", default, Ok("/.well-known/x")),
            ("/a..b/c.", default, Ok("/a..b/c.")),
            ("/a/..;x/b", default, Err(HiddenDotSegment)),
            ("/a/.;/b", default, Err(HiddenDotSegment)),
            ("/a/..%2fb", default, Err(HiddenDotSegment)),
            ("/a/b%5c..", default, Err(HiddenDotSegment)),
            ("/a\\..\\b", default, Err(HiddenDotSegment)),
            ("/a%2fb%5Cc\\d", default, Ok("/a%2Fb%5Cc%5Cd")),
            ("/a//b", default, Ok("/a//b")),
            ("/a/../b/%2e%2e;", keep, Ok("/a/../b/%2E%2E;")),
            ("/a/..%2fb", keep, Ok("/a/..%2Fb")),
            ("/a/..%2f%2Fb\\c", normalise, Ok("/b/c")),
            ("/a///b//", normalise, Ok("/a/b/")),
            ("//", normalise, Ok("/")),
            ("//a/.//..//b", normalise, Ok("/b")),
            ("/a/./b", reject, Err(DotSegment)),
            ("/a/%2e%2e", reject, Err(DotSegment)),
            ("/a%2Fb", reject, Err(EncodedSlash)),
            ("/a%5cb", reject, Err(EncodedSlash)),
            ("/a\\b", reject, Err(EncodedSlash)),
            ("/a//b", reject, Err(DoubleSlash)),
            ("//a", reject, Err(DoubleSlash)),
            ("/a/", reject, Ok("/a/")),
        ] {
            assert_eq!(normalise_to(raw, &policy).as_deref(), want.as_ref().copied(), "{raw}");
        }
    }

    fn normalise_to(raw: &str, policy: &PathPolicy) -> Result<String, Reject> {
        super::normalise(raw, policy).map(Cow::into_owned)
    }

    #[test]
    fn what_does_not_change_is_borrowed() {
        for raw in ["/", "/a/b.c/d-e_f~g", "/.well-known/a", "/a//b", "/%C3%A9"] {
            assert!(matches!(super::normalise(raw, &PathPolicy::default()), Ok(Cow::Borrowed(_))), "{raw}");
        }
    }

    #[test]
    fn rewrites() {
        let of = |strip: Option<&str>, replace: Option<&str>, add: Option<&str>| PathRewrite {
            strip_prefix: strip.map(Into::into),
            replace: replace.map(Into::into),
            add_prefix: add.map(Into::into),
        };
        for (path, asked, want) in [
            ("/api/x", of(None, None, None), "/api/x"),
            ("/api/x", of(Some("/api"), None, None), "/x"),
            ("/api/x", of(Some("/api/"), None, None), "/x"),
            ("/api", of(Some("/api"), None, None), "/"),
            ("/apis", of(Some("/api"), None, None), "/apis"),
            ("/api//x", of(Some("/api"), None, None), "//x"),
            ("/x", of(Some("/"), None, None), "/x"),
            ("/api/x", of(Some("/api"), None, Some("/v2")), "/v2/x"),
            ("/x", of(None, None, Some("/v2/")), "/v2/x"),
            ("/x", of(None, Some("/u/{id}/{no}"), None), "/u/7/{no}"),
            ("/x", of(None, Some("{id}"), None), "/7"),
            ("/a/x", of(Some("/a"), Some("/n"), Some("/p")), "/p/n"),
        ] {
            let value = |name: &str| (name == "id").then_some(Cow::Borrowed("7"));
            assert_eq!(rewrite(path, &asked, value), want, "{path} {asked:?}");
        }
    }

    fn rule() -> impl Strategy<Value = PathRule> {
        prop::sample::select(vec![KEEP, NORMALISE, REJECT])
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "/", "/", ".", "..", "%2e", "%2F", "%5c", "\\", "a", "%61", "%25", "%", ";", "%c3", "\u{e9}", "2e",
                ]),
                0..16,
            ),
            dots in rule(), encoded in rule(), double in rule(),
        ) {
            let raw = format!("/{}", parts.concat());
            let policy = policy(dots, encoded, double);
            if let Ok(once) = super::normalise(&raw, &policy) {
                prop_assert_eq!(&super::normalise(&once, &policy), &Ok(Cow::Borrowed(&*once)));
                prop_assert!(once.starts_with('/'));
                if dots != KEEP {
                    // No reading of it, whatever is decoded once more, has a segment that climbs.
                    let decoded = once.replace("%2F", "/").replace("%5C", "/");
                    prop_assert!(!decoded.split('/').any(|s| s == ".."), "{}", once);
                }
                prop_assert!(double == KEEP || !once.contains("//"));
                prop_assert!(encoded == KEEP || !(once.contains("%2F") || once.contains("%5C")));
            }
        }
    }
}

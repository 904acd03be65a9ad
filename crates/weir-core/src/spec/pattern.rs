//! Parsers of the patterns and templates that a configuration writes as text.

use std::collections::HashSet;
use std::sync::Arc;

use http::HeaderValue;
use regex::{Regex, RegexBuilder};

use super::{
    HeaderEdits, HostPattern, PathPattern, PathPolicy, PathRule, PathTemplate, Segment, TemplatePart,
    ValueMatch, ValueTemplate,
};
use crate::path;

/// Why a pattern cannot be, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {help}")]
pub struct PatternError {
    /// What is wrong, for example `a host has no port`.
    pub problem: String,
    /// What would be right, for example `write example.com`.
    pub help: String,
}

fn wrong<T>(problem: impl Into<String>, help: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError { problem: problem.into(), help: help.into() })
}

impl HostPattern {
    /// Reads `example.com`, `*.example.com`, `192.0.2.1` or `[2001:db8::1]`. Case does not matter; a final dot
    /// is left out, as it is when a request is matched.
    ///
    /// # Errors
    /// When it is no host name, or has a scheme, port or path.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let text = text.trim().to_ascii_lowercase();
        if text.is_empty() {
            return wrong("a host is empty", "leave the hosts out to take any host");
        }
        if text == "*" {
            return wrong(
                "`*` is not a host",
                "leave the hosts out to take any host, or write `*.example.com`",
            );
        }
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split('/').next().unwrap_or(rest);
            return wrong(format!("`{text}` has a scheme"), format!("write `{host}`"));
        }
        if let Some((host, _)) = text.split_once('/') {
            return wrong(
                format!("`{text}` has a path"),
                format!("write `{host}` here and the path as a path condition"),
            );
        }
        if let Some(inner) = text.strip_prefix('[') {
            return match inner.strip_suffix(']').map(str::parse::<std::net::Ipv6Addr>) {
                Some(Ok(address)) => Ok(HostPattern::Exact(format!("[{address}]").into())),
                _ => wrong(
                    format!("`{text}` is not an IPv6 address in brackets"),
                    "write for example `[2001:db8::1]`, without a port",
                ),
            };
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return wrong(
                format!("`{text}` is an IPv6 address without brackets"),
                format!("write `[{text}]`"),
            );
        }
        if let Some((host, _)) = text.split_once(':') {
            return wrong(
                format!("`{text}` has a port"),
                format!("hosts are compared without port: write `{host}`"),
            );
        }
        if !text.is_ascii() {
            return wrong(
                format!("`{text}` is not ASCII"),
                "write an internationalised name as its A-label, `xn--...`",
            );
        }
        let (name, suffix) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text.as_str(), false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.contains('*') {
            return wrong(
                format!("`{text}` has a `*` that is not its whole first label"),
                "write `*.example.com`, which takes one or more labels before `.example.com`",
            );
        }
        check_name(name)?;
        Ok(if suffix {
            HostPattern::Suffix(format!(".{name}").into())
        } else {
            HostPattern::Exact(name.into())
        })
    }

    /// Whether a host takes this pattern; `host` is lower case, without port and without a final dot.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => **name == *host,
            HostPattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// Checks a name by RFC 1123, section 2.1, with underscores, which are in use.
fn check_name(name: &str) -> Result<(), PatternError> {
    if name.len() > 253 {
        return wrong("a host name is longer than 253 characters", "DNS has none that long");
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return wrong(
                format!("`{name}` has a label of {} characters", label.len()),
                "a label has 1 to 63 characters",
            );
        }
        if let Some(odd) = label.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_".contains(*c))) {
            return wrong(format!("`{name}` has a `{odd}`"), "a host has letters, digits, `-` and dots");
        }
    }
    Ok(())
}

impl PathPattern {
    /// A pattern of one whole path.
    ///
    /// # Errors
    /// When no normalised path could ever be this.
    pub fn exact(text: &str) -> Result<Self, PatternError> {
        Ok(PathPattern::Exact(literal(text)?.into()))
    }

    /// A pattern of a path and all below it, by whole segments. A final slash changes nothing.
    ///
    /// # Errors
    /// When no normalised path could ever be below this.
    pub fn prefix(text: &str) -> Result<Self, PatternError> {
        let path = literal(text)?;
        let path = path.strip_suffix('/').filter(|p| !p.is_empty()).unwrap_or(&path);
        Ok(PathPattern::Prefix(path.into()))
    }

    /// A pattern such as `/users/{id}`.
    ///
    /// # Errors
    /// See [`PathTemplate::parse`].
    pub fn template(text: &str) -> Result<Self, PatternError> {
        PathTemplate::parse(text).map(PathPattern::Template)
    }

    /// A regular expression for the whole path; its named groups are captured.
    ///
    /// # Errors
    /// When it is not one.
    pub fn regex(text: &str) -> Result<Self, PatternError> {
        anchored(text).map(PathPattern::Regex)
    }
}

/// A path as a pattern: in the form in which normalised paths are.
fn literal(text: &str) -> Result<String, PatternError> {
    if !text.starts_with('/') {
        return wrong(format!("the path `{text}` does not begin with `/`"), format!("write `/{text}`"));
    }
    no_query(text)?;
    let policy = PathPolicy {
        dot_segments: PathRule::Reject,
        encoded_slashes: PathRule::Keep,
        double_slashes: PathRule::Keep,
    };
    match path::normalise(text, &policy) {
        Ok(path) => Ok(path.into_owned()),
        Err(reject) => {
            wrong(format!("the path `{text}` never comes: {reject}"), "write it as a normalised path is")
        }
    }
}

fn no_query(text: &str) -> Result<(), PatternError> {
    match text.split_once(['?', '#']) {
        None => Ok(()),
        Some((path, _)) => wrong(
            format!("the path `{text}` has a query"),
            format!("write `{path}` here and the query as a query condition"),
        ),
    }
}

/// A regular expression that must match from the first character to the last.
///
/// # Errors
/// When it is none.
pub fn anchored(text: &str) -> Result<Regex, PatternError> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(1 << 20).build();
    build(text).and_then(|_| build(&format!(r"\A(?:{text})\z"))).or_else(|error| {
        let message = error.to_string();
        let last = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
        wrong(
            format!("`{text}` is not a regular expression: {last}"),
            "the syntax is that of https://docs.rs/regex/latest/regex/#syntax",
        )
    })
}

impl PathTemplate {
    /// Reads a template: literal segments, `{name}` for any one segment, `{name*}` as the last for all the rest.
    ///
    /// # Errors
    /// When a brace is not such a segment, a name is twice or the path is none.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let Some(rest) = text.strip_prefix('/') else {
            return wrong(format!("the path `{text}` does not begin with `/`"), format!("write `/{text}`"));
        };
        no_query(text)?;
        let mut names = HashSet::new();
        let mut segments = Vec::new();
        for part in rest.split('/') {
            if let Some(Segment::Rest(name)) = segments.last() {
                return wrong(
                    format!("`{{{name}*}}` is not the last segment of `{text}`"),
                    format!("only the last can take all the rest: write `{{{name}}}` for one segment"),
                );
            }
            let segment = match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                Some(inner) => capture(inner, text)?,
                None if part.contains(['{', '}']) => {
                    return wrong(
                        format!("`{part}` in `{text}` has a brace within a segment"),
                        "a capture is a whole segment, `/{name}/`; use a regular expression for parts of one",
                    );
                }
                None => Segment::Literal(literal(&format!("/{part}"))?[1..].into()),
            };
            if let Segment::Capture(name) | Segment::Rest(name) = &segment
                && !names.insert(name.clone())
            {
                return wrong(
                    format!("`{name}` is captured twice in `{text}`"),
                    "give each capture its own name",
                );
            }
            segments.push(segment);
        }
        Ok(PathTemplate { source: text.into(), segments })
    }

    /// The names that it captures, in order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Capture(name) | Segment::Rest(name) => Some(name),
        })
    }
}

fn capture(inner: &str, text: &str) -> Result<Segment, PatternError> {
    let (name, rest) = match inner.strip_suffix('*') {
        Some(name) => (name, true),
        None => (inner, false),
    };
    if !is_name(name) {
        return wrong(
            format!("`{{{inner}}}` in `{text}` has no name that can be"),
            "a name begins with a letter or `_` and goes on with letters, digits and `_`: `{id}`, `{rest*}`",
        );
    }
    Ok(if rest { Segment::Rest(name.into()) } else { Segment::Capture(name.into()) })
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl ValueMatch {
    /// A regular expression for the whole value.
    ///
    /// # Errors
    /// When it is none.
    pub fn regex(text: &str) -> Result<Self, PatternError> {
        anchored(text).map(ValueMatch::Regex)
    }
}

impl ValueTemplate {
    /// Reads a header value in which `{name}` is filled in; `{{` and `}}` stand for the braces themselves.
    ///
    /// # Errors
    /// When a brace is open, a name cannot be, or a character may not be in a header value.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let parts = template_parts(text)?;
        let fixed = match parts.as_slice() {
            [] => "",
            [TemplatePart::Literal(only)] => only,
            _ => return Ok(ValueTemplate::Parts(parts)),
        };
        HeaderValue::from_str(fixed).map(ValueTemplate::Fixed).or_else(|_| bad_value(text))
    }

    /// The names that are filled in.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let parts = match self {
            ValueTemplate::Fixed(_) => &[][..],
            ValueTemplate::Parts(parts) => parts,
        };
        parts.iter().filter_map(|part| match part {
            TemplatePart::Literal(_) => None,
            TemplatePart::Placeholder(name) => Some(name),
        })
    }
}

fn bad_value<T>(text: &str) -> Result<T, PatternError> {
    wrong(
        format!("`{}` cannot be a header value", text.escape_debug()),
        "leave out line breaks and control characters (RFC 9110, section 5.5)",
    )
}

/// Splits text into literal parts and placeholders; `{{` and `}}` stand for the braces themselves.
///
/// # Errors
/// As [`ValueTemplate::parse`].
pub fn template_parts(text: &str) -> Result<Vec<TemplatePart>, PatternError> {
    if HeaderValue::from_str(text).is_err() {
        return bad_value(text);
    }
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let from = &rest[at..];
        if from.starts_with("{{") || from.starts_with("}}") {
            literal.push_str(&from[..1]);
            rest = &from[2..];
            continue;
        }
        let Some((name, after)) = from.strip_prefix('{').and_then(|inner| inner.split_once('}')) else {
            return wrong(
                format!("`{text}` has a single brace"),
                "write `{name}`, or `{{` and `}}` for braces",
            );
        };
        if !is_name(name) {
            return wrong(
                format!("`{{{name}}}` in `{text}` is not a placeholder"),
                "write a name such as `{client_ip}`, or `{{` and `}}` for braces",
            );
        }
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(std::mem::take(&mut literal).into()));
        }
        parts.push(TemplatePart::Placeholder(name.into()));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(TemplatePart::Literal(literal.into()));
    }
    Ok(parts)
}

impl HeaderEdits {
    /// Whether a field is weir's own business (framing and connection) and cannot be edited by a route.
    pub fn forbidden(name: &http::HeaderName) -> bool {
        matches!(
            name.as_str(),
            "connection"
                | "content-length"
                | "host"
                | "keep-alive"
                | "proxy-connection"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        )
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

#[cfg(test)]
mod tests;

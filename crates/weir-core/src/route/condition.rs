//! The conditions of a route beside host and path.

use std::borrow::Cow;

use crate::spec::{Match, ValueMatch};

use super::Question;

/// Whether all conditions beside host and path hold. Allocates only for a regular expression on a query parameter
/// that is percent-encoded.
pub(super) fn hold(matching: &Match, question: &Question<'_>) -> bool {
    (matching.listeners.is_empty() || matching.listeners.iter().any(|name| **name == *question.listener))
        && (matching.methods.is_empty() || matching.methods.contains(question.method))
        && matching.headers.iter().all(|(name, want)| header_holds(name, want, question))
        && matching.query.iter().all(|(name, want)| query_holds(name, want, question.query))
        && client_holds(matching, question)
}

pub(super) fn client_holds(matching: &Match, question: &Question<'_>) -> bool {
    matching.clients.is_empty()
        || question.client.is_some_and(|client| matching.clients.iter().any(|net| net.contains(&client)))
}

pub(super) fn header_holds(name: &http::HeaderName, want: &ValueMatch, question: &Question<'_>) -> bool {
    let mut values = question.headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
    match want {
        ValueMatch::Present => values.next().is_some(),
        ValueMatch::Absent => values.next().is_none(),
        ValueMatch::Exact(text) => values.any(|value| value == text.as_bytes()),
        ValueMatch::Prefix(text) => values.any(|value| value.starts_with(text.as_bytes())),
        ValueMatch::Regex(regex) => {
            values.any(|value| std::str::from_utf8(value).is_ok_and(|v| is_whole(regex, v)))
        }
    }
}

pub(super) fn query_holds(name: &str, want: &ValueMatch, query: &str) -> bool {
    let mut values = values_of(query, name);
    match want {
        ValueMatch::Present => values.next().is_some(),
        ValueMatch::Absent => values.next().is_none(),
        ValueMatch::Exact(text) => values.any(|value| Decoded(value.as_bytes()).eq(text.bytes())),
        ValueMatch::Prefix(text) => values.any(|value| {
            let mut value = Decoded(value.as_bytes());
            text.bytes().all(|byte| value.next() == Some(byte))
        }),
        ValueMatch::Regex(regex) => values.any(|value| decode(value).is_some_and(|v| is_whole(regex, &v))),
    }
}

/// Whether a regular expression takes all of a text. Expressions from
/// [`anchored`](crate::spec::pattern::anchored) are anchored; any other is held to it here.
pub(super) fn is_whole(regex: &regex::Regex, text: &str) -> bool {
    if regex.as_str().starts_with(r"\A(?:") {
        return regex.is_match(text);
    }
    regex.find(text).is_some_and(|found| found.start() == 0 && found.end() == text.len())
}

/// The raw values of a query parameter (`application/x-www-form-urlencoded`); a parameter without `=` is empty.
pub(super) fn values_of<'a>(query: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    query.split('&').filter(|pair| !pair.is_empty()).filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Decoded(key.as_bytes()).eq(name.bytes()).then_some(value)
    })
}

/// `None`: it is not UTF-8.
pub(super) fn decode(value: &str) -> Option<Cow<'_, str>> {
    if value.bytes().any(|b| matches!(b, b'%' | b'+')) {
        return String::from_utf8(Decoded(value.as_bytes()).collect()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(value))
}

/// Bytes after percent-decoding, `+` as a space; a `%` without two hexadecimal digits stands for itself.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let (byte, rest) = match self.0 {
            [] => return None,
            [b'%', high, low, rest @ ..] => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => ((high << 4 | low) as u8, rest),
                _ => (b'%', &self.0[1..]),
            },
            [b'+', rest @ ..] => (b' ', rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        self.0 = rest;
        Some(byte)
    }
}

//! Header changes by route, and the text that is filled in.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{HeaderMap, HeaderValue};
use weir_plugin::Captures;

use crate::spec::{HeaderEdits, TemplatePart, ValueTemplate};

/// What placeholders stand for: facts of one request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// `{client_ip}`.
    pub client: Option<IpAddr>,
    /// `{host}`: as the client sent it, with its port.
    pub host: &'a str,
    /// `{scheme}`: `http` or `https`.
    pub scheme: &'a str,
    /// `{path}`: normalised.
    pub path: &'a str,
    /// `{query}`: raw, without `?`.
    pub query: &'a str,
    /// `{request_id}`.
    pub request_id: &'a str,
    /// `{route}`.
    pub route: &'a str,
    /// `{name}` of the route's path. A name above wins over a capture of the same name.
    pub captures: &'a Captures,
}

impl<'a> Facts<'a> {
    /// The names that are there on every route.
    pub const NAMES: [&'static str; 7] =
        ["client_ip", "host", "scheme", "path", "query", "request_id", "route"];

    /// What a placeholder stands for; `None`: there is none of this name.
    pub fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(match name {
            "client_ip" => {
                return Some(self.client.map_or(Cow::Borrowed(""), |client| client.to_string().into()));
            }
            "host" => self.host,
            "scheme" => self.scheme,
            "path" => self.path,
            "query" => self.query,
            "request_id" => self.request_id,
            "route" => self.route,
            _ => self.captures.iter().find(|(n, _)| **n == *name).map(|(_, v)| v.as_str())?,
        }))
    }
}

/// Changes headers as a route asks: remove, then set, then add. Fields that are weir's own business
/// ([`HeaderEdits::forbidden`]) are left alone, as is a field whose filled-in value cannot be one.
pub fn edit(headers: &mut HeaderMap, edits: &HeaderEdits, facts: &Facts<'_>) {
    for name in edits.remove.iter().filter(|name| !HeaderEdits::forbidden(name)) {
        headers.remove(name);
    }
    for (name, template) in edits.set.iter().filter(|(name, _)| !HeaderEdits::forbidden(name)) {
        if let Some(value) = header_value(template, facts) {
            headers.insert(name, value);
        }
    }
    for (name, template) in edits.add.iter().filter(|(name, _)| !HeaderEdits::forbidden(name)) {
        if let Some(value) = header_value(template, facts) {
            headers.append(name, value);
        }
    }
}

fn header_value(template: &ValueTemplate, facts: &Facts<'_>) -> Option<HeaderValue> {
    let parts = match template {
        ValueTemplate::Fixed(value) => return Some(value.clone()),
        ValueTemplate::Parts(parts) => parts,
    };
    let mut text = String::new();
    for part in parts {
        match part {
            TemplatePart::Literal(literal) => text.push_str(literal),
            TemplatePart::Placeholder(name) => text.push_str(&facts.value(name).unwrap_or_default()),
        }
    }
    HeaderValue::try_from(text).ok()
}

/// Fills `{name}` in a text with what `value` has for it; what it has nothing for stays as written.
pub fn fill<'v>(text: &str, value: impl Fn(&str) -> Option<Cow<'v, str>>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('{') {
        out.push_str(before);
        let filled = from.split_once('}').and_then(|(name, after)| Some((value(name)?, after)));
        match filled {
            Some((value, after)) => {
                out.push_str(&value);
                rest = after;
            }
            None => {
                out.push('{');
                rest = from;
            }
        }
    }
    out.push_str(rest);
    out
}

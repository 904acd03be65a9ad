//! What holds for every request.

use weir_core::spec;

use super::{Lower, all, arc};
use crate::config::document::At;
use crate::config::raw::{self, ForwardedHeader, OrFalse};

impl Lower<'_> {
    /// `[proxy]`.
    pub fn proxy(&mut self, raw: &raw::Proxy) -> spec::Proxy {
        let at = At::default().key("proxy");
        let has = |header| raw.forwarded.contains(&header);
        let via = match &raw.via {
            OrFalse::Value(name) => {
                let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&b);
                if name.is_empty() || !name.bytes().all(token) {
                    self.error(&at.key("via"), format!("`{name}` cannot be a name in `Via`"), "")
                        .help("letters, digits, `-`, `.` and `_`; false sends no `Via`");
                }
                Some(arc(name))
            }
            OrFalse::Switch(on) => self.only_false(*on, &at.key("via")),
        };
        let request_id = match &raw.request_id {
            OrFalse::Value(name) => Some(name.0.clone()),
            OrFalse::Switch(on) => self.only_false(*on, &at.key("request_id")),
        };
        let pages = raw.error_pages.iter().enumerate();
        let error_pages =
            pages.filter_map(|(i, page)| self.error_page(page, &at.key("error_pages").index(i))).collect();
        let takeover_memory = self.size(raw.takeover_memory, 0, 1 << 40, &at.key("takeover_memory")) as usize;
        spec::Proxy {
            trusted: all(&raw.trusted),
            path: spec::PathPolicy {
                dot_segments: rule(raw.path.dot_segments),
                encoded_slashes: rule(raw.path.encoded_slashes),
                double_slashes: rule(raw.path.double_slashes),
            },
            forwarded: spec::Forwarded {
                x_forwarded: has(ForwardedHeader::XForwarded),
                forwarded: has(ForwardedHeader::Forwarded),
                x_real_ip: has(ForwardedHeader::XRealIp),
            },
            via,
            request_id,
            error_pages,
            takeover_memory,
        }
    }

    fn only_false<T>(&mut self, on: bool, at: &At) -> Option<T> {
        if on {
            self.error(at, "true is not possible here", "a name, or false");
        }
        None
    }

    fn error_page(&mut self, raw: &raw::ErrorPage, at: &At) -> Option<spec::ErrorPage> {
        let body = match (&raw.body, &raw.file) {
            (Some(body), None) => body.clone(),
            (None, Some(file)) => {
                let at = at.key("file");
                let content = self.file(file, &at)?;
                match String::from_utf8(content) {
                    Ok(text) => text,
                    Err(_) => {
                        self.error(&at, "the file is not text in UTF-8", "");
                        return None;
                    }
                }
            }
            _ => {
                self.error(at, "an error page has either `body` or `file`", "");
                return None;
            }
        };
        let content_type = raw.content_type.as_deref().unwrap_or("text/html; charset=utf-8");
        if http::HeaderValue::from_str(content_type).is_err() {
            self.error(&at.key("content_type"), "this cannot be a header's value", "");
        }
        Some(spec::ErrorPage {
            statuses: raw.statuses.clone(),
            content_type: arc(content_type),
            body: body.into(),
        })
    }
}

fn rule(raw: raw::PathRule) -> spec::PathRule {
    match raw {
        raw::PathRule::Keep => spec::PathRule::Keep,
        raw::PathRule::Normalise => spec::PathRule::Normalise,
        raw::PathRule::Reject => spec::PathRule::Reject,
    }
}

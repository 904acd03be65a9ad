//! HTTP routes.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use weir_core::spec::pattern::template_parts;
use weir_core::spec::{self, Action, HeaderEdits, PathPattern, PatternError, ValueMatch, ValueTemplate};

use super::names::Names;
use super::reload::on_reload;
use super::{Lower, all, arc};
use crate::config::document::At;
use crate::config::raw;
use crate::config::report::did_you_mean;
use crate::config::value::Leaf;

/// What every placeholder of a header value can be, besides those of the path.
const IN_HEADERS: [&str; 6] = ["client_ip", "host", "scheme", "path", "request_id", "route"];
/// The same for a redirect.
const IN_REDIRECT: [&str; 4] = ["scheme", "host", "path", "query"];

impl Lower<'_> {
    /// One route; `None` if it cannot be.
    pub fn route(
        &mut self,
        raw: &raw::Route,
        name: &Arc<str>,
        names: &Names,
        at: &At,
    ) -> Option<spec::Route> {
        let paths = self.paths(raw, at);
        let captures: Vec<Arc<str>> = paths
            .iter()
            .flat_map(|p| match p {
                PathPattern::Template(t) => t.names().cloned().collect::<Vec<_>>(),
                PathPattern::Regex(r) => r.capture_names().flatten().map(arc).collect(),
                _ => Vec::new(),
            })
            .collect();
        let matching = self.matching(raw, paths, names, at);
        let request_headers = self.edits(&raw.request_headers, &captures, &at.key("request_headers"));
        let response_headers = self.edits(&raw.response_headers, &captures, &at.key("response_headers"));
        let path = self.rewrite(&raw.rewrite, &captures, &at.key("rewrite"));
        let host = self.upstream_host(&raw.upstream_host, &at.key("upstream_host"));
        let action = self.action(raw, names, &captures, at)?;
        Some(spec::Route {
            matching,
            request_headers,
            response_headers,
            path,
            host,
            max_body: raw.max_body.0.0,
            request_timeout: raw.request_timeout.as_ref().map(|t| t.0),
            compression: match &raw.compression {
                raw::Switch::Bool(false) => None,
                raw::Switch::Bool(true) => self.compression(&raw::Compression::default(), at),
                raw::Switch::Settings(raw) => self.compression(raw, &at.key("compression")),
            },
            websocket: self.websocket(&raw.websocket, &at.key("websocket")),
            on_reload: on_reload(raw.on_reload),
            ..spec::Route::new(name, action)
        })
    }

    fn matching(&mut self, raw: &raw::Route, paths: Vec<PathPattern>, names: &Names, at: &At) -> spec::Match {
        for (i, name) in raw.listeners.as_slice().iter().enumerate() {
            names.listener(name, raw::ListenerProtocol::Http, &at.key("listeners").index(i), self);
        }
        spec::Match {
            listeners: raw.listeners.as_slice().iter().map(|n| arc(n)).collect(),
            hosts: all(&raw.host),
            paths,
            methods: all(&raw.methods),
            headers: self.conditions(&raw.headers, &at.key("headers"), HeaderName::parse),
            query: self.conditions(&raw.query, &at.key("query"), |name| Ok(arc(name))),
            clients: all(&raw.clients),
        }
    }

    fn paths(&mut self, raw: &raw::Route, at: &At) -> Vec<PathPattern> {
        let mut paths = Vec::new();
        for (i, text) in raw.path.as_slice().iter().enumerate() {
            let parse = if text.contains(['{', '}']) { PathPattern::template } else { PathPattern::exact };
            paths.extend(self.pattern(parse(text), &at.key("path").index(i)));
        }
        for (i, text) in raw.path_prefix.as_slice().iter().enumerate() {
            let at = at.key("path_prefix").index(i);
            if text.contains('{') {
                self.error(&at, "a prefix has no placeholders", "")
                    .help("write path = \"/users/{id}/{rest*}\" for a prefix with placeholders");
            } else {
                paths.extend(self.pattern(PathPattern::prefix(text), &at));
            }
        }
        paths.extend(raw.path_regex.as_slice().iter().map(|p| PathPattern::Regex(p.0.regex.clone())));
        paths
    }

    fn pattern<T>(&mut self, parsed: Result<T, PatternError>, at: &At) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(PatternError { problem, help }) => {
                self.error(at, problem, "").help(help);
                None
            }
        }
    }

    fn conditions<N>(
        &mut self,
        raw: &BTreeMap<String, raw::Condition>,
        at: &At,
        parse: impl Fn(&str) -> Result<N, String>,
    ) -> Vec<(N, ValueMatch)> {
        let mut conditions = Vec::new();
        for (name, condition) in raw {
            let at = at.key(name);
            let value = match condition {
                raw::Condition::Present(true) => ValueMatch::Present,
                raw::Condition::Present(false) => ValueMatch::Absent,
                raw::Condition::Exact(text) => ValueMatch::Exact(arc(text)),
                raw::Condition::Like(raw::Like { prefix: Some(prefix), regex: None }) => {
                    ValueMatch::Prefix(arc(prefix))
                }
                raw::Condition::Like(raw::Like { prefix: None, regex: Some(pattern) }) => {
                    ValueMatch::Regex(pattern.0.regex.clone())
                }
                raw::Condition::Like(_) => {
                    self.error(&at, "a condition has either `prefix` or `regex`", "");
                    continue;
                }
            };
            match parse(name) {
                Ok(name) => conditions.push((name, value)),
                Err(message) => drop(self.key_error(&at, message, "")),
            }
        }
        conditions
    }

    fn action(&mut self, raw: &raw::Route, names: &Names, captures: &[Arc<str>], at: &At) -> Option<Action> {
        let given = [
            ("upstream", raw.upstream.is_some()),
            ("redirect", raw.redirect.is_some()),
            ("respond", raw.respond.is_some()),
            ("files", raw.files.is_some()),
            ("metrics", raw.metrics),
        ];
        let mut given = given.iter().filter(|(_, is)| *is).map(|(key, _)| *key);
        let Some(first) = given.next() else {
            self.error(at, "this route does nothing with its requests", "")
                .help("add one of `upstream`, `redirect`, `respond`, `files` and `metrics`");
            return None;
        };
        if let Some(second) = given.next() {
            let place = self.document.locate_key(&at.key(first));
            self.key_error(
                &at.key(second),
                format!("a route has either `{first}` or `{second}`"),
                "and this",
            )
            .context(place, "this")
            .help("make two routes of it, or remove one");
            return None;
        }
        if let Some(name) = &raw.upstream {
            names.upstream(name, &at.key("upstream"), self);
            return Some(Action::Upstream(arc(name)));
        }
        match (&raw.redirect, &raw.respond, &raw.files) {
            (Some(redirect), ..) => self.redirect(redirect, captures, &at.key("redirect")),
            (_, Some(respond), _) => self.respond(respond, &at.key("respond")),
            (.., Some(files)) => self.files(files, &at.key("files")),
            _ => Some(Action::Metrics(self.services.metrics.clone())),
        }
    }

    fn redirect(&mut self, raw: &raw::Redirect, captures: &[Arc<str>], at: &At) -> Option<Action> {
        let (to, status, to_at) = match raw {
            raw::Redirect::To(to) => (to, 308, at.clone()),
            raw::Redirect::Settings(s) => (s.to.as_ref()?, s.status, at.key("to")),
        };
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            self.error(&at.key("status"), format!("{status} is not the status of a redirect"), "")
                .help("301 or 308 for good, 302 or 307 for now (307 and 308 keep the method), 303 for a GET");
        }
        if HeaderValue::from_str(to).is_err() || to.is_empty() {
            self.error(&to_at, "this cannot be a `Location`", "");
        }
        self.placeholders(to, &IN_REDIRECT, captures, &to_at);
        Some(Action::Redirect { status: StatusCode::from_u16(status).ok()?, to: arc(to) })
    }

    fn respond(&mut self, raw: &raw::Respond, at: &At) -> Option<Action> {
        let text = raw::RespondSettings::default();
        let (settings, body) = match raw {
            raw::Respond::Body(body) => (&text, body.clone().into_bytes()),
            raw::Respond::Settings(s) => match &s.file {
                None => (s, s.body.clone().into_bytes()),
                Some(_) if !s.body.is_empty() => {
                    self.error(&at.key("file"), "a response has either `body` or `file`", "");
                    return None;
                }
                Some(file) => (s, self.file(file, &at.key("file"))?),
            },
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let at = at.key("headers").key(name);
            match (HeaderName::parse(name), HeaderValue::parse(value)) {
                (Ok(name), Ok(value)) => drop(headers.append(name, value)),
                (Err(message), _) => drop(self.key_error(&at, message, "")),
                (_, Err(message)) => drop(self.error(&at, message, "")),
            }
        }
        if !body.is_empty() && !headers.contains_key(http::header::CONTENT_TYPE) {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        let status = StatusCode::from_u16(settings.status).ok()?;
        Some(Action::Respond { status, headers, body: body.into() })
    }

    fn files(&mut self, raw: &raw::Files, at: &At) -> Option<Action> {
        let (settings, root, root_at) = match raw {
            raw::Files::Root(root) => (&raw::FilesSettings::default(), root, at.clone()),
            raw::Files::Settings(s) => (s, s.root.as_ref()?, at.key("root")),
        };
        let folder = self.path(root, &root_at);
        match std::fs::metadata(&folder) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => drop(self.error(&root_at, format!("{} is not a folder", folder.display()), "")),
            Err(error) => {
                self.error(&root_at, format!("cannot read {}: {error}", folder.display()), "")
                    .help("relative paths are relative to the file that names them");
            }
        }
        let cache_control = match settings.cache_control.as_deref().map(HeaderValue::parse) {
            Some(Err(message)) => {
                self.error(&at.key("cache_control"), message, "");
                None
            }
            Some(Ok(value)) => Some(value),
            None => None,
        };
        if settings.index.is_empty() || settings.index.contains('/') {
            self.error(&at.key("index"), "the index is the name of a file, without a folder", "");
        }
        Some(Action::Files(spec::Files {
            root: folder,
            index: arc(&settings.index),
            fallback: settings.fallback.as_ref().map(Into::into),
            cache_control,
        }))
    }

    fn edits(&mut self, raw: &raw::HeaderEdits, captures: &[Arc<str>], at: &At) -> spec::HeaderEdits {
        let mut edits = spec::HeaderEdits::default();
        for (i, name) in raw.remove.as_slice().iter().enumerate() {
            edits.remove.extend(self.edited(name, &at.key("remove").index(i)));
        }
        for (name, value) in &raw.set {
            let at = at.key("set").key(name);
            if let (Some(name), Some(value)) = (self.edited(name, &at), self.template(value, captures, &at)) {
                edits.set.push((name, value));
            }
        }
        for (name, values) in &raw.add {
            let at = at.key("add").key(name);
            let Some(name) = self.edited(name, &at) else { continue };
            for (i, value) in values.as_slice().iter().enumerate() {
                edits.add.extend(self.template(value, captures, &at.index(i)).map(|v| (name.clone(), v)));
            }
        }
        edits
    }

    /// The name of a header that may be changed: framing and connection headers are weir's own.
    fn edited(&mut self, name: &str, at: &At) -> Option<HeaderName> {
        match HeaderName::parse(name) {
            Ok(name) if name == http::header::HOST => {
                self.key_error(at, "`host` is not changed as a header", "").help("use `upstream_host`");
                None
            }
            Ok(name) if HeaderEdits::forbidden(&name) => {
                self.key_error(at, format!("`{name}` belongs to the connection and is weir's own"), "");
                None
            }
            Ok(name) => Some(name),
            Err(message) => {
                self.key_error(at, message, "");
                None
            }
        }
    }

    fn template(&mut self, text: &str, captures: &[Arc<str>], at: &At) -> Option<ValueTemplate> {
        let template = self.pattern(ValueTemplate::parse(text), at)?;
        if let ValueTemplate::Parts(parts) = &template {
            self.known(parts, &IN_HEADERS, captures, at);
        }
        Some(template)
    }

    fn placeholders(&mut self, text: &str, known: &[&str], captures: &[Arc<str>], at: &At) {
        if let Some(parts) = self.pattern(template_parts(text), at) {
            self.known(&parts, known, captures, at);
        }
    }

    fn known(&mut self, parts: &[spec::TemplatePart], known: &[&str], captures: &[Arc<str>], at: &At) {
        for part in parts {
            let spec::TemplatePart::Placeholder(name) = part else { continue };
            let mut all = known.iter().copied().chain(captures.iter().map(|c| &**c));
            if !all.any(|k| k == &**name) {
                let all: Vec<String> = known
                    .iter()
                    .copied()
                    .chain(captures.iter().map(|c| &**c))
                    .map(|k| format!("{{{k}}}"))
                    .collect();
                let near = did_you_mean(name, known.iter().copied().chain(captures.iter().map(|c| &**c)));
                let label = near.map_or_else(String::new, |near| format!("did you mean {{{near}}}?"));
                self.error(at, format!("there is no placeholder {{{name}}}"), label)
                    .help(format!("possible are {}", all.join(", ")));
            }
        }
    }

    fn rewrite(&mut self, raw: &raw::Rewrite, captures: &[Arc<str>], at: &At) -> spec::PathRewrite {
        for (key, value) in
            [("strip_prefix", &raw.strip_prefix), ("replace", &raw.replace), ("add_prefix", &raw.add_prefix)]
        {
            let Some(text) = value else { continue };
            let at = at.key(key);
            if key == "replace" {
                self.placeholders(text, &[], captures, &at);
            }
            if !text.starts_with('/') {
                self.error(&at, "a path starts with `/`", "").help(format!("write \"/{text}\""));
            } else if text.contains(|c: char| c.is_ascii_control() || matches!(c, ' ' | '?' | '#')) {
                self.error(&at, "a path has no spaces, `?` or `#` in it", "");
            }
        }
        spec::PathRewrite {
            strip_prefix: raw.strip_prefix.as_deref().map(arc),
            replace: raw.replace.as_deref().map(arc),
            add_prefix: raw.add_prefix.as_deref().map(arc),
        }
    }

    fn upstream_host(&mut self, text: &str, at: &At) -> spec::HostRewrite {
        match text {
            "keep" => spec::HostRewrite::Keep,
            "endpoint" => spec::HostRewrite::Endpoint,
            host => match text.parse::<http::uri::Authority>() {
                Ok(authority) if !host.contains('@') => HeaderValue::from_str(authority.as_str())
                    .map_or(spec::HostRewrite::Keep, spec::HostRewrite::Set),
                _ => {
                    self.error(at, format!("`{host}` is not a host"), "")
                        .help("expected \"keep\", \"endpoint\", or a host such as \"app.internal\"");
                    spec::HostRewrite::Keep
                }
            },
        }
    }

    fn compression(&mut self, raw: &raw::Compression, at: &At) -> Option<Arc<spec::Compression>> {
        if raw.encodings.is_empty() {
            self.error(&at.key("encodings"), "no encoding is left", "")
                .help("`compression = false` switches compression off");
        }
        for (i, media) in raw.types.iter().enumerate() {
            if !media.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty())
                || media.contains(';')
            {
                self.error(&at.key("types").index(i), format!("`{media}` is not a media type"), "")
                    .help("for example \"text/html\" or \"text/*\", without parameters");
            }
        }
        Some(Arc::new(spec::Compression {
            encodings: raw
                .encodings
                .iter()
                .map(|e| match e {
                    raw::Encoding::Zstd => spec::Encoding::Zstd,
                    raw::Encoding::Br => spec::Encoding::Brotli,
                    raw::Encoding::Gzip => spec::Encoding::Gzip,
                })
                .collect(),
            types: raw.types.iter().map(|t| t.to_ascii_lowercase().into()).collect(),
            min_size: raw.min_size.0.0,
        }))
    }
}

//! `[[routes]]`.

use std::collections::BTreeMap;

use http::Method;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_core::spec::HostPattern;

use super::{Bytes, OnReload, OneOrMany, RoutePlugin, Text, Time, WebSocket, kib};
use crate::config::value::{Pattern, Size};

/// Which requests go where. All conditions that are given must hold; within a list any one. Exactly one of
/// `upstream`, `redirect`, `respond`, `files` and `metrics` says what is done.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Shown in logs and by `weir explain`. Default: "route-1", "route-2" and so on by position.
    pub name: Option<String>,

    /// Names of listeners. Default: any.
    pub listeners: OneOrMany<String>,
    /// Hosts without port: "example.com", "*.example.com". Default: any.
    pub host: OneOrMany<Text<HostPattern>>,
    /// The whole path, with placeholders for segments: "/users/{id}", "/static/{rest*}". Default: any.
    pub path: OneOrMany<String>,
    /// The path or any path below it, by whole segments.
    pub path_prefix: OneOrMany<String>,
    /// A regular expression for the whole path.
    pub path_regex: OneOrMany<Text<Pattern>>,
    /// Methods. Default: any.
    pub methods: OneOrMany<Text<Method>>,
    /// Headers: a value, true (is there), false (is not there), or a table with `prefix` or `regex`.
    pub headers: BTreeMap<String, Condition>,
    /// Query parameters, as `headers`.
    pub query: BTreeMap<String, Condition>,
    /// Client addresses and networks. Default: any.
    pub clients: OneOrMany<Text<IpNet>>,

    /// Forward to the upstream of this name.
    pub upstream: Option<String>,
    /// Answer with a redirect: where to, or a table with a status.
    pub redirect: Option<Redirect>,
    /// Answer with this text, or a table with status, headers and body.
    pub respond: Option<Respond>,
    /// Answer with files of this folder, or a table of settings.
    pub files: Option<Files>,
    /// Answer with the metrics of plugins and of their key-value store, as Prometheus or OpenMetrics text.
    pub metrics: bool,

    /// Changes to the request's headers before it is forwarded.
    pub request_headers: HeaderEdits,
    /// Changes to the response's headers.
    pub response_headers: HeaderEdits,
    /// Changes to the path before it is forwarded.
    pub rewrite: Rewrite,
    /// Which `Host` the upstream sees: "keep" (the client's), "endpoint" (its address), or a host.
    pub upstream_host: String,
    /// Largest request body; over it 413. "0": no bound.
    pub max_body: Bytes,
    /// From the request head to the end of the response. "0s": no bound. Default: the listener's.
    pub request_timeout: Option<Time>,
    /// Response compression: true, or a table of settings.
    pub compression: Switch<Compression>,
    /// WebSocket upgrades: true, false (refused with 403), or a table of settings.
    pub websocket: Switch<WebSocket>,

    /// What becomes of its WebSockets when it, its upstream or a plugin of it changes: "pin" (they go on as they are until
    /// they end), "migrate" (they go over to the new plugins between two messages, with what these keep of them by
    /// `on_migrate`) or "close" (with code 1012, over the time of `reload.spread`).
    pub on_reload: OnReload,

    /// Plugins in order, by name or as tables with settings; their hooks for responses run in reverse.
    pub plugins: Vec<RoutePlugin>,
}

impl Default for Route {
    fn default() -> Self {
        Route {
            name: None,
            listeners: OneOrMany::default(),
            host: OneOrMany::default(),
            path: OneOrMany::default(),
            path_prefix: OneOrMany::default(),
            path_regex: OneOrMany::default(),
            methods: OneOrMany::default(),
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
            clients: OneOrMany::default(),
            upstream: None,
            redirect: None,
            respond: None,
            files: None,
            metrics: false,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            rewrite: Rewrite::default(),
            upstream_host: "keep".into(),
            max_body: Text(Size(0)),
            request_timeout: None,
            compression: Switch::Bool(false),
            websocket: Switch::Bool(true),
            on_reload: OnReload::Pin,
            plugins: Vec::new(),
        }
    }
}

/// True or false, or settings, which mean true.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Switch<T> {
    /// On with the defaults, or off.
    Bool(bool),
    /// On with these settings.
    Settings(T),
}

/// A condition on a value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Condition {
    /// True: it is there. False: it is not there.
    Present(bool),
    /// It is this.
    Exact(String),
    /// It starts with, or matches.
    Like(Like),
}

/// What a value looks like: one of the two.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Like {
    /// It starts with this.
    pub prefix: Option<String>,
    /// All of it matches this regular expression.
    pub regex: Option<Text<Pattern>>,
}

/// A redirect.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Redirect {
    /// Where to, with status 308.
    To(String),
    /// Where to, and the status.
    Settings(RedirectSettings),
}

/// A redirect with its status.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedirectSettings {
    /// The `Location`; {scheme}, {host}, {path}, {query} and the placeholders of the path are filled in.
    #[schemars(extend("x-required" = true))]
    pub to: Option<String>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

impl Default for RedirectSettings {
    fn default() -> Self {
        RedirectSettings { to: None, status: 308 }
    }
}

/// A fixed response.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Respond {
    /// This text, with status 200.
    Body(String),
    /// Status, headers and body.
    Settings(RespondSettings),
}

/// A fixed response with its status and headers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RespondSettings {
    /// The status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Headers by name. Default: a `content-type` of plain text where there is a body.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
    /// A file with the body, instead of `body`.
    pub file: Option<String>,
}

impl Default for RespondSettings {
    fn default() -> Self {
        RespondSettings { status: 200, headers: BTreeMap::new(), body: String::new(), file: None }
    }
}

/// Static files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Files {
    /// The folder.
    Root(String),
    /// The folder and settings.
    Settings(FilesSettings),
}

/// Static files with settings.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FilesSettings {
    /// The folder; nothing outside it is ever served.
    #[schemars(extend("x-required" = true))]
    pub root: Option<String>,
    /// The file that is served for a path that ends in `/`.
    pub index: String,
    /// Served where no file is found, for single-page applications; relative to `root`.
    pub fallback: Option<String>,
    /// `Cache-Control` of the files.
    pub cache_control: Option<String>,
}

impl Default for FilesSettings {
    fn default() -> Self {
        FilesSettings { root: None, index: "index.html".into(), fallback: None, cache_control: None }
    }
}

/// Changes to headers, in this order: remove, set, add. In values, {client_ip}, {host}, {scheme}, {path},
/// {request_id}, {route} and the placeholders of the path are filled in; a brace itself is written twice.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderEdits {
    /// Names to remove.
    pub remove: OneOrMany<String>,
    /// Values that replace all there are.
    pub set: BTreeMap<String, String>,
    /// Values beside those there are.
    pub add: BTreeMap<String, OneOrMany<String>>,
}

/// Changes to the path before it is forwarded: strip, then replace, then add.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rewrite {
    /// Taken off the front, by whole segments.
    pub strip_prefix: Option<String>,
    /// The whole path anew; the placeholders of the path are filled in.
    pub replace: Option<String>,
    /// Put in front.
    pub add_prefix: Option<String>,
}

/// Response compression.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// "zstd", "br", "gzip", most wanted first.
    pub encodings: Vec<Encoding>,
    /// Media types that are compressed; "text/*" is a whole family.
    pub types: Vec<String>,
    /// Bodies known to be smaller are left alone.
    pub min_size: Bytes,
}

impl Default for Compression {
    fn default() -> Self {
        let types = [
            "text/*",
            "application/json",
            "application/javascript",
            "application/xml",
            "application/problem+json",
            "application/manifest+json",
            "application/wasm",
            "image/svg+xml",
        ];
        Compression {
            encodings: vec![Encoding::Zstd, Encoding::Br, Encoding::Gzip],
            types: types.map(str::to_owned).to_vec(),
            min_size: kib(1),
        }
    }
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Zstandard.
    Zstd,
    /// Brotli.
    Br,
    /// Gzip.
    Gzip,
}

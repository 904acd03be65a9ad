//! `[proxy]`.

use http::HeaderName;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bytes, OneOrMany, Text, kib};

/// What holds for every request.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Proxies in front of weir whose forwarding headers and request ids are believed.
    pub trusted: OneOrMany<Text<IpNet>>,
    /// Forwarding headers that upstreams get: "x-forwarded" (-For, -Proto, -Host), "x-real-ip", "forwarded".
    pub forwarded: Vec<ForwardedHeader>,
    /// The name weir has in the `Via` header; false sends none.
    pub via: OrFalse<String>,
    /// The header that carries a request's id; false neither makes nor touches one.
    pub request_id: OrFalse<Text<HeaderName>>,
    /// What becomes of the odd parts of a path; the same path is used to route and to forward.
    pub path: PathPolicy,
    /// Bodies of weir's own error responses.
    pub error_pages: Vec<ErrorPage>,
    /// The most memory for compression that WebSockets with `deflate.takeover` hold, all together; over it new ones agree
    /// on no takeover.
    pub takeover_memory: Bytes,
}

impl Default for Proxy {
    fn default() -> Self {
        Proxy {
            trusted: OneOrMany::default(),
            forwarded: vec![ForwardedHeader::XForwarded, ForwardedHeader::XRealIp],
            via: OrFalse::Value("weir".into()),
            request_id: OrFalse::Value(Text(HeaderName::from_static("x-request-id"))),
            path: PathPolicy::default(),
            error_pages: Vec::new(),
            takeover_memory: kib(64 << 10),
        }
    }
}

/// A value, or false for none.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum OrFalse<T> {
    /// The value.
    Value(T),
    /// False: none. True is an error.
    Switch(bool),
}

/// Forwarding headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, `-Proto`, `-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Real-IP`.
    XRealIp,
}

/// What becomes of the odd parts of a path: "keep" it, "normalise" it, or "reject" the request with 400.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PathPolicy {
    /// Segments `.` and `..`, also percent-encoded.
    pub dot_segments: PathRule,
    /// `%2F` and `%5C`.
    pub encoded_slashes: PathRule,
    /// `//`.
    pub double_slashes: PathRule,
}

impl Default for PathPolicy {
    fn default() -> Self {
        PathPolicy {
            dot_segments: PathRule::Normalise,
            encoded_slashes: PathRule::Keep,
            double_slashes: PathRule::Keep,
        }
    }
}

/// What to do with an odd part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PathRule {
    /// Leave it as it is.
    Keep,
    /// Resolve, decode or merge it.
    Normalise,
    /// Answer 400.
    Reject,
}

/// The body of weir's own error responses.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorPage {
    /// For these statuses.
    #[schemars(extend("x-required" = true), inner(range(min = 400, max = 599)))]
    pub statuses: Vec<u16>,
    /// The media type of the body. Default: "text/html; charset=utf-8".
    pub content_type: Option<String>,
    /// The body; {status}, {reason} and {request_id} are filled in.
    pub body: Option<String>,
    /// A file with the body, instead of `body`.
    pub file: Option<String>,
}

//! Values that a configuration writes as strings: each is parsed in one place, and says itself what is wrong.

mod part;
mod share;

use std::borrow::Cow;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use weir_core::spec::pattern::anchored;
use weir_core::spec::{EndpointAddress, HashKey, HostPattern, ListenAddress};

pub use part::Part;
pub use share::Share;

/// A value written as a string.
pub trait Leaf: Sized {
    /// `format` in the JSON Schema; unique.
    const FORMAT: &'static str;
    /// What is expected, as errors say it: `a duration such as "30s"`.
    const WANT: &'static str;

    /// Parses it.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    fn parse(text: &str) -> Result<Self, String>;

    /// As it would be written.
    fn show(&self) -> String;
}

/// A [`Leaf`] in a raw type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<T>(pub T);

impl<T: Leaf> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.show())
    }
}

impl<'de, T: Leaf> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::parse(&text).map(Text).map_err(de::Error::custom)
    }
}

impl<T: Leaf> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::FORMAT.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": T::FORMAT })
    }
}

/// Checks a string against a `format` of the schema; `None`: there is no such format. The error comes with what
/// would be right.
pub fn check(format: &str, text: &str) -> Option<Result<(), (String, &'static str)>> {
    kinds().into_iter().find(|k| k.format == format).map(|k| (k.check)(text).map_err(|e| (e, k.want)))
}

/// What a `format` of the schema expects.
pub fn want(format: &str) -> Option<&'static str> {
    kinds().into_iter().find(|k| k.format == format).map(|k| k.want)
}

struct Kind {
    format: &'static str,
    want: &'static str,
    check: fn(&str) -> Result<(), String>,
}

fn kinds() -> [Kind; 14] {
    fn kind<T: Leaf>() -> Kind {
        Kind { format: T::FORMAT, want: T::WANT, check: |text| T::parse(text).map(drop) }
    }
    [
        kind::<Duration>(),
        kind::<Size>(),
        kind::<IpNet>(),
        kind::<HeaderName>(),
        kind::<HeaderValue>(),
        kind::<Method>(),
        kind::<ListenAddress>(),
        kind::<EndpointAddress>(),
        kind::<HostPattern>(),
        kind::<Pattern>(),
        kind::<HashKey>(),
        kind::<Mode>(),
        kind::<Share>(),
        kind::<Part>(),
    ]
}

/// The longest duration that is taken.
const LONGEST: Duration = Duration::from_hours(1000 * 24);

impl Leaf for Duration {
    const FORMAT: &'static str = "duration";
    const WANT: &'static str =
        "a duration such as \"500ms\", \"30s\", \"5m\", \"1h\" or \"1h30m\"; \"0s\" is none";

    fn parse(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Duration::ZERO);
        }
        let mut rest = text;
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return Err("the duration is empty".into());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let n: u64 = match number.parse() {
                Ok(n) => n,
                Err(_) if number.is_empty() => return Err(format!("`{text}` has no number before `{tail}`")),
                Err(_) => return Err(format!("`{number}` is too large")),
            };
            let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let micros = match unit {
                "us" => 1,
                "ms" => 1_000,
                "s" => 1_000_000,
                "m" => 60_000_000,
                "h" => 3_600_000_000,
                "d" => 86_400_000_000,
                "" => return Err(format!("`{text}` has no unit")),
                other => return Err(format!("`{}` is not a unit of time", other.trim())),
            };
            let sum = n.checked_mul(micros).and_then(|part| total.checked_add(Duration::from_micros(part)));
            total = sum.filter(|sum| *sum <= LONGEST).ok_or("longer than 1000 days")?;
            rest = tail;
        }
        Ok(total)
    }

    fn show(&self) -> String {
        let ms = self.as_millis();
        match ms {
            _ if self.is_zero() => "0s".into(),
            _ if !self.as_micros().is_multiple_of(1000) => format!("{}us", self.as_micros()),
            _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) && ms > 120_000 => format!("{}m", ms / 60_000),
            _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
            _ => format!("{ms}ms"),
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Leaf for Size {
    const FORMAT: &'static str = "size";
    const WANT: &'static str = "a size such as \"512B\", \"64KiB\", \"10MiB\" or \"1GiB\"; \"0\" is no bound where a bound is optional";

    fn parse(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Size(0));
        }
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let n: u64 = match number.parse() {
            Ok(n) => n,
            Err(_) if number.is_empty() => return Err(format!("`{text}` does not start with a number")),
            Err(_) => return Err(format!("`{number}` is too large")),
        };
        let factor: u64 = match unit.trim_start() {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "" => return Err(format!("`{text}` has no unit")),
            other => return Err(format!("`{other}` is not a unit of size")),
        };
        n.checked_mul(factor).map(Size).ok_or_else(|| format!("`{text}` is too large"))
    }

    fn show(&self) -> String {
        let n = self.0;
        match n {
            0 => "0".into(),
            _ if n.is_multiple_of(1 << 30) => format!("{}GiB", n >> 30),
            _ if n.is_multiple_of(1 << 20) => format!("{}MiB", n >> 20),
            _ if n.is_multiple_of(1 << 10) => format!("{}KiB", n >> 10),
            _ => format!("{n}B"),
        }
    }
}

impl Leaf for IpNet {
    const FORMAT: &'static str = "network";
    const WANT: &'static str =
        "an address or a network such as \"10.0.0.0/8\", \"192.0.2.7\" or \"fd00::/8\"";

    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(IpNet::from(ip));
        }
        text.parse::<IpNet>()
            .map(|net| net.trunc())
            .map_err(|_| format!("`{text}` is neither an IP address nor a network"))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Leaf for HeaderName {
    const FORMAT: &'static str = "header-name";
    const WANT: &'static str = "the name of a header such as \"x-request-id\"";

    fn parse(text: &str) -> Result<Self, String> {
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is not a header name"))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Leaf for HeaderValue {
    const FORMAT: &'static str = "header-value";
    const WANT: &'static str = "the value of a header: one line of visible characters";

    fn parse(text: &str) -> Result<Self, String> {
        HeaderValue::from_str(text).map_err(|_| "a header's value cannot have control characters".into())
    }

    fn show(&self) -> String {
        String::from_utf8_lossy(self.as_bytes()).into_owned()
    }
}

impl Leaf for Method {
    const FORMAT: &'static str = "method";
    const WANT: &'static str = "a method in capitals such as \"GET\"";

    fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(|c| c.is_ascii_lowercase()) {
            return Err(format!("methods are case-sensitive: `{}` is meant?", text.to_ascii_uppercase()));
        }
        Method::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is not a method"))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Leaf for ListenAddress {
    const FORMAT: &'static str = "listen-address";
    const WANT: &'static str = "an address to listen on: \"0.0.0.0:443\", \"[::]:443\", \":443\" (every IPv4 address), \
                                \"unix:/run/weir.sock\" or \"systemd:NAME\"";

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("the path of the Unix socket is missing".into()),
                path => Ok(ListenAddress::Unix { path: PathBuf::from(path), mode: 0o660 }),
            };
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            return match name {
                "" => Err("the name of the socket is missing".into()),
                name => Ok(ListenAddress::Inherited(name.into())),
            };
        }
        if let Some(port) = text.strip_prefix(':') {
            let port = self::port(port).ok_or_else(|| format!("`{port}` is not a port (0 to 65535)"))?;
            return Ok(ListenAddress::Tcp(SocketAddr::from(([0u8; 4], port))));
        }
        text.parse().map(ListenAddress::Tcp).map_err(|_| match text.parse::<IpAddr>() {
            Ok(_) => format!("`{text}` has no port"),
            Err(_) => format!("`{text}` is not an IP address with a port"),
        })
    }

    fn show(&self) -> String {
        match self {
            ListenAddress::Tcp(a) => a.to_string(),
            ListenAddress::Unix { path, .. } => format!("unix:{}", path.display()),
            ListenAddress::Inherited(name) => format!("systemd:{name}"),
        }
    }
}

/// The address that stands for the demo server until it runs: no endpoint can have port 0 otherwise.
pub const DEMO: EndpointAddress =
    EndpointAddress::Ip(SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)));

impl Leaf for EndpointAddress {
    const FORMAT: &'static str = "endpoint-address";
    const WANT: &'static str = "HOST:PORT such as \"10.0.0.1:8080\", \"app.internal:8080\" or \"[fd00::1]:8080\", \
                                or \"unix:/run/app.sock\"; \"demo:\" is weir's own demo server";

    fn parse(text: &str) -> Result<Self, String> {
        if text == "demo:" {
            return Ok(DEMO);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("the path of the Unix socket is missing".into()),
                path => Ok(EndpointAddress::Unix(PathBuf::from(path))),
            };
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(match scheme {
                "https" => {
                    "an endpoint is HOST:PORT without a scheme; TLS is the upstream's `tls = true`".into()
                }
                _ => "an endpoint is HOST:PORT without a scheme".to_owned(),
            });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err("port 0 cannot be connected to".into()),
                _ => Ok(EndpointAddress::Ip(address)),
            };
        }
        let Some((host, port)) = text.rsplit_once(':') else { return Err(format!("`{text}` has no port")) };
        let port = match self::port(port) {
            Some(0) | None => return Err(format!("`{port}` is not a port (1 to 65535)")),
            Some(port) => port,
        };
        if !is_host(host) {
            return Err(format!("`{host}` is neither an IP address nor a host name"));
        }
        Ok(EndpointAddress::Name(host.to_ascii_lowercase().into(), port))
    }

    fn show(&self) -> String {
        match self {
            address if *address == DEMO => "demo:".into(),
            EndpointAddress::Ip(a) => a.to_string(),
            EndpointAddress::Name(host, port) => format!("{host}:{port}"),
            EndpointAddress::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

impl Leaf for HostPattern {
    const FORMAT: &'static str = "host";
    const WANT: &'static str = "a host without port: \"example.com\" or \"*.example.com\"";

    fn parse(text: &str) -> Result<Self, String> {
        HostPattern::parse(text).map_err(|e| e.problem)
    }

    fn show(&self) -> String {
        match self {
            HostPattern::Exact(host) => host.to_string(),
            HostPattern::Suffix(rest) => format!("*{rest}"),
        }
    }
}

/// Digits only: numbers in Rust may begin with a plus sign.
fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

fn is_host(text: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// A regular expression that must match all of a value.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As written.
    pub source: String,
    /// Anchored at both ends.
    pub regex: Regex,
}

impl Leaf for Pattern {
    const FORMAT: &'static str = "regular-expression";
    const WANT: &'static str =
        "a regular expression; it must match the whole value, `^` and `$` are not needed";

    fn parse(text: &str) -> Result<Self, String> {
        let regex = anchored(text).map_err(|e| e.problem)?;
        Ok(Pattern { source: text.to_owned(), regex })
    }

    fn show(&self) -> String {
        self.source.clone()
    }
}

impl Leaf for HashKey {
    const FORMAT: &'static str = "hash-key";
    const WANT: &'static str = "\"client\", \"path\", \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"";

    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "client" => Ok(HashKey::Client),
            None if text == "path" => Ok(HashKey::Path),
            Some((_, "")) => Err(format!("the name after `{text}` is missing")),
            Some(("header", name)) => HeaderName::parse(name).map(HashKey::Header),
            Some(("cookie", name)) => Ok(HashKey::Cookie(name.into())),
            Some(("query", name)) => Ok(HashKey::Query(name.into())),
            _ => Err(format!("`{text}` is nothing a hash can be taken of")),
        }
    }

    fn show(&self) -> String {
        match self {
            HashKey::Client => "client".into(),
            HashKey::Path => "path".into(),
            HashKey::Header(name) => format!("header:{name}"),
            HashKey::Cookie(name) => format!("cookie:{name}"),
            HashKey::Query(name) => format!("query:{name}"),
        }
    }
}

/// Permission bits of a socket file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Leaf for Mode {
    const FORMAT: &'static str = "permissions";
    const WANT: &'static str = "permission bits in octal such as \"0660\"";

    fn parse(text: &str) -> Result<Self, String> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o777 && !text.starts_with('+') => Ok(Mode(mode)),
            _ => Err(format!("`{text}` is not a set of permission bits")),
        }
    }

    fn show(&self) -> String {
        format!("{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests;

//! Exchanges as tables of Lua.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use mlua::{Lua, LuaString, Table, Value};
use weir_plugin::message::headers as rules;
use weir_plugin::scenario::{Admission, Arrival, Attempt, LogLine, Outcome, Scenario};
use weir_plugin::services::HttpCall;
use weir_plugin::{Candidate, ClientCertificate, Reply, Tls};

use crate::fault;
use crate::handles::text;
use crate::state::kind;

type Result<T, E = String> = std::result::Result<T, E>;

/// What an exchange may have.
const NAMES: [&str; 14] = [
    "method",
    "path",
    "headers",
    "body",
    "client_ip",
    "scheme",
    "tls",
    "request_id",
    "route",
    "captures",
    "group",
    "upstreams",
    "upstream",
    "attempts",
];
/// What a connection may have.
const ARRIVAL_NAMES: [&str; 4] = ["listener", "client_ip", "scheme", "tls"];
/// What a TLS connection may have.
const TLS_NAMES: [&str; 6] = ["version", "cipher", "sni", "alpn", "client_subject", "client_fingerprint"];
/// What an endpoint may have.
const CANDIDATE_NAMES: [&str; 4] = ["address", "weight", "load", "available"];

/// Fields of a table, by names that are known.
pub(super) struct Fields<'a> {
    table: Option<&'a Table>,
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(value: &'a Value, what: &'static str, known: &[&str]) -> Result<Self> {
        let table = match value {
            Value::Nil => return Ok(Fields { table: None, what }),
            Value::Table(table) => table,
            other => return Err(format!("{what} is a table, not a {}", kind(other))),
        };
        for pair in table.pairs::<Value, Value>() {
            let (name, _) = pair.map_err(|error| fault::message(&error))?;
            let name = match &name {
                Value::String(name) => name.to_string_lossy(),
                other => format!("a {}", kind(other)),
            };
            if !known.contains(&name.as_str()) {
                return Err(format!("{what} has no `{name}`: there are {}", known.join(", ")));
            }
        }
        Ok(Fields { table: Some(table), what })
    }

    pub(super) fn value(&self, name: &str) -> Value {
        self.table.and_then(|table| table.raw_get(name).ok()).unwrap_or(Value::Nil)
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Option<Bytes>> {
        match self.value(name) {
            Value::Nil => Ok(None),
            Value::String(text) => Ok(Some(Bytes::copy_from_slice(&text.as_bytes()))),
            other => Err(format!("`{name}` of {} is a string, not a {}", self.what, kind(&other))),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        let text = self.bytes(name)?;
        let text = text.map(|text| String::from_utf8(text.to_vec())).transpose();
        text.map_err(|_| format!("`{name}` of {} is not UTF-8", self.what))
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, name: &str, default: T) -> Result<T> {
        let number = match self.value(name) {
            Value::Nil => return Ok(default),
            value => value.as_i64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i64)),
        };
        let fits = number.and_then(|number| T::try_from(number).ok());
        fits.ok_or_else(|| format!("`{name}` of {} is no whole number that can be", self.what))
    }
}

/// Reads an exchange as a test gives it.
pub(super) fn read(told: &Value) -> Result<Scenario> {
    scenario(&Fields::new(told, "an exchange", &NAMES)?)
}

/// Reads what an exchange has.
pub(super) fn scenario(fields: &Fields<'_>) -> Result<Scenario> {
    let method = fields.bytes("method")?.unwrap_or_else(|| Bytes::from_static(b"GET"));
    let path = fields.bytes("path")?.unwrap_or_else(|| Bytes::from_static(b"/"));
    let target = PathAndQuery::try_from(&path[..]).ok().filter(|_| path.starts_with(b"/"));
    let target =
        target.ok_or_else(|| format!("`path` is \"/path?query\", not \"{}\"", path.escape_ascii()))?;
    let groups = groups(&fields.value("upstreams"))?;
    Ok(Scenario {
        method: Method::from_bytes(&method)
            .map_err(|_| format!("\"{}\" is no method", method.escape_ascii()))?,
        uri: target.into(),
        headers: request_headers(&fields.value("headers"))?,
        body: fields.bytes("body")?.unwrap_or_default(),
        client: client(&fields.value("client_ip"))?,
        tls: tls(fields)?.map(Arc::new),
        request_id: fields.text("request_id")?.unwrap_or_else(|| "test-1".to_owned()),
        route: fields.text("route")?.unwrap_or_else(|| "test".to_owned()).into(),
        captures: captures(&fields.value("captures"))?,
        group: group(fields.text("group")?, &groups)?,
        groups,
        attempts: attempts(fields)?,
    })
}

/// What becomes of attempts: one of `upstream`, or several of `attempts`.
fn attempts(fields: &Fields<'_>) -> Result<Vec<Attempt>> {
    let one = fields.value("upstream");
    let list = match fields.value("attempts") {
        Value::Nil => {
            let made = attempt(&one).map_err(|message| format!("`upstream`, what it answers: {message}"));
            return Ok(vec![made?]);
        }
        Value::Table(list) if one.is_nil() && list.raw_len() > 0 => list,
        Value::Table(_) if one.is_nil() => return Err("`attempts` has one attempt or more".to_owned()),
        Value::Table(_) => {
            return Err("`upstream` is the only attempt, `attempts` are several: not both".to_owned());
        }
        other => return Err(format!("`attempts` is a list, not a {}", kind(&other))),
    };
    let mut attempts = Vec::new();
    for (number, given) in (1..).zip(list.sequence_values::<Value>()) {
        let given = given.map_err(|error| fault::message(&error))?;
        attempts.push(attempt(&given).map_err(|message| format!("`attempts[{number}]`: {message}"))?);
    }
    Ok(attempts)
}

/// `{ failure = … }`, or an answer.
fn attempt(given: &Value) -> Result<Attempt> {
    let failure = given.as_table().map(|table| table.raw_get("failure").unwrap_or(Value::Nil));
    match failure {
        None | Some(Value::Nil) => reply(given).map(Attempt::Response),
        Some(_) => {
            let fields = Fields::new(given, "an attempt that fails", &["failure"])?;
            Ok(Attempt::Failure(fields.text("failure")?.unwrap_or_default()))
        }
    }
}

/// Reads a connection as a test gives it.
pub(super) fn arrival(told: &Value) -> Result<Arrival> {
    let fields = Fields::new(told, "a connection", &ARRIVAL_NAMES)?;
    Ok(Arrival {
        listener: fields.text("listener")?.unwrap_or_else(|| "test".to_owned()).into(),
        client: client(&fields.value("client_ip"))?,
        tls: tls(&fields)?.map(Arc::new),
    })
}

/// An answer: status, headers, body.
pub(super) fn reply(given: &Value) -> Result<Reply> {
    match given {
        Value::Nil => Ok(Reply { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() }),
        given => crate::host::respond(given).map_err(|error| {
            let message = fault::message(&error);
            message.strip_prefix("weir.respond: ").unwrap_or(&message).to_owned()
        }),
    }
}

fn request_headers(given: &Value) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    match given {
        Value::Nil => {}
        Value::Table(table) => {
            for pair in table.pairs::<LuaString, Value>() {
                let (name, value) = pair.map_err(|error| fault::message(&error))?;
                let name = rules::name(&name.as_bytes()).map_err(|error| error.to_string())?;
                let values = match value {
                    Value::String(value) => vec![value],
                    Value::Table(values) => values
                        .sequence_values()
                        .collect::<mlua::Result<Vec<LuaString>>>()
                        .map_err(|_| format!("the header {name} is a string or a list of them"))?,
                    other => {
                        let kind = kind(&other);
                        return Err(format!("the header {name} is a string or a list of them, not a {kind}"));
                    }
                };
                for value in values {
                    let value = rules::value(&name, &value.as_bytes()).map_err(|error| error.to_string())?;
                    headers.try_append(name.clone(), value).map_err(|_| "there are too many headers")?;
                }
            }
        }
        other => return Err(format!("`headers` is a table, not a {}", kind(other))),
    }
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, HeaderValue::from_static("app.test"));
    }
    Ok(headers)
}

/// `false` is a client on a Unix socket.
fn client(given: &Value) -> Result<Option<IpAddr>> {
    match given {
        Value::Nil => Ok(Some(IpAddr::from([192, 0, 2, 1]))),
        Value::Boolean(false) => Ok(None),
        Value::String(text) => {
            let text = text.to_string_lossy();
            let address = text.parse::<IpAddr>().map_err(|_| format!("\"{text}\" is no IP address"))?;
            Ok(Some(address.to_canonical()))
        }
        other => Err(format!("`client_ip` is an address, or false for a Unix socket, not a {}", kind(other))),
    }
}

fn tls(fields: &Fields<'_>) -> Result<Option<Tls>> {
    let given = fields.value("tls");
    let https = match fields.text("scheme")?.as_deref() {
        None => !given.is_nil(),
        Some("https") => true,
        Some("http") if given.is_nil() => false,
        Some("http") => return Err("with `tls` the scheme is https".to_owned()),
        Some(other) => return Err(format!("`scheme` is http or https, not \"{other}\"")),
    };
    if !https {
        return Ok(None);
    }
    let fields = Fields::new(&given, "`tls`", &TLS_NAMES)?;
    let version = match fields.text("version")?.as_deref() {
        None | Some("TLSv1.3") => "TLSv1.3",
        Some("TLSv1.2") => "TLSv1.2",
        Some(other) => return Err(format!("`version` of `tls` is TLSv1.2 or TLSv1.3, not \"{other}\"")),
    };
    let cipher = match (fields.text("cipher")?.as_deref(), version) {
        (None | Some("TLS13_AES_256_GCM_SHA384"), "TLSv1.3") => "TLS13_AES_256_GCM_SHA384",
        (Some("TLS13_AES_128_GCM_SHA256"), "TLSv1.3") => "TLS13_AES_128_GCM_SHA256",
        (Some("TLS13_CHACHA20_POLY1305_SHA256"), "TLSv1.3") => "TLS13_CHACHA20_POLY1305_SHA256",
        (None | Some("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"), _) => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        (Some(other), _) => return Err(format!("\"{other}\" is no cipher that tests of {version} know")),
    };
    let (subject, fingerprint) = (fields.text("client_subject")?, fields.text("client_fingerprint")?);
    let client = (subject.is_some() || fingerprint.is_some()).then(|| ClientCertificate {
        der: Arc::from([]),
        subject: subject.unwrap_or_else(|| "CN=client".to_owned()),
        issuer: "CN=test".to_owned(),
        serial: "01".to_owned(),
        names: Vec::new(),
        fingerprint: fingerprint.unwrap_or_else(|| "0".repeat(64)),
    });
    let arc = |text: Option<String>| text.map(Arc::from);
    let (sni, alpn) = (arc(fields.text("sni")?), arc(fields.text("alpn")?));
    Ok(Some(Tls { version, cipher, sni, alpn, resumed: false, client, policy: 0 }))
}

fn captures(given: &Value) -> Result<Vec<(Arc<str>, String)>> {
    let table = match given {
        Value::Nil => return Ok(Vec::new()),
        Value::Table(table) => table,
        other => return Err(format!("`captures` is a table, not a {}", kind(other))),
    };
    let pairs =
        table.pairs::<String, String>().map(|pair| pair.map(|(name, value)| (Arc::from(name), value)));
    pairs.collect::<mlua::Result<_>>().map_err(|_| "`captures` has texts by name".to_owned())
}

type Groups = BTreeMap<Arc<str>, Vec<Candidate>>;

fn groups(given: &Value) -> Result<Groups> {
    let table = match given {
        Value::Nil => {
            let one = Candidate { address: "192.0.2.80:80".into(), weight: 1, load: 0, available: true };
            return Ok(BTreeMap::from([("app".into(), vec![one])]));
        }
        Value::Table(table) => table,
        other => return Err(format!("`upstreams` is a table of lists, not a {}", kind(other))),
    };
    let mut groups = Groups::new();
    for pair in table.pairs::<String, Table>() {
        let (name, list) =
            pair.map_err(|_| "`upstreams` has lists of endpoints by the group's name".to_owned())?;
        let mut candidates = Vec::new();
        for endpoint in list.sequence_values::<Value>() {
            candidates.push(candidate(&endpoint.map_err(|error| fault::message(&error))?)?);
        }
        groups.insert(name.into(), candidates);
    }
    Ok(groups)
}

fn candidate(given: &Value) -> Result<Candidate> {
    if let Value::String(address) = given {
        let address = address.to_string_lossy().into();
        return Ok(Candidate { address, weight: 1, load: 0, available: true });
    }
    let fields = Fields::new(given, "an endpoint", &CANDIDATE_NAMES)?;
    let available = match fields.value("available") {
        Value::Nil => true,
        Value::Boolean(available) => available,
        other => return Err(format!("`available` of an endpoint is true or false, not a {}", kind(&other))),
    };
    Ok(Candidate {
        address: fields.text("address")?.ok_or("an endpoint needs an `address`")?.into(),
        weight: fields.number("weight", 1)?,
        load: fields.number("load", 0)?,
        available,
    })
}

/// The group of the route: the one that is named, `app`, or the only one.
fn group(named: Option<String>, groups: &Groups) -> Result<Arc<str>> {
    let name = match (named, groups.len()) {
        (Some(name), _) => name,
        (None, 1) => groups.keys().next().map(|name| name.to_string()).unwrap_or_default(),
        (None, _) => "app".to_owned(),
    };
    match groups.get_key_value(name.as_str()) {
        Some((name, _)) => Ok(name.clone()),
        None => Err(format!("there is no group \"{name}\" in `upstreams`: `group` names the route's own")),
    }
}

/// What came of an exchange, for a test to look at.
pub(super) fn outcome(lua: &Lua, outcome: &Outcome) -> mlua::Result<Table> {
    let (asked, given) = (&outcome.request, &outcome.response);
    let request = lua.create_table()?;
    request.raw_set("method", asked.method.as_str())?;
    request.raw_set("path", asked.uri.path())?;
    request.raw_set("query_string", asked.uri.query().unwrap_or_default())?;
    request.raw_set("body", text(lua, &asked.body)?)?;
    request.raw_set("headers", headers(lua, &asked.headers)?)?;
    request.raw_set("upstream", asked.group.as_deref())?;
    request.raw_set("endpoint", asked.endpoint.as_deref())?;
    request.raw_set("hash_key", asked.hash_key.as_deref().map(|key| text(lua, key)).transpose()?)?;
    let response = lua.create_table()?;
    response.raw_set("status", given.status.as_u16())?;
    response.raw_set("headers", headers(lua, &given.headers)?)?;
    response.raw_set("body", text(lua, &given.body)?)?;
    let attempts = lua.create_table_with_capacity(outcome.attempts.len(), 0)?;
    for attempt in &outcome.attempts {
        let entry = lua.create_table()?;
        entry.raw_set("upstream", &*attempt.group)?;
        entry.raw_set("endpoint", attempt.endpoint.as_deref())?;
        entry.raw_set("hash_key", attempt.hash_key.as_deref().map(|key| text(lua, key)).transpose()?)?;
        entry.raw_set("failure", attempt.failure)?;
        attempts.raw_push(entry)?;
    }
    let table = lua.create_table()?;
    table.raw_set("request", request)?;
    table.raw_set("response", response)?;
    table.raw_set("attempts", attempts)?;
    table.raw_set("answered_by", outcome.answered_by.name())?;
    table.raw_set("failure", outcome.failure.as_deref())?;
    table.raw_set("log", log(lua, &outcome.log)?)?;
    Ok(table)
}

/// What came of a connection, for a test to look at.
pub(super) fn admission(lua: &Lua, admission: &Admission) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("accepted", admission.accepted)?;
    table.raw_set("failure", admission.failure.as_deref())?;
    table.raw_set("log", log(lua, &admission.log)?)?;
    Ok(table)
}

/// Lines of the log: level and message.
pub(super) fn log(lua: &Lua, lines: &[LogLine]) -> mlua::Result<Table> {
    let log = lua.create_table_with_capacity(lines.len(), 0)?;
    for line in lines {
        log.raw_push(self::line(lua, line)?)?;
    }
    Ok(log)
}

/// A line of the log.
pub(super) fn line(lua: &Lua, line: &LogLine) -> mlua::Result<Table> {
    let entry = lua.create_table()?;
    entry.raw_set("level", line.level)?;
    entry.raw_set("message", line.text.as_str())?;
    Ok(entry)
}

/// A request of the plugin's own.
pub(super) fn call(lua: &Lua, call: &HttpCall) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("upstream", &*call.group)?;
    table.raw_set("method", call.method.as_str())?;
    table.raw_set("path", call.target.as_str())?;
    table.raw_set("headers", headers(lua, &call.headers)?)?;
    table.raw_set("body", text(lua, &call.body)?)?;
    Ok(table)
}

/// Values by name; a list of them where a name comes more than once.
fn headers(lua: &Lua, headers: &HeaderMap) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(|value| text(lua, value.as_bytes()));
        let values = values.collect::<mlua::Result<Vec<_>>>()?;
        match &values[..] {
            [one] => table.raw_set(name.as_str(), one)?,
            _ => table.raw_set(name.as_str(), lua.create_sequence_from(values)?)?,
        }
    }
    Ok(table)
}

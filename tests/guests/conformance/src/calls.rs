//! The host's functions by their names in the WIT package, with arguments and results as JSON.

use std::time::Duration;

use serde_json::{Value, json};
use weir_guest::prelude::*;
use weir_guest::websocket::{self, Group};
use weir_guest::{http, kv, metrics};

use crate::steps::{self, bytes_value};

/// What a hook was given.
#[derive(Default)]
pub(crate) struct Given<'a> {
    pub(crate) connection: Option<&'a Connection>,
    pub(crate) request: Option<&'a Request>,
    pub(crate) response: Option<&'a Response>,
    pub(crate) relay: Option<&'a Relay>,
}

/// Arguments, which are none where they are missing.
struct Args<'a>(&'a [Value]);

impl Args<'_> {
    fn value(&self, index: usize) -> &Value {
        self.0.get(index).unwrap_or(&Value::Null)
    }

    fn text(&self, index: usize) -> String {
        let value = self.value(index);
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    fn bytes(&self, index: usize) -> Vec<u8> {
        match self.value(index)["hex"].as_str() {
            Some(hex) => unhex(hex),
            None => self.text(index).into_bytes(),
        }
    }

    fn optional<T>(&self, index: usize, read: impl FnOnce(&Self, usize) -> T) -> Option<T> {
        (!self.value(index).is_null()).then(|| read(self, index))
    }

    fn whole(&self, index: usize) -> i64 {
        self.value(index).as_i64().unwrap_or_default()
    }

    fn number(&self, index: usize) -> f64 {
        self.value(index).as_f64().unwrap_or_default()
    }

    fn time(&self, index: usize) -> Duration {
        Duration::try_from_secs_f64(self.number(index)).unwrap_or_default()
    }

    fn ttl(&self, index: usize) -> Option<Duration> {
        self.optional(index, Self::time)
    }

    fn texts(&self, index: usize) -> Vec<String> {
        let values = self.value(index).as_array().map(Vec::as_slice).unwrap_or_default();
        values.iter().map(|value| value.as_str().unwrap_or_default().to_owned()).collect()
    }

    fn direction(&self, index: usize) -> Direction {
        if self.text(index) == "to-client" { Direction::ToClient } else { Direction::ToUpstream }
    }

    fn opcode(&self, index: usize) -> Opcode {
        match self.text(index).as_str() {
            "binary" => Opcode::Binary,
            "ping" => Opcode::Ping,
            "pong" => Opcode::Pong,
            _ => Opcode::Text,
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn optional_bytes(data: Option<Vec<u8>>) -> Value {
    data.map_or(Value::Null, |data| bytes_value(&data))
}

fn list(values: Vec<Vec<u8>>) -> Value {
    values.iter().map(|value| bytes_value(value)).collect()
}

fn fields(entries: Vec<Header>) -> Value {
    entries.into_iter().map(|field| json!([field.name, bytes_value(&field.value)])).collect()
}

/// Calls a function. Its result as JSON; what has none is null. A whole number is one whatever type it has in the WIT.
pub(crate) fn call(function: &str, args: &[Value], given: &Given<'_>) -> Result<Value> {
    let value = called(function, args, given)?;
    Ok(match value.as_f64() {
        Some(number) if value.is_f64() && number.fract() == 0.0 => json!(number as i64),
        _ => value,
    })
}

fn called(function: &str, args: &[Value], given: &Given<'_>) -> Result<Value> {
    let args = Args(args);
    let (owner, name) = function.split_once('.').unwrap_or((function, ""));
    match owner {
        "request" => request(name, &args, there(given.request, owner)?),
        "response" => response(name, &args, there(given.response, owner)?),
        "connection" => connection(name, there(given.connection, owner)?),
        "relay" => relay(name, &args, there(given.relay, owner)?),
        "websocket" | "group" => groups(owner, name, &args),
        "kv" => own_kv(name, &args),
        "store" => store(name, &args),
        "http" => calls(name, &args),
        "http-response" => looked(name, &args),
        "metrics" => series(name, &args),
        "codec" | "crypto" => bytes(owner, name, &args),
        _ => others(function, &args),
    }
}

fn there<'a, T>(value: Option<&'a T>, name: &str) -> Result<&'a T> {
    value.ok_or_else(|| Failure::new(format!("this hook has no {name}")))
}

fn unknown(owner: &str, name: &str) -> Result<Value> {
    Err(Failure::new(format!("`{owner}.{name}` is no function of the host")))
}

fn headers(name: &str, args: &Args<'_>, headers: &Headers) -> Result<Value> {
    Ok(match name {
        "get" => optional_bytes(headers.get(&args.text(0))),
        "get-all" => list(headers.get_all(&args.text(0))),
        "set" => json!(headers.set(&args.text(0), &args.bytes(1))?),
        "add" => json!(headers.add(&args.text(0), &args.bytes(1))?),
        "remove" => json!(headers.remove(&args.text(0))?),
        "entries" => fields(headers.entries()),
        _ => return unknown("headers", name),
    })
}

fn body(name: &str, args: &Args<'_>, body: &Body) -> Result<Value> {
    Ok(match name {
        "read" => bytes_value(&body.read(args.optional(0, |args, index| args.whole(index).unsigned_abs()))?),
        "replace" => json!(body.replace(&args.bytes(0))?),
        "pass" => {
            body.pass();
            Value::Null
        }
        _ => return unknown("body", name),
    })
}

fn request(name: &str, args: &Args<'_>, req: &Request) -> Result<Value> {
    if let Some((owner, name)) = name.split_once('.') {
        let (query, cookies) = (req.query(), req.cookies());
        return Ok(match (owner, name) {
            ("headers", _) => return headers(name, args, &req.headers()),
            ("body", _) => return body(name, args, &req.body()),
            ("connection", _) => return connection(name, &req.connection()),
            ("query", "get") => optional_bytes(query.get(&args.text(0))),
            ("query", "get-all") => list(query.get_all(&args.text(0))),
            ("query", "set") => json!(query.set(&args.text(0), &args.bytes(1))?),
            ("query", "remove") => json!(query.remove(&args.text(0))?),
            ("query", "entries") => fields(query.entries()),
            ("cookies", "get") => optional_bytes(cookies.get(&args.text(0))),
            ("cookies", "entries") => fields(cookies.entries()),
            _ => return unknown(owner, name),
        });
    }
    Ok(match name {
        "request-id" => json!(req.request_id()),
        "route" => json!(req.route()),
        "method" => json!(req.method()),
        "set-method" => json!(req.set_method(&args.text(0))?),
        "scheme" => json!(req.scheme()),
        "host" => json!(req.host()),
        "path" => json!(req.path()),
        "set-path" => json!(req.set_path(&args.text(0))?),
        "query-string" => json!(req.query_string()),
        "set-query-string" => json!(req.set_query_string(&args.text(0))?),
        "version" => json!(req.version()),
        "is-websocket" => json!(req.is_websocket()),
        "client-ip" => json!(req.client_ip()),
        "capture" => json!(req.capture(&args.text(0))),
        "upstream" => json!(req.upstream()),
        "set-upstream" => json!(req.set_upstream(&args.text(0))?),
        _ => return unknown("request", name),
    })
}

fn response(name: &str, args: &Args<'_>, res: &Response) -> Result<Value> {
    Ok(match name.split_once('.') {
        Some(("headers", name)) => return headers(name, args, &res.headers()),
        Some(("body", name)) => return body(name, args, &res.body()),
        _ => match name {
            "status" => json!(res.status()),
            "set-status" => json!(res.set_status(u16::try_from(args.whole(0)).unwrap_or(0))?),
            "endpoint" => json!(res.endpoint()),
            _ => return unknown("response", name),
        },
    })
}

fn connection(name: &str, connection: &Connection) -> Result<Value> {
    Ok(match name {
        "id" => json!(connection.id()),
        "listener" => json!(connection.listener()),
        "peer" => json!(connection.peer()),
        "peer-ip" => json!(connection.peer_ip()),
        "local-address" => json!(connection.local_address()),
        "tls-version" => json!(connection.tls_version()),
        "tls-cipher" => json!(connection.tls_cipher()),
        "sni" => json!(connection.sni()),
        "alpn" => json!(connection.alpn()),
        "client-subject" => json!(connection.client_subject()),
        "client-fingerprint" => json!(connection.client_fingerprint()),
        _ => return unknown("connection", name),
    })
}

fn relay(name: &str, args: &Args<'_>, ws: &Relay) -> Result<Value> {
    Ok(match name {
        "id" => json!(ws.id()),
        "route" => json!(ws.route()),
        "request-id" => json!(ws.request_id()),
        "client-ip" => json!(ws.client_ip()),
        "subprotocol" => json!(ws.subprotocol()),
        "send" => json!(ws.send(args.direction(0), &args.bytes(1), args.opcode(2))?),
        "close" => json!(ws.close(u16::try_from(args.whole(0)).unwrap_or(0), &args.text(1))?),
        "join" => json!(ws.join(&args.text(0))?),
        "leave" => json!(ws.leave(&args.text(0))?),
        "watch" => json!(ws.watch(steps::watch(&args.texts(0))?)?),
        "limit" => {
            let limits = args.value(0);
            json!(ws.limit(websocket::RelayLimits {
                max_message: limits["max-message"].as_u64(),
                idle_timeout: limits["idle-timeout"].as_f64(),
                max_age: limits["max-age"].as_f64(),
                ping_interval: limits["ping-interval"].as_f64(),
            })?)
        }
        _ => return unknown("relay", name),
    })
}

/// Groups by name, and relays by id, which is the first argument.
fn groups(owner: &str, name: &str, args: &Args<'_>) -> Result<Value> {
    let group = || Group::open(&args.text(0));
    Ok(match (owner, name) {
        ("group", "send") => {
            let except = args.optional(4, Args::text);
            json!(group()?.send(args.direction(1), &args.bytes(2), args.opcode(3), except.as_deref())?)
        }
        ("group", "close") => {
            json!(group()?.close(u16::try_from(args.whole(1)).unwrap_or(0), &args.text(2))?)
        }
        ("group", "count") => json!(group()?.count()),
        ("group", "members") => json!(group()?.members()),
        ("websocket", "find") => json!(websocket::find(&args.text(0))?.map(|ws| ws.id())),
        ("websocket", "send") => match websocket::find(&args.text(0))? {
            Some(ws) => json!(ws.send(args.direction(1), &args.bytes(2), args.opcode(3))?),
            None => json!(false),
        },
        _ => return unknown(owner, name),
    })
}

fn own_kv(name: &str, args: &Args<'_>) -> Result<Value> {
    let key = args.bytes(0);
    Ok(match name {
        "get" => optional_bytes(kv::get(key)?),
        "set" => json!(kv::set(key, args.bytes(1), args.ttl(2))?),
        "add" => json!(kv::add(key, args.bytes(1), args.ttl(2))?),
        "incr" => json!(kv::incr(key, args.whole(1), args.whole(2), args.ttl(3))?),
        "cas" => json!(kv::cas(key, args.optional(1, Args::bytes).as_deref(), args.bytes(2), args.ttl(3))?),
        "delete" => json!(kv::delete(key)?),
        "ttl" => json!(kv::ttl(key)?.map(|ttl| ttl.as_secs_f64())),
        _ => return unknown("kv", name),
    })
}

/// The namespace goes before the arguments of `kv`.
fn store(name: &str, args: &Args<'_>) -> Result<Value> {
    let (store, key) = (kv::Store::open(&args.text(0))?, args.bytes(1));
    Ok(match name {
        "get" => optional_bytes(store.get(key)?),
        "set" => json!(store.set(key, args.bytes(2), args.ttl(3))?),
        "add" => json!(store.add(key, args.bytes(2), args.ttl(3))?),
        "incr" => json!(store.incr(key, args.whole(2), args.whole(3), args.ttl(4))?),
        "cas" => {
            json!(store.cas(key, args.optional(2, Args::bytes).as_deref(), args.bytes(3), args.ttl(4))?)
        }
        "delete" => json!(store.delete(key)?),
        "ttl" => json!(store.ttl(key)?.map(|ttl| ttl.as_secs_f64())),
        _ => return unknown("store", name),
    })
}

/// One call as `{ url, upstream, path, method, headers, body, timeout, limit, stream }`, or a list of them.
fn calls(name: &str, args: &Args<'_>) -> Result<Value> {
    match name {
        "request" => answer(&made(args.value(0)).send()?),
        "all" => {
            let calls = args.value(0).as_array().map(Vec::as_slice).unwrap_or_default();
            let answers = http::all(calls.iter().map(made))?.into_iter().map(|result| match result {
                Ok(response) => answer(&response),
                Err(error) => Ok(json!({ "error": Failure::from(error).text() })),
            });
            answers.collect()
        }
        _ => unknown("http", name),
    }
}

fn made(value: &Value) -> http::Call {
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let mut call = match value["upstream"].as_str() {
        Some(group) => http::Call::upstream(group, value["path"].as_str().unwrap_or("/")),
        None => http::Call::url(text("url")),
    };
    if let Some(method) = value["method"].as_str() {
        call = call.method(method);
    }
    for field in value["headers"].as_array().into_iter().flatten() {
        call = call.header(field[0].as_str().unwrap_or_default(), field[1].as_str().unwrap_or_default());
    }
    if let Some(seconds) = value["timeout"].as_f64() {
        call = call.timeout(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }
    if let Some(limit) = value["limit"].as_u64() {
        call = call.limit(limit);
    }
    if value["stream"] == json!(true) {
        call = call.stream();
    }
    call.body(text("body"))
}

fn answer(response: &http::Response) -> Result<Value> {
    Ok(json!({
        "status": response.status(),
        "headers": fields(response.headers()),
        "body": pieces(response)?,
    }))
}

fn pieces(response: &http::Response) -> Result<Value> {
    let mut pieces = Vec::new();
    while let Some(piece) = response.piece()? {
        pieces.extend(piece);
    }
    Ok(bytes_value(&pieces))
}

/// Makes the call that is the first argument, and looks at its answer.
fn looked(name: &str, args: &Args<'_>) -> Result<Value> {
    let response = made(args.value(0)).send()?;
    Ok(match name {
        "status" => json!(response.status()),
        "header" => optional_bytes(response.header(&args.text(1))),
        "header-all" => list(response.header_all(&args.text(1))),
        "headers" => fields(response.headers()),
        "read" => {
            let limit = args.optional(1, |args, index| args.whole(index).unsigned_abs());
            bytes_value(&response.read(limit)?)
        }
        "piece" => pieces(&response)?,
        _ => return unknown("http-response", name),
    })
}

/// Labels are an object.
fn series(name: &str, args: &Args<'_>) -> Result<Value> {
    let labels = args.value(1).as_object().cloned().unwrap_or_default();
    let labels: Vec<(&str, &str)> =
        labels.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())).collect();
    let (series, n) = (args.text(0), args.number(2));
    Ok(json!(match name {
        "counter.add" => metrics::counter(&series, &labels)?.add(n)?,
        "gauge.set" => metrics::gauge(&series, &labels)?.set(n)?,
        "gauge.add" => metrics::gauge(&series, &labels)?.add(n)?,
        "histogram.observe" => {
            let buckets: Vec<f64> =
                args.value(3).as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
            metrics::histogram(&series, &labels, &buckets)?.observe(n)?;
        }
        _ => return unknown("metrics", name),
    }))
}

fn bytes(owner: &str, name: &str, args: &Args<'_>) -> Result<Value> {
    let (first, second, third) = (args.bytes(0), args.bytes(1), args.bytes(2));
    Ok(match (owner, name) {
        ("codec", "base64-encode") => json!(codec::base64_encode(&first)),
        ("codec", "base64-decode") => bytes_value(&codec::base64_decode(&first)?),
        ("codec", "base64url-encode") => json!(codec::base64url_encode(&first)),
        ("codec", "base64url-decode") => bytes_value(&codec::base64url_decode(&first)?),
        ("codec", "hex-encode") => json!(codec::hex_encode(&first)),
        ("codec", "hex-decode") => bytes_value(&codec::hex_decode(&first)?),
        ("codec", "url-encode") => json!(codec::url_encode(&first)),
        ("codec", "url-decode") => bytes_value(&codec::url_decode(&first)?),
        ("crypto", "hash") => bytes_value(&crypto::hash(&args.text(0), &second)?),
        ("crypto", "hmac") => bytes_value(&crypto::hmac(&args.text(0), &second, &third)?),
        ("crypto", "equal") => json!(crypto::equal(&first, &second)),
        ("crypto", "random") => {
            bytes_value(&crypto::random(u32::try_from(args.whole(0)).unwrap_or(u32::MAX))?)
        }
        ("crypto", "uuid") => json!(crypto::uuid()?),
        ("crypto", "encrypt") => bytes_value(&crypto::encrypt(&first, &second, &third)?),
        ("crypto", "decrypt") => bytes_value(&crypto::decrypt(&first, &second, &third)?),
        ("crypto", "verify") => json!(crypto::verify(&args.text(0), &second, &third, &args.bytes(3))?),
        _ => return unknown(owner, name),
    })
}

fn others(function: &str, args: &Args<'_>) -> Result<Value> {
    let (first, second) = (args.text(0), args.bytes(1));
    Ok(match function {
        "log.debug" => json!(log::debug(first)),
        "log.info" => json!(log::info(first)),
        "log.warn" => json!(log::warn(first)),
        "log.error" => json!(log::error(first)),
        "secrets.get" => bytes_value(&secrets::get(&first)?),
        "password.verify" => json!(password::verify(&first, &second)?),
        "jwt.verify" => {
            serde_json::from_str(&jwt::verify(&args.bytes(0), &keys(args), &options(args.value(2)))?)?
        }
        "regex.is-match" => json!(regex::is_match(&first, &second)?),
        "regex.find" => match regex::find(&first, &second)? {
            Some(groups) => groups.into_iter().map(optional_bytes).collect(),
            None => Value::Null,
        },
        "regex.replace" => bytes_value(&regex::replace(&first, &second, &args.bytes(2))?),
        "ip.is-valid" => json!(ip::is_valid(&first)),
        "ip.contains" => json!(ip::Networks::parse(&args.texts(0))?.contains(&args.text(1))?),
        "time.now" => json!(time::now()),
        "time.monotonic" => json!(time::monotonic().as_secs_f64()),
        "time.sleep" => json!(time::sleep(args.time(0))?),
        "timer.set" => json!(timer::set(&first, args.time(1))?),
        "timer.cancel" => json!(timer::cancel(&first)),
        _ => return unknown("", function),
    })
}

/// `{ jwks }`, `{ secret }` or `{ pem }`.
fn keys(args: &Args<'_>) -> jwt::Keys {
    let keys = args.value(1);
    let text = |name: &str| keys[name].as_str().map(str::to_owned);
    match (text("secret"), text("pem")) {
        (Some(secret), _) => jwt::Keys::Secret(secret.into_bytes()),
        (None, Some(pem)) => jwt::Keys::Pem(pem),
        (None, None) => jwt::Keys::Jwks(text("jwks").unwrap_or_default()),
    }
}

fn options(value: &Value) -> jwt::Options {
    let texts = |name: &str| Args(std::slice::from_ref(&value[name])).texts(0);
    jwt::Options {
        algorithms: texts("algorithms"),
        issuers: texts("issuers"),
        audiences: texts("audiences"),
        leeway: value["leeway"].as_u64().and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(0),
        required: texts("required"),
    }
}

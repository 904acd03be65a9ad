"""The twin of tests/guests/conformance: a plugin that does what its settings say. Its settings, steps and values are
described there; what each function of the WIT package is in Python, `functions` says."""

import json
import re

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.exports import plugin
from wit_world.imports import (
    codec, crypto, http, ip, jwt, kv, log, metrics, password, regex, secrets, time, timer, types, websocket,
)

settings = {"hooks": {}}

# What hooks without an exchange have saved.
common = {}

# Values ---------------------------------------------------------------------------------------------------------------


def bytes_value(data):
    """Bytes as a value: text, or hexadecimal."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"hex": data.hex()}


def values(all):
    return [bytes_value(data) for data in all]


def fields(entries):
    return [[entry.name, bytes_value(entry.value)] for entry in entries]


def shown(value):
    """Within texts. Keys of objects are sorted."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def to_bytes(value):
    if isinstance(value, dict) and "hex" in value:
        return bytes.fromhex(value["hex"])
    return shown(value).encode()


def optional_bytes(value):
    return None if value is None else to_bytes(value)


def filled(value, kept):
    """A value with what was saved in the place of `"$name"` and `"${name}"`."""
    if isinstance(value, str):
        if value.startswith("$") and value[1:] in kept:
            return kept[value[1:]]
        return re.sub(r"\$\{([^}]*)\}", lambda found: shown(kept[found[1]]) if found[1] in kept else found[0], value)
    if isinstance(value, list):
        return [filled(inner, kept) for inner in value]
    if isinstance(value, dict):
        return {name: filled(inner, kept) for name, inner in value.items()}
    return value


# Names of the WIT package in Python: `get-all` is `get_all`, the enumeration's `to-client` is `TO_CLIENT`, and the
# variant's `hash-key` is `HashKey`.


def snake(name):
    return name.replace("-", "_")


def camel(name):
    return name.title().replace("-", "")


def kebab(member):
    return member.name.lower().replace("_", "-")


def direction(name):
    return types.Direction[snake(name).upper()]


def opcode(name):
    return types.Opcode[(name or "text").upper()]


def frame_value(frame):
    return {
        "direction": kebab(frame.direction), "opcode": kebab(frame.opcode), "first": frame.first, "last": frame.last,
        "sequence": frame.sequence, "compressed": frame.compressed, "size": frame.size,
    }


# Functions ------------------------------------------------------------------------------------------------------------


def there(given, name):
    if name not in given:
        raise Exception(f"this hook has no {name}")
    return given[name]


headers = {
    "get": lambda of, name: bytes_value(of.get(shown(name))),
    "get-all": lambda of, name: values(of.get_all(shown(name))),
    "set": lambda of, name, value: of.set(shown(name), to_bytes(value)),
    "add": lambda of, name, value: of.add(shown(name), to_bytes(value)),
    "remove": lambda of, name: of.remove(shown(name)),
    "entries": lambda of: fields(of.entries()),
}

body = {
    "read": lambda of, limit=None: bytes_value(of.read(limit)),
    "replace": lambda of, data: of.replace(to_bytes(data)),
    "pass": lambda of: of.pass_(),
}


def getters(*names):
    return {name: lambda of, name=snake(name): getattr(of, name)() for name in names}


connection = getters(
    "id", "listener", "peer", "peer-ip", "local-address", "tls-version", "tls-cipher", "sni", "alpn", "client-subject",
    "client-fingerprint",
)

request = {
    **getters(
        "request-id", "route", "method", "scheme", "host", "path", "query-string", "version", "is-websocket",
        "client-ip", "upstream",
    ),
    "capture": lambda req, name: req.capture(shown(name)),
    "set-method": lambda req, value: req.set_method(shown(value)),
    "set-path": lambda req, value: req.set_path(shown(value)),
    "set-query-string": lambda req, value: req.set_query_string(shown(value)),
    "set-upstream": lambda req, value: req.set_upstream(shown(value)),
}

response = {
    **getters("status", "endpoint"),
    "set-status": lambda res, value: res.set_status(value),
}


def watch(names):
    watched = types.Watch(0)
    for name in names:
        watched |= types.Watch[name.upper()]
    return watched


relay = {
    **getters("id", "route", "request-id", "client-ip", "subprotocol"),
    "send": lambda ws, to, data, kind=None: ws.send(direction(to), to_bytes(data), opcode(kind)),
    "close": lambda ws, code, reason=None: ws.close(code, reason or ""),
    "join": lambda ws, group: ws.join(shown(group)),
    "leave": lambda ws, group: ws.leave(shown(group)),
    "watch": lambda ws, names: ws.watch(watch(names)),
    "limit": lambda ws, limits: ws.limit(websocket.RelayLimits(
        limits.get("max-message"), limits.get("idle-timeout"), limits.get("max-age"), limits.get("ping-interval"),
    )),
}

store = {
    "get": lambda of, key: bytes_value(of.get(to_bytes(key))),
    "set": lambda of, key, value, ttl=None: of.set(to_bytes(key), to_bytes(value), ttl),
    "add": lambda of, key, value, ttl=None: of.add(to_bytes(key), to_bytes(value), ttl),
    "incr": lambda of, key, by, initial=None, ttl=None: of.incr(to_bytes(key), by, initial or 0, ttl),
    "cas": lambda of, key, expected, value, ttl=None:
        of.cas(to_bytes(key), optional_bytes(expected), to_bytes(value), ttl),
    "delete": lambda of, key: of.delete(to_bytes(key)),
    "ttl": lambda of, key: of.ttl(to_bytes(key)),
}

group = {
    "send": lambda of, to, data, kind=None, but=None: of.send(direction(to), to_bytes(data), opcode(kind), but),
    "close": lambda of, code, reason=None: of.close(code, reason or ""),
    "count": lambda of: of.count(),
    "members": lambda of: of.members(),
}


def made(call):
    return http.Call(
        url=call.get("url"),
        upstream=call.get("upstream"),
        path=call.get("path"),
        method=call.get("method"),
        headers=[types.Header(name, to_bytes(value)) for name, value in call.get("headers", [])],
        body=to_bytes(call.get("body", "")),
        timeout=call.get("timeout"),
        limit=call.get("limit"),
        stream=call.get("stream", False),
    )


def pieces(response):
    return bytes_value(b"".join(iter(response.piece, None)))


def answer(response):
    return {"status": response.status(), "headers": fields(response.headers()), "body": pieces(response)}


looks = {
    "status": lambda response: response.status(),
    "header": lambda response, name: bytes_value(response.header(shown(name))),
    "header-all": lambda response, name: values(response.header_all(shown(name))),
    "headers": lambda response: fields(response.headers()),
    "read": lambda response, limit=None: bytes_value(response.read(limit)),
    "piece": pieces,
}


def labels(of):
    # An empty table of Lua is a list and an object at once.
    return [metrics.Label(name, shown(value)) for name, value in dict(of).items()]


def keys(of):
    if "secret" in of:
        return jwt.Keys_Secret(to_bytes(of["secret"]))
    return jwt.Keys_Pem(of["pem"]) if "pem" in of else jwt.Keys_Jwks(of.get("jwks", ""))


def jwt_options(of):
    return jwt.Options(
        of.get("algorithms", []), of.get("issuers", []), of.get("audiences", []), of.get("leeway", 0),
        of.get("required", []),
    )


def found(pattern, data):
    groups = regex.find(shown(pattern), to_bytes(data))
    return None if groups is None else values(groups)


def find_relay(id):
    found = websocket.find(shown(id))
    return None if found is None else found.id()


def send_to(id, to, data, kind=None):
    found = websocket.find(shown(id))
    return False if found is None else found.send(direction(to), to_bytes(data), opcode(kind))


functions = {
    "log.debug": lambda _, message: log.debug(shown(message)),
    "log.info": lambda _, message: log.info(shown(message)),
    "log.warn": lambda _, message: log.warn(shown(message)),
    "log.error": lambda _, message: log.error(shown(message)),
    "secrets.get": lambda _, name: bytes_value(secrets.get(shown(name))),
    "codec.base64-encode": lambda _, data: codec.base64_encode(to_bytes(data)),
    "codec.base64-decode": lambda _, data: bytes_value(codec.base64_decode(to_bytes(data))),
    "codec.base64url-encode": lambda _, data: codec.base64url_encode(to_bytes(data)),
    "codec.base64url-decode": lambda _, data: bytes_value(codec.base64url_decode(to_bytes(data))),
    "codec.hex-encode": lambda _, data: codec.hex_encode(to_bytes(data)),
    "codec.hex-decode": lambda _, data: bytes_value(codec.hex_decode(to_bytes(data))),
    "codec.url-encode": lambda _, data: codec.url_encode(to_bytes(data)),
    "codec.url-decode": lambda _, data: bytes_value(codec.url_decode(to_bytes(data))),
    "crypto.hash": lambda _, name, data: bytes_value(crypto.hash(shown(name), to_bytes(data))),
    "crypto.hmac": lambda _, name, key, data: bytes_value(crypto.hmac(shown(name), to_bytes(key), to_bytes(data))),
    "crypto.equal": lambda _, a, b: crypto.equal(to_bytes(a), to_bytes(b)),
    "crypto.random": lambda _, count: bytes_value(crypto.random(count)),
    "crypto.uuid": lambda _: crypto.uuid(),
    "crypto.encrypt": lambda _, *given: bytes_value(crypto.encrypt(*map(to_bytes, given))),
    "crypto.decrypt": lambda _, *given: bytes_value(crypto.decrypt(*map(to_bytes, given))),
    "crypto.verify": lambda _, name, *given: crypto.verify(shown(name), *map(to_bytes, given)),
    "password.verify": lambda _, hash, given: password.verify(shown(hash), to_bytes(given)),
    "jwt.verify": lambda _, token, by, options:
        json.loads(jwt.verify(to_bytes(token), keys(by), jwt_options(dict(options)))),
    "metrics.counter.add": lambda _, name, of, n: metrics.counter(name, labels(of)).add(n),
    "metrics.gauge.set": lambda _, name, of, n: metrics.gauge(name, labels(of)).set(n),
    "metrics.gauge.add": lambda _, name, of, n: metrics.gauge(name, labels(of)).add(n),
    "metrics.histogram.observe": lambda _, name, of, n, buckets:
        metrics.histogram(name, labels(of), buckets).observe(n),
    "regex.is-match": lambda _, pattern, data: regex.is_match(shown(pattern), to_bytes(data)),
    "regex.find": lambda _, pattern, data: found(pattern, data),
    "regex.replace": lambda _, pattern, data, by:
        bytes_value(regex.replace(shown(pattern), to_bytes(data), to_bytes(by))),
    "ip.is-valid": lambda _, address: ip.is_valid(shown(address)),
    "ip.contains": lambda _, networks, address: ip.Networks.parse(networks).contains(shown(address)),
    "time.now": lambda _: time.now(),
    "time.monotonic": lambda _: time.monotonic(),
    "time.sleep": lambda _, seconds: time.sleep(seconds),
    "timer.set": lambda _, name, seconds: timer.set(shown(name), seconds),
    "timer.cancel": lambda _, name: timer.cancel(shown(name)),
    "http.request": lambda _, call: answer(http.request(made(call))),
    "http.all": lambda _, calls: [
        answer(result.value) if isinstance(result, Ok) else {"error": told(result)}
        for result in http.all([made(call) for call in calls])
    ],
    "websocket.find": lambda _, id: find_relay(id),
    "websocket.send": lambda _, *args: send_to(*args),
}


def add(owner, members, find):
    """Those of handles, by where these come from."""
    for name, act in members.items():
        functions[f"{owner}.{name}"] = lambda given, *args, act=act: act(find(given), *args)


def add_made(owner, members, make):
    """Those of what their first argument makes."""
    for name, act in members.items():
        functions[f"{owner}.{name}"] = lambda _, of, *args, act=act: act(make(of), *args)


for owner, members in (("request", request), ("response", response)):
    add(owner, members, lambda given, owner=owner: there(given, owner))
    add(f"{owner}.headers", headers, lambda given, owner=owner: there(given, owner).headers())
    add(f"{owner}.body", body, lambda given, owner=owner: there(given, owner).body())
add("request.query", headers, lambda given: there(given, "request").query())
add("request.cookies", headers, lambda given: there(given, "request").cookies())
add("request.connection", connection, lambda given: there(given, "request").connection())
add("connection", connection, lambda given: there(given, "connection"))
add("relay", relay, lambda given: there(given, "relay"))
add("kv", store, lambda _: kv)
add_made("store", store, lambda namespace: kv.Store.open(namespace))
add_made("group", group, lambda name: websocket.Group.open(name))
add_made("http-response", looks, lambda call: http.request(made(call)))

# Steps ----------------------------------------------------------------------------------------------------------------


def told(problem):
    """What went wrong, as text."""
    if not isinstance(problem, Err):
        return str(problem)
    error = problem.value
    if isinstance(error, str):
        return error
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__.removeprefix("Error_")).lower()
    return f"{kind}: {error.value}" if hasattr(error, "value") else kind


def take(hook, kept, given):
    """Takes the steps of a hook. The name and the value of what the last of them says; none where none says anything."""
    for step in settings["hooks"].get(hook, []):
        if "if" in step and kept.get(step["if"]) in (None, False):
            continue
        if "call" in step:
            try:
                result = functions[step["call"]](given, *filled(step.get("args", []), kept))
            except Exception as problem:
                if "save" not in step:
                    raise
                result = {"error": told(problem)}
            if "save" in step:
                # A whole number is one whatever type it has in the WIT.
                kept[step["save"]] = int(result) if isinstance(result, float) and result.is_integer() else result
        if "say" in step:
            said = filled(step["say"], kept)
            name, value = (said, None) if isinstance(said, str) else next(iter(said.items()))
            if name == "nothing":
                return None
            if name == "fail":
                raise Exception(value)
            while name == "loop":
                pass
            return name, value
    return None


def reply(value):
    return types.Reply(
        value.get("status", 200),
        [types.Header(name, value.encode()) for name, value in value.get("headers", [])],
        value.get("body", "").encode(),
    )


# What the verdicts have that are more than a text.
payloads = {
    "respond": reply,
    "replace": str.encode,
    "hash-key": str.encode,
    "close": lambda value: types.CloseReason(value["code"], value.get("reason", "")),
}


def verdict(variant, otherwise, hook, kept, given):
    """A hook's verdict: what it says by the names of its variant, or that it failed."""
    try:
        name, value = take(hook, kept, given) or (otherwise, None)
        said = getattr(types, f"{variant}_{camel(name)}")
        return said() if value is None else said(payloads.get(name, str)(value))
    except Exception as problem:
        return getattr(types, f"{variant}_Fail")(told(problem))


def result(hook, kept, given):
    """A hook whose failure is an error of its result."""
    try:
        return take(hook, kept, given)
    except Exception as problem:
        raise Err(told(problem))


def watched(hook, kept, given):
    said = result(hook, kept, given)
    return watch(["frames", "messages", "send"] if said is None else said[1])


# Hooks ----------------------------------------------------------------------------------------------------------------


class Exchange(plugin.Exchange):
    def __init__(self, id):
        self.kept = {"exchange": id}


class Plugin(exports.Plugin):
    def load(self, given):
        settings.update(json.loads(given))
        settings["hooks"] = dict(settings["hooks"])
        result("load", common, {})
        wanted = types.Hooks(0)
        for flag in types.Hooks:
            if kebab(flag) in settings["hooks"]:
                wanted |= flag
        return plugin.Manifest(wanted, settings.get("tick_every"))


class ConnectHooks(exports.ConnectHooks):
    def on_connect(self, connection):
        return verdict("ConnectVerdict", "accept", "connect", common, {"connection": connection})


def piece(hook, x, data, last):
    x.kept.update(data=bytes_value(data), last=last)
    return verdict("Piece", "pass", hook, x.kept, {})


class HttpHooks(exports.HttpHooks):
    def on_request(self, x, request):
        return verdict("Verdict", "proceed", "request", x.kept, {"request": request})

    def on_request_body(self, x, data, last):
        return piece("request-body", x, data, last)

    def select_upstream(self, x, selection, request):
        candidates = [vars(candidate) for candidate in selection.candidates]
        x.kept["selection"] = {**vars(selection), "candidates": candidates}
        return verdict("Target", "default", "select-upstream", x.kept, {"request": request})

    def on_response(self, x, response, request):
        return verdict("Verdict", "proceed", "response", x.kept, {"request": request, "response": response})

    def on_response_body(self, x, data, last):
        return piece("response-body", x, data, last)

    def on_log(self, x, response, request):
        result("log", x.kept, {"request": request, "response": response})


def frame(hook, x, relay, frame):
    x.kept.update(data=bytes_value(frame.data), frame=frame_value(frame))
    return verdict("FrameVerdict", "forward", hook, x.kept, {"relay": relay})


class WebsocketHooks(exports.WebsocketHooks):
    def on_websocket(self, x, relay, request):
        return watched("websocket", x.kept, {"relay": relay, "request": request})

    def on_frame(self, x, relay, given):
        return frame("frame", x, relay, given)

    def on_message(self, x, relay, given):
        return frame("message", x, relay, given)

    def on_close(self, x, relay, closed):
        x.kept["closed"] = {"code": closed.code, "reason": closed.reason, "by": kebab(closed.by)}
        result("close", x.kept, {"relay": relay})


class MigrateHooks(exports.MigrateHooks):
    def save(self, x):
        result("save", x.kept, {})
        return json.dumps(x.kept).encode()

    def on_migrate(self, x, relay, old):
        x.kept["old"] = json.loads(old)
        return watched("migrate", x.kept, {"relay": relay})


class TickHooks(exports.TickHooks):
    def on_tick(self):
        result("tick", common, {})

    def on_timer(self, name):
        common["name"] = name
        result("timer", common, {})

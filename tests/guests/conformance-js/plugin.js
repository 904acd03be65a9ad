// The twin of tests/guests/conformance: a plugin that does what its settings say. Its settings, steps and values are
// described there; what each function of the WIT package is in JavaScript, `functions` says.

import * as codec from "weir:plugin/codec@1.0.0";
import * as crypto from "weir:plugin/crypto@1.0.0";
import * as http from "weir:plugin/http@1.0.0";
import * as ip from "weir:plugin/ip@1.0.0";
import * as jwt from "weir:plugin/jwt@1.0.0";
import * as kv from "weir:plugin/kv@1.0.0";
import * as log from "weir:plugin/log@1.0.0";
import * as metrics from "weir:plugin/metrics@1.0.0";
import * as password from "weir:plugin/password@1.0.0";
import * as regex from "weir:plugin/regex@1.0.0";
import * as secrets from "weir:plugin/secrets@1.0.0";
import * as time from "weir:plugin/time@1.0.0";
import * as timer from "weir:plugin/timer@1.0.0";
import * as websocket from "weir:plugin/websocket@1.0.0";

let settings = { hooks: {} };

// What hooks without an exchange have saved.
const common = {};

// Values --------------------------------------------------------------------------------------------------------------

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

// Bytes as a value: text, or hexadecimal.
function bytesValue(data) {
  if (data === undefined) return null;
  const array = Uint8Array.from(data);
  try {
    return strict.decode(array);
  } catch {
    return { hex: Array.from(array, (byte) => byte.toString(16).padStart(2, "0")).join("") };
  }
}

const orNull = (value) => (value === undefined ? null : value);
const isNone = (value) => value === undefined || value === null;
const optional = (value) => (isNone(value) ? undefined : value);
const list = (values) => Array.from(values, bytesValue);
const fields = (entries) => entries.map((entry) => [entry.name, bytesValue(entry.value)]);

// Texts with values in them: keys of objects are sorted.
function json(value) {
  if (Array.isArray(value)) return `[${value.map(json).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const entries = Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${json(value[key])}`);
  return `{${entries.join(",")}}`;
}

const shown = (value) => (typeof value === "string" ? value : json(value));
const text = (value) => (value === undefined ? "null" : shown(value));

function bytes(value) {
  if (value !== null && typeof value === "object" && typeof value.hex === "string") {
    return Uint8Array.from(value.hex.match(/../g) ?? [], (digits) => parseInt(digits, 16));
  }
  return encoder.encode(text(value));
}

const optionalBytes = (value) => (isNone(value) ? undefined : bytes(value));
const whole = (value) => BigInt(value ?? 0);
const optionalWhole = (value) => (isNone(value) ? undefined : BigInt(value));

// A value with what was saved in the place of `"$name"` and `"${name}"`.
function filled(value, kept) {
  if (typeof value === "string") {
    if (value.startsWith("$") && Object.hasOwn(kept, value.slice(1))) return kept[value.slice(1)];
    return value.replace(/\$\{([^}]*)\}/g, (all, name) => (Object.hasOwn(kept, name) ? shown(kept[name]) : all));
  }
  if (Array.isArray(value)) return value.map((inner) => filled(inner, kept));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, filled(inner, kept)]));
}

// Names of the WIT package in JavaScript: `get-all` is `getAll`.
const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());

function frameValue(frame) {
  const { direction, opcode, first, last, sequence, compressed, size } = frame;
  return { direction, opcode, first, last, sequence: Number(sequence), compressed, size: Number(size) };
}

// Functions -----------------------------------------------------------------------------------------------------------

function there(given, name) {
  if (!given[name]) throw new Error(`this hook has no ${name}`);
  return given[name];
}

const headers = {
  get: (fields, name) => bytesValue(fields.get(text(name))),
  "get-all": (fields, name) => list(fields.getAll(text(name))),
  set: (fields, name, value) => fields.set(text(name), bytes(value)),
  add: (fields, name, value) => fields.add(text(name), bytes(value)),
  remove: (fields, name) => fields.remove(text(name)),
  entries: (of) => fields(of.entries()),
};

const body = {
  read: (body, limit) => bytesValue(body.read(optionalWhole(limit))),
  replace: (body, data) => body.replace(bytes(data)),
  pass: (body) => body.pass(),
};

const getters = (...names) => Object.fromEntries(names.map((name) => [name, (of) => orNull(of[camel(name)]())]));

const connection = getters(
  "id", "listener", "peer", "peer-ip", "local-address", "tls-version", "tls-cipher", "sni", "alpn", "client-subject",
  "client-fingerprint",
);

const request = {
  ...getters(
    "request-id", "route", "method", "scheme", "host", "path", "query-string", "version", "is-websocket", "client-ip",
    "upstream",
  ),
  capture: (req, name) => orNull(req.capture(text(name))),
  "set-method": (req, value) => req.setMethod(text(value)),
  "set-path": (req, value) => req.setPath(text(value)),
  "set-query-string": (req, value) => req.setQueryString(text(value)),
  "set-upstream": (req, value) => req.setUpstream(text(value)),
};

const response = {
  ...getters("status", "endpoint"),
  "set-status": (res, value) => res.setStatus(value),
};

function watch(names) {
  const watched = { frames: false, messages: false, send: false };
  for (const name of Object.values(names)) watched[name] = true;
  return watched;
}

const relay = {
  ...getters("id", "route", "request-id", "client-ip", "subprotocol"),
  send: (ws, to, data, opcode) => ws.send(to, bytes(data), opcode ?? "text"),
  close: (ws, code, reason) => ws.close(code, reason ?? ""),
  join: (ws, group) => ws.join(text(group)),
  leave: (ws, group) => ws.leave(text(group)),
  watch: (ws, names) => ws.watch(watch(names)),
  limit: (ws, limits) =>
    ws.limit({
      maxMessage: optionalWhole(limits["max-message"]),
      idleTimeout: optional(limits["idle-timeout"]),
      maxAge: optional(limits["max-age"]),
      pingInterval: optional(limits["ping-interval"]),
    }),
};

const store = {
  get: (of, key) => bytesValue(of.get(bytes(key))),
  set: (of, key, value, ttl) => of.set(bytes(key), bytes(value), optional(ttl)),
  add: (of, key, value, ttl) => of.add(bytes(key), bytes(value), optional(ttl)),
  incr: (of, key, by, initial, ttl) => Number(of.incr(bytes(key), whole(by), whole(initial), optional(ttl))),
  cas: (of, key, expected, value, ttl) => of.cas(bytes(key), optionalBytes(expected), bytes(value), optional(ttl)),
  delete: (of, key) => (of.delete ?? of._delete).call(of, bytes(key)),
  ttl: (of, key) => orNull(of.ttl(bytes(key))),
};

const group = {
  send: (of, to, data, opcode, except) => of.send(to, bytes(data), opcode ?? "text", optional(except)),
  close: (of, code, reason) => of.close(code, reason ?? ""),
  count: (of) => of.count(),
  members: (of) => of.members(),
};

function made(call) {
  return {
    url: optional(call.url),
    upstream: optional(call.upstream),
    path: optional(call.path),
    method: optional(call.method),
    headers: (call.headers ?? []).map(([name, value]) => ({ name, value: bytes(value) })),
    body: bytes(call.body ?? ""),
    timeout: optional(call.timeout),
    limit: optionalWhole(call.limit),
    stream: call.stream === true,
  };
}

function pieces(response) {
  const all = [];
  for (let piece = response.piece(); piece !== undefined; piece = response.piece()) all.push(...piece);
  return bytesValue(all);
}

const answer = (response) => ({
  status: response.status(), headers: fields(response.headers()), body: pieces(response),
});

const looks = {
  status: (response) => response.status(),
  header: (response, name) => bytesValue(response.header(text(name))),
  "header-all": (response, name) => list(response.headerAll(text(name))),
  headers: (response) => fields(response.headers()),
  read: (response, limit) => bytesValue(response.read(optionalWhole(limit))),
  piece: pieces,
};

const labels = (of) => Object.entries(of ?? {}).map(([name, value]) => ({ name, value: text(value) }));

const keys = (of) =>
  of.secret !== undefined ? { tag: "secret", val: bytes(of.secret) }
    : of.pem !== undefined ? { tag: "pem", val: of.pem }
    : { tag: "jwks", val: of.jwks ?? "" };

const jwtOptions = (of) => ({
  algorithms: of.algorithms ?? [], issuers: of.issuers ?? [], audiences: of.audiences ?? [], leeway: of.leeway ?? 0,
  required: of.required ?? [],
});

const functions = {
  "log.debug": (_, message) => log.debug(text(message)),
  "log.info": (_, message) => log.info(text(message)),
  "log.warn": (_, message) => log.warn(text(message)),
  "log.error": (_, message) => log.error(text(message)),
  "secrets.get": (_, name) => bytesValue(secrets.get(text(name))),
  "codec.base64-encode": (_, data) => codec.base64Encode(bytes(data)),
  "codec.base64-decode": (_, data) => bytesValue(codec.base64Decode(bytes(data))),
  "codec.base64url-encode": (_, data) => codec.base64urlEncode(bytes(data)),
  "codec.base64url-decode": (_, data) => bytesValue(codec.base64urlDecode(bytes(data))),
  "codec.hex-encode": (_, data) => codec.hexEncode(bytes(data)),
  "codec.hex-decode": (_, data) => bytesValue(codec.hexDecode(bytes(data))),
  "codec.url-encode": (_, data) => codec.urlEncode(bytes(data)),
  "codec.url-decode": (_, data) => bytesValue(codec.urlDecode(bytes(data))),
  "crypto.hash": (_, name, data) => bytesValue(crypto.hash(text(name), bytes(data))),
  "crypto.hmac": (_, name, key, data) => bytesValue(crypto.hmac(text(name), bytes(key), bytes(data))),
  "crypto.equal": (_, a, b) => crypto.equal(bytes(a), bytes(b)),
  "crypto.random": (_, count) => bytesValue(crypto.random(count)),
  "crypto.uuid": () => crypto.uuid(),
  "crypto.encrypt": (_, key, data, aad) => bytesValue(crypto.encrypt(bytes(key), bytes(data), bytes(aad))),
  "crypto.decrypt": (_, key, data, aad) => bytesValue(crypto.decrypt(bytes(key), bytes(data), bytes(aad))),
  "crypto.verify": (_, name, key, data, signature) =>
    crypto.verify(text(name), bytes(key), bytes(data), bytes(signature)),
  "password.verify": (_, hash, given) => password.verify(text(hash), bytes(given)),
  "jwt.verify": (_, token, by, options) => JSON.parse(jwt.verify(bytes(token), keys(by), jwtOptions(options))),
  "metrics.counter.add": (_, name, of, n) => metrics.counter(name, labels(of)).add(n),
  "metrics.gauge.set": (_, name, of, n) => metrics.gauge(name, labels(of)).set(n),
  "metrics.gauge.add": (_, name, of, n) => metrics.gauge(name, labels(of)).add(n),
  "metrics.histogram.observe": (_, name, of, n, buckets) =>
    metrics.histogram(name, labels(of), Float64Array.from(buckets ?? [])).observe(n),
  "regex.is-match": (_, pattern, data) => regex.isMatch(text(pattern), bytes(data)),
  "regex.find": (_, pattern, data) => {
    const groups = regex.find(text(pattern), bytes(data));
    return groups === undefined ? null : list(groups);
  },
  "regex.replace": (_, pattern, data, by) => bytesValue(regex.replace(text(pattern), bytes(data), bytes(by))),
  "ip.is-valid": (_, address) => ip.isValid(text(address)),
  "ip.contains": (_, networks, address) => ip.Networks.parse(networks).contains(text(address)),
  "time.now": () => time.now(),
  "time.monotonic": () => time.monotonic(),
  "time.sleep": (_, seconds) => time.sleep(seconds),
  "timer.set": (_, name, seconds) => timer.set(text(name), seconds),
  "timer.cancel": (_, name) => timer.cancel(text(name)),
  "http.request": (_, call) => answer(http.request(made(call))),
  "http.all": (_, calls) =>
    http.all(calls.map(made)).map((result) =>
      result.tag === "ok" ? answer(result.val) : { error: told(result.val) }),
  "websocket.find": (_, id) => {
    const found = websocket.find(text(id));
    return found === undefined ? null : found.id();
  },
  "websocket.send": (_, id, to, data, opcode) => {
    const found = websocket.find(text(id));
    if (found === undefined) return false;
    found.send(to, bytes(data), opcode ?? "text");
    return null;
  },
};

// Those of handles, by where these come from.
function add(owner, members, find) {
  for (const [name, act] of Object.entries(members)) {
    functions[`${owner}.${name}`] = (given, ...args) => act(find(given), ...args);
  }
}
for (const [owner, members] of Object.entries({ request, response })) {
  add(owner, members, (given) => there(given, owner));
  add(`${owner}.headers`, headers, (given) => there(given, owner).headers());
  add(`${owner}.body`, body, (given) => there(given, owner).body());
}
add("request.query", headers, (given) => there(given, "request").query());
add("request.cookies", headers, (given) => there(given, "request").cookies());
add("request.connection", connection, (given) => there(given, "request").connection());
add("connection", connection, (given) => there(given, "connection"));
add("relay", relay, (given) => there(given, "relay"));
add("kv", store, () => kv);
for (const [name, act] of Object.entries(store)) {
  functions[`store.${name}`] = (_, namespace, ...args) => act(kv.Store.open(namespace), ...args);
}
for (const [name, act] of Object.entries(group)) {
  functions[`group.${name}`] = (_, of, ...args) => act(websocket.Group.open(of), ...args);
}
for (const [name, look] of Object.entries(looks)) {
  functions[`http-response.${name}`] = (_, call, ...args) => look(http.request(made(call)), ...args);
}

// Steps ---------------------------------------------------------------------------------------------------------------

// What went wrong, as text.
function told(problem) {
  const payload = problem?.payload ?? problem;
  if (typeof payload === "string") return payload;
  if (payload?.tag) return payload.val === undefined ? payload.tag : `${payload.tag}: ${payload.val}`;
  return problem?.message ?? String(problem);
}

// Takes the steps of a hook. What the last of them says; `undefined` where none says anything.
function take(hook, kept, given) {
  for (const step of settings.hooks[hook] ?? []) {
    if (step.if !== undefined && (isNone(kept[step.if]) || kept[step.if] === false)) continue;
    if (step.call !== undefined) {
      const act = functions[step.call];
      if (!act) throw new Error(`${step.call} is no function of the host`);
      let result;
      try {
        result = orNull(act(given, ...filled(step.args ?? [], kept)));
      } catch (problem) {
        if (step.save === undefined) throw problem;
        result = { error: told(problem) };
      }
      if (step.save !== undefined) kept[step.save] = result;
    }
    if (step.say !== undefined) {
      const said = filled(step.say, kept);
      const [name, value] = typeof said === "string" ? [said] : Object.entries(said)[0];
      if (name === "nothing") return undefined;
      if (name === "fail") throw new Error(value);
      while (name === "loop");
      return { name, value };
    }
  }
  return undefined;
}

const reply = (value) => ({
  status: value.status ?? 200,
  headers: (value.headers ?? []).map(([name, value]) => ({ name, value: encoder.encode(value) })),
  body: encoder.encode(value.body ?? ""),
});

// A hook's verdict: what it says by the names of its variant, or that it failed.
function verdict(otherwise, hook, kept, given) {
  try {
    const said = take(hook, kept, given);
    switch (said?.name) {
      case undefined: return { tag: otherwise };
      case "respond": return { tag: "respond", val: reply(said.value) };
      case "replace": case "hash-key": return { tag: said.name, val: encoder.encode(said.value) };
      case "close": return { tag: "close", val: { code: said.value.code, reason: said.value.reason ?? "" } };
      default: return { tag: said.name, val: said.value };
    }
  } catch (problem) {
    return { tag: "fail", val: told(problem) };
  }
}

// A hook whose failure is an error of its result.
function result(hook, kept, given) {
  try {
    return take(hook, kept, given);
  } catch (problem) {
    throw Object.assign(new Error(told(problem)), { payload: told(problem) });
  }
}

function watched(hook, kept, given) {
  const said = result(hook, kept, given);
  return said === undefined ? watch(["frames", "messages", "send"]) : watch(said.value);
}

// Hooks ---------------------------------------------------------------------------------------------------------------

class Exchange {
  constructor(id) {
    this.kept = { exchange: Number(id) };
  }
}

const FLAGS = [
  "connect", "request", "request-body", "select-upstream", "response", "response-body", "websocket", "frame", "message",
  "close", "migrate", "log", "timer", "tick",
];

export const plugin = {
  Exchange,
  load(given) {
    settings = { hooks: {}, ...JSON.parse(given) };
    result("load", common, {});
    return {
      hooks: Object.fromEntries(FLAGS.map((flag) => [camel(flag), Object.hasOwn(settings.hooks, flag)])),
      tickEvery: settings.tick_every,
    };
  },
};

export const connectHooks = {
  onConnect: (connection) => verdict("accept", "connect", common, { connection }),
};

function piece(hook, { kept }, data, last) {
  Object.assign(kept, { data: bytesValue(data), last });
  return verdict("pass", hook, kept, {});
}

export const httpHooks = {
  onRequest: ({ kept }, request) => verdict("proceed", "request", kept, { request }),
  onRequestBody: (x, data, last) => piece("request-body", x, data, last),
  selectUpstream({ kept }, selection, request) {
    const { group, candidates, attempt, failure } = selection;
    kept.selection = {
      group,
      candidates: candidates.map(({ address, weight, load, available }) => ({ address, weight, load, available })),
      attempt,
      failure: orNull(failure),
    };
    return verdict("default", "select-upstream", kept, { request });
  },
  onResponse: ({ kept }, response, request) => verdict("proceed", "response", kept, { request, response }),
  onResponseBody: (x, data, last) => piece("response-body", x, data, last),
  onLog({ kept }, response, request) {
    result("log", kept, { request, response });
  },
};

function frame(hook, { kept }, relay, frame) {
  Object.assign(kept, { data: bytesValue(frame.data), frame: frameValue(frame) });
  return verdict("forward", hook, kept, { relay });
}

export const websocketHooks = {
  onWebsocket: ({ kept }, relay, request) => watched("websocket", kept, { relay, request }),
  onFrame: (x, relay, given) => frame("frame", x, relay, given),
  onMessage: (x, relay, given) => frame("message", x, relay, given),
  onClose({ kept }, relay, closed) {
    kept.closed = { code: orNull(closed.code), reason: closed.reason, by: closed.by };
    result("close", kept, { relay });
  },
};

export const migrateHooks = {
  save({ kept }) {
    result("save", kept, {});
    return encoder.encode(JSON.stringify(kept));
  },
  onMigrate({ kept }, relay, old) {
    kept.old = JSON.parse(strict.decode(Uint8Array.from(old)));
    return watched("migrate", kept, { relay });
  },
};

export const tickHooks = {
  onTick() {
    result("tick", common, {});
  },
  onTimer(name) {
    common.name = name;
    result("timer", common, {});
  },
};

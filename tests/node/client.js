// Talks over HTTP/2 (RFC 8441) to the WebSocket echo server through weir, and says `ok` at the end. HTTP/2 is Node's, the
// WebSocket on it that of the `ws` package, which the SignalR example installs.
//
//   node client.js URL
const assert = require("node:assert");
const { once } = require("node:events");
const http2 = require("node:http2");
const { createRequire } = require("node:module");
const path = require("node:path");

const { WebSocket } = createRequire(path.join(__dirname, "../../examples/signalr/server/"))("ws");

/// Asks for a stream, and for a WebSocket on it unless `headers` says otherwise.
async function ask(session, target, headers = {}) {
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":scheme": session.encrypted ? "https" : "http",
    ":authority": "localhost",
    ":path": target,
    "sec-websocket-version": "13",
    ...headers,
  });
  const [answer] = await once(stream, "response");
  return { stream, answer, status: answer[":status"] };
}

/// A response with its body.
async function whole(session, target, headers) {
  const { stream, status } = await ask(session, target, headers);
  let body = "";
  for await (const part of stream.setEncoding("utf8")) body += part;
  return [status, body];
}

/// A WebSocket, and what comes on it, one message a call.
async function open(session, target, headers) {
  const { stream, answer, status } = await ask(session, target, headers);
  assert.equal(status, 200);
  const webSocket = new WebSocket(null, undefined, {});
  webSocket._isServer = false;
  const messages = [];
  let wake = () => {};
  webSocket.on("message", (data, binary) => {
    messages.push(binary ? data : data.toString());
    wake();
  });
  webSocket.setSocket(stream, Buffer.alloc(0), { maxPayload: 0, skipUTF8Validation: false });
  const next = async () => {
    while (messages.length === 0) await new Promise((resolve) => (wake = resolve));
    return messages.shift();
  };
  return { webSocket, answer, next, ended: once(stream, "close").then(() => stream.rstCode) };
}

async function talk(session, n) {
  const target = `/echo?n=${n}`;
  const offer = { "sec-websocket-protocol": "one, two" };
  const { webSocket, answer, next, ended } = await open(session, target, offer);
  assert.equal(answer["sec-websocket-protocol"], "two");
  assert.equal(answer["sec-websocket-accept"], undefined);
  assert.equal(await next(), target);
  webSocket.send("text: \u00e9\u4e16");
  assert.equal(await next(), "text: \u00e9\u4e16");
  const big = Buffer.alloc(1 << 20, n);
  webSocket.send(big);
  assert(big.equals(await next()));
  for (let i = 0; i < 200; i++) webSocket.send(String(i));
  for (let i = 0; i < 200; i++) assert.equal(await next(), String(i));
  webSocket.ping("weir");
  assert.equal((await once(webSocket, "pong"))[0].toString(), "weir");
  webSocket.send("close 4001 as asked");
  const [code, reason] = await once(webSocket, "close");
  assert.deepEqual([code, reason.toString()], [4001, "as asked"]);
  assert.equal(await ended, http2.constants.NGHTTP2_NO_ERROR);
}

async function main(url) {
  const session = http2.connect(url);
  const [settings] = await once(session, "remoteSettings");
  assert.equal(settings.enableConnectProtocol, true);
  await Promise.all(Array.from({ length: 20 }, (_, n) => talk(session, n)));
  assert.deepEqual(await whole(session, "/refused"), [403, "not here"]);
  assert.equal((await whole(session, "/echo", { "sec-websocket-version": "8" }))[0], 426);
  assert.equal((await whole(session, "/echo", { ":protocol": "connect-udp" }))[0], 501);
  const get = { ":method": "GET", ":protocol": undefined, "sec-websocket-version": undefined };
  assert.deepEqual(await whole(session, "/echo", get), [200, "not a WebSocket"]);
  session.close();
  console.log("ok");
}

main(process.argv[2]);

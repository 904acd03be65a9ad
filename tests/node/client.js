// Talks over HTTP/2 (RFC 8441) to the WebSocket echo server through weir, and says `ok` at the end.
//
//   node client.js URL
const assert = require("node:assert");
const { once } = require("node:events");
const http2 = require("node:http2");

const { ask, open } = require("./over_http2.js");

/// A response with its body.
async function whole(session, target, headers) {
  const { stream, status } = await ask(session, target, headers);
  let body = "";
  for await (const part of stream.setEncoding("utf8")) body += part;
  return [status, body];
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
  // In MB, more than twenty big messages at once: with the 10 of the default, Node resets a stream with ENHANCE_YOUR_CALM whose
  // response comes while that much waits to be sent.
  const session = http2.connect(url, { maxSessionMemory: 64 });
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

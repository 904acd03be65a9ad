// Talks to the echo server through a weir with the plugin `edit.lua`, and says `ok` at the end: over HTTP/1.1 to `ws:` and
// `wss:`, over HTTP/2 to `http:` and `https:`.
//
//   node messages.js URL compressed|plain
const assert = require("node:assert");
const { randomBytes } = require("node:crypto");
const { once } = require("node:events");
const http2 = require("node:http2");

const { WebSocket, inbox, open } = require("./over_http2.js");

/// So many messages each way at once. More might be too many small frames for a connection of HTTP/2 while weir is slow: it
/// ends such a connection with ENHANCE_YOUR_CALM once some two thousand wait.
const MANY = 150;

const perMessageDeflate = { threshold: 0 };

/// Opens WebSockets: what each is, and what comes on it.
async function opener(url) {
  if (url.startsWith("ws")) {
    const connect = async (target) => {
      const webSocket = new WebSocket(url + target, { perMessageDeflate });
      const next = inbox(webSocket);
      await once(webSocket, "open");
      return { webSocket, next };
    };
    return { connect, overHttp2: false, end() {} };
  }
  const session = http2.connect(url);
  await once(session, "remoteSettings");
  const connect = (target) => open(session, target, {}, perMessageDeflate);
  return { connect, overHttp2: true, end: () => session.close() };
}

async function closed(webSocket) {
  const [code, reason] = await once(webSocket, "close");
  return [code, reason.toString()];
}

/// Messages are seen and changed, both sides send at once, and the plugin ends it.
async function talk(connect, compression, n) {
  const { webSocket, next } = await connect(`/echo?n=${n}`);
  const echo = async (sent, ...expected) => {
    webSocket.send(sent);
    for (const message of expected) assert.deepEqual(await next(), message);
  };
  assert.equal(webSocket.extensions, compression === "compressed" ? "permessage-deflate" : "");
  assert.equal(await next(), `/echo?n=${n}`);
  await echo("text: \u00e9\u4e16", "text: \u00e9\u4e16");
  await echo("a secret, the secret \u4e16", "a ******, the ****** \u4e16");
  await echo("tell me", `they are ${compression}`, Buffer.from([0, 255]));
  webSocket.send("drop this");
  await echo("blank this", "");
  await echo("second", "first", "second");
  const noise = randomBytes(1 << 20);
  await echo(noise, noise);
  const large = Array.from({ length: 10_000 }, (_, n) => `the secret ${n} of secrets `).join("");
  await echo(large, large.replaceAll("secret", "******"));
  for (const piece of ["a sec", "ret, ", "the "]) {
    webSocket.send(piece, { fin: false });
    webSocket.ping(piece);
    assert.equal((await once(webSocket, "pong"))[0].toString(), piece);
  }
  await echo("secret", "a ******, the ******");
  await echo("pieces the secret word", "the ****** word");
  webSocket.send(`flood ${MANY}`);
  for (let i = 0; i < MANY; i++) webSocket.send(`number ${i}`);
  const expected = { flood: 0, number: 0 };
  for (let i = 0; i < 2 * MANY; i++) {
    const [kind, n] = (await next()).split(" ");
    assert.equal(Number(n), expected[kind]++);
  }
  webSocket.send("end this");
  assert.deepEqual(await closed(webSocket), [4001, "as the plugin says"]);
}

async function closes({ connect, overHttp2 }) {
  const byServer = (await connect("/quiet")).webSocket;
  byServer.send("close 4002 as asked");
  assert.deepEqual(await closed(byServer), [4002, "as asked"]);
  // On a stream of Node's HTTP/2, `ws` misses the answer to its own close frame now and then, without weir too.
  if (!overHttp2) {
    const byClient = (await connect("/quiet")).webSocket;
    byClient.close(4003, "bye");
    assert.deepEqual(await closed(byClient), [4003, "bye"]);
  }
  const large = await connect("/quiet");
  large.webSocket.send("before");
  large.webSocket.send(randomBytes(5 << 20));
  assert.equal(await large.next(), "before");
  assert.equal((await closed(large.webSocket))[0], 1009);
}

async function main(url, compression) {
  const opened = await opener(url);
  await Promise.all(Array.from({ length: 2 }, (_, n) => talk(opened.connect, compression, n)));
  await closes(opened);
  opened.end();
  console.log("ok");
}

main(...process.argv.slice(2));

// A WebSocket echo server over the `ws` package that the SignalR example installs.
//
//   node echo.js          prints `listening 127.0.0.1:PORT`
//   node echo.js http2    the same over HTTP/2 (RFC 8441), without TLS
//   node echo.js beside CERTIFICATE KEY    the same over HTTP/1.1 beside HTTP/2 without WebSockets, with TLS
//
// Every connection under /echo is told its request target first; /quiet is an echo and nothing more (for Autobahn),
// /plain likewise without compression; anything else is refused with 403. What is posted is printed, as `told TEXT`.
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");
const http2 = require("node:http2");
const path = require("node:path");
const { text } = require("node:stream/consumers");

const { WebSocketServer } = createRequire(path.join(__dirname, "../../examples/signalr/server/"))("ws");

const settings = {
  noServer: true,
  maxFragments: 0, // Autobahn sends up to 65,536
  maxPayload: 64 * 1024 * 1024,
  handleProtocols: (protocols) => (protocols.has("two") ? "two" : false),
};
const compressing = new WebSocketServer({ ...settings, perMessageDeflate: true });
const servers = { "/echo": compressing, "/quiet": compressing, "/plain": new WebSocketServer(settings) };

/// Messages that are not sent back.
const orders = {
  /// Closes with a code and a reason.
  close(webSocket, words) {
    const [, code, reason] = /^(\d+) (.*)$/.exec(words);
    webSocket.close(Number(code), reason);
  },
  /// Sends the words back in fragments, with a ping among them.
  pieces(webSocket, words) {
    const pieces = words.match(/\S+ ?/g);
    pieces.forEach((piece, n) => {
      webSocket.send(piece, { fin: n === pieces.length - 1 });
      if (n === 0) webSocket.ping("between");
    });
  },
  /// Sends so many messages.
  flood(webSocket, count) {
    for (let n = 0; n < Number(count); n++) webSocket.send(`flood ${n}`);
  },
};

/// Serves a handshake; `refuse` says no.
function upgrade(request, socket, head, refuse) {
  const { pathname } = new URL(request.url, "http://localhost");
  const sockets = servers[pathname];
  if (!sockets) return refuse();
  sockets.handleUpgrade(request, socket, head, (webSocket) => {
    webSocket.on("error", () => {});
    if (pathname === "/echo") webSocket.send(request.url);
    webSocket.on("message", (data, binary) => {
      const [, order, words] = (!binary && data.length < 1000 && /^(\w+) (.*)$/.exec(data.toString())) || [];
      if (Object.hasOwn(orders, order)) orders[order](webSocket, words);
      else webSocket.send(data, { binary });
    });
  });
}

/// Takes upgrades on a server of HTTP/1.1.
function overHttp1(server) {
  return server.on("upgrade", (request, socket, head) => {
    const refuse = () => socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\nnot here");
    upgrade(request, socket, head, refuse);
  });
}

function overHttp2() {
  const server = http2.createServer({ settings: { enableConnectProtocol: true } });
  return server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    const answer = (status, text) => {
      stream.respond({ ":status": status });
      stream.end(text);
    };
    if (headers[":protocol"] !== "websocket") return answer(200, "not a WebSocket");
    // `ws` knows the handshake of HTTP/1.1, whose answer it writes first.
    const { write } = stream;
    stream.write = (head) => {
      stream.write = write;
      const lines = head.split("\r\n").map((line) => line.split(": "));
      const fields = lines.filter(([name]) => /^Sec-WebSocket-(Protocol|Extensions)$/i.test(name));
      stream.respond(Object.fromEntries(fields.map(([name, value]) => [name.toLowerCase(), value])));
      return true;
    };
    const key = Buffer.alloc(16).toString("base64");
    const more = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-key": key };
    const request = { method: "GET", url: headers[":path"], headers: { ...headers, ...more } };
    upgrade(request, stream, Buffer.alloc(0), () => answer(403, "not here"));
  });
}

function start([mode, certificate, key]) {
  const other = async (request, response) => {
    if (request.method === "POST") console.log(`told ${await text(request)}`);
    response.end("not a WebSocket");
  };
  if (mode === "http2") return overHttp2();
  if (mode !== "beside") return overHttp1(createServer(other));
  const options = { allowHTTP1: true, cert: readFileSync(certificate), key: readFileSync(key) };
  return overHttp1(http2.createSecureServer(options, other));
}

const server = start(process.argv.slice(2));
server.listen(0, "127.0.0.1", () => console.log(`listening 127.0.0.1:${server.address().port}`));

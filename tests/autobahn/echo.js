// A WebSocket echo server over the `ws` package that the SignalR example installs.
//
//   node echo.js          prints `listening 127.0.0.1:PORT`
//   node echo.js http2    the same over HTTP/2 (RFC 8441), without TLS
//   node echo.js beside CERTIFICATE KEY    the same over HTTP/1.1 beside HTTP/2 without WebSockets, with TLS
//
// Every connection under /echo is told its request target first; /quiet is an echo and nothing more (for Autobahn),
// /plain likewise without compression; anything else is refused with 403.
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");
const http2 = require("node:http2");
const path = require("node:path");

const { WebSocketServer } = createRequire(path.join(__dirname, "../../examples/signalr/server/"))("ws");

const settings = {
  noServer: true,
  maxFragments: 0, // Autobahn sends up to 65,536
  maxPayload: 64 * 1024 * 1024,
  handleProtocols: (protocols) => (protocols.has("two") ? "two" : false),
};
const compressing = new WebSocketServer({ ...settings, perMessageDeflate: true });
const servers = { "/echo": compressing, "/quiet": compressing, "/plain": new WebSocketServer(settings) };

/// Serves a handshake; `refuse` says no.
function upgrade(request, socket, head, refuse) {
  const { pathname } = new URL(request.url, "http://localhost");
  const sockets = servers[pathname];
  if (!sockets) return refuse();
  sockets.handleUpgrade(request, socket, head, (webSocket) => {
    webSocket.on("error", () => {});
    if (pathname === "/echo") webSocket.send(request.url);
    webSocket.on("message", (data, binary) => {
      const close = !binary && /^close (\d+) (.*)$/.exec(data.toString());
      if (close) webSocket.close(Number(close[1]), close[2]);
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
  const other = (_, response) => response.end("not a WebSocket");
  if (mode === "http2") return overHttp2();
  if (mode !== "beside") return overHttp1(createServer(other));
  const options = { allowHTTP1: true, cert: readFileSync(certificate), key: readFileSync(key) };
  return overHttp1(http2.createSecureServer(options, other));
}

const server = start(process.argv.slice(2));
server.listen(0, "127.0.0.1", () => console.log(`listening 127.0.0.1:${server.address().port}`));

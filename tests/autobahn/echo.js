// A WebSocket echo server over the `ws` package that the SignalR example installs.
//
//   node echo.js        prints `listening 127.0.0.1:PORT`
//
// Every connection under /echo is told its request target first; /quiet is an echo and nothing more (for Autobahn);
// anything else is refused with 403.
const { createRequire } = require("node:module");
const { createServer } = require("node:http");
const path = require("node:path");

const { WebSocketServer } = createRequire(path.join(__dirname, "../../examples/signalr/server/"))("ws");

const sockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: true,
  maxFragments: 0, // Autobahn sends up to 65,536
  maxPayload: 64 * 1024 * 1024,
  handleProtocols: (protocols) => (protocols.has("two") ? "two" : false),
});
const server = createServer((_, response) => response.end("not a WebSocket"));

server.on("upgrade", (request, socket, head) => {
  const { pathname } = new URL(request.url, "http://localhost");
  if (pathname !== "/echo" && pathname !== "/quiet") {
    return socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\nnot here");
  }
  sockets.handleUpgrade(request, socket, head, (webSocket) => {
    webSocket.on("error", () => {});
    if (pathname === "/echo") webSocket.send(request.url);
    webSocket.on("message", (data, binary) => {
      const close = !binary && /^close (\d+) (.*)$/.exec(data.toString());
      if (close) webSocket.close(Number(close[1]), close[2]);
      else webSocket.send(data, { binary });
    });
  });
});

server.listen(0, "127.0.0.1", () => console.log(`listening 127.0.0.1:${server.address().port}`));

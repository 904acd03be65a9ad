// WebSockets on streams of HTTP/2 (RFC 8441): HTTP/2 is Node's, the WebSocket that of the `ws` package, which the SignalR
// example installs.
const { once } = require("node:events");
const { createRequire } = require("node:module");
const path = require("node:path");

const { WebSocket, PerMessageDeflate, extension } = createRequire(
  path.join(__dirname, "../../examples/signalr/server/"),
)("ws");

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

/// The messages that come on a WebSocket, one a call; the first may come at once.
function inbox(webSocket) {
  const messages = [];
  let wake = () => {};
  webSocket.on("message", (data, binary) => {
    messages.push(binary ? data : data.toString());
    wake();
  });
  return async () => {
    while (messages.length === 0) await new Promise((resolve) => (wake = resolve));
    return messages.shift();
  };
}

/// A WebSocket that offers compression where it has settings for it, and what comes on it.
async function open(session, target, headers, perMessageDeflate) {
  const deflate = perMessageDeflate && new PerMessageDeflate({ ...perMessageDeflate, isServer: false });
  const name = PerMessageDeflate.extensionName;
  const offer = deflate && { "sec-websocket-extensions": extension.format({ [name]: deflate.offer() }) };
  const { stream, answer, status } = await ask(session, target, { ...offer, ...headers });
  if (status !== 200) throw new Error(`the WebSocket was answered with ${status}`);
  const webSocket = new WebSocket(null, undefined, {});
  webSocket._isServer = false;
  const agreed = answer["sec-websocket-extensions"];
  if (agreed) {
    deflate.accept(extension.parse(agreed)[name]);
    webSocket._extensions[name] = deflate;
  }
  const next = inbox(webSocket);
  webSocket.setSocket(stream, Buffer.alloc(0), { maxPayload: 0, skipUTF8Validation: false });
  return { webSocket, answer, next, ended: once(stream, "close").then(() => stream.rstCode) };
}

module.exports = { WebSocket, ask, inbox, open };

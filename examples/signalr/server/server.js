// The smallest faithful SignalR hub server: negotiation, the WebSockets transport and the JSON hub protocol, as
// https://github.com/dotnet/aspnetcore/tree/main/src/SignalR/docs/specs describes them. It stands in for ASP.NET,
// whose behaviour that matters to a proxy it shares: a connection token is only good on the server that gave it.
//
//   node server.js NAME [PORT]        prints `listening 127.0.0.1:PORT`
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const SEPARATOR = "\x1e"; // ends every message of the JSON hub protocol
const MAX_MESSAGE = 4 * 1024 * 1024;
const MessageType = { Invocation: 1, StreamItem: 2, Completion: 3, StreamInvocation: 4, CancelInvocation: 5, Ping: 6, Close: 7 };

const [name = "server", port = "0"] = process.argv.slice(2);
const tokens = new Map(); // connection token -> connection id, negotiated and not connected yet
const clients = new Set();

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname === "/chat/negotiate" && request.method === "POST") {
    request.resume();
    const connectionId = randomBytes(16).toString("base64url");
    const connectionToken = randomBytes(16).toString("base64url");
    tokens.set(connectionToken, connectionId);
    response.setHeader("Content-Type", "application/json");
    return response.end(
      JSON.stringify({
        negotiateVersion: 1,
        connectionId,
        connectionToken,
        availableTransports: [{ transport: "WebSockets", transferFormats: ["Text", "Binary"] }],
      }),
    );
  }
  response.statusCode = 404;
  response.end();
});

const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE });
server.on("upgrade", (request, socket, head) => {
  const url = new URL(request.url, "http://localhost");
  const token = url.searchParams.get("id");
  if (url.pathname !== "/chat" || !tokens.has(token)) {
    return socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  }
  const id = tokens.get(token);
  tokens.delete(token);
  sockets.handleUpgrade(request, socket, head, (webSocket) => serve(webSocket, id, request.headers));
});

function serve(socket, id, headers) {
  const send = (message) => socket.send(JSON.stringify(message) + SEPARATOR);
  const invoke = (target, ...args) => send({ type: MessageType.Invocation, target, arguments: args });
  const streams = new Map();
  let buffered = "";
  let shaken = false;
  const ping = setInterval(() => shaken && send({ type: MessageType.Ping }), 15_000);
  const client = { invoke };

  // The methods of the hub.
  const hub = {
    Echo: (value) => value,
    ServerName: () => name,
    Headers: () => headers,
    Fail: () => {
      throw new Error("as asked");
    },
    Broadcast: (text) => {
      for (const other of clients) other.invoke("Said", name, text);
      return clients.size;
    },
  };

  function receive(message) {
    switch (message.type) {
      case MessageType.Invocation: {
        let outcome;
        try {
          if (!Object.hasOwn(hub, message.target)) throw new Error(`Unknown hub method '${message.target}'`);
          outcome = { result: hub[message.target](...message.arguments) ?? null };
        } catch (error) {
          outcome = { error: error.message };
        }
        if (message.invocationId) send({ type: MessageType.Completion, invocationId: message.invocationId, ...outcome });
        break;
      }
      case MessageType.StreamInvocation: // Counter(n): 1 to n
        streams.set(message.invocationId, true);
        for (let n = 1; n <= message.arguments[0] && streams.has(message.invocationId); n++) {
          send({ type: MessageType.StreamItem, invocationId: message.invocationId, item: n });
        }
        send({ type: MessageType.Completion, invocationId: message.invocationId });
        streams.delete(message.invocationId);
        break;
      case MessageType.CancelInvocation:
        streams.delete(message.invocationId);
        break;
      case MessageType.Ping:
        break;
      case MessageType.Close:
        socket.close(1000);
        break;
    }
  }

  socket.on("message", (data) => {
    buffered += data.toString("utf8");
    const messages = buffered.split(SEPARATOR);
    buffered = messages.pop();
    for (const text of messages) {
      const message = JSON.parse(text);
      if (shaken) {
        receive(message);
      } else if (message.protocol === "json" && message.version === 1) {
        shaken = true;
        socket.send("{}" + SEPARATOR);
        clients.add(client);
        invoke("Welcome", name, id);
      } else {
        socket.send(JSON.stringify({ error: "only version 1 of the json protocol is spoken here" }) + SEPARATOR);
        socket.close(1000);
      }
    }
  });
  socket.on("error", () => {}); // `close` follows
  socket.on("close", () => {
    clearInterval(ping);
    clients.delete(client);
  });
}

server.listen(Number(port), "127.0.0.1", () => console.log(`listening 127.0.0.1:${server.address().port}`));

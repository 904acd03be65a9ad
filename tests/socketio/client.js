// A socket.io client that uses acknowledgements, broadcasts and binary attachments, and says `ok` at the end. It begins with
// long polling and goes over to a WebSocket, as socket.io does by default.
//
//   NODE_EXTRA_CA_CERTS=ca.pem node client.js https://localhost:8443
import assert from "node:assert";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { io } from "socket.io-client";

const socket = io(process.argv[2], { perMessageDeflate: { threshold: 0 }, reconnection: false });
await once(socket, "welcome");
if (socket.io.engine.transport.name !== "websocket") await once(socket.io.engine, "upgrade");
const echo = (value) => socket.timeout(30_000).emitWithAck("echo", value);
assert.deepEqual(await echo({ text: "\u00e9\u4e16", list: [1, 2, 3] }), { text: "\u00e9\u4e16", list: [1, 2, 3] });
const large = Array.from({ length: 100_000 }, (_, n) => `weir ${n} `).join("");
assert.equal(await echo(large), large);
const bytes = randomBytes(100_000);
assert.deepEqual(await echo(bytes), bytes);
const shouted = once(socket, "shouted");
socket.emit("shout", "hello, all");
assert.deepEqual(await shouted, ["hello, all"]);
for (let n = 0; n < 100; n++) assert.equal(await echo(n), n);
socket.emit("leave");
assert.equal((await once(socket, "disconnect"))[0], "io server disconnect");
console.log("ok");

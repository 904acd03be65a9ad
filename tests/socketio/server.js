// A socket.io server that compresses; prints `listening 127.0.0.1:PORT`.
import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer();
const io = new Server(server, { perMessageDeflate: { threshold: 0 }, maxHttpBufferSize: 4 << 20 });
io.on("connection", (socket) => {
  socket.emit("welcome", socket.conn.transport.name);
  socket.on("echo", (value, reply) => reply(value));
  socket.on("shout", (text) => io.emit("shouted", text));
  socket.on("leave", () => socket.disconnect(true));
});
server.listen(0, "127.0.0.1", () => console.log(`listening 127.0.0.1:${server.address().port}`));

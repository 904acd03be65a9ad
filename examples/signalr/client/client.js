// A SignalR client that uses all of a connection and says what it sees, one line each; the test reads the lines.
//
//   NODE_EXTRA_CA_CERTS=ca.pem node client.js https://localhost:8443/chat [SIZE OF A LARGE MESSAGE]
//
// It stays connected until its standard input ends. When its server dies it reconnects by itself.
import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

const [url, size = 1024 * 1024] = process.argv.slice(2);
const say = (...words) => console.log(...words);

const connection = new HubConnectionBuilder()
  .withUrl(url, { transport: HttpTransportType.WebSockets })
  .withAutomaticReconnect([0, 0, 100, 500, 1000, 2000, 5000])
  .configureLogging(LogLevel.Warning)
  .build();

connection.on("Welcome", (server, id) => say("welcome", server, id));
connection.on("Said", (server, text) => say("said", server, text));
connection.onreconnecting(() => say("reconnecting"));
connection.onreconnected(async () => {
  say("reconnected", await connection.invoke("ServerName"));
});
connection.onclose((error) => say("closed", error?.message ?? ""));

await connection.start();
say("connected", await connection.invoke("ServerName"));
say("headers", JSON.stringify(await connection.invoke("Headers")));
say("broadcast", await connection.invoke("Broadcast", "hello, all"));

const big = "weir ".repeat(Number(size)).slice(0, Number(size));
const back = await connection.invoke("Echo", big);
say("echo", back.length, back === big ? "same" : "different");

const items = [];
await new Promise((complete, error) => {
  connection.stream("Counter", 5).subscribe({ next: (n) => items.push(n), complete, error });
});
say("stream", items.join(","));

try {
  await connection.invoke("Fail");
} catch (error) {
  say("failed", error.message);
}
say("done");

process.stdin.resume();
process.stdin.on("end", async () => {
  await connection.stop();
  process.exit(0);
});

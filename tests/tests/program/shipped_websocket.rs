//! The plugins for WebSockets that come with weir, and the example of one, each through a running proxy.

use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest as _};
use weir_tests::{PATIENCE, RawClient, Weir, weir};

use crate::shipped::{ask, refused, start_granted};

/// A WebSocket of a client.
struct Client(tungstenite::WebSocket<TcpStream>);

impl Client {
    /// To the demo behind weir, which sends everything back; `headers` are of the handshake.
    fn connect(weir: &Weir, path: &str, headers: &[(&'static str, &str)]) -> Self {
        let address = weir.address("web");
        let stream = TcpStream::connect(address).expect("weir listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a handshake");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        let (socket, _) = tungstenite::client(request, stream).expect("a WebSocket opens");
        Client(socket)
    }

    fn say(&mut self, text: &str) -> &mut Self {
        self.0.send(Message::text(text)).expect("it can be sent");
        self
    }

    /// The next message.
    fn hear(&mut self) -> String {
        self.0.read().expect("a message comes").into_text().expect("a text").to_string()
    }

    /// The code and reason with which weir ends it; nothing else comes before that.
    fn end(&mut self) -> (u16, String) {
        match self.0.read() {
            Ok(Message::Close(Some(frame))) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("a close frame was expected: {other:?}"),
        }
    }
}

#[test]
fn the_example_stops_a_word_and_can_be_changed_while_one_is_connected() {
    let example = weir::root().join("examples/websocket");
    let read = |name: &str| std::fs::read_to_string(example.join(name)).expect("the example");
    let (config, script) = (read("weir.toml"), read("plugins/quiet.lua"));
    let folder = weir::folder();
    let file = folder.path().join("plugins/quiet.lua");
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder can be made");
    std::fs::write(&file, &script).expect("a script can be written");
    let weir = Weir::start_in(folder, &config.replace("127.0.0.1:8080\"", "127.0.0.1:0\""));
    let mut client = Client::connect(&weir, "/ws", &[]);
    assert_eq!(client.say("hello").hear(), "hello");
    assert_eq!(client.say("it is a secret").hear(), "that word is not said here");
    assert_eq!(client.say("hello again").hear(), "hello again");

    let new = weir.folder().join("plugins/new.tmp");
    std::fs::write(&new, script.replace("\"secret\"", "\"again\"")).expect("a script can be written");
    std::fs::rename(new, file).expect("and renamed");
    let begun = Instant::now();
    while client.say("hello again").hear() != "that word is not said here" {
        assert!(begun.elapsed() < PATIENCE, "the new script never came");
    }
    assert_eq!(client.say("it is a secret").hear(), "it is a secret");
}

const GUARDED: &str = "grants = { groups = [\"expires:*\"] }";

/// Seconds since 1970, and so many more.
fn in_seconds(more: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    (now.as_secs() + more).to_string()
}

#[test]
fn ws_guard() {
    let settings = "{ to_upstream = { max_message = 20, messages_per_second = 0.001, messages_burst = 2, \
                    schema = { type = \"object\", required = [\"a\"] } }, to_client = { opcodes = [\"text\"] } }";
    let weir = start_granted("ws-guard", settings, "");
    let fine = "{\"a\":1}";
    for (text, code, reason) in [
        ("{\"a\":\"more than 20 bytes\"}", 1009, "too large"),
        ("{", 1007, "no JSON"),
        ("{\"b\":1}", 1008, "not as agreed"),
    ] {
        let mut client = Client::connect(&weir, "/ws", &[]);
        assert_eq!(client.say(fine).hear(), fine);
        assert_eq!(client.say(text).end(), (code, reason.into()));
    }
    let mut client = Client::connect(&weir, "/ws", &[]);
    for _ in 0..2 {
        assert_eq!(client.say(fine).hear(), fine);
    }
    assert_eq!(client.say(fine).end(), (1008, "too much at once".into()));
    assert!(refused("ws-guard", "{}").contains("nothing would be guarded"));
    assert!(
        refused("ws-guard", "{ to_client = { schema = { format = \"email\" } } }")
            .contains("the keyword \"format\" is not known")
    );
    assert!(refused("ws-guard", "{ expires = { header = \"x\" } }").contains("groups = [\"expires:0\"]"));
}

/// Also one that was opened before the plugin was another: the new one ends it.
#[test]
fn ws_guard_ends_those_whose_token_expires() {
    let settings = "{ expires = { header = \"x-exp\", code = 3000 } }";
    let mut weir = start_granted("ws-guard", settings, GUARDED);
    let (soon, later) = (in_seconds(1), in_seconds(600));
    let mut first = Client::connect(&weir, "/ws", &[("x-exp", &soon)]);
    assert_eq!(first.end(), (3000, "the token has expired".into()));
    let mut none = Client::connect(&weir, "/ws", &[]);
    assert_eq!(none.end().0, 3000);

    let soon = in_seconds(3);
    let mut second = Client::connect(&weir, "/ws", &[("x-exp", &soon)]);
    let mut third = Client::connect(&weir, "/ws", &[("x-exp", &later)]);
    let file = weir.folder().join("weir.toml");
    let config = std::fs::read_to_string(file).expect("its configuration");
    weir.reload(&config.replace("code = 3000", "code = 4001"));
    assert_eq!(second.end().0, 4001);
    assert_eq!(third.say("still here").hear(), "still here");
}

#[test]
fn ws_redact() {
    let settings = "{ to_client = { fields = [\"user.email\", \"items.*.card\"], patterns = [{ pattern = \"secret\" }] }, \
                    to_upstream = { fields = [\"token\"], invalid = \"close\" } }";
    let weir = start_granted("ws-redact", settings, "");
    let mut client = Client::connect(&weir, "/ws", &[]);
    client.say(
        "{\"token\":\"t\",\"user\":{\"email\":\"a@b.test\"},\"items\":[{\"card\":1},{\"n\":\"secret 2\"}]}",
    );
    let heard: Value = serde_json::from_str(&client.hear()).expect("JSON");
    let masked =
        json!({ "token": "***", "user": { "email": "***" }, "items": [{ "card": "***" }, { "n": "*** 2" }] });
    assert_eq!(heard, masked);
    assert_eq!(client.say(" {\"n\": 1.0} ").hear(), " {\"n\": 1.0} ");
    assert_eq!(client.say("no JSON").end(), (1007, "no JSON".into()));
    assert!(refused("ws-redact", "{}").contains("nothing would be masked"));
}

#[test]
fn ws_json_router() {
    let folder = weir::folder();
    let path = weir::root().join("plugins").join("ws-json-router");
    let mut weir = Weir::start(&format!(
        "[[listeners]]
            name = \"web\"
            address = \"127.0.0.1:0\"
            [[listeners]]
            name = \"echo\"
            address = \"unix:{echo}\"
            [[routes]]
            listeners = [\"web\"]
            upstream = \"nobody\"
            plugins = [\"router\"]
            websocket = {{ connect = \"first-message\" }}
            [[routes]]
            name = \"echo\"
            listeners = [\"echo\"]
            upstream = \"demo\"
            [plugins.router]
            path = \"{script}\"
            settings = {{ field = \"for\", upstreams = {{ echo = \"echo\", nobody = \"nobody\" }} }}
            [upstreams.nobody]
            endpoints = [\"unix:{nobody}\"]
            [upstreams.echo]
            endpoints = [\"unix:{echo}\"]
            [upstreams.demo]
            endpoints = [\"demo:\"]
            ",
        echo = folder.path().join("echo").display(),
        nobody = folder.path().join("nobody").display(),
        script = path.display(),
    ));
    let first = "{\"for\":\"echo\"}";
    let mut client = Client::connect(&weir, "/ws", &[("sec-websocket-protocol", "one, two")]);
    assert_eq!(client.say(first).hear(), first);
    assert_eq!(client.say("anything").hear(), "anything");
    client.0.close(None).expect("it can be closed");
    weir.record("the WebSocket", |record| record["upgraded"] == true && record["upstream"] == "echo");
    let mut client = Client::connect(&weir, "/ws", &[]);
    assert_eq!(client.say("{\"for\":\"nobody\"}").end().0, 1013);
    let mut client = Client::connect(&weir, "/ws", &[]);
    assert_eq!(client.say("{\"for\":\"others\"}").end(), (1008, "nobody for this".into()));
}

#[test]
fn ws_broadcast() {
    let folder = weir::folder();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "let-me\n").expect("a secret can be written");
    let more = format!(
        "secrets = {{ publisher = \"file:{}\" }}\ngrants = {{ groups = [\"room:*\"] }}",
        secret.display()
    );
    let settings = "{ group = \"room:{query:room}\", secret = \"publisher\", max_message = 10 }";
    let weir = start_granted("ws-broadcast", settings, &more);
    // More than one worker.
    let mut room: Vec<_> = (0..4).map(|_| Client::connect(&weir, "/ws?room=7", &[])).collect();
    let mut other = Client::connect(&weir, "/ws?room=8", &[]);
    for client in room.iter_mut().chain([&mut other]) {
        assert_eq!(client.say("there").hear(), "there");
    }
    let publish = |room: &str, body: &str, token: &str| {
        let answer = RawClient::connect(weir.address("web")).ask(&format!(
            "POST /ws?room={room} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        (answer.status, answer.text())
    };
    assert_eq!(publish("7", "news", "let-me"), (200, "{\"group\":\"room:7\",\"sent\":4}\n".into()));
    for client in &mut room {
        assert_eq!(client.hear(), "news");
    }
    assert_eq!(other.say("nothing before this").hear(), "nothing before this");
    assert_eq!(publish("7", "news", "guess").0, 401);
    assert_eq!(publish("7", "much too long", "let-me").0, 413);
    assert_eq!(publish("", "news", "let-me").0, 400);
    room.pop();
    let begun = Instant::now();
    loop {
        let answer = ask(&weir, "GET /ws?room=7\nauthorization: Bearer let-me");
        let told: Value = serde_json::from_str(&answer.text()).expect("JSON");
        if told == json!({ "group": "room:7", "members": 3 }) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "who left is still counted: {told}");
    }
    assert!(refused("ws-broadcast", "{ group = \"a\" }").contains("lets everyone publish"));
}

#[test]
fn signalr_inspect() {
    let more = "[[routes]]\npath = \"/metrics\"\nmetrics = true";
    let settings = "{ to_upstream = { methods = [\"Echo\"] } }";
    let weir = start_granted("signalr-inspect", settings, more);
    let mut client = Client::connect(&weir, "/ws", &[]);
    // The demo sends it back: to the client that is the answer to its handshake.
    let shake = "{\"protocol\":\"json\",\"version\":1}\u{1e}";
    assert_eq!(client.say(shake).hear(), shake);
    let call = |method: &str| {
        format!("{{\"type\":1,\"invocationId\":\"{method}\",\"target\":\"{method}\",\"arguments\":[]}}\u{1e}")
    };
    client.say(&format!("{}{}", call("Delete"), call("echo")));
    let told: Value = serde_json::from_str(client.hear().trim_end_matches('\u{1e}')).expect("JSON");
    assert_eq!(
        told,
        json!({ "type": 3, "invocationId": "Delete", "error": "This method may not be called." })
    );
    assert_eq!(client.hear(), call("echo"));
    let end = "{\"type\":3,\"invocationId\":\"echo\",\"error\":\"no\"}\u{1e}";
    assert_eq!(client.say(end).hear(), end);
    let shown = ask(&weir, "GET /metrics").text();
    let size = call("echo").len();
    for line in [
        "weir_plugin_calls_total{plugin=\"it\",direction=\"to_upstream\",method=\"Echo\"} 1.0",
        &format!(
            "weir_plugin_bytes_total{{plugin=\"it\",direction=\"to_upstream\",method=\"Echo\"}} {size}.0"
        ),
        "weir_plugin_completions_total{plugin=\"it\",direction=\"to_upstream\",method=\"Echo\",outcome=\"error\"} 1.0",
        "weir_plugin_refused_total{plugin=\"it\",direction=\"to_upstream\"} 1.0",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
    client.say("{\"type\":99}\u{1e}");
    assert_eq!(client.end(), (1008, "not a message of the hub protocol".into()));
    assert_eq!(ask(&weir, "GET /echo?id=1\naccept: text/event-stream").status, 403, "another transport");
}

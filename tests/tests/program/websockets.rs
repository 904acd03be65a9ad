//! What operators do with relays: `weir ws list`, `close` and `tap`.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;
use weir_tests::process::Process;
use weir_tests::{PATIENCE, RawClient, Weir, weir};

use crate::live::{change, echo, handshake, is_told};

/// Two routes for WebSockets and one of layer 4; `tap` is said of the first.
fn config(upstream: SocketAddr, tap: &str) -> String {
    format!(
        "workers = 2\nreload = {{ watch = false }}\n\
         [[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
         [[listeners]]\nname = \"db\"\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
         [[routes]]\nname = \"chat\"\npath = \"/chat\"\nupstream = \"app\"\nwebsocket = {{ tap = {tap} }}\n\
         [[routes]]\nname = \"plain\"\npath = \"/plain\"\nupstream = \"app\"\n\
         [[tcp_routes]]\nname = \"bytes\"\nlistener = \"db\"\nupstream = \"app\"\n\
         [upstreams.app]\nendpoints = [\"{upstream}\"]\n"
    )
}

/// What is listed, once it is as wanted.
fn listed(weir: &Weir, arguments: &[&str], mut wanted: impl FnMut(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = weir.ask_json(&[&["ws", "list"], arguments].concat());
        if wanted(&listed) {
            return listed;
        }
        assert!(Instant::now() < deadline, "it is never so: {listed:#}");
    }
}

#[test]
fn relays_are_listed_and_closed() {
    let upstream = echo();
    let weir = Weir::start(&config(upstream.address(), "false"));
    let none = weir.ask(&["ws", "list"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "none is open\n"));
    let mut chats = [handshake(&weir, "/chat"), handshake(&weir, "/chat")];
    let mut plain = handshake(&weir, "/plain");
    let mut bytes = RawClient::connect(weir.address("db"));
    bytes.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    bytes.send(b"12345");
    assert_eq!(bytes.take(5), b"12345");

    let tcp =
        listed(&weir, &["--route", "bytes"], |listed| listed["relays"][0]["bytes"]["to_upstream"] == 32);
    let relay = &tcp["relays"][0];
    assert_eq!((&relay["kind"], &relay["client"]), (&"tcp".into(), &"127.0.0.1".into()), "{tcp:#}");
    assert_eq!((&relay["generation"], &relay["pinned"]), (&1.into(), &false.into()), "{tcp:#}");
    let all = listed(&weir, &["--client", "127.0.0.0/8", "--limit", "3"], |listed| listed["total"] == 4);
    let ages: Vec<_> = all["relays"].as_array().expect("a list").iter().map(|r| r["age"].as_f64()).collect();
    assert!(ages.len() == 3 && ages.is_sorted_by(|older, newer| older >= newer), "{ages:?}");
    assert!(weir.ask(&["ws", "list", "--limit", "3"]).stdout.ends_with("the 3 oldest of 4\n"));

    change(&weir, &config(upstream.address(), "true"));
    let earlier = listed(&weir, &["--generation", "1", "--route", "plain"], |listed| listed["total"] == 1);
    assert_eq!(earlier["relays"][0]["pinned"], true, "{earlier:#}");

    let id = earlier["relays"][0]["id"].to_string();
    let refused = weir.ask(&["ws", "tap", &id]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("[routes.websocket] tap = true"), "{refused:?}");
    assert!(weir.ask(&["ws", "tap", "999999"]).stderr.contains("404"));
    for (arguments, code, problem) in [
        (&["--code", "1000"][..], 2, "--all"),
        (&["--all", "--code", "1005"], 1, "no close code that may be sent"),
        (&["--client", "everybody"], 1, "neither an IP address nor a network"),
    ] {
        let refused = weir.ask(&[&["ws", "close"], arguments].concat());
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(refused.stderr.contains(problem), "{refused:?}");
    }

    assert_eq!(weir.ask(&["ws", "close", "--id", &id]).stdout, "1 is told to end\n");
    assert!(is_told(&mut plain, 1012));
    assert_eq!(weir.ask(&["ws", "close", "--route", "nobody"]).stdout, "there is none to close\n");
    assert_eq!(weir.ask_json(&["ws", "close", "--route", "chat"]), serde_json::json!({ "closed": 2 }));
    assert!(chats.iter_mut().all(|chat| is_told(chat, 1012)));
    weir.ask(&["ws", "close", "--all"]);
    assert!(bytes.rest().is_empty());
    listed(&weir, &[], |listed| listed["total"] == 0);
}

/// A masked text frame of a client, with a key of zeros.
fn text(data: &str) -> Vec<u8> {
    let length = u8::try_from(data.len()).ok().filter(|length| *length < 126).expect("a short text");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], data.as_bytes()].concat()
}

#[test]
fn who_looks_at_a_relay_sees_what_the_route_says() {
    let mut weir = Weir::start(
        "workers = 2\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"chat\"\nupstream = \"demo\"\n\
         websocket = { tap = { max_bytes = \"20B\", redact = \"secret=[a-z]+\" } }\n\
         [upstreams.demo]\nendpoints = [\"demo:\"]\n",
    );
    let mut chat = handshake(&weir, "/ws");
    let all = listed(&weir, &[], |listed| listed["total"] == 1);
    assert_eq!(all["relays"][0]["kind"], "frames", "{all:#}");
    let id = all["relays"][0]["id"].to_string();
    let config = weir.folder().join("weir.toml");
    let arguments = ["ws", "tap", &id, "--config", config.to_str().expect("a plain name")];
    let mut people = Process::start("tap", &mut weir::command(&arguments));
    people.line("that it looks", |line| line.contains("looking at").then_some(()));
    let second = weir.ask(&["ws", "tap", &id]);
    assert!(second.stderr.contains("409") && second.stderr.contains("already"), "{second:?}");

    let data = "a secret=abc and\u{1b}[2J more";
    chat.send(text(data));
    assert_eq!(chat.take(2 + data.len()), [&[0x81, 25], data.as_bytes()].concat());
    for way in ["to upstream", "to client"] {
        let shown = people.line(way, |line| line.contains(way).then(|| line.to_owned()));
        assert!(shown.contains("text") && shown.contains("25 B"), "{shown}");
        assert!(shown.ends_with("  a *** and\\u001b[2J"), "{shown}");
    }
    let counted = listed(&weir, &["--id", &id], |listed| listed["relays"][0]["frames"]["to_client"] == 1);
    assert_eq!(counted["relays"][0]["frames"]["to_upstream"], 1, "{counted:#}");
    let status = weir.ask_json(&["status"]);
    assert_eq!(status["relay_kinds"], serde_json::json!({ "frames": 1 }), "{status:#}");

    let close = ["ws", "close", "--id", &id, "--code", "4001", "--reason", "go"];
    assert_eq!(weir.ask(&close).stdout, "1 is told to end\n");
    assert_eq!(chat.take(6), b"\x88\x04\x0f\xa1go");
    chat.send(b"\x88\x82\0\0\0\0\x0f\xa1");
    people.line("the end", |line| line.contains("has ended").then_some(()));
    assert_eq!(people.wait().code(), Some(0));
    weir.wait_for_status("the end", |status| status["relays"] == 0);
    assert_eq!(weir.terminate().code(), Some(0));
}

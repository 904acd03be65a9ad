//! What operators do with relays: `weir ws list`, `close` and `tap`.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;
use weir_tests::{PATIENCE, RawClient, Weir};

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

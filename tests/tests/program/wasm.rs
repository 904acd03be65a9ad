//! Plugins as components of WebAssembly, through a running proxy.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use tokio_tungstenite::tungstenite::{self, Message};
use weir_tests::{PATIENCE, RawClient, Weir, tools, weir};

use crate::shipped::ask;

/// A proxy whose only route has the guest of this name, with these settings (TOML, inline).
pub(crate) fn start(guest: &str, settings: &str, more: &str) -> Weir {
    Weir::start(&config(&tools::guest(guest).display().to_string(), settings, more))
}

/// What the guest that does what its settings say imports.
const GRANTS: &str =
    "grants = { groups = [\"*\"], relays = [\"all\"], kv = [\"shared\"], upstreams = [\"app\"] }
        secrets = { one = \"file:weir.toml\" }";

pub(crate) fn config(path: &str, settings: &str, more: &str) -> String {
    format!(
        "workers = 2
        [[listeners]]
        name = \"web\"
        address = \"127.0.0.1:0\"
        [[routes]]
        name = \"all\"
        upstream = \"app\"
        plugins = [\"it\"]
        [plugins.it]
        path = \"{path}\"
        settings = {settings}
        {more}
        [upstreams.app]
        endpoints = [\"demo:\"]
        "
    )
}

#[test]
fn the_example_refuses_and_marks() {
    let weir = start("example", "{ blocked = [\"/private\"], served_by = \"edge-1\" }", "");
    let answer = ask(&weir, "GET /");
    assert_eq!((answer.status, answer.header("x-served-by")), (200, Some("edge-1")));
    let answer = ask(&weir, "GET /private/a");
    assert_eq!((answer.status, answer.text().as_str()), (403, "not here\n"));
}

#[test]
fn settings_that_the_component_refuses_are_told() {
    let folder = weir::folder();
    let path = tools::guest("example").display().to_string();
    let file = weir::write_config(&folder, &config(&path, "{ blocked = [\"private\"] }", ""));
    let output = weir::run(&["check", file.to_str().expect("a plain name")]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(output.stderr.contains("blocked: `private` does not begin with `/`"), "{}", output.stderr);
}

#[test]
fn a_new_component_serves_without_a_failed_request() {
    let folder = weir::folder();
    let place = folder.path().join("it.wasm");
    std::fs::copy(tools::guest("example"), &place).expect("a copy");
    let weir = Arc::new(Weir::start_in(folder, &config("it.wasm", "{}", GRANTS)));
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let traffic = {
        let (weir, stop, served) = (weir.clone(), stop.clone(), served.clone());
        std::thread::spawn(move || {
            let mut client = RawClient::connect(weir.address("web"));
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(client.ask("GET /echo HTTP/1.1\r\nhost: a\r\n\r\n").status, 200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let marked = || ask(&weir, "GET /").header("x-served-by").is_some();
    assert!(marked());
    // A component without hooks, under these settings; then what is none, which changes nothing.
    let new = weir.folder().join("new");
    std::fs::copy(tools::guest("conformance"), &new).expect("a copy");
    std::fs::rename(&new, weir.folder().join("it.wasm")).expect("and renamed");
    let begun = Instant::now();
    while marked() {
        assert!(begun.elapsed() < PATIENCE, "the new component never served");
    }
    std::fs::write(&new, b"\0asm\x0d\0\x01\0 and no more").expect("a file");
    std::fs::rename(&new, weir.folder().join("it.wasm")).expect("and renamed");
    let before = served.load(Ordering::Relaxed);
    while served.load(Ordering::Relaxed) < before + 100 {
        assert!(begun.elapsed() < PATIENCE && !traffic.is_finished(), "requests go on");
        std::thread::yield_now();
    }
    assert!(!marked());
    stop.store(true, Ordering::Relaxed);
    traffic.join().expect("no request failed");
}

/// An instance that traps, or takes too long, fails its request and no other.
#[test]
fn a_trap_and_a_loop_fail_one_request_each() {
    let settings = "{ hooks = { request = [
        { call = \"request.headers.get\", args = [\"x-trap\"], save = \"trap\" },
        { say = { panic = \"as asked\" }, if = \"trap\" },
        { call = \"request.headers.get\", args = [\"x-loop\"], save = \"loop\" },
        { say = \"loop\", if = \"loop\" },
        { call = \"kv.incr\", args = [\"served\", 1, 0] },
    ] } }";
    let weir = start("conformance", &settings.replace('\n', " "), GRANTS);
    for _ in 0..3 {
        assert_eq!(ask(&weir, "GET /").status, 200);
        assert_eq!(ask(&weir, "GET /\nx-trap: 1").status, 502);
        assert_eq!(ask(&weir, "GET /").status, 200);
        assert_eq!(ask(&weir, "GET /\nx-loop: 1").status, 502);
    }
    assert_eq!(ask(&weir, "GET /").status, 200);
}

#[test]
fn messages_are_seen_and_changed() {
    let settings = "{ hooks = { message = [{ say = { replace = \"changed\" } }], websocket = [
        { call = \"relay.send\", args = [\"to-client\", \"welcome\", \"text\"] },
    ] } }";
    let weir = start("conformance", &settings.replace('\n', " "), GRANTS);
    let address = weir.address("web");
    let stream = TcpStream::connect(address).expect("weir listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let (mut client, _) = tungstenite::client(format!("ws://{address}/ws"), stream).expect("it opens");
    client.send(Message::text("hello")).expect("it can be sent");
    for expected in ["welcome", "changed"] {
        assert_eq!(client.read().expect("a message").into_text().expect("text").as_str(), expected);
    }
}

/// A component as it is, but for a section with this text that nothing reads: another file with the same code.
fn marked(component: &[u8], text: &str) -> Vec<u8> {
    let name = "mark";
    let length = u8::try_from(1 + name.len() + text.len()).expect("a short section");
    let mut marked = component.to_vec();
    marked.extend([0, length, u8::try_from(name.len()).expect("a short name")]);
    marked.extend(name.bytes().chain(text.bytes()));
    marked
}

/// KiB of memory that a process has for itself, and its share of what it has with others.
fn memory(process: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("it runs");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("there is such a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Replaced again and again, a component leaves nothing behind. `cargo xtask test --full` replaces it a thousand times.
#[test]
fn what_is_replaced_is_let_go_of() {
    let reloads = if std::env::var_os("WEIR_FULL").is_some() { 1000 } else { 40 };
    let component = std::fs::read(tools::guest("html_rewrite")).expect("it is there");
    let variants = [marked(&component, "one"), marked(&component, "two")];
    let folder = weir::folder();
    let place = folder.path().join("it.wasm");
    std::fs::write(&place, &variants[1]).expect("a file");
    let mut weir = Weir::start_in(
        folder,
        &config("it.wasm", "{ rules = [{ select = \"script\", remove = true }] }", ""),
    );
    let process = weir.process().id();
    let mut told = vec![memory(process)];
    for number in 0..reloads {
        let new = weir.folder().join("new");
        std::fs::write(&new, &variants[number % 2]).expect("a file");
        std::fs::rename(&new, &place).expect("and renamed");
        let generation = number as u64 + 2;
        weir.wait_for_status("the next", |status| status["generation"].as_u64() >= Some(generation));
        assert_eq!(ask(&weir, "GET /").status, 200);
        if (number + 1) % (reloads / 4) == 0 {
            told.push(memory(process));
        }
    }
    println!(
        "{reloads} reloads of {} KiB; PSS in KiB at the begin and after each quarter: {told:?}",
        component.len() >> 10
    );
    let (settled, end) = (told[1], told[4]);
    assert!(end < settled + settled / 2, "it grows: {told:?}");
}

//! Another binary takes over while weir runs: no connection is lost, whatever is wrong with it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use weir_tests::{PATIENCE, RawClient, RawUpstream, Weir, weir};

use crate::configuration;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What an admin address asks for.
const TOKEN: &str = "0123456789abcdef";

/// A weir that was started from a copy of the binary, and those that took over from it.
struct Site {
    weir: Weir,
    binary: PathBuf,
    /// Processes that took over. Those that are still there at the end are killed.
    later: Vec<u32>,
}

impl Site {
    fn start(config: &str) -> Site {
        let folder = weir::folder();
        let config = weir::write_config(&folder, config);
        fs::write(folder.path().join("token"), TOKEN).expect("a temporary file can be written");
        let binary = folder.path().join("weir");
        copy(weir::binary(), &binary);
        let mut command = weir::command_at(&binary, &["run", "--config"]);
        let weir = Weir::start_command(folder, command.arg(config));
        Site { weir, binary, later: Vec::new() }
    }

    fn address(&self) -> SocketAddr {
        self.weir.address("web")
    }

    fn config(&self, text: &str) {
        let path = self.weir.folder().join("weir.toml");
        fs::write(&path, text).expect("a temporary file can be written");
    }

    /// Puts another program in the place of the binary.
    fn install(&self, make: impl FnOnce(&Path)) {
        let new = self.binary.with_file_name("new");
        make(&new);
        fs::rename(new, &self.binary).expect("it can be renamed");
    }

    /// `weir upgrade`, which is to succeed; the process that serves then.
    fn upgrade(&mut self) -> u32 {
        let output = self.weir.ask(&["upgrade", "--json"]);
        assert_eq!(output.code, Some(0), "{output:?}");
        let told: Value = serde_json::from_str(&output.stdout).expect("JSON");
        self.serves(pid(&told["pid"]))
    }

    /// Checks that this process serves, and remembers it.
    fn serves(&mut self, pid: u32) -> u32 {
        self.later.push(pid);
        let status = self.weir.ask_json(&["status"]);
        assert_eq!(status["pid"], pid, "{status}");
        pid
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for pid in self.later.iter().filter(|pid| is_there(**pid)) {
            send(*pid, Signal::KILL);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).expect("it can be copied");
    }
}

fn script(text: &'static str) -> impl FnOnce(&Path) {
    move |path| {
        fs::write(path, text).expect("a temporary file can be written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("they can be set");
    }
}

fn pid(value: &Value) -> u32 {
    value.as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_else(|| panic!("no pid: {value}"))
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    // It may just have ended.
    let _ = kill_process(pid, signal);
}

/// Whether a process of a weir of this test runs.
fn is_there(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_zombie = state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    !is_zombie && String::from_utf8_lossy(&line).contains("weir-test-")
}

fn wait_for_end(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    while is_there(pid) {
        assert!(Instant::now() < deadline, "process {pid} did not end");
        std::thread::yield_now();
    }
}

/// An upstream that answers requests, and sends back what it gets by a WebSocket.
fn upstream() -> RawUpstream {
    RawUpstream::start(|_, served| {
        while let Some(head) = served.request() {
            if !head.contains("upgrade: websocket") && !head.contains("Upgrade: websocket") {
                served.send(weir_tests::raw::OK);
                continue;
            }
            served.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            loop {
                let frame = served.take(FRAME.len());
                if frame.len() < FRAME.len() {
                    return;
                }
                served.send(frame);
            }
        }
    })
}

/// A masked frame of a client; the upstream does not look into it.
const FRAME: &[u8] = b"\x81\x85\0\0\0\0hello";

fn websocket(address: SocketAddr) -> RawClient {
    let mut client = RawClient::connect(address);
    let answer = client.ask(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(answer.status, 101);
    echoes(&mut client);
    client
}

fn echoes(client: &mut RawClient) {
    client.send(FRAME);
    assert_eq!(client.take(FRAME.len()), FRAME);
}

/// The server goes away: a close frame with status 1001.
fn is_told_to_go(client: &mut RawClient) {
    let frame = client.take(4);
    assert_eq!((frame[0], &frame[2..4]), (0x88, &1001u16.to_be_bytes()[..]), "{frame:?}");
}

/// Asks without end, over connections that stay or over one for each request; every request is to be answered.
fn hammer(address: SocketAddr, keep: bool, stop: &AtomicBool, answered: &AtomicUsize) {
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        let mut open = client.take().unwrap_or_else(|| RawClient::connect(address));
        let answer =
            open.ask(if keep { GET } else { "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" });
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        answered.fetch_add(1, Ordering::Relaxed);
        if keep && answer.header("connection") != Some("close") {
            client = Some(open);
        }
    }
}

fn wait_for_more(answered: &AtomicUsize) {
    let (before, deadline) = (answered.load(Ordering::Relaxed), Instant::now() + PATIENCE);
    while answered.load(Ordering::Relaxed) < before + 200 {
        assert!(Instant::now() < deadline, "no requests are answered any more");
        std::thread::yield_now();
    }
}

#[test]
fn no_request_fails_and_websockets_go_on() {
    let upstream = upstream();
    let mut site = Site::start(&configuration("", upstream.address()));
    let (address, first) = (site.address(), site.weir.process().id());
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut sockets = vec![websocket(address)];
    let mut processes = vec![first];
    std::thread::scope(|scope| {
        // Also when something fails here.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&stop);
        let load: Vec<_> = [true, true, false, false]
            .map(|keep| {
                scope.spawn({
                    let (stop, answered) = (&stop, &answered);
                    move || hammer(address, keep, stop, answered)
                })
            })
            .into();
        for _ in 0..4 {
            wait_for_more(&answered);
            processes.push(site.upgrade());
            wait_for_more(&answered);
            sockets.push(websocket(address));
            sockets.iter_mut().for_each(echoes);
        }
        assert!(load.iter().all(|thread| !thread.is_finished()), "one of them has failed");
    });
    let status = site.weir.ask_json(&["status"]);
    assert_eq!((&status["generation"], pid(&status["took_over"])), (&1.into(), processes[3]));
    // Each process ends with its last WebSocket, and not before.
    sockets.iter_mut().for_each(echoes);
    let last = sockets.pop();
    drop(sockets.remove(0));
    assert_eq!(site.weir.process().end().code(), Some(0), "nothing was cut");
    for (process, mut socket) in processes[1..4].iter().zip(sockets) {
        assert!(is_there(*process));
        echoes(&mut socket);
        drop(socket);
        wait_for_end(*process);
    }
    drop(last);
    send(processes[4], Signal::TERM);
    wait_for_end(processes[4]);
}

#[test]
fn the_number_of_workers_may_change() {
    let upstream = upstream();
    let config = |workers: usize| {
        configuration("", upstream.address()).replace("workers = 2", &format!("workers = {workers}"))
    };
    let mut site = Site::start(&config(1));
    for workers in [4, 2, 1, 3] {
        site.config(&config(workers));
        let sockets = listening(site.address());
        // Some wait in the queues of sockets while the process changes.
        let mut before: Vec<_> = (0..32).map(|_| RawClient::connect(site.address())).collect();
        site.upgrade();
        let after: Vec<_> = (0..32).map(|_| RawClient::connect(site.address())).collect();
        before.extend(after);
        before.iter_mut().for_each(|client| assert_eq!(client.ask(GET).status, 200));
        assert_eq!(site.weir.ask_json(&["status"])["workers"], workers);
        // All clients are gone: nothing holds the one before.
        drop(before);
        match site.later.as_slice() {
            [.., previous, _] => wait_for_end(*previous),
            _ => assert_eq!(site.weir.process().end().code(), Some(0)),
        }
        let now = listening(site.address());
        assert!(now.is_superset(&sockets) && now.len() == workers.max(sockets.len()), "{sockets:?} {now:?}");
    }
}

/// The sockets that listen there, by their inodes.
fn listening(address: SocketAddr) -> BTreeSet<String> {
    let port = format!(":{:04X}", address.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux tells");
    let sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listens = |socket: &Vec<&str>| socket[1].ends_with(&port) && socket[3] == "0A";
    sockets.filter(listens).map(|socket| socket[9].to_owned()).collect()
}

#[test]
fn the_admin_address_goes_to_the_new_process() {
    let upstream = upstream();
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = free.expect("a port").to_string();
    let config = configuration("", upstream.address())
        + &format!("\n[admin]\nsocket = false\naddress = \"{address}\"\ntoken = \"file:token\"\n");
    let mut site = Site::start(&config);
    let ask = |arguments: &[&str]| {
        let mut command = weir::command(arguments);
        command.args(["--address", &address, "--json"]).env("WEIR_ADMIN_TOKEN", TOKEN);
        let output = weir_tests::process::run("weir", &mut command, b"");
        assert_eq!(output.code, Some(0), "{output:?}");
        serde_json::from_str::<Value>(&output.stdout).expect("JSON")
    };
    let next = pid(&ask(&["upgrade"])["pid"]);
    site.later.push(next);
    assert_eq!(ask(&["status"])["pid"], next);
    assert_eq!(site.weir.process().end().code(), Some(0));
}

#[test]
fn a_unix_socket_stays_where_it_is() {
    let upstream = upstream();
    let config = configuration("", upstream.address())
        + "\n[[listeners]]\nname = \"local\"\naddress = \"unix:%DIR%/local.sock\"\n";
    let mut site = Site::start(&config);
    let path = site.weir.folder().join("local.sock");
    let ask = || {
        let mut client = UnixStream::connect(&path).expect("somebody listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("weir reads");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("weir answers");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    };
    ask();
    site.upgrade();
    assert_eq!(site.weir.process().end().code(), Some(0));
    ask();
    let second = site.later[0];
    let last = site.upgrade();
    wait_for_end(second);
    ask();
    send(last, Signal::TERM);
    wait_for_end(last);
    assert!(!path.exists(), "the last one removes it");
}

#[test]
fn a_binary_that_cannot_serve_changes_nothing() {
    let upstream = upstream();
    let config = configuration("", upstream.address()) + "\n[upgrade]\ntimeout = \"300ms\"\n";
    let mut site = Site::start(&config);
    let (address, first) = (site.address(), site.weir.process().id());
    let mut socket = websocket(address);
    let mut client = RawClient::connect(address);
    let pid_file = site.weir.folder().join("pid");
    let mut refused = |site: &Site, problem: &str| {
        let output = site.weir.ask(&["upgrade"]);
        assert_eq!(output.code, Some(5), "{output:?}");
        assert!(
            output.stdout.contains("the old one goes on") && output.stdout.contains(problem),
            "{output:?}"
        );
        let status = site.weir.ask_json(&["status"]);
        assert_eq!(status["pid"], first);
        let told = status["last_upgrade"]["problems"][0].as_str().expect("a problem");
        assert!(told.contains(problem), "{status}");
        echoes(&mut socket);
        let answer = client.ask(GET);
        assert_eq!((answer.status, answer.header("connection")), (200, None));
        assert_eq!(RawClient::connect(address).ask(GET).status, 200);
    };
    site.install(|path| copy(Path::new("/bin/false"), path));
    refused(&site, "ended before it served: exit status: 1");
    site.install(|path| fs::write(path, "not a program").expect("a file"));
    refused(&site, "Permission denied");
    // It writes down which process it is, and says nothing.
    site.install(script("#!/bin/sh\necho $$ > \"${0%/*}/pid\"\nexec sleep 600\n"));
    refused(&site, "was not ready within 300ms");
    let hung: u32 = fs::read_to_string(pid_file).expect("it ran").trim().parse().expect("a process id");
    assert!(!Path::new(&format!("/proc/{hung}")).exists(), "it is killed");
}

#[test]
fn a_configuration_that_cannot_serve_changes_nothing() {
    let upstream = upstream();
    let good = configuration("reload = { watch = false }\n", upstream.address());
    let mut site = Site::start(&good);
    let (address, first) = (site.address(), site.weir.process().id());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address");
    for (config, problem) in [
        (format!("nonsense = 1\n{good}"), "nonsense".to_owned()),
        (
            format!("{good}\n[[listeners]]\nname = \"more\"\naddress = \"{taken}\"\n"),
            format!("cannot listen on {taken}"),
        ),
    ] {
        let hold = std::net::TcpListener::bind(taken).ok();
        site.config(&config);
        let output = site.weir.ask(&["upgrade"]);
        assert_eq!(output.code, Some(5), "{output:?}");
        assert!(output.stdout.contains(&problem), "{output:?}");
        drop(hold);
        let output = site.weir.status();
        assert!(output.stdout.contains("last upgrade") && output.stdout.contains(&problem), "{output:?}");
        assert_eq!(RawClient::connect(address).ask(GET).status, 200);
        assert_eq!(site.weir.ask_json(&["status"])["pid"], first);
    }
    site.config(&good);
    site.upgrade();
    assert_eq!(RawClient::connect(address).ask(GET).status, 200);
    assert_eq!(site.weir.process().end().code(), Some(0));
}

#[test]
fn sigusr2_is_the_same_and_sigterm_hurries_what_is_left() {
    let upstream = upstream();
    for (more, signal) in [("drain = \"0s\"\n", Some(Signal::TERM)), ("upgrade = { drain = \"0s\" }\n", None)]
    {
        let mut site = Site::start(&configuration(more, upstream.address()));
        let mut socket = websocket(site.address());
        let first = site.weir.process().id();
        site.weir.process().signal(Signal::USR2);
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            // Between the two sockets nobody answers.
            let output = site.weir.ask(&["status", "--json"]);
            let status = serde_json::from_str::<Value>(&output.stdout).ok();
            if let Some(status) = status.filter(|status| status["took_over"] == first) {
                break status;
            }
            assert!(Instant::now() < deadline, "{output:?}");
        };
        site.serves(pid(&status["pid"]));
        if let Some(signal) = signal {
            echoes(&mut socket);
            site.weir.process().signal(signal);
        }
        is_told_to_go(&mut socket);
        assert_eq!(site.weir.process().end().code(), Some(0), "a client that was told is not cut");
        assert_eq!(RawClient::connect(site.address()).ask(GET).status, 200);
    }
}

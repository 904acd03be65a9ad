//! Binding, accepting and its limits.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;

#[test]
fn port_0_is_told_and_every_worker_listens_there() {
    let mut spec = greeting(|_| ());
    spec.listeners.push(listener("six", ListenAddress::Tcp("[::1]:0".parse().unwrap())));
    let server = Running::new(&spec, 3);
    assert_ne!(server.address("main").port(), 0);
    assert!(server.address("six").is_ipv6());
    assert_eq!(server.server.as_ref().unwrap().workers(), 3);
    // Each connection stays open, so that the kernel has to go round.
    let mut clients: Vec<_> = (0..64).map(|_| server.connect()).collect();
    let mut workers = HashMap::new();
    for client in &mut clients {
        expect(client, "hello");
    }
    drop(clients);
    for _ in 0..64 {
        *workers.entry(server.seen().worker).or_insert(0) += 1;
    }
    assert_eq!(workers.len(), 3, "{workers:?}");
}

#[test]
fn a_second_server_does_not_share_the_port() {
    let first = Running::new(&greeting(|_| ()), 2);
    let taken = ListenAddress::Tcp(first.address("main"));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut spec = greeting(|main| main.address = taken.clone());
    spec.listeners.insert(0, listener("before", ListenAddress::Tcp(free)));
    let error = unbound(&spec);
    assert_eq!((&*error.listener, &error.address), ("main", &taken));
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    TcpListener::bind(free).expect("all or none: what was bound before is let go");
    for address in ["0.0.0.0", "127.0.0.1"] {
        let address = format!("{address}:{}", first.address("main").port());
        assert!(TcpListener::bind(&address).is_err(), "{address}");
    }
    expect(&mut first.connect(), "hello");
}

#[test]
fn a_unix_socket_has_its_mode_and_is_removed_at_the_end() {
    let folder = std::env::temp_dir().join(format!("weir-{}-unix", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    // A socket that nobody listens on any more.
    drop(UnixListener::bind(&path).unwrap());
    let address = ListenAddress::Unix { path: path.clone(), mode: 0o621 };
    let spec = greeting(|main| main.address = address);
    let mut server = Running::new(&spec, 2);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o621);
    for _ in 0..8 {
        expect(&mut UnixStream::connect(&path).unwrap(), "hello");
        assert_eq!(server.seen().peer, "unix:");
    }
    assert_eq!(unbound(&spec).source.kind(), io::ErrorKind::AddrInUse);
    expect(&mut UnixStream::connect(&path).unwrap(), "hello");
    server.seen();
    server.drain(LONG);
    assert!(!path.exists(), "the file is still there");

    std::fs::write(&path, "precious").unwrap();
    assert_eq!(unbound(&spec).source.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn fresh_connections_go_to_the_worker_with_the_fewest() {
    let server = Running::new(&greeting(|main| main.balance = AcceptBalance::Connections), 4);
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut client = server.connect();
        // It is counted before the next one comes.
        expect(&mut client, "hello");
        clients.push(client);
    }
    drop(clients);
    let mut workers = [0; 4];
    for _ in 0..16 {
        workers[usize::try_from(server.seen().worker).unwrap()] += 1;
    }
    assert_eq!(workers, [4; 4]);
}

#[test]
fn a_listener_has_no_more_connections_than_it_may() {
    let server = Running::new(&greeting(|main| main.max_connections = 3), 2);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        expect(client, "hello");
    }
    assert!(is_closed(&mut server.connect()));
    drop(clients.pop());
    server.seen();
    // The log is told a moment before the connection stops to count.
    assert!((0..1000).any(|_| !is_closed(&mut server.connect())), "no room came free");
}

#[test]
fn a_client_has_no_more_connections_than_it_may() {
    let spec = greeting(|main| {
        main.max_connections_per_client = 1;
        main.proxy_protocol = Some(ProxyProtocol { trusted: vec!["127.0.0.1/32".parse().unwrap()] });
    });
    let server = Running::new(&spec, 1);
    let connect = |header: &str| {
        let mut client = server.connect();
        client.write_all(header.as_bytes()).unwrap();
        client
    };
    let mut first = connect("PROXY TCP4 1.1.1.1 2.2.2.2 1000 80\r\nearly");
    expect(&mut first, "helloearly");
    assert!(is_closed(&mut connect("PROXY TCP4 1.1.1.1 2.2.2.2 1001 80\r\n")), "the same client");
    let mut other = connect("PROXY TCP4 1.1.1.2 2.2.2.2 1000 80\r\n");
    expect(&mut other, "hello");
    assert!(is_closed(&mut connect("GET / HTTP/1.1\r\n\r\n")), "a trusted sender must send the header");
    drop(first);
    let seen = server.seen();
    assert_eq!((seen.peer.as_str(), seen.bytes), ("1.1.1.1:1000", (5, 10)));
}

#[test]
fn a_header_of_a_stranger_is_data() {
    let spec = greeting(|main| {
        main.proxy_protocol = Some(ProxyProtocol { trusted: vec!["10.0.0.0/8".parse().unwrap()] });
    });
    let server = Running::new(&spec, 1);
    let mut client = server.connect();
    client.write_all(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n").unwrap();
    expect(&mut client, "helloPROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n");
    let local = client.local_addr().unwrap();
    drop(client);
    assert_eq!(server.seen().peer, local.to_string());
}

#[test]
fn a_header_that_does_not_come_in_time_ends_the_connection() {
    let spec = greeting(|main| {
        main.handshake_timeout = Duration::from_millis(30);
        main.proxy_protocol = Some(ProxyProtocol { trusted: vec!["127.0.0.1/32".parse().unwrap()] });
    });
    let server = Running::new(&spec, 1);
    let mut client = server.connect();
    client.write_all(b"PROXY").unwrap();
    assert!(is_closed(&mut client));
}

/// Runs a test that is marked `ignore` in a process of its own, after these shell commands.
fn child(first: &str, name: &str, change: impl FnOnce(&mut Command)) -> std::process::Child {
    let test = format!("server::tests::listeners::{name}");
    let script = format!("{first}; exec \"$0\" --exact {test} --ignored --nocapture");
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(this).stdin(Stdio::piped()).stdout(Stdio::piped());
    change(&mut command);
    command.spawn().unwrap()
}

/// The address that a child prints.
fn told(child: &mut std::process::Child) -> SocketAddr {
    let mut lines = io::BufRead::lines(io::BufReader::new(child.stdout.as_mut().unwrap()));
    loop {
        let line = lines.next().expect("the child ended").unwrap();
        if let Some((_, address)) = line.split_once("address ") {
            return address.parse().unwrap();
        }
    }
}

/// Serves until its input ends, in a child.
fn serve_for_parent(spec: &Spec) {
    let server = Running::new(spec, 1);
    println!("\naddress {}", server.address("main"));
    let _ = io::stdin().read(&mut [0]);
}

#[test]
#[ignore = "the child of without_free_files_it_waits_and_goes_on_later, which runs it"]
fn child_with_few_files() {
    let Ok(greeter) = std::env::var("GREETER") else { return };
    // No greeter of its own: a thread that waits in `accept` has a number that is not in the list of open files.
    serve_for_parent(&Spec {
        listeners: vec![listener("main", loopback())],
        // A client that says nothing takes one file and no upstream.
        tcp_routes: vec![route("hello", &["one.test"])],
        upstreams: vec![upstream("hello", &[greeter.parse().unwrap()])],
        ..Spec::default()
    });
}

#[test]
fn without_free_files_it_waits_and_goes_on_later() {
    let greeter = greeter("hello").to_string();
    let mut server = child(&format!("ulimit -n {FILES}"), "child_with_few_files", |command| {
        command.env("GREETER", greeter);
    });
    let address = told(&mut server);
    // More than its files suffice for: the others wait in the kernel's queue.
    let crowd: Vec<_> = (0..FILES).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut late = TcpStream::connect(address).unwrap();
    late.write_all(&super::traffic::hello("one.test")).unwrap();
    let process = PathBuf::from(format!("/proc/{}", server.id()));
    // What it was started with may have numbers beyond its limit, so their count does not tell.
    until("it has no free file", || {
        let free: Vec<_> = (0..FILES).filter(|n| !process.join(format!("fd/{n}")).is_symlink()).collect();
        if free.is_empty() { Ok(()) } else { Err(format!("{free:?} are free")) }
    });
    // From here on nothing wakes the worker but its own clock. Were it to try again and again it would not sleep.
    let before = sleeps(&process);
    until("it sleeps between two tries", || match sleeps(&process) - before {
        4.. => Ok(()),
        fewer => Err(format!("{fewer} sleeps")),
    });
    late.set_nonblocking(true).unwrap();
    assert_eq!(late.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock, "it should have to wait");
    drop(crowd);
    late.set_nonblocking(false).unwrap();
    late.set_read_timeout(Some(LONG)).unwrap();
    expect(&mut late, "hello");
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}

/// Files that a child may have open: what it starts with, and some for connections.
const FILES: usize = 40;

/// How often a server's only worker has gone to sleep by itself.
fn sleeps(process: &Path) -> u64 {
    let threads = std::fs::read_dir(process.join("task")).unwrap().map(|thread| thread.unwrap().path());
    let is_worker = |thread: &PathBuf| std::fs::read_to_string(thread.join("comm")).unwrap() == "weir-0\n";
    let worker = threads.into_iter().find(is_worker).expect("there is a worker");
    let status = std::fs::read_to_string(worker.join("status")).unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.expect("Linux counts them").trim().parse().unwrap()
}

/// Waits until a check holds; else tells what it saw last.
fn until(what: &str, mut check: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + LONG;
    while let Err(seen) = check() {
        assert!(Instant::now() < deadline, "{what}: never, but {seen}");
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "the child of a_socket_may_be_passed_in, which runs it"]
fn child_of_a_service_manager() {
    if std::env::var_os("LISTEN_FDS").is_none() {
        return;
    }
    serve_for_parent(&greeting(|main| main.address = ListenAddress::Inherited("web".into())));
}

#[test]
fn a_socket_may_be_passed_in() {
    let passed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = passed.local_addr().unwrap();
    let first = "exec 3</dev/null 4<&2 2>&1; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=other:web";
    let mut server = child(first, "child_of_a_service_manager", |command| {
        command.stderr(Stdio::from(std::os::fd::OwnedFd::from(passed)));
    });
    assert_eq!(told(&mut server), address);
    expect(&mut TcpStream::connect(address).unwrap(), "hello");
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}

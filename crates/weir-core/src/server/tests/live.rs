//! Listeners that change while the server runs.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use super::*;

impl Running {
    pub(super) fn publish(&self, spec: &Spec) -> Result<(), Vec<BindError>> {
        let publisher = self.server.as_ref().unwrap().publisher();
        let current = publisher.current();
        let log = current.access_log.clone();
        block_on(publisher.publish(Snapshot::assemble(spec, log, Some(&current)).unwrap()))
    }

    fn open(&self, name: &str) -> TcpStream {
        let stream = TcpStream::connect(self.address(name)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }
}

/// Waits until nobody listens there.
fn until_closed(address: SocketAddr) {
    while TcpStream::connect(address).is_ok() {}
}

fn another(spec: &Spec, name: &str, address: ListenAddress) -> Spec {
    let mut spec = spec.clone();
    spec.listeners.push(listener(name, address));
    spec.tcp_routes.push(TcpRoute { name: name.into(), listener: name.into(), ..route("hello", &[]) });
    spec
}

#[test]
fn a_listener_is_added_and_removed_beside_others() {
    let spec = greeting(|_| ());
    let server = Running::new(&spec, 2);
    let mut before = server.connect();
    expect(&mut before, "hello");
    server.publish(&another(&spec, "more", loopback())).unwrap();
    let more = server.address("more");
    // Every worker accepts there, by and by: with sockets of their own, the kernel chooses.
    let mut added: Vec<_> = (0..16).map(|_| server.open("more")).collect();
    added.iter_mut().for_each(|client| expect(client, "hello"));
    server.publish(&spec).unwrap();
    until_closed(more);
    let mut still = added.pop().unwrap();
    still.write_all(b"still here").unwrap();
    expect(&mut still, "still here");
    before.write_all(b"and here").unwrap();
    expect(&mut before, "and here");
    expect(&mut server.connect(), "hello");
    assert_eq!(server.server.as_ref().unwrap().addresses().len(), 1);
}

#[test]
fn what_waits_in_the_queue_of_a_removed_listener_is_served_by_the_last_snapshot_that_had_it() {
    let spec = greeting(|_| ());
    let both = another(&spec, "more", loopback());
    for _ in 0..20 {
        let server = Running::new(&both, 2);
        // Not accepted yet, at least some of them.
        let mut queued: Vec<_> = (0..32).map(|_| server.open("more")).collect();
        server.publish(&spec).unwrap();
        queued.iter_mut().for_each(|client| expect(client, "hello"));
    }
}

#[test]
fn a_listener_moves_to_another_port_and_back() {
    let fixed = |port: u16| ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (here, there) = (free(), free());
    let spec = |port| greeting(|main| main.address = fixed(port));
    let server = Running::new(&spec(here), 2);
    let mut clients = Vec::new();
    for port in [there, here, there, here] {
        let mut client = server.connect();
        expect(&mut client, "hello");
        clients.push(client);
        let old = server.address("main");
        server.publish(&spec(port)).unwrap();
        assert_eq!(server.address("main").port(), port);
        until_closed(old);
    }
    for client in &mut clients {
        client.write_all(b"still here").unwrap();
        expect(client, "still here");
    }
}

#[test]
fn an_address_that_cannot_be_bound_refuses_the_whole_change() {
    let spec = greeting(|_| ());
    let server = Running::new(&spec, 2);
    let taken: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let place = |n: usize| ListenAddress::Tcp(taken[n].local_addr().unwrap());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut bad = another(&spec, "fine", ListenAddress::Tcp(free));
    bad = another(&another(&bad, "taken", place(0)), "taken-too", place(1));
    let publisher = server.server.as_ref().unwrap().publisher();
    let next = Snapshot::assemble(&bad, None, Some(&publisher.current())).unwrap();
    let names = |errors: Vec<BindError>| errors.iter().map(|e| e.listener.to_string()).collect::<Vec<_>>();
    assert_eq!(names(publisher.try_bind(&next).unwrap_err()), ["taken", "taken-too"]);
    assert_eq!(names(server.publish(&bad).unwrap_err()), ["taken", "taken-too"]);
    assert_eq!(publisher.current().generation, 1);
    TcpListener::bind(free).expect("what was bound is let go again");
    expect(&mut server.connect(), "hello");
}

#[test]
fn a_listener_may_get_more_or_less_of_its_own_address() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = |ip: [u8; 4]| greeting(|main| main.address = ListenAddress::Tcp(SocketAddr::from((ip, port))));
    let server = Running::new(&at([127, 0, 0, 1]), 2);
    for ip in [[0, 0, 0, 0], [127, 0, 0, 1], [0, 0, 0, 0]] {
        server.publish(&at(ip)).unwrap();
        // The kernel resets who comes just as a socket closes.
        let greeted = |_: &i32| {
            let mut hello = [0; 5];
            let client = TcpStream::connect(("127.0.0.1", port));
            client.and_then(|mut client| client.read_exact(&mut hello)).is_ok() && &hello == b"hello"
        };
        assert_eq!((0..1000).filter(greeted).take(8).count(), 8);
    }
}

#[test]
fn listeners_may_change_places_and_names() {
    let mut spec = greeting(|_| ());
    spec.upstreams.push(upstream("bye", &[greeter("bye")]));
    spec = another(&spec, "more", loopback());
    spec.tcp_routes[1].upstream = "bye".into();
    let server = Running::new(&spec, 2);
    let (main, more) = (server.address("main"), server.address("more"));
    let greeted = |address, text: &str| {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        expect(&mut client, text);
    };
    // As after a start with fixed ports.
    let placed = |main, more| {
        let mut spec = spec.clone();
        spec.listeners[0].address = ListenAddress::Tcp(main);
        spec.listeners[1].address = ListenAddress::Tcp(more);
        spec
    };
    server.publish(&placed(main, more)).unwrap();
    greeted(main, "hello");
    for _ in 0..10 {
        server.publish(&placed(more, main)).unwrap();
        greeted(main, "bye");
        greeted(more, "hello");
        server.publish(&placed(main, more)).unwrap();
        greeted(more, "bye");
    }
    let mut renamed = placed(main, more);
    renamed.listeners[1].name = "other".into();
    renamed.tcp_routes[1].listener = "other".into();
    server.publish(&renamed).unwrap();
    greeted(more, "bye");
    assert_eq!(server.address("other"), more);
}

#[test]
fn a_unix_socket_changes_its_mode_and_moves() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    let at = |path: &std::path::Path, mode| {
        let address = ListenAddress::Unix { path: path.to_owned(), mode };
        greeting(|main| main.address = address)
    };
    let mut server = Running::new(&at(&here, 0o600), 2);
    server.publish(&at(&here, 0o622)).unwrap();
    assert_eq!(std::fs::metadata(&here).unwrap().permissions().mode() & 0o777, 0o622);
    expect(&mut UnixStream::connect(&here).unwrap(), "hello");
    let mut waits = UnixStream::connect(&here).unwrap();
    server.publish(&at(&there, 0o600)).unwrap();
    assert!(!here.exists());
    expect(&mut waits, "hello");
    drop(waits);
    expect(&mut UnixStream::connect(&there).unwrap(), "hello");
    server.drain(LONG);
    assert!(!there.exists());
}

#[test]
fn a_server_that_lost_a_listener_drains_as_any_other() {
    let spec = greeting(|_| ());
    let mut server = Running::new(&another(&spec, "more", loopback()), 2);
    let mut client = server.open("more");
    expect(&mut client, "hello");
    server.publish(&spec).unwrap();
    let stopper = server.server.as_ref().unwrap().stopper();
    let drained = std::thread::spawn(move || (server.drain(LONG), server));
    drop(client);
    assert_eq!(drained.join().unwrap().0, Drained { cut: 0 });
    drop(stopper);
}

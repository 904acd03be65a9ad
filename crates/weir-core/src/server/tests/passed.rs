//! Listening sockets that go from one server to the next. Here both are in one process, which makes no difference.

use std::os::unix::net::UnixStream;
use std::path::Path;

use super::*;

impl Running {
    /// The next one, with the sockets of this one.
    fn successor(&self, spec: &Spec, workers: usize) -> Result<Running, StartError> {
        let (tell, log) = channel();
        let log_to: Arc<dyn AccessLog> = Arc::new(Log(Mutex::new(tell)));
        let snapshot = Snapshot::assemble(spec, Some(log_to), None).unwrap();
        let passed = self.server.as_ref().unwrap().publisher().sockets().unwrap();
        Ok(Running { server: Some(Server::take_over(snapshot, workers, passed)?), log })
    }

    /// Hands over to another server, on a thread of its own.
    fn hand_over(mut self, to: &Running) -> std::thread::JoinHandle<Drained> {
        let server = self.server.take().unwrap();
        let handed = std::thread::spawn(move || block_on(server.hand_over(LONG)));
        to.server.as_ref().unwrap().publisher().settle();
        handed
    }

    fn open_at(&self, name: &str) -> TcpStream {
        let stream = TcpStream::connect(self.address(name)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }
}

fn with_more(spec: &Spec, name: &str, address: ListenAddress) -> Spec {
    let mut spec = spec.clone();
    spec.listeners.push(listener(name, address));
    spec.tcp_routes.push(TcpRoute { name: name.into(), listener: name.into(), ..route("hello", &[]) });
    spec
}

fn unix(path: &Path) -> ListenAddress {
    ListenAddress::Unix { path: path.to_owned(), mode: 0o600 }
}

fn echoes(client: &mut (impl Read + Write), text: &str) {
    client.write_all(text.as_bytes()).unwrap();
    expect(client, text);
}

#[test]
fn the_next_server_takes_all_sockets_whatever_its_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let spec = with_more(&greeting(|_| ()), "local", unix(&path));
    for workers in [[1, 3, 1], [3, 1, 2], [2, 2, 5]] {
        let mut running = Running::new(&spec, workers[0]);
        let address = running.address("main");
        for next in &workers[1..] {
            let mut before = running.connect();
            expect(&mut before, "hello");
            let successor = running.successor(&spec, *next).unwrap();
            assert_eq!(successor.address("main"), address, "the port that the kernel chose stays");
            // Some are accepted by the one, some by the other, some when the first does not accept any more.
            let mut clients: Vec<_> = (0..32).map(|_| successor.connect()).collect();
            let mut local: Vec<_> = (0..8).map(|_| UnixStream::connect(&path).unwrap()).collect();
            let handed = running.hand_over(&successor);
            clients.extend((0..32).map(|_| successor.connect()));
            clients.iter_mut().for_each(|client| expect(client, "hello"));
            local.iter_mut().for_each(|client| expect(client, "hello"));
            echoes(&mut before, "goes on");
            drop((before, clients, local));
            assert_eq!(handed.join().unwrap(), Drained { cut: 0 });
            // Every socket is still accepted from, with the first server gone.
            let mut clients: Vec<_> = (0..64).map(|_| successor.connect()).collect();
            clients.iter_mut().for_each(|client| expect(client, "hello"));
            expect(&mut UnixStream::connect(&path).unwrap(), "hello");
            running = successor;
        }
        running.drain(LONG);
        assert!(TcpStream::connect(address).is_err());
        assert!(!path.exists(), "the last one removes the file");
    }
}

#[test]
fn sockets_are_found_by_where_they_are_bound() {
    let mut spec = greeting(|_| ());
    spec.upstreams.push(upstream("bye", &[greeter("bye")]));
    spec = with_more(&spec, "more", loopback());
    spec.tcp_routes[1].upstream = "bye".into();
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let running = Running::new(&with_more(&with_more(&spec, "gone", loopback()), "file", unix(&gone)), 2);
    let [main, more, other] = ["main", "more", "gone"].map(|name| running.address(name));
    let greeted = |address, text: &str| {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        expect(&mut client, text);
    };
    // Both let the kernel choose: told apart by name. What is not wanted is closed, one more is bound.
    let next = with_more(&spec, "new", ListenAddress::Tcp("[::1]:0".parse().unwrap()));
    let second = running.successor(&next, 2).unwrap();
    let handed = running.hand_over(&second);
    assert_eq!((second.address("main"), second.address("more")), (main, more));
    greeted(main, "hello");
    greeted(more, "bye");
    expect(&mut second.open_at("new"), "hello");
    handed.join().unwrap();
    assert!(TcpStream::connect(other).is_err());
    assert!(!gone.exists());
    // The address counts, not the name.
    let mut swapped = spec.clone();
    swapped.listeners[0].address = ListenAddress::Tcp(more);
    swapped.listeners[1].address = ListenAddress::Tcp(main);
    let third = second.successor(&swapped, 1).unwrap();
    second.hand_over(&third).join().unwrap();
    greeted(more, "hello");
    greeted(main, "bye");
    // A part of an address that the one before has, and the other way round.
    let wide =
        |ip: [u8; 4]| greeting(|l| l.address = ListenAddress::Tcp(SocketAddr::from((ip, main.port()))));
    let mut before = third;
    for ip in [[0, 0, 0, 0], [127, 0, 0, 1]] {
        let next = before.successor(&wide(ip), 2).unwrap();
        before.hand_over(&next).join().unwrap();
        greeted(main, "hello");
        before = next;
    }
}

#[test]
fn a_server_that_cannot_take_over_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let spec = with_more(&greeting(|_| ()), "local", unix(&path));
    let mut running = Running::new(&spec, 2);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = ListenAddress::Tcp(taken.local_addr().unwrap());
    match running.successor(&with_more(&spec, "taken", place), 3).err() {
        Some(StartError::Bind(errors)) => assert_eq!(&*errors[0].listener, "taken"),
        other => panic!("{other:?}"),
    }
    let passed = Passed {
        listener: "main".into(),
        place: loopback(),
        sockets: vec![std::fs::File::open("/dev/null").unwrap().into()],
        file: None,
    };
    let snapshot = Snapshot::assemble(&spec, None, None).unwrap();
    assert!(Server::take_over(snapshot, 1, vec![passed]).is_err(), "this is no socket");
    let mut clients: Vec<_> = (0..32).map(|_| running.connect()).collect();
    clients.iter_mut().for_each(|client| expect(client, "hello"));
    expect(&mut UnixStream::connect(&path).unwrap(), "hello");
    drop(clients);
    running.drain(LONG);
    assert!(!path.exists());
}

#[test]
fn what_was_handed_over_can_be_hurried() {
    for stop in [false, true] {
        let mut running = Running::new(&greeting(|_| ()), 2);
        let (mut client, address) = (running.connect(), running.address("main"));
        expect(&mut client, "hello");
        let server = running.server.take().unwrap();
        let stopper = server.stopper();
        let handed = std::thread::spawn(move || block_on(server.hand_over(LONG)));
        // It is being handed over once nobody listens there any more.
        while TcpListener::bind(address).is_err() {}
        echoes(&mut client, "goes on");
        if stop {
            stopper.stop();
        } else {
            stopper.drain(Duration::ZERO);
        }
        assert!(is_closed(&mut client));
        assert_eq!(handed.join().unwrap(), Drained { cut: 1 });
    }
}

#[test]
fn workers_answer_until_the_end() {
    let mut running = Running::new(&greeting(|_| ()), 3);
    let mut client = running.connect();
    expect(&mut client, "hello");
    let server = running.server.take().unwrap();
    let publisher = server.publisher();
    block_on(publisher.answers());
    let handed = std::thread::spawn(move || block_on(server.hand_over(LONG)));
    for _ in 0..100 {
        block_on(publisher.answers());
    }
    drop(client);
    handed.join().unwrap();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::pin::pin!(publisher.answers()).poll(&mut context).is_pending(), "nobody is there");
}

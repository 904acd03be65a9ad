//! How a server ends.

use super::*;

#[test]
fn an_idle_server_ends_at_once_and_lets_its_port_go() {
    let mut server = Running::new(&greeting(|_| ()), 2);
    let address = server.address("main");
    assert_eq!(server.drain(LONG), Drained { cut: 0 });
    assert!(TcpStream::connect(address).is_err());
    TcpListener::bind(address).unwrap();
}

#[test]
fn what_is_under_way_may_end() {
    let mut server = Running::new(&greeting(|_| ()), 2);
    let address = server.address("main");
    let mut client = server.connect();
    expect(&mut client, "hello");
    let drained = std::thread::spawn(move || (server.drain(LONG), server));
    while TcpStream::connect(address).is_ok() {}
    client.write_all(b"still here").unwrap();
    expect(&mut client, "still here");
    drop(client);
    let (drained, _) = drained.join().unwrap();
    assert_eq!(drained, Drained { cut: 0 });
}

#[test]
fn what_takes_too_long_is_cut_and_counted() {
    let mut server = Running::new(&greeting(|_| ()), 2);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        expect(client, "hello");
    }
    assert_eq!(server.drain(Duration::ZERO), Drained { cut: 3 });
    assert!(clients.iter_mut().all(is_closed));
    assert_eq!(server.seen().reason, Some(Kind::Stopped));
}

#[test]
fn a_second_order_cuts_a_drain_short() {
    let mut server = Running::new(&greeting(|_| ()), 2);
    let stopper = server.server.as_ref().unwrap().stopper();
    let mut client = server.connect();
    expect(&mut client, "hello");
    let address = server.address("main");
    let drained = std::thread::spawn(move || server.drain(Duration::MAX));
    while TcpStream::connect(address).is_ok() {}
    assert!(!drained.is_finished());
    stopper.stop();
    // Those that only looked whether the port is still open may be among them.
    assert!(drained.join().unwrap().cut >= 1);
    assert!(is_closed(&mut client));
}

#[test]
fn a_server_that_is_dropped_closes_everything() {
    let mut server = Running::new(&greeting(|_| ()), 2);
    let mut client = server.connect();
    expect(&mut client, "hello");
    drop(server.server.take());
    assert!(is_closed(&mut client));
}

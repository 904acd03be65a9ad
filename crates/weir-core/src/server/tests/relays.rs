//! What becomes of relays when another snapshot is published.

use super::*;
use crate::spec::Reload;

/// With a route whose connections are treated so when it changes. Nothing takes time but where the test says so.
fn relaying(on_reload: OnReload, identity: u64) -> Spec {
    let mut spec = greeting(|_| ());
    spec.tcp_routes[0].on_reload = on_reload;
    spec.tcp_routes[0].identity = identity;
    spec.reload = Reload { spread: Duration::ZERO, grace: Duration::ZERO, generations: 100 };
    spec
}

impl Running {
    fn greeted(&self) -> TcpStream {
        let mut client = self.connect();
        expect(&mut client, "hello");
        client
    }

    fn held(&self) -> Vec<(u64, usize)> {
        let held = self.server.as_ref().unwrap().publisher().held();
        held.iter().map(|of| (of.generation, of.relays.values().sum())).collect()
    }
}

fn is_open(client: &mut TcpStream) -> bool {
    client.write_all(b"ping").unwrap();
    let mut got = [0; 4];
    client.read_exact(&mut got).is_ok_and(|()| got == *b"ping")
}

#[test]
fn a_relay_whose_route_is_what_it_was_goes_on() {
    for on_reload in [OnReload::Pin, OnReload::Close] {
        let server = Running::new(&relaying(on_reload, 1), 2);
        let mut client = server.greeted();
        server.publish(&relaying(on_reload, 1)).unwrap();
        assert!(is_open(&mut client), "{on_reload:?}");
    }
}

#[test]
fn a_relay_that_is_pinned_goes_on_and_holds_its_generation() {
    let server = Running::new(&relaying(OnReload::Pin, 1), 2);
    let mut client = server.greeted();
    assert_eq!(server.held(), []);
    for identity in 2..5 {
        server.publish(&relaying(OnReload::Pin, identity)).unwrap();
    }
    assert!(is_open(&mut client));
    // Idle workers let go of what they saw last by and by.
    while server.held() != [(1, 1)] {
        std::thread::yield_now();
    }
    drop(client);
    while !server.held().is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn a_relay_of_a_changed_route_ends_where_the_new_one_says_so() {
    let server = Running::new(&relaying(OnReload::Pin, 1), 2);
    let mut client = server.greeted();
    server.publish(&relaying(OnReload::Close, 2)).unwrap();
    assert!(is_closed(&mut client));
    assert_eq!(server.seen().reason, Some(Kind::Reloaded));
    let mut fresh = server.greeted();
    assert!(is_open(&mut fresh));
}

#[test]
fn a_relay_whose_route_is_gone_ends_after_its_grace_unless_the_route_comes_back() {
    let gone = |grace| {
        let mut spec = relaying(OnReload::Pin, 1);
        spec.tcp_routes[0].name = "other".into();
        spec.reload.grace = grace;
        spec
    };
    let server = Running::new(&relaying(OnReload::Pin, 1), 2);
    let mut client = server.greeted();
    server.publish(&gone(LONG)).unwrap();
    assert!(is_open(&mut client));
    server.publish(&relaying(OnReload::Pin, 1)).unwrap();
    assert!(is_open(&mut client));
    server.publish(&gone(Duration::ZERO)).unwrap();
    assert!(is_closed(&mut client));
    assert_eq!(server.seen().reason, Some(Kind::Reloaded));
}

#[test]
fn the_relays_of_generations_over_the_bound_end() {
    let bounded = |identity| {
        let mut spec = relaying(OnReload::Pin, identity);
        spec.reload.generations = 2;
        spec
    };
    let server = Running::new(&bounded(1), 1);
    let mut clients = vec![server.greeted()];
    for identity in 2..5 {
        server.publish(&bounded(identity)).unwrap();
        clients.push(server.greeted());
    }
    assert!(is_closed(&mut clients[0]), "generations 1 to 3 are older, and 2 of them may be held");
    assert!(clients[1..].iter_mut().all(is_open));
    assert_eq!(server.held(), [(2, 1), (3, 1)]);
}

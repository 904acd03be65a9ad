//! Plugins that are asked about connections.

use std::rc::Rc;

use tokio::sync::Semaphore;
use weir_plugin::native::Native;
use weir_plugin::{
    ConnectVerdict, Connection, Hooks, Instance, Limits, OnFailure, Plugin, PluginError, Policy, Step, Visit,
};

use super::*;
use crate::spec::{Action, Route};

/// A listener `main` that speaks bytes, with one route to a server that greets with `hello`, and these plugins.
fn asking(plugins: &[Arc<dyn Plugin>]) -> Spec {
    let mut spec = greeting(|main| {
        main.proxy_protocol = Some(ProxyProtocol { trusted: vec!["127.0.0.1/32".parse().unwrap()] });
    });
    spec.connect_plugins.insert("main".into(), plugins.into());
    spec
}

/// The same on one that speaks HTTP and answers by itself.
fn asking_http(plugins: &[Arc<dyn Plugin>]) -> Spec {
    let body = "here".into();
    let answer = Action::Respond { status: http::StatusCode::OK, headers: http::HeaderMap::new(), body };
    Spec {
        listeners: vec![Listener { serve: Serve::Http, ..listener("main", loopback()) }],
        connect_plugins: [("main".into(), plugins.into())].into(),
        routes: vec![Route::new("all", answer)],
        ..Spec::default()
    }
}

/// A plugin that decides by the client's address: 10.0.0.1 is refused, 10.0.0.2 makes it fail.
fn by_address(name: &str, on_failure: OnFailure) -> Arc<dyn Plugin> {
    let decide = |connection: &Connection| match connection.peer.ip().map(|ip| ip.to_string()).as_deref() {
        Some("10.0.0.1") => ConnectVerdict::Refuse,
        Some("10.0.0.2") => ConnectVerdict::Fail("secret".into()),
        _ => ConnectVerdict::Accept,
    };
    Arc::new(Native::new(name).policy(Policy { on_failure, ..Policy::default() }).on_connect(decide))
}

/// A plugin that waits until it is let go on, and tells how it fares.
#[derive(Clone, Debug)]
struct Waits {
    policy: Policy,
    go_on: Arc<Semaphore>,
    tell: Sender<&'static str>,
}

/// Tells that a call was given up.
struct GivenUp(Sender<&'static str>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        let _ = self.0.send("given up");
    }
}

impl Plugin for Waits {
    fn name(&self) -> &str {
        "waits"
    }

    fn hooks(&self) -> Hooks {
        Hooks { connect: true, ..Hooks::default() }
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn instantiate(&self) -> Step<'_, Result<Rc<dyn Instance>, PluginError>> {
        Step::Done(Ok(Rc::new(self.clone())))
    }
}

impl Instance for Waits {
    fn visit(self: Rc<Self>) -> Box<dyn Visit> {
        unreachable!("it is on no route")
    }

    fn on_connect(&self, _: Rc<Connection>) -> Step<'static, ConnectVerdict> {
        let (go_on, tell) = (self.go_on.clone(), self.tell.clone());
        Step::Wait(Box::pin(async move {
            let given_up = GivenUp(tell.clone());
            tell.send("waits").unwrap();
            go_on.acquire().await.unwrap().forget();
            std::mem::forget(given_up);
            ConnectVerdict::Accept
        }))
    }
}

/// One that waits, what lets it go on, and what it tells.
fn waits(deadline: Duration) -> (Arc<dyn Plugin>, Arc<Semaphore>, Receiver<&'static str>) {
    let (tell, told) = channel();
    let limits = Limits { deadline, ..Limits::default() };
    let go_on = Arc::new(Semaphore::new(0));
    let plugin = Waits { policy: Policy { limits, ..Policy::default() }, go_on: go_on.clone(), tell };
    (Arc::new(plugin), go_on, told)
}

#[test]
fn a_plugin_refuses_before_anything_is_served() {
    let unwanted: Arc<dyn Plugin> = Arc::new(Native::new("no hook"));
    for (on_failure, greeted) in
        [(OnFailure::Closed, [false, false, true]), (OnFailure::Open, [false, true, true])]
    {
        let spec =
            asking(&[unwanted.clone(), by_address("first", on_failure), by_address("second", on_failure)]);
        let server = Running::new(&spec, 2);
        for (last, greeted) in (1..).zip(greeted) {
            let mut client = server.connect();
            let header = format!("PROXY TCP4 10.0.0.{last} 2.2.2.2 1000 80\r\n");
            client.write_all(header.as_bytes()).unwrap();
            match greeted {
                true => expect(&mut client, "hello"),
                false => assert!(is_closed(&mut client), "10.0.0.{last} with {on_failure:?}"),
            }
            drop(client);
            if greeted {
                // Of those that were closed the access log is told nothing.
                assert_eq!(server.seen().peer, format!("10.0.0.{last}:1000"));
            }
        }
    }
}

#[test]
fn what_a_client_sends_while_a_plugin_waits_is_not_lost() {
    let (plugin, go_on, told) = waits(LONG);
    // More than is read ahead, and the end of what the client has to say.
    let mut text = "a".repeat(100_000);
    text.push_str("end");
    let server = Running::new(&asking(&[plugin]), 1);
    let mut client = server.connect();
    client.write_all(b"PROXY TCP4 10.0.0.1 2.2.2.2 1000 80\r\n").unwrap();
    assert_eq!(told.recv_timeout(LONG), Ok("waits"));
    client.write_all(text.as_bytes()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    go_on.add_permits(1);
    expect(&mut client, &format!("hello{text}"));

    let (plugin, go_on, told) = waits(LONG);
    let server = Running::new(&asking_http(&[plugin]), 1);
    let mut client = server.connect();
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert_eq!(told.recv_timeout(LONG), Ok("waits"));
    client.write_all(b"host: a\r\nconnection: close\r\n\r\n").unwrap();
    go_on.add_permits(1);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nhere"), "{answer}");
}

#[test]
fn a_plugin_that_waits_is_given_up_when_the_client_leaves() {
    let (plugin, go_on, told) = waits(LONG);
    let server = Running::new(&asking_http(&[plugin]), 1);
    for sent in ["", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let mut client = server.connect();
        assert_eq!(told.recv_timeout(LONG), Ok("waits"));
        client.write_all(sent.as_bytes()).unwrap();
        drop(client);
        assert_eq!(told.recv_timeout(LONG), Ok("given up"), "after {sent:?}");
    }
    // The plugin is there for the next one.
    let mut client = server.connect();
    assert_eq!(told.recv_timeout(LONG), Ok("waits"));
    go_on.add_permits(1);
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    expect(&mut client, "HTTP/1.1 200");
}

#[test]
fn a_plugin_that_waits_is_given_up_at_its_deadline_and_in_a_drain() {
    let (plugin, _, told) = waits(Duration::from_millis(30));
    let server = Running::new(&asking_http(&[plugin]), 1);
    assert!(is_closed(&mut server.connect()));
    assert_eq!(told.iter().take(2).collect::<Vec<_>>(), ["waits", "given up"]);

    let (plugin, _, told) = waits(LONG);
    let mut server = Running::new(&asking_http(&[plugin]), 1);
    let mut client = server.connect();
    assert_eq!(told.recv_timeout(LONG), Ok("waits"));
    assert_eq!(server.drain(LONG), Drained { cut: 0 });
    assert_eq!(told.recv_timeout(LONG), Ok("given up"));
    assert!(is_closed(&mut client));
}

#[test]
fn a_connection_has_the_plugins_of_its_begin_and_does_not_keep_them() {
    let old: Arc<dyn Plugin> = Arc::new(Native::new("old").on_connect(|_| ConnectVerdict::Accept));
    let (weak, spec) = (Arc::downgrade(&old), asking_http(&[old]));
    let server = Running::new(&spec, 1);
    drop(spec);
    let mut first = server.connect();
    let mut ask = || {
        first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nhere") {
            let mut byte = [0];
            first.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
    };
    ask();
    let refuses = Native::new("new").on_connect(|_| ConnectVerdict::Refuse);
    let publisher = server.server.as_ref().unwrap().publisher();
    let spec = asking_http(&[Arc::new(refuses)]);
    let next = Snapshot::assemble(&spec, None, Some(&publisher.current())).unwrap();
    block_on(publisher.publish(next)).unwrap();
    assert!(is_closed(&mut server.connect()));
    ask();
    // Instances that timers run on would go on as long as it is there.
    assert_eq!(weak.strong_count(), 0, "a connection keeps the plugin that it was asked about by");
    ask();
}

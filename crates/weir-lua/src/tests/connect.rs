//! The hook `on_connect`.

use std::time::Duration;

use weir_plugin::{ClientCertificate, ConnectVerdict, Tls};

use super::*;

fn connection(address: &str, tls: Option<Tls>) -> Rc<Connection> {
    let (peer, local) =
        (Peer::Ip(address.parse().expect("an address")), Peer::Ip(([192, 0, 2, 8], 443).into()));
    Rc::new(Connection { id: 7, listener: "web".into(), peer, local, tls: tls.map(Into::into) })
}

fn start(text: &str, limits: Limits) -> Rc<dyn Instance> {
    let plugin = load_with(text, Settings::new(), Policy { limits, ..Policy::default() }).expect("it loads");
    assert!(plugin.hooks().connect && !plugin.hooks().is_for_routes());
    block_on(plugin.instantiate().finish()).expect("it starts")
}

fn ask(instance: &Rc<dyn Instance>, connection: Rc<Connection>) -> ConnectVerdict {
    block_on(instance.on_connect(connection).finish())
}

/// What a hook with this body says of a plain connection.
fn run(body: &str) -> ConnectVerdict {
    let text = format!("return {{ on_connect = function(connection)\n{body}\nend }}");
    ask(&start(&text, Limits::default()), connection("192.0.2.1:40000", None))
}

#[test]
fn a_connection_is_seen_and_accepted_or_refused() {
    assert_eq!(run("weir.kv.incr('count')"), ConnectVerdict::Accept);
    assert_eq!(run("return weir.refuse()"), ConnectVerdict::Refuse);
    for (body, expected) in [
        ("error('my own')", "test.lua:2: my own"),
        ("return true", "on_connect returned a boolean: it returns nothing, or weir.refuse()"),
        ("return weir.respond{}", "on_connect returned a userdata"),
        ("return weir.group('a')", "on_connect returned a userdata"),
        ("connection.sni = 'a'", "`sni` of a connection cannot be set"),
        ("return connection.host", "a connection has no `host`"),
    ] {
        match run(body) {
            ConnectVerdict::Fail(message) => assert!(message.contains(expected), "{body}: {message}"),
            other => panic!("{body}: {other:?}"),
        }
    }
    let text = r#"return { on_connect = function(c)
        assert(c.id == "7" and c.listener == "web" and c.local_address == "192.0.2.8:443")
        if c.peer_ip == "192.0.2.1" then
            assert(string.find(c.peer, "192.0.2.1", 1, true) and c.tls_version == nil and c.sni == nil and c.client_subject == nil)
        else
            assert(c.peer_ip == "2001:db8::1" and c.peer == "[2001:db8::1]:443", c.peer)
            assert(c.tls_version == "TLSv1.3" and c.tls_cipher == "x" and c.sni == "a.test" and c.alpn == "h2")
            assert(c.client_subject == "CN=me" and c.client_fingerprint == "ab")
        end
    end }"#;
    let instance = start(text, Limits::default());
    let client = ClientCertificate {
        der: [].into(),
        subject: "CN=me".into(),
        issuer: String::new(),
        serial: String::new(),
        names: Vec::new(),
        fingerprint: "ab".into(),
    };
    let (sni, alpn) = (Some("a.test".into()), Some("h2".into()));
    let tls =
        Tls { version: "TLSv1.3", cipher: "x", sni, alpn, resumed: false, client: Some(client), policy: 0 };
    assert_eq!(ask(&instance, connection("192.0.2.1:40000", None)), ConnectVerdict::Accept);
    assert_eq!(ask(&instance, connection("[::ffff:192.0.2.1]:40000", None)), ConnectVerdict::Accept);
    assert_eq!(ask(&instance, connection("[2001:db8::1]:443", Some(tls))), ConnectVerdict::Accept);
}

#[test]
fn a_connection_is_no_good_when_its_hook_has_ended_or_waits() {
    let text = r#"
        local kept, told
        return { on_connect = function(connection)
            if kept then
                told = select(2, pcall(function() return kept.peer end))
                error(told, 0)
            end
            kept = connection
            while true do end    -- waits for its next turn
        end }"#;
    let expired = |verdict| match verdict {
        ConnectVerdict::Fail(message) => {
            assert!(message.contains("this connection was used after its hook"), "{message}")
        }
        other => panic!("{other:?}"),
    };
    let instance = start(text, Limits::default());
    let Step::Wait(waiting) = instance.on_connect(connection("192.0.2.1:1", None)) else {
        panic!("it waits")
    };
    expired(ask(&instance, connection("192.0.2.2:2", None)));
    // A client that leaves ends its hook.
    let left = connection("192.0.2.3:3", None);
    drop(waiting);
    expired(ask(&instance, left.clone()));
    assert_eq!(Rc::strong_count(&left), 1, "nothing is kept of it");
}

#[test]
fn an_endless_loop_has_its_budget_and_its_turns() {
    let text = "return { on_connect = function() while true do end end }";
    let limits = Limits { cpu: Duration::from_millis(5), ..Limits::default() };
    let mut step = start(text, limits).on_connect(connection("192.0.2.1:1", None));
    let mut turns = 0;
    let verdict = loop {
        match step {
            Step::Done(verdict) => break verdict,
            Step::Wait(mut waiting) => {
                turns += 1;
                step = match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(verdict) => Step::Done(verdict),
                    Poll::Pending => Step::Wait(waiting),
                };
            }
        }
    };
    assert!(turns > 2, "{turns} turns");
    let ConnectVerdict::Fail(message) = verdict else { panic!("{verdict:?}") };
    assert!(message.contains("it used up its processor time of 5ms"), "{message}");
}

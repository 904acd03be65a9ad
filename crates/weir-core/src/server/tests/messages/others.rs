//! What others do to relays: groups, operators, the end of the process, another generation.

use weir_plugin::services::WebSockets;
use weir_plugin::websocket::WebSocket as Seen;
use weir_plugin::{Held, Hooks, Instance, Plugin, PluginError, Policy, Step, Talk, Visit};

use super::*;
use crate::relay::{Passed, RelayKind, TapError, WorkerRelays};
use crate::spec::Tap;

fn joins() -> Native {
    Native::new("joins").on_websocket(|_, ws, has| {
        ws.relay.join("room:1").unwrap();
        has
    })
}

#[test]
fn what_is_sent_to_a_group_comes_to_its_members_on_all_workers() {
    let plugin = joins().on_message(|message, ws| {
        let relays = WorkerRelays;
        if &*message.data == b"leave" {
            assert!(ws.relay.leave("room:1") && !ws.relay.leave("room:1"));
            return FrameVerdict::Drop;
        }
        let members = relays.members("room:1");
        assert_eq!(members.len(), relays.count("room:1"));
        for relay in members {
            relay.send(Direction::ToClient, PluginOpcode::Text, message.data.clone()).unwrap();
        }
        FrameVerdict::Drop
    });
    let server = Talking::on(2, vec![plugin], |_| ());
    let (mut one, _one) = server.open(None);
    let (mut two, _two) = server.open(None);
    let (mut three, _three) = server.open(None);
    let group = RelayFilter { group: Some("room:1".to_owned()), ..RelayFilter::default() };
    let has = |members: usize| {
        while server.publisher().list_relays(&group, 10).1 != members {
            std::thread::yield_now();
        }
    };
    // They join a moment after they were opened.
    has(3);
    three.send(&text("leave"));
    has(2);
    one.send(&text("to all"));
    one.expect(&text("to all"));
    two.expect(&text("to all"));
    drop(two);
    has(1);
    assert_eq!(server.publisher().close_relays(&group, &CloseReason::new(4000, "go").unwrap()), 1);
    one.expect(&closing(4000, "go"));
    three.send(&text("nobody"));
    three.send(&closing(1000, ""));
}

#[test]
fn operators_see_relays_and_their_messages() {
    let plugin = on_message(|message| match &*message.data {
        b"drop" => FrameVerdict::Drop,
        b"replace" => FrameVerdict::Replace("replaced".into()),
        _ => FrameVerdict::Forward,
    });
    let redact = vec![regex::bytes::Regex::new("[0-9]{4}").unwrap()];
    let server = Talking::new(vec![plugin], |route| {
        let tap = Some(Arc::new(Tap { sample: 1.0, max_bytes: 12, redact }));
        route.websocket =
            Some(WebSocket { frames: Frames { tap, ..Frames::default() }, ..WebSocket::default() });
    });
    let (mut client, mut upstream) = server.open(None);
    client.send(&text("before"));
    upstream.expect(&text("before"));
    let list = || server.publisher().list_relays(&RelayFilter::default(), 10);
    // Counted a moment after it has passed.
    while list().0[0].bytes != [12, 0] {
        std::thread::yield_now();
    }
    let (relays, all) = list();
    assert_eq!((all, relays[0].kind, &*relays[0].route), (1, RelayKind::Messages, "talk"));
    assert_eq!(relays[0].frames, [1, 0]);
    let id = relays[0].id;
    assert_eq!(server.publisher().tap(id + 1).err(), Some(TapError::NoSuchRelay));
    let mut tap = server.publisher().tap(id).unwrap();
    assert_eq!(server.publisher().tap(id).err(), Some(TapError::Taken));
    client.send(&text("my pin is 1234, as ever"));
    client.send(&text("drop"));
    upstream.expect(&text("my pin is 1234, as ever"));
    upstream.send(&text("replace"));
    client.expect(&text("replaced"));
    let shown = [(); 3].map(|()| {
        let tapped = tap.blocking_recv().unwrap();
        (tapped.direction, String::from_utf8(tapped.data.to_vec()).unwrap(), tapped.passed)
    });
    let (up, down) = (Direction::ToUpstream, Direction::ToClient);
    assert_eq!(
        shown,
        [
            (up, "my pin is **".to_owned(), Passed::Forwarded),
            (up, "drop".to_owned(), Passed::Dropped),
            (down, "replaced".to_owned(), Passed::Replaced),
        ]
    );
    drop(client);
    while tap.blocking_recv().is_some() {}
}

#[test]
fn bytes_pass_unread_where_no_plugin_wants_anything() {
    let plugin = Native::new("looks").on_message(|_, _| FrameVerdict::Drop).on_websocket(|x, ws, _| {
        assert_eq!(x.method, http::Method::GET);
        assert_eq!(&*ws.route, "talk");
        Watch::default()
    });
    let server = Talking::with(plugin);
    let (mut client, mut upstream) = server.open(None);
    client.send_raw(b"no frames at all");
    let mut got = [0; 16];
    upstream.stream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"no frames at all");
    let (relays, _) = server.publisher().list_relays(&RelayFilter::default(), 1);
    assert_eq!(relays[0].kind, RelayKind::Spliced);
}

/// A plugin that looks at the first message of each relay, and at what comes before its end.
#[derive(Debug)]
struct Looks {
    policy: Policy,
    shown: Sender<String>,
}

/// It, on a relay.
struct Looking {
    shown: Sender<String>,
    looked: std::cell::Cell<bool>,
}

impl Looking {
    fn new(shown: &Sender<String>) -> std::rc::Rc<Self> {
        std::rc::Rc::new(Looking { shown: shown.clone(), looked: false.into() })
    }
}

impl Plugin for Looks {
    fn name(&self) -> &str {
        "looks"
    }

    fn hooks(&self) -> Hooks {
        Hooks { frame: true, message: true, ..Hooks::default() }
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn instantiate(&self) -> Step<'_, Result<std::rc::Rc<dyn Instance>, PluginError>> {
        Step::Done(Ok(Looking::new(&self.shown)))
    }
}

impl Instance for Looking {
    fn visit(self: std::rc::Rc<Self>) -> Box<dyn Visit> {
        Box::new(Looking { shown: self.shown.clone(), looked: false.into() })
    }
}

impl Visit for Looking {
    fn talk(&mut self, _: &std::rc::Rc<Seen>) -> Option<std::rc::Rc<dyn Talk>> {
        Some(Looking::new(&self.shown))
    }
}

impl Talk for Looking {
    fn on_frame(&self, frame: Frame) -> Step<'static, FrameVerdict> {
        let _ = self.shown.send(format!("frame {}", frame.data.len()));
        Step::Done(FrameVerdict::Forward)
    }

    fn on_message(&self, message: Frame) -> Step<'static, FrameVerdict> {
        let _ = self.shown.send(format!("message {}", message.data.len()));
        self.looked.set(true);
        Step::Done(FrameVerdict::Forward)
    }

    fn changed(&self) -> Option<Watch> {
        self.looked.take().then_some(Watch { send: true, ..Watch::default() })
    }
}

#[test]
fn a_plugin_has_seen_enough() {
    let (tell, shown) = channel();
    let looks = Looks { policy: Policy::default(), shown: tell };
    let server = Talking::new(Vec::new(), |route| {
        route.plugins = vec![Arc::new(looks)];
        let frames = Frames { max_message: 64, ..Frames::default() };
        route.websocket = Some(WebSocket { frames, ..WebSocket::default() });
    });
    let (mut client, mut upstream) = server.open(None);
    // The other direction is within a message, which is put together to its end.
    upstream.send(&piece(Opcode::Text, false, "abc"));
    assert_eq!(shown.recv().unwrap(), "frame 3");
    client.send(&text("1"));
    upstream.expect(&text("1"));
    assert_eq!((shown.recv().unwrap(), shown.recv().unwrap()), ("frame 1".into(), "message 1".into()));
    upstream.send(&piece(Opcode::Continuation, true, "de"));
    client.expect(&piece(Opcode::Text, false, "abc"));
    client.expect(&piece(Opcode::Continuation, true, "de"));
    let list = || server.publisher().list_relays(&RelayFilter::default(), 1).0;
    while list()[0].kind != RelayKind::Frames {
        std::thread::yield_now();
    }
    // From now on nothing is waited for: a frame is on its way before all of it is there.
    let whole = client.encoded(&text("on its way"));
    client.send_raw(&whole[..9]);
    let mut begun = [0; 9];
    upstream.stream.read_exact(&mut begun).unwrap();
    client.send_raw(&whole[9..]);
    upstream.stream.read_exact(&mut [0; 7]).unwrap();
    client.send(&text("2"));
    upstream.expect(&text("2"));
    assert!(shown.try_recv().is_err());
}

#[test]
fn the_end_of_the_process_is_told() {
    let mut server = Talking::with(on_message(|_| FrameVerdict::Forward));
    let (mut client, mut upstream) = server.open(None);
    let answers = std::thread::spawn(move || {
        client.expect(&closing(1001, ""));
        client.send(&closing(1001, ""));
        upstream.expect(&closing(1001, ""));
        upstream.send(&closing(1001, ""));
    });
    assert_eq!(server.running.drain(Duration::ZERO).cut, 0);
    answers.join().unwrap();
}

/// A plugin whose state is a count of messages, with a stamp of its generation.
#[derive(Debug)]
struct Counts {
    stamp: &'static str,
    takes_over: bool,
    policy: Policy,
}

struct Counting {
    stamp: &'static str,
    takes_over: bool,
    count: std::rc::Rc<std::cell::Cell<u8>>,
}

impl Plugin for Counts {
    fn name(&self) -> &str {
        "counts"
    }

    fn hooks(&self) -> Hooks {
        Hooks { message: true, migrate: true, ..Hooks::default() }
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn instantiate(&self) -> Step<'_, Result<std::rc::Rc<dyn Instance>, PluginError>> {
        Step::Done(Ok(std::rc::Rc::new(Counts { policy: Policy::default(), ..*self })))
    }
}

impl Instance for Counts {
    fn visit(self: std::rc::Rc<Self>) -> Box<dyn Visit> {
        let Counts { stamp, takes_over, .. } = *self;
        Box::new(Counting { stamp, takes_over, count: std::rc::Rc::default() })
    }
}

impl Visit for Counting {
    fn talk(&mut self, _: &std::rc::Rc<Seen>) -> Option<std::rc::Rc<dyn Talk>> {
        let Counting { stamp, takes_over, count } = self;
        Some(std::rc::Rc::new(Counting { stamp, takes_over: *takes_over, count: count.clone() }))
    }

    fn on_migrate<'a>(
        &'a mut self,
        _: &'a mut Held,
        _: &'a std::rc::Rc<Seen>,
        saved: Bytes,
        has: Watch,
    ) -> Step<'a, Result<Watch, String>> {
        if !self.takes_over {
            return Step::Done(Err("it does not".to_owned()));
        }
        self.count.set(saved[0]);
        Step::Done(Ok(has))
    }
}

impl Talk for Counting {
    fn on_message(&self, message: Frame) -> Step<'static, FrameVerdict> {
        self.count.set(self.count.get() + 1);
        let text = String::from_utf8_lossy(&message.data).into_owned();
        Step::Done(FrameVerdict::Replace(format!("{text} {} {}", self.stamp, self.count.get()).into()))
    }

    fn save(&self) -> Step<'static, Result<Bytes, String>> {
        Step::Done(Ok(Bytes::copy_from_slice(&[self.count.get()])))
    }
}

#[test]
fn a_relay_goes_over_to_another_generation_with_its_state() {
    let spec = |talking: &Talking, stamp, takes_over| {
        let mut spec = talking.spec.clone();
        let plugin = Counts { stamp, takes_over, policy: Policy::default() };
        spec.routes[0].plugins = vec![Arc::new(plugin)];
        spec.routes[0].on_reload = OnReload::Migrate;
        spec
    };
    let talking = Talking::new(vec![], |_| ());
    let publish = |stamp, takes_over| {
        let publisher = talking.publisher();
        let before = publisher.current();
        let snapshot = Snapshot::assemble(&spec(&talking, stamp, takes_over), None, Some(&before)).unwrap();
        block_on_local(publisher.publish(snapshot)).unwrap();
    };
    publish("first", true);
    let (mut client, mut upstream) = talking.open(None);
    client.send(&text("a"));
    upstream.expect(&text("a first 1"));
    // Between two pieces of a message it stays.
    client.send(&piece(Opcode::Text, false, "b"));
    client.send(&wire(Opcode::Ping, "it was read"));
    upstream.expect(&wire(Opcode::Ping, "it was read"));
    publish("second", true);
    // The other way is not held up for long.
    upstream.send(&text("meanwhile"));
    client.expect(&text("meanwhile first 2"));
    client.send(&piece(Opcode::Continuation, true, "c"));
    upstream.expect(&text("bc first 3"));
    let generation = || talking.publisher().list_relays(&RelayFilter::default(), 1).0[0].generation;
    while generation() != 3 {
        std::thread::yield_now();
    }
    upstream.send(&text("d"));
    client.expect(&text("d second 4"));
    // One that cannot take over leaves it where it is.
    publish("third", false);
    client.send(&text("e"));
    upstream.expect(&text("e second 5"));
    assert_eq!(generation(), 3);
    publish("fourth", true);
    while generation() != 5 {
        std::thread::yield_now();
    }
    client.send(&text("f"));
    upstream.expect(&text("f fourth 6"));
}

fn block_on_local<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

//! A component that does what it must not, on the only worker: what it costs others.

use std::time::{Duration, Instant};

use weir_tests::{RawClient, Weir, tools};

/// What a request asks for, and what becomes of it.
const BAD: [(&str, Comes); 15] = [
    ("loop", Comes::Failed),
    ("recursion", Comes::Failed),
    ("memory", Comes::Failed),
    ("argument", Comes::Failed),
    ("name", Comes::Failed),
    ("leak", Comes::Failed),
    ("request", Comes::Failed),
    ("request-body", Comes::Failed),
    ("select-upstream", Comes::Failed),
    ("response", Comes::Failed),
    // The head of the response may be on its way.
    ("response-body", Comes::Cut),
    ("kept", Comes::Cut),
    // Its own is answered; another exchange of the instance may not be yet.
    ("log", Comes::Either),
    ("sleep", Comes::Left),
    ("none", Comes::Served),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    Served,
    /// With 502.
    Failed,
    /// With 502, or in the midst of the response.
    Cut,
    /// Served, or with 502.
    Either,
    /// The client does not wait for it.
    Left,
}

/// The status of the answer, where that is whole.
fn bad(mut client: RawClient, what: &str) -> Option<u16> {
    let request = format!("POST /echo HTTP/1.1\r\nhost: a\r\nx-bad: {what}\r\ncontent-length: 2\r\n\r\nhi");
    client.send(request);
    // In the midst of its wait.
    (what != "sleep")
        .then(|| client.try_answer("POST").filter(|answer| answer.whole).map(|answer| answer.status))?
}

#[test]
fn a_hostile_component_costs_others_little() {
    let weir = Weir::start(&format!(
        "workers = 1
        access_log = {{ path = \"off\" }}
        [[listeners]]
        name = \"web\"
        address = \"127.0.0.1:0\"
        [[routes]]
        path = \"/echo\"
        upstream = \"app\"
        plugins = [\"hostile\"]
        [plugins.hostile]
        path = \"{}\"
        [[routes]]
        respond = \"other\"
        [upstreams.app]
        endpoints = [\"demo:\"]
        ",
        tools::guest("hostile").display()
    ));
    let address = weir.address("web");
    let mut other = RawClient::connect(address);
    for (what, comes) in BAD {
        let all: Vec<_> = (0..4)
            .map(|_| {
                let client = RawClient::connect(address);
                std::thread::spawn(move || bad(client, what))
            })
            .collect();
        let (mut worst, mut served) = (Duration::ZERO, 0);
        while served == 0 || all.iter().any(|one| !one.is_finished()) {
            let begun = Instant::now();
            assert_eq!(other.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").status, 200, "beside {what}");
            worst = worst.max(begun.elapsed());
            served += 1;
        }
        println!("{what}: {served} requests of another connection beside it, the slowest took {worst:?}");
        for one in all {
            let status = one.join().expect("it came to an end");
            let is_right = match comes {
                Comes::Served => status == Some(200),
                Comes::Failed => status == Some(502),
                Comes::Cut => matches!(status, Some(502) | None),
                Comes::Either => matches!(status, Some(200 | 502)),
                Comes::Left => status.is_none(),
            };
            assert!(is_right, "{what}: {status:?}, and it should be {comes:?}");
        }
        // The next one gets an instance that is whole.
        let next = bad(RawClient::connect(address), "none");
        assert_eq!(next, Some(200), "after {what}");
    }
}

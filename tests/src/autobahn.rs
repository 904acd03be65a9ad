//! Autobahn's fuzzing client against an echo server, direct and through weir in each way in which it carries a WebSocket:
//! weir must make no case worse.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::node::echo_server;
use crate::{Weir, process, tools, weir};

/// The quick cases: all about framing, fragments, control frames, UTF-8 and closing, and one each of large text, large
/// binary and compressed messages. Those left out are the same with ever more bytes or other windows, and take almost
/// all the time of a whole run.
pub const QUICK: [&str; 11] =
    ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.2.1", "10.*", "12.1.1"];

/// All of them.
pub const ALL: [&str; 1] = ["*"];

/// A run that takes longer is broken.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);

/// A way from the client to the echo server.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Its name in the table.
    pub name: &'static str,
    /// With which the outcomes are compared; none, for one without weir.
    pub beside: Option<&'static str>,
    /// Where the server echoes.
    path: &'static str,
    /// What each weir on the way adds to its route, the client's first. They speak HTTP/2 to one another.
    weirs: &'static [Passing],
}

/// What a weir does with frames.
#[derive(Clone, Copy, Debug)]
enum Passing {
    /// They are not read.
    Spliced,
    /// They are read, by a hook of a plugin that leaves all as it is, or for bounds alone where there is none.
    Read { hook: Option<&'static str>, deflate: &'static str },
}

const fn read(hook: &'static str, deflate: &'static str) -> Passing {
    Passing::Read { hook: Some(hook), deflate }
}

const DEFAULT: &str = "true";
const OFF: &str = "false";
const TAKEOVER: &str = "{ takeover = true }";
/// The upstream is opened with the first message, so that the server may have no compression where the client has some.
const LATE: &str = "true\nconnect = \"first-message\"";
const LATE_TAKEOVER: &str = "{ takeover = true }\nconnect = \"first-message\"";

const fn way(name: &'static str, beside: &'static str, path: &'static str, weirs: &'static [Passing]) -> Way {
    Way { name, beside: Some(beside), path, weirs }
}

/// All ways. Without compression the server has none either, or weir agrees on none with it.
pub const WAYS: [Way; 16] = [
    Way { name: "direct", beside: None, path: "/quiet", weirs: &[] },
    way("spliced", "direct", "/quiet", &[Passing::Spliced]),
    way("bounds", "direct", "/quiet", &[Passing::Read { hook: None, deflate: DEFAULT }]),
    way("frames", "direct", "/quiet", &[read("on_frame", DEFAULT)]),
    way("messages", "direct", "/quiet", &[read("on_message", DEFAULT)]),
    way("frames, takeover", "direct", "/quiet", &[read("on_frame", TAKEOVER)]),
    way("messages, takeover", "direct", "/quiet", &[read("on_message", TAKEOVER)]),
    way("spliced, HTTP/2", "direct", "/quiet", &[Passing::Spliced, Passing::Spliced]),
    way("both, HTTP/2", "direct", "/quiet", &[read("on_message", DEFAULT), read("on_frame", DEFAULT)]),
    way("frames, late", "direct", "/quiet", &[read("on_frame", LATE)]),
    way("messages, late, takeover", "direct", "/quiet", &[read("on_message", LATE_TAKEOVER)]),
    way("messages, late, to plain", "direct", "/plain", &[read("on_message", LATE)]),
    Way { name: "direct, plain", beside: None, path: "/plain", weirs: &[] },
    way("spliced, plain", "direct, plain", "/plain", &[Passing::Spliced]),
    way("frames, plain", "direct, plain", "/quiet", &[read("on_frame", OFF)]),
    way("messages, plain", "direct, plain", "/quiet", &[read("on_message", OFF)]),
];

/// What came of each case.
pub type Outcomes = BTreeMap<String, Outcome>;

/// What came of a case, as Autobahn calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of the case itself.
    pub behavior: String,
    /// Of how the connection was closed.
    pub close: String,
}

/// How good an outcome is, from the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// It does not conform.
    Failed,
    /// The case is about an extension that was not agreed on.
    Unimplemented,
    /// It conforms, if not in the best way.
    NonStrict,
    /// There is no right or wrong.
    Informational,
    /// It conforms.
    Good,
}

impl Outcome {
    /// The worse of its two sides. How a connection was closed counts where that was wrong.
    pub fn rank(&self) -> Rank {
        let close = rank(&self.close);
        let behavior = rank(&self.behavior);
        if close < Rank::Unimplemented { close.min(behavior) } else { behavior }
    }
}

fn rank(name: &str) -> Rank {
    match name {
        "OK" => Rank::Good,
        "INFORMATIONAL" => Rank::Informational,
        "NON-STRICT" => Rank::NonStrict,
        "UNIMPLEMENTED" => Rank::Unimplemented,
        _ => Rank::Failed,
    }
}

/// Runs cases on so many ways at once: what came of them, by the ways' names. Quick cases mostly wait; large ones keep a
/// processor busy.
pub fn run(cases: &[&str], ways: &[Way], at_once: usize) -> BTreeMap<&'static str, Outcomes> {
    let (_server, echo) = echo_server(&[]);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(way) = ways.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcomes = run_way(cases, way, echo);
                    eprintln!("Autobahn: {} cases, {}", outcomes.len(), way.name);
                    done.lock().expect("no run has failed").insert(way.name, outcomes);
                }
            });
        }
    });
    done.into_inner().expect("no run has failed")
}

/// Which cases are worse than on the way that theirs is compared with, and how.
pub fn worse(ways: &[Way], all: &BTreeMap<&'static str, Outcomes>) -> Vec<String> {
    let mut bad = Vec::new();
    for way in ways {
        let outcomes = &all[way.name];
        let beside = &all[way.beside.unwrap_or(way.name)];
        if outcomes.len() != beside.len() {
            bad.push(format!("{}: {} cases instead of {}", way.name, outcomes.len(), beside.len()));
        }
        for (case, here) in beside {
            let Some(there) = outcomes.get(case) else { continue };
            let is_worse = match way.beside {
                // A server or a client that does not get a case right tells nothing about what is between them.
                None => here.rank() == Rank::Failed,
                Some(_) => there.rank() < here.rank() && there.rank() < Rank::Informational,
            };
            if is_worse {
                bad.push(format!("{case}, {}: {there:?} instead of {here:?}", way.name));
            }
        }
    }
    bad
}

/// How many cases of each group came to what, in Markdown.
pub fn table(ways: &[Way], all: &BTreeMap<&'static str, Outcomes>) -> String {
    let mut table = String::from("| cases |");
    for way in ways {
        let _ = write!(table, " {} |", way.name);
    }
    let _ = write!(table, "\n|---|{}", "---|".repeat(ways.len()));
    let groups: BTreeSet<u32> = all.values().flat_map(Outcomes::keys).map(|case| group(case)).collect();
    for group in groups {
        let _ = write!(table, "\n| {group}.* |");
        for way in ways {
            let _ = write!(table, " {} |", cell(&all[way.name], group));
        }
    }
    table.push_str("\n\nOK / non-strict / informational / failed; -: no compression was agreed on\n");
    table
}

/// The first number of a case.
fn group(case: &str) -> u32 {
    case.split('.').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn cell(outcomes: &Outcomes, of: u32) -> String {
    let ranks: Vec<Rank> =
        outcomes.iter().filter(|(case, _)| group(case) == of).map(|(_, outcome)| outcome.rank()).collect();
    if ranks.iter().all(|rank| *rank == Rank::Unimplemented) {
        return "-".to_owned();
    }
    let count = |wanted: &[Rank]| ranks.iter().filter(|rank| wanted.contains(rank)).count();
    format!(
        "{} / {} / {} / {}",
        count(&[Rank::Good]),
        count(&[Rank::NonStrict]),
        count(&[Rank::Informational]),
        count(&[Rank::Failed, Rank::Unimplemented])
    )
}

/// Runs cases on one way to the server that listens there.
fn run_way(cases: &[&str], way: &Way, echo: SocketAddr) -> Outcomes {
    let mut weirs = Vec::new();
    let mut address = echo;
    // From the server to the client.
    for (place, passing) in way.weirs.iter().rev().enumerate() {
        let weir = start(*passing, address, place > 0);
        address = weir.address("web");
        weirs.push(weir);
    }

    let report = weir::folder();
    let spec = json!({
        "outdir": report.path(),
        "servers": [{ "agent": "server", "url": format!("ws://{address}{}", way.path) }],
        "cases": cases,
    });
    let spec_path = report.path().join("spec.json");
    std::fs::write(&spec_path, spec.to_string()).expect("a temporary file can be written");
    let output = process::run_for("wstest", tools::wstest().arg(&spec_path), b"", LONGEST);
    assert_eq!(output.code, Some(0), "{}: {}{}", way.name, output.stdout, output.stderr);

    let index = std::fs::read(report.path().join("index.json")).expect("wstest writes an index");
    let index: Map<String, Value> = serde_json::from_slice(&index).expect("the index is JSON");
    let cases = index["server"].as_object().expect("the index has cases");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let outcome =
        |case: &Value| Outcome { behavior: text(&case["behavior"]), close: text(&case["behaviorClose"]) };
    cases.iter().map(|(name, case)| (name.clone(), outcome(case))).collect()
}

/// A weir in front of an upstream. Its bounds are above the largest case.
fn start(passing: Passing, upstream: SocketAddr, http2: bool) -> Weir {
    let folder = weir::folder();
    let (mut route, mut plugin) = (String::new(), String::new());
    if let Passing::Read { hook, deflate } = passing {
        if let Some(hook) = hook {
            let script = format!("return {{ {hook} = function() end }}");
            std::fs::write(folder.path().join("look.lua"), script).expect("a temporary file can be written");
            route.push_str("plugins = [\"look\"]\n");
            plugin.push_str("[plugins.look]\npath = \"look.lua\"\n");
        }
        let _ = write!(
            route,
            "[routes.websocket]\nmax_frame = \"64MiB\"\nmax_message = \"64MiB\"\nmax_fragments = 100000\n\
             max_controls = 0\ndeflate = {deflate}\n"
        );
    }
    let protocol = if http2 { "http2" } else { "http1" };
    let config = format!(
        "workers = 2\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"all\"\nupstream = \"app\"\n{route}\
         [upstreams.app]\nendpoints = [\"{upstream}\"]\nprotocol = \"{protocol}\"\n{plugin}"
    );
    Weir::start_in(folder, &config)
}

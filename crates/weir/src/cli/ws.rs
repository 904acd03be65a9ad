//! `weir ws`: the relays of a running weir.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgGroup;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::ask::At;
use super::print;
use super::status::lasting;
use crate::admin::{Closed, Listed, Message, Relay, Ways, inert};

/// After `--help`.
pub(super) const AFTER: &str = "\
Exit codes:
  0  it went well
  1  nobody answers, or it was refused
  2  the command line is wrong";

/// What is done with them.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Ws {
    /// Tell which WebSockets and connections of layer 4 are open, the oldest first.
    #[command(after_help = AFTER)]
    List(List),
    /// Close some of them: those for which all that is given holds.
    #[command(after_help = AFTER)]
    Close(Close),
    /// Show the messages of one as they pass, where its route has `websocket.tap`.
    #[command(after_help = AFTER)]
    Tap(Tap),
}

/// Which relays are meant.
#[derive(Debug, Default, clap::Args)]
struct Filter {
    /// The one of this id.
    #[arg(long)]
    id: Option<u64>,
    /// Those of this route.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Those of clients with this address, or in this network.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// Those that go by this generation.
    #[arg(long)]
    generation: Option<u64>,
    /// Those in this group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

/// Which ones, and how.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    filter: Filter,
    /// How many are shown at most.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which ones, and with which close frame.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true)
    .args(["id", "route", "client", "generation", "group", "all"]))]
pub(super) struct Close {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    filter: Filter,
    /// All of them.
    #[arg(long, conflicts_with_all = ["id", "route", "client", "generation", "group"])]
    all: bool,
    /// The close code, where frames are read.
    #[arg(long, default_value_t = 1012)]
    code: u16,
    /// The reason beside it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which one, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Tap {
    #[command(flatten)]
    at: At,
    /// Its id, of `weir ws list`.
    id: u64,
    /// Print lines of JSON.
    #[arg(long)]
    json: bool,
}

impl Ws {
    pub(super) fn run(self) -> ExitCode {
        let done = match self {
            Ws::List(list) => list.run(),
            Ws::Close(close) => close.run(),
            Ws::Tap(tap) => tap.run(),
        };
        done.unwrap_or_else(|code| code)
    }
}

impl Filter {
    /// As a query.
    fn query(&self, others: &[(&str, String)]) -> String {
        let number = |n: Option<u64>| n.map(|n| n.to_string());
        let own = [
            ("id", number(self.id)),
            ("route", self.route.clone()),
            ("client", self.client.clone()),
            ("generation", number(self.generation)),
            ("group", self.group.clone()),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let parts = own.chain(others.iter().cloned());
        let parts =
            parts.map(|(name, value)| format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)));
        parts.collect::<Vec<_>>().join("&")
    }
}

impl List {
    fn run(self) -> Result<ExitCode, ExitCode> {
        let query = self.filter.query(&[("limit", self.limit.to_string())]);
        let listed: Listed = self.at.ask(Method::GET, &format!("/websockets?{query}"))?;
        Ok(print(&match self.json {
            true => as_json(&listed),
            false => table(&listed),
        }))
    }
}

impl Close {
    fn run(self) -> Result<ExitCode, ExitCode> {
        let mut others = vec![("code", self.code.to_string()), ("reason", self.reason.clone())];
        if self.all {
            others.push(("all", "true".to_owned()));
        }
        let query = self.filter.query(&others);
        let closed: Closed = self.at.ask(Method::POST, &format!("/websockets/close?{query}"))?;
        Ok(print(&match self.json {
            true => serde_json::to_string_pretty(&closed).unwrap_or_default() + "\n",
            false => match closed.closed {
                0 => "there is none to close\n".to_owned(),
                1 => "1 is told to end\n".to_owned(),
                n => format!("{n} are told to end\n"),
            },
        }))
    }
}

impl Tap {
    fn run(self) -> Result<ExitCode, ExitCode> {
        let mut lines = Lines::default();
        let mut out = std::io::stdout();
        let id = self.id;
        // Nothing is left to tell it to when standard error is closed.
        let tell = |what: String| drop(writeln!(std::io::stderr(), "{what}"));
        let begun = || tell(format!("looking at {id}; Ctrl-C ends it"));
        self.at.follow(&format!("/websockets/{id}/tap"), begun, |piece| {
            lines.add(piece, |line| {
                let shown = match (self.json, serde_json::from_str(line)) {
                    (false, Ok(message)) => shown(&message),
                    _ => format!("{line}\n"),
                };
                out.write_all(shown.as_bytes()).and_then(|()| out.flush()).is_ok()
            })
        })?;
        tell(format!("{id} has ended"));
        Ok(ExitCode::SUCCESS)
    }
}

/// Lines that come in pieces.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Hands on all that are whole; false once `take` is.
    fn add(&mut self, piece: &[u8], mut take: impl FnMut(&str) -> bool) -> bool {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if let Some(line) = self.begun.strip_suffix(b"\n") {
                let goes_on = take(&String::from_utf8_lossy(line));
                self.begun.clear();
                if !goes_on {
                    return false;
                }
            }
        }
        true
    }
}

/// As programs read it, and nothing that a terminal would act upon: the names of groups may be a client's choice.
fn as_json(listed: &Listed) -> String {
    let text = serde_json::to_string_pretty(listed).unwrap_or_default();
    // Line ends are between values: within a string they are escaped already.
    text.lines().map(|line| inert(line) + "\n").collect()
}

/// As people read it.
fn table(listed: &Listed) -> String {
    let head = [
        "ID",
        "ROUTE",
        "CLIENT",
        "OPEN",
        "IDLE",
        "READ",
        "FRAMES UP/DOWN",
        "BYTES UP/DOWN",
        "GENERATION",
        "GROUPS",
    ];
    let head = head.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(listed.relays.iter().map(row)).collect();
    let mut widths = [0; 10];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    if !listed.relays.is_empty() {
        for row in &rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
    }
    text.push_str(&match (listed.relays.len(), listed.total) {
        (_, 0) => "none is open\n".to_owned(),
        (shown, total) if shown < total => format!("the {shown} oldest of {total}\n"),
        (_, 1) => "1 is open\n".to_owned(),
        (_, total) => format!("{total} are open\n"),
    });
    text
}

fn row(relay: &Relay) -> [String; 10] {
    let time = |seconds: f64| lasting(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let pinned = if relay.pinned { " pinned" } else { "" };
    let groups: Vec<_> = relay.groups.iter().map(|group| inert(group)).collect();
    let Ways { to_upstream, to_client } = relay.frames;
    [
        relay.id.to_string(),
        inert(&relay.route),
        relay.client.map_or_else(|| "-".to_owned(), |client| client.to_string()),
        time(relay.age),
        time(relay.idle),
        relay.kind.clone(),
        match relay.kind.as_str() {
            "frames" | "messages" => format!("{to_upstream}/{to_client}"),
            _ => "-".to_owned(),
        },
        format!("{}/{}", bytes(relay.bytes.to_upstream), bytes(relay.bytes.to_client)),
        format!("{}{pinned}", relay.generation),
        if groups.is_empty() { "-".to_owned() } else { groups.join(", ") },
    ]
}

/// A number of bytes with at most four digits.
fn bytes(n: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| n >> shift >= 1) {
        None => format!("{n} B"),
        Some((shift, unit)) => {
            let tenths = (u128::from(n) * 10) >> shift;
            match tenths {
                ..100 => format!("{}.{} {unit}", tenths / 10, tenths % 10),
                _ => format!("{} {unit}", tenths / 10),
            }
        }
    }
}

/// A message as people read it.
fn shown(message: &Message) -> String {
    let millis = Duration::try_from_secs_f64(message.at).unwrap_or_default().as_millis() % 86_400_000;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let lost = match message.lost {
        0 => String::new(),
        n => format!("({n} came too fast to be shown)\n"),
    };
    let way = if message.direction == "to_client" { "to client  " } else { "to upstream" };
    let passed = match message.passed.as_str() {
        "forwarded" => String::new(),
        passed => format!(" ({passed})"),
    };
    let text = message.text.as_ref().map(|text| inert(text));
    let data = text.or_else(|| message.hex.clone()).unwrap_or_default();
    let line = format!(
        "{hours:02}:{minutes:02}:{seconds:02}.{millis:03} {way} {:6} {:>8}{passed}  {data}",
        message.opcode,
        bytes(message.size as u64),
    );
    format!("{lost}{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Args {
        #[command(subcommand)]
        ws: Ws,
    }

    fn args(words: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(["ws"].iter().chain(words))
    }

    #[test]
    fn who_closes_says_which() {
        args(&["close"]).expect_err("it does not say which");
        args(&["close", "--reason", "night"]).expect_err("it does not say which");
        args(&["close", "--all", "--id", "3"]).expect_err("all or one?");
        args(&["close", "--all"]).expect("all");
        let Ws::Close(close) = args(&["close", "--route", "a b&c", "--id", "3"]).expect("one").ws else {
            panic!("it is close");
        };
        assert_eq!(close.filter.query(&[("code", "1000".to_owned())]), "id=3&route=a%20b%26c&code=1000");
        assert_eq!(Filter::default().query(&[]), "");
    }

    fn relay() -> Relay {
        Relay {
            id: 7,
            route: "chat".to_owned(),
            client: "192.0.2.7".parse().ok(),
            age: 93_784.5,
            idle: 0.25,
            frames: Ways { to_upstream: 12, to_client: 3456 },
            bytes: Ways { to_upstream: 999, to_client: 12_345_678 },
            dropped: 0,
            generation: 3,
            pinned: true,
            kind: "messages".to_owned(),
            groups: vec!["room:1".to_owned(), "a\x1b[2J".to_owned()],
        }
    }

    #[test]
    fn json_does_nothing_to_a_terminal() {
        let groups = vec!["a\u{9b}2J\x7f\u{202e}\n\u{2028}\u{85}é".to_owned()];
        let listed = Listed { total: 1, relays: vec![Relay { groups, ..relay() }] };
        let shown = as_json(&listed);
        assert!(shown.contains("\n        \"a\\u009b2J\\u007f\\u202e\\n\\u2028\\u0085é\"\n"), "{shown}");
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        assert_eq!(serde_json::from_str::<Listed>(&shown).expect("it is JSON"), listed);
    }

    #[test]
    fn relays_are_shown_as_a_table() {
        let relay = relay();
        let plain = Relay {
            id: 1234,
            route: "db".to_owned(),
            client: None,
            bytes: Ways { to_upstream: 1536, to_client: u64::MAX },
            generation: 12,
            pinned: false,
            kind: "tcp".to_owned(),
            groups: Vec::new(),
            ..relay.clone()
        };
        assert_eq!(
            table(&Listed { total: 9, relays: vec![relay, plain] }),
            "\
ID    ROUTE  CLIENT     OPEN     IDLE  READ      FRAMES UP/DOWN  BYTES UP/DOWN         GENERATION  GROUPS
7     chat   192.0.2.7  1 d 2 h  0 s   messages  12/3456         999 B/11 MiB          3 pinned    room:1, a\\u001b[2J
1234  db     -          1 d 2 h  0 s   tcp       -               1.5 KiB/16777215 TiB  12          -
the 2 oldest of 9
"
        );
        assert_eq!(table(&Listed::default()), "none is open\n");
    }

    #[test]
    fn messages_are_shown_in_lines() {
        let message = Message {
            at: 1_700_000_012.345,
            direction: "to_client".to_owned(),
            opcode: "text".to_owned(),
            passed: "forwarded".to_owned(),
            size: 4,
            text: Some("a\nb\u{202e}".to_owned()),
            hex: None,
            lost: 0,
        };
        assert_eq!(shown(&message), "22:13:32.345 to client   text        4 B  a\\u000ab\\u202e\n");
        let binary = Message {
            direction: "to_upstream".to_owned(),
            opcode: "binary".to_owned(),
            passed: "replaced".to_owned(),
            size: 4096,
            text: None,
            hex: Some("00ff".to_owned()),
            lost: 3,
            ..message
        };
        assert_eq!(
            shown(&binary),
            "(3 came too fast to be shown)\n22:13:32.345 to upstream binary  4.0 KiB (replaced)  00ff\n"
        );
    }

    #[test]
    fn lines_come_in_pieces() {
        let mut lines = Lines::default();
        let mut whole = Vec::new();
        for piece in ["on", "e\ntwo\nth", "", "ree", "\n"] {
            assert!(lines.add(piece.as_bytes(), |line| {
                whole.push(line.to_owned());
                true
            }));
        }
        assert_eq!(whole, ["one", "two", "three"]);
        assert!(!lines.add(b"four\nfive\n", |line| line != "four"));
    }
}

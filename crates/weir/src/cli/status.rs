//! `weir status`.

use std::process::ExitCode;
use std::time::Duration;

use http::Method;

use super::ask::{At, EXIT_REFUSED, now};
use super::{indented, print};
use crate::admin::{self, Outcome, Status};
use crate::expiry;

/// The most lines of changes that are shown.
const SHOWN: usize = 20;

/// After `--help`.
pub(super) const AFTER: &str = "\
It asks at the admin socket of the configuration, which is also for curl:
  curl --unix-socket PATH http://weir/status

Exit codes:
  0  it runs
  1  nobody answers
  5  it runs, but the last change of its configuration was refused";

/// Which one, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    at: At,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> ExitCode {
        let status: Status = match self.at.ask(Method::GET, "/status") {
            Ok(status) => status,
            Err(code) => return code,
        };
        print(&match self.json {
            true => serde_json::to_string_pretty(&status).unwrap_or_default() + "\n",
            false => text(&status, now()),
        });
        let refused = status.last_change.is_some_and(|change| change.outcome == Outcome::Refused);
        if refused { ExitCode::from(EXIT_REFUSED) } else { ExitCode::SUCCESS }
    }
}

/// As people read it.
fn text(status: &Status, now: u64) -> String {
    let ago = |then: u64| lasting(Duration::from_secs(now.saturating_sub(then)));
    let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let mut text = format!("weir {}, process {}, up {}", status.version, status.pid, ago(status.started));
    if let Some(before) = status.took_over {
        text.push_str(&format!(", took over from process {before}"));
    }
    text.push('\n');
    text.push_str(&format!("configuration {}\n", status.config));
    text.push_str(&format!(
        "generation {}, since {}: {}, {}, {}\n",
        status.generation,
        ago(status.generation_since),
        count(status.workers, "worker"),
        count(status.routes, "route"),
        count(status.upstreams, "upstream"),
    ));
    for admin::Listener { name, address } in &status.listeners {
        let address = address.map_or_else(|| "a Unix socket".to_owned(), |address| address.to_string());
        text.push_str(&format!("listener {name} on {address}\n"));
    }
    let kinds: Vec<_> = status.relay_kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    text.push_str(&format!(
        "{}, {} of them WebSockets or other relays{kinds}\n",
        count(status.connections, "connection"),
        status.relays
    ));
    if !status.held.is_empty() {
        let held: Vec<String> = status.held.iter().map(holding).collect();
        text.push_str(&format!("under way by earlier generations: {}\n", held.join(", ")));
    }
    if !status.plugins.is_empty() {
        text.push_str(&format!("plugins {}\n", status.plugins.join(", ")));
    }
    if let Some((certificate, title)) = expiry::next(&status.certificates) {
        let when = match certificate.not_after.checked_sub(now) {
            Some(left) => format!("expires in {}", lasting(Duration::from_secs(left))),
            None => format!("expired {} ago", ago(certificate.not_after)),
        };
        let count = count(status.certificates.len(), "certificate");
        text.push_str(&format!("{count}, the first to expire: {title} {when}\n"));
    }
    for state in &status.acme {
        if let Some(problem) = &state.problem {
            let wait = lasting(Duration::from_secs(state.next.saturating_sub(now)));
            text.push_str(&format!(
                "no {} certificate for {}: {problem}; tried again in {wait}\n",
                if state.held { "new" } else { "signed" },
                state.names.join(", ")
            ));
        }
    }
    if !status.kept.is_empty() {
        let kept: Vec<String> = status.kept.iter().map(u64::to_string).collect();
        text.push_str(&format!("kept generations {}: `weir rollback` goes back\n", kept.join(", ")));
    }
    if let Some(change) = &status.last_change {
        let what = match (change.outcome, change.restored) {
            (Outcome::Refused, _) => "refused: what served before goes on".to_owned(),
            (Outcome::Published, Some(earlier)) => format!("generation {earlier} serves again"),
            (Outcome::Unchanged, _) => "nothing has changed".to_owned(),
            (Outcome::Published | Outcome::Possible, _) => "it serves".to_owned(),
        };
        text.push_str(&format!("last change {} ago ({}): {what}\n", ago(change.at), change.cause));
        let more = change.changes.len().saturating_sub(SHOWN);
        let more = (more > 0).then(|| format!("and {more} more"));
        let lines = change.changes.iter().take(SHOWN).chain(&more).chain(&change.proof);
        text.push_str(&indented(lines.chain(&change.problems)));
    }
    if let Some(upgrade) = &status.last_upgrade {
        let when = ago(upgrade.at);
        text.push_str(&format!(
            "last upgrade {when} ago ({}): it failed: this process goes on\n",
            upgrade.cause
        ));
        text.push_str(&indented(&upgrade.problems));
    }
    text
}

/// What goes on by an earlier generation.
fn holding(held: &admin::Held) -> String {
    let by_route = held.relays.iter().map(|(route, n)| format!("{n} of {route}"));
    match held.relays.is_empty() {
        true => format!("{} (requests)", held.generation),
        false => format!("{} ({})", held.generation, by_route.collect::<Vec<_>>().join(", ")),
    }
}

/// The two largest units of a time.
pub(super) fn lasting(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let largest = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, name) in units.iter().skip(largest).take(2) {
        if rest >= *size || parts.is_empty() {
            parts.push(format!("{} {name}", rest / size));
        }
        rest %= size;
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme;
    use crate::admin::{Change, Upgrade};

    #[test]
    fn times_are_told_in_their_largest_units() {
        for (seconds, told) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_725, "1 h 2 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(lasting(Duration::from_secs(seconds)), told);
        }
    }

    #[test]
    fn a_refused_change_is_told_with_its_problems() {
        let change = Change {
            at: 1_090,
            cause: "plugins/a.lua changed".to_owned(),
            outcome: Outcome::Refused,
            generation: 4,
            restored: None,
            changes: Vec::new(),
            proof: Vec::new(),
            problems: vec!["plugins/a.lua:3: Expected `end`".to_owned()],
        };
        let status = Status {
            version: "1.0".to_owned(),
            pid: 7,
            started: 1_000,
            workers: 2,
            config: "weir.toml".to_owned(),
            generation: 4,
            generation_since: 1_040,
            routes: 1,
            upstreams: 2,
            plugins: vec!["a".to_owned(), "b".to_owned()],
            certificates: vec![expiry::Certificate {
                names: vec!["a.test".to_owned()],
                file: Some("a.pem".to_owned()),
                not_after: 1_100 + 90_000,
                ..expiry::Certificate::default()
            }],
            acme: vec![acme::State {
                names: vec!["b.test".to_owned()],
                next: 1_220,
                problem: Some("too many orders".to_owned()),
                ..acme::State::default()
            }],
            kept: vec![3, 2],
            listeners: vec![admin::Listener { name: "web".to_owned(), address: "[::]:80".parse().ok() }],
            connections: 9,
            relays: 5,
            relay_kinds: [("messages".to_owned(), 3), ("tcp".to_owned(), 2)].into(),
            held: vec![
                admin::Held { generation: 1, relays: [("chat".to_owned(), 4), ("db".to_owned(), 1)].into() },
                admin::Held { generation: 3, relays: [].into() },
            ],
            last_change: Some(change),
            took_over: Some(5),
            last_upgrade: Some(Upgrade {
                at: 1_095,
                cause: "SIGUSR2".to_owned(),
                pid: None,
                problems: vec!["weir ended".to_owned()],
            }),
        };
        assert_eq!(
            text(&status, 1_100),
            "weir 1.0, process 7, up 1 min 40 s, took over from process 5\n\
             configuration weir.toml\n\
             generation 4, since 1 min: 2 workers, 1 route, 2 upstreams\n\
             listener web on [::]:80\n\
             9 connections, 5 of them WebSockets or other relays (3 messages, 2 tcp)\n\
             under way by earlier generations: 1 (4 of chat, 1 of db), 3 (requests)\n\
             plugins a, b\n\
             1 certificate, the first to expire: a.pem (a.test) expires in 1 d 1 h\n\
             no signed certificate for b.test: too many orders; tried again in 2 min\n\
             kept generations 3, 2: `weir rollback` goes back\n\
             last change 10 s ago (plugins/a.lua changed): refused: what served before goes on\n  \
             plugins/a.lua:3: Expected `end`\n\
             last upgrade 5 s ago (SIGUSR2): it failed: this process goes on\n  \
             weir ended\n"
        );
    }
}

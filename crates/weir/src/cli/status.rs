//! `weir status`.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::admin::{self, Change, Settings, Status, Unanswered};
use crate::config;
use crate::expiry;
use crate::run::EXIT_FAILED;

use super::{print, source};

/// After `--help`.
pub(super) const AFTER: &str = "\
It asks at the admin socket of the configuration, which is also for curl:
  curl --unix-socket PATH http://weir/status

Exit codes:
  0  it runs
  1  nobody answers
  5  it runs, but the last change of its configuration was refused";

/// Exit code: what serves is not what the files say.
const EXIT_REFUSED: u8 = 5;

/// Which one, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The configuration that it runs. Default: the built-in demo.
    #[arg(short, long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Its admin socket. Default: the one that the configuration says.
    #[arg(short, long, value_name = "FILE")]
    socket: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> ExitCode {
        let socket = match self.socket {
            Some(socket) => socket,
            None => {
                let source = source(self.config);
                // A configuration that is broken now may be what serves: its default is the best guess.
                let settings = config::admin(&source).unwrap_or(Settings::Default);
                match settings.socket(&source) {
                    Some((socket, _)) => socket,
                    None => {
                        return fail(&format!("{source} has `admin.socket = false`: nothing can be asked"));
                    }
                }
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = match runtime {
            Ok(runtime) => runtime.block_on(admin::ask(&socket, "/status")),
            Err(error) => return fail(&format!("cannot make an event loop: {error}")),
        };
        let json = match answer {
            Ok(json) => json,
            Err(error) => return fail(&explain(&socket, &error)),
        };
        let status: Status = match serde_json::from_slice(&json) {
            Ok(status) => status,
            Err(error) => {
                return fail(&format!("what answers at {} is another weir: {error}", socket.display()));
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let text = if self.json {
            serde_json::to_string_pretty(&status).unwrap_or_default() + "\n"
        } else {
            text(&status, now)
        };
        print(&text);
        let refused = status.last_change.is_some_and(|change| !change.published);
        if refused { ExitCode::from(EXIT_REFUSED) } else { ExitCode::SUCCESS }
    }
}

fn fail(message: &str) -> ExitCode {
    // Nothing is left to tell it to when standard error is closed.
    let _ = writeln!(std::io::stderr(), "error: {message}");
    ExitCode::from(EXIT_FAILED)
}

fn explain(socket: &Path, error: &Unanswered) -> String {
    let socket = socket.display();
    match error {
        Unanswered::Connect(error) if error.kind() == ErrorKind::NotFound => format!(
            "no weir runs with this configuration: there is no socket {socket}\n  name the configuration that it was \
             started with by --config PATH, or its socket by --socket FILE"
        ),
        Unanswered::Connect(error) if error.kind() == ErrorKind::ConnectionRefused => {
            format!("nobody is at {socket} any more: the weir that made it was killed")
        }
        Unanswered::Connect(error) if error.kind() == ErrorKind::PermissionDenied => format!(
            "{socket} is not for you: {error}\n  `admin.mode` says who may ask; without it only who started weir"
        ),
        error => format!("{socket}: {error}"),
    }
}

/// As people read it.
fn text(status: &Status, now: u64) -> String {
    let ago = |then: u64| lasting(Duration::from_secs(now.saturating_sub(then)));
    let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let mut text = format!("weir {}, process {}, up {}\n", status.version, status.pid, ago(status.started));
    text.push_str(&format!("configuration {}\n", status.config));
    text.push_str(&format!(
        "generation {}, since {}: {}, {}, {}\n",
        status.generation,
        ago(status.generation_since),
        count(status.workers, "worker"),
        count(status.routes, "route"),
        count(status.upstreams, "upstream"),
    ));
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
    if let Some(Change { at, cause, published, problems }) = &status.last_change {
        let what = match published {
            true => "it serves",
            false => "refused: what served before goes on",
        };
        text.push_str(&format!("last change {} ago ({cause}): {what}\n", ago(*at)));
        for problem in problems {
            text.push_str(&format!("  {}\n", problem.replace('\n', "\n  ")));
        }
    }
    text
}

/// The two largest units of a time.
fn lasting(time: Duration) -> String {
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
            published: false,
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
            last_change: Some(change),
        };
        assert_eq!(
            text(&status, 1_100),
            "weir 1.0, process 7, up 1 min 40 s\n\
             configuration weir.toml\n\
             generation 4, since 1 min: 2 workers, 1 route, 2 upstreams\n\
             plugins a, b\n\
             1 certificate, the first to expire: a.pem (a.test) expires in 1 d 1 h\n\
             no signed certificate for b.test: too many orders; tried again in 2 min\n\
             last change 10 s ago (plugins/a.lua changed): refused: what served before goes on\n  \
             plugins/a.lua:3: Expected `end`\n"
        );
    }
}

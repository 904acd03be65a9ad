//! `weir reload` and `weir rollback`.

use std::process::ExitCode;

use http::Method;

use super::ask::{At, EXIT_REFUSED};
use super::{indented, print};
use crate::admin::{Change, Outcome};

/// After `--help`.
pub(super) const AFTER: &str = "\
Exit codes:
  0  it serves, or it serves already; with --dry-run: it could
  1  nobody answers
  5  it was refused: what served before goes on";

/// Which one, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Reload {
    #[command(flatten)]
    at: At,
    /// Do everything but publish it: tell what would change, or what is wrong.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which one, and how far back.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    #[command(flatten)]
    at: At,
    /// A generation that is kept; `weir status` tells which are. Default: the one before.
    #[arg(long, value_name = "GENERATION")]
    to: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Reload {
    pub(super) fn run(self) -> ExitCode {
        let path = if self.dry_run { "/reload?dry_run=true" } else { "/reload" };
        tell(self.at.ask(Method::POST, path), self.json)
    }
}

impl Rollback {
    pub(super) fn run(self) -> ExitCode {
        let path = self.to.map_or_else(|| "/rollback".to_owned(), |to| format!("/rollback?to={to}"));
        tell(self.at.ask(Method::POST, &path), self.json)
    }
}

fn tell(answer: Result<Change, ExitCode>, json: bool) -> ExitCode {
    let change = match answer {
        Ok(change) => change,
        Err(code) => return code,
    };
    print(&match json {
        true => serde_json::to_string_pretty(&change).unwrap_or_default() + "\n",
        false => text(&change),
    });
    if change.outcome == Outcome::Refused { ExitCode::from(EXIT_REFUSED) } else { ExitCode::SUCCESS }
}

/// As people read it.
fn text(change: &Change) -> String {
    let generation = change.generation;
    let head = match (change.outcome, change.restored) {
        (Outcome::Published, Some(earlier)) => {
            format!("generation {generation} serves, with the configuration of generation {earlier}")
        }
        (Outcome::Published, None) => format!("generation {generation} serves"),
        (Outcome::Unchanged, _) => format!("nothing has changed: generation {generation} goes on"),
        (Outcome::Refused, _) => format!("refused: generation {generation} goes on"),
        (Outcome::Possible, _) => "it could serve; what would change:".to_owned(),
    };
    head + "\n" + &indented(change.changes.iter().chain(&change.proof).chain(&change.problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_is_told_in_lines() {
        let change = |outcome, restored, changes: &[&str], problems: &[&str]| Change {
            restored,
            proof: Vec::new(),
            changes: changes.iter().map(|&line| line.to_owned()).collect(),
            problems: problems.iter().map(|&line| line.to_owned()).collect(),
            ..Change::new("weir reload", outcome, 7)
        };
        for (change, told) in [
            (
                change(Outcome::Published, None, &["route api: changed"], &[]),
                "generation 7 serves\n  route api: changed\n",
            ),
            (
                change(Outcome::Published, Some(5), &[], &[]),
                "generation 7 serves, with the configuration of generation 5\n",
            ),
            (change(Outcome::Unchanged, None, &[], &[]), "nothing has changed: generation 7 goes on\n"),
            (
                change(Outcome::Refused, None, &[], &["weir.toml:1:1: no"]),
                "refused: generation 7 goes on\n  weir.toml:1:1: no\n",
            ),
            (
                change(Outcome::Possible, None, &["plugin a: added"], &[]),
                "it could serve; what would change:\n  plugin a: added\n",
            ),
        ] {
            assert_eq!(text(&change), told);
        }
    }
}

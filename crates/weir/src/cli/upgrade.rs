//! `weir upgrade`.

use std::process::ExitCode;

use http::Method;

use super::ask::{At, EXIT_REFUSED};
use super::{indented, print};
use crate::admin;

/// After `--help`.
pub(super) const AFTER: &str = "\
The program is the one that is now at the path which the running weir was started from, with the arguments of then.

Exit codes:
  0  the new process serves; the old one ends when what is under way in it has ended
  1  nobody answers
  5  the new process could not serve: the old one goes on";

/// Which one.
#[derive(Debug, clap::Args)]
pub(super) struct Upgrade {
    #[command(flatten)]
    at: At,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Upgrade {
    pub(super) fn run(self) -> ExitCode {
        let upgrade: admin::Upgrade = match self.at.ask(Method::POST, "/upgrade") {
            Ok(upgrade) => upgrade,
            Err(code) => return code,
        };
        let text = match self.json {
            true => serde_json::to_string_pretty(&upgrade).unwrap_or_default() + "\n",
            false => text(&upgrade),
        };
        let printed = print(&text);
        if upgrade.pid.is_none() { ExitCode::from(EXIT_REFUSED) } else { printed }
    }
}

/// As people read it.
fn text(upgrade: &admin::Upgrade) -> String {
    let head = match upgrade.pid {
        Some(pid) => format!("process {pid} serves\n"),
        None => "the new process could not serve: the old one goes on\n".to_owned(),
    };
    head + &indented(&upgrade.problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_is_told_in_lines() {
        let told = |outcome| text(&admin::Upgrade::new("weir upgrade", outcome));
        assert_eq!(told(Ok(7)), "process 7 serves\n");
        assert_eq!(
            told(Err(vec!["weir ended".to_owned(), "a\nb".to_owned()])),
            "the new process could not serve: the old one goes on\n  weir ended\n  a\n  b\n"
        );
    }
}

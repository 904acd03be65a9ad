//! weir: its files, and what its admin socket tells of a change.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::change::What;
use crate::client::PATIENCE;
use crate::migrate::{self, Spoil};
use crate::options::Options;
use crate::proxy::{Desired, Place, Told, signal};

/// Between two looks at the admin socket.
const LOOK: Duration = Duration::from_millis(10);

/// How weir is started and told of changes.
#[derive(Debug)]
pub(crate) struct Ways {
    binary: PathBuf,
    signal: bool,
    /// Its `reload.generations`.
    generations: u32,
    /// Whether its WebSockets go over to each change, and how that is spoilt.
    migrate: Option<Option<Spoil>>,
    /// What it told the last time.
    last: Status,
}

/// What matters of `GET /status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Status {
    generation: u64,
    /// What came of the last change: `published`, `unchanged` or `refused`.
    outcome: Option<String>,
    problems: String,
}

/// How many relays go by earlier generations.
pub(crate) async fn held(place: &Place) -> Result<u64> {
    let held = ask(place).await?;
    let held = held["held"].as_array().context("there is no `held`")?;
    let relays = held.iter().filter_map(|held| held["relays"].as_object()).flat_map(|relays| relays.values());
    Ok(relays.filter_map(Value::as_u64).sum())
}

impl Ways {
    /// Of the binary that was named.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let binary = std::path::absolute(&options.weir)?;
        ensure!(binary.is_file(), "{} is not there", binary.display());
        // The soak makes in minutes what takes months: that some are closed for it is not what is looked for.
        let all = u32::try_from(options.reloads).unwrap_or(u32::MAX);
        let generations = options.generations.unwrap_or(all);
        let migrate = options.migrate.then_some(options.spoil);
        Ok(Ways { binary, signal: options.signal, generations, migrate, last: Status::default() })
    }

    /// The command line.
    pub(crate) fn command(&self, place: &Place) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["run", "--config"]).arg(place.folder.join("weir.toml"));
        command.env("NO_COLOR", "1").env_remove("RUST_LOG");
        command
    }

    /// Its files: the configuration and a script.
    pub(crate) fn texts(&self, place: &Place, desired: &Desired) -> Vec<(&'static str, String)> {
        let watch = !self.signal;
        if let Some(spoil) = self.migrate {
            return migrate::texts(place, desired, watch, spoil);
        }
        let script = format!(
            "return {{\n  on_response = function(res)\n    res.headers:set(\"x-script\", \"{}\")\n  end,\n}}\n{}",
            desired.script,
            if desired.broken == Some(What::Script) { "end end\n" } else { "" }
        );
        vec![("weir.toml", config(place, desired, watch, self.generations)), ("plugins/soak.lua", script)]
    }

    /// Hears what came of a change. By SIGHUP or by itself, weir tells the same.
    pub(crate) async fn take(&mut self, place: &Place, process: u32, broken: bool) -> Told {
        if self.signal
            && let Err(error) = signal(process, Signal::HUP)
        {
            return Told::Silent(format!("{error:#}"));
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = status(place).await;
            if let Ok(now) = &seen
                && let Some(told) = now.tells(&self.last, broken)
            {
                self.last = now.clone();
                return told;
            }
            if Instant::now() > until {
                return Told::Silent(match seen {
                    Ok(_) => "nothing of it is to be seen in the status".to_owned(),
                    Err(error) => format!("the admin socket does not answer: {error:#}"),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Status {
    /// `last_change` tells what came of a change as `outcome`, or, before there was that, as `published`.
    fn parse(json: &Value) -> Result<Self> {
        let generation = json["generation"].as_u64().context("there is no `generation`")?;
        let change = &json["last_change"];
        let outcome = change["outcome"].as_str().or_else(|| {
            change["published"].as_bool().map(|published| if published { "published" } else { "refused" })
        });
        ensure!(
            change.is_null() || outcome.is_some(),
            "`last_change` does not tell what came of it: {change}"
        );
        let problems = change["problems"].as_array().into_iter().flatten();
        let problems: Vec<_> = problems.filter_map(Value::as_str).collect();
        Ok(Status { generation, outcome: outcome.map(str::to_owned), problems: problems.join("; ") })
    }

    /// What this tells of a change after the status `before` it, or nothing yet. A broken change is always followed by
    /// what was there before it, so two refusals in a row are told apart.
    fn tells(&self, before: &Status, broken: bool) -> Option<Told> {
        let is_new = self != before;
        match self.outcome.as_deref() {
            Some("refused") if is_new => Some(Told::Refused(self.problems.clone())),
            // Links that change one after the other may be seen twice; the second time nothing is new. That must not
            // hide what is told of a broken change.
            Some("published" | "unchanged") if is_new && !broken => Some(Told::Published),
            _ => None,
        }
    }
}

async fn status(place: &Place) -> Result<Status> {
    Status::parse(&ask(place).await?)
}

/// `GET /status`.
async fn ask(place: &Place) -> Result<Value> {
    let stream = UnixStream::connect(place.folder.join("admin.sock")).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/status").header(header::HOST, "weir").body(Empty::<Bytes>::new())?;
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await??;
    let body = tokio::time::timeout(PATIENCE, answer.into_body().collect()).await??;
    Ok(serde_json::from_slice(&body.to_bytes())?)
}

/// What configurations of all soaks begin with; `reload` are more lines of that section.
pub(crate) fn begin_of_config(place: &Place, watch: bool, reload: &str) -> String {
    let Place { web, tls, .. } = place;
    let socket = place.file("admin.sock");
    format!(
        r#"[admin]
socket = "{socket}"

[reload]
watch = {watch}
{reload}
[access_log]
path = "off"

[[listeners]]
name = "web"
address = "{web}"

[[listeners]]
name = "tls"
address = "{tls}"
tls = {{ cert = "certs/cert.pem", key = "certs/key.pem" }}

"#
    )
}

fn config(place: &Place, desired: &Desired, watch: bool, generations: u32) -> String {
    let Place { upstreams: [one, two], .. } = place;
    let value = &desired.config;
    let side = desired
        .side
        .map_or_else(String::new, |side| format!("[[listeners]]\nname = \"side\"\naddress = \"{side}\"\n\n"));
    let begin = begin_of_config(place, watch, &format!("generations = {generations}\n"));
    let broken = if desired.broken == Some(What::Config) { "[routes\n" } else { "" };
    format!(
        r#"{begin}{side}[[routes]]
name = "all"
upstream = "app"
plugins = ["soak"]

[routes.response_headers]
set = {{ x-config = "{value}" }}

[[routes]]
name = "only-{value}"
path = "/only/{value}"
respond = "ok"

[upstreams.app]
endpoints = ["{one}", "{two}"]
{broken}"#
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(generation: u64, change: Value) -> Status {
        Status::parse(&json!({ "generation": generation, "last_change": change })).unwrap()
    }

    #[test]
    fn both_forms_of_a_change_are_read() {
        let old = status(2, json!({ "published": true, "problems": [], "at": 1, "cause": "SIGHUP" }));
        let new = status(2, json!({ "outcome": "published", "problems": [], "at": 1, "cause": "x" }));
        assert_eq!(old, new);
        let old = status(2, json!({ "published": false, "problems": ["a", "b"] }));
        let new = status(2, json!({ "outcome": "refused", "problems": ["a", "b"] }));
        assert_eq!(old, new);
        assert_eq!(old.problems, "a; b");
        assert_eq!(status(1, Value::Null).outcome, None);
        Status::parse(&json!({ "generation": 1, "last_change": {} })).expect_err("nothing came of it");
    }

    #[test]
    fn a_change_is_told_once() {
        let begin = status(1, Value::Null);
        let published = status(2, json!({ "outcome": "published" }));
        let refused = status(2, json!({ "outcome": "refused", "problems": ["no"] }));
        let unchanged = status(2, json!({ "outcome": "unchanged" }));
        let no = Some(Told::Refused("no".to_owned()));
        for (before, now, broken, told) in [
            (&begin, &begin, false, None),
            (&begin, &published, false, Some(Told::Published)),
            (&published, &published, false, None),
            (&published, &refused, true, no.clone()),
            (&published, &refused, false, no),
            (&refused, &refused, true, None),
            (&refused, &unchanged, false, Some(Told::Published)),
            (&begin, &published, true, None),
        ] {
            assert_eq!(now.tells(before, broken), told, "{now:?} after {before:?}");
        }
    }
}

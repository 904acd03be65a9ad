//! Does what it must not, where a request asks for it by the field `x-bad`: the name of a hook has that hook trap.

use std::hint::black_box;
use std::time::Duration;

use serde::Deserialize;
use weir_guest::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

struct Hostile;

#[derive(Default)]
struct Bad {
    /// What the request asks for.
    what: Option<String>,
    /// A handle that is used when it is not good any more.
    kept: Option<Headers>,
}

fn trap(bad: &Bad, hook: &str) {
    assert!(bad.what.as_deref() != Some(hook), "as asked");
}

#[allow(unconditional_recursion, reason = "that is what is bad about it")]
fn recurse(depth: u64) -> u64 {
    // Not in its last position, and never over.
    black_box(recurse(black_box(depth + 1))) + depth
}

impl Filter for Hostile {
    type Settings = Settings;
    type Exchange = Bad;

    fn load(_: Settings) -> Result<Hostile> {
        Ok(Hostile)
    }
}

impl OnRequest for Hostile {
    fn on_request(&self, bad: &mut Bad, req: &Request) -> Result<Verdict> {
        bad.what = req.header("x-bad");
        trap(bad, "request");
        match bad.what.as_deref() {
            Some("loop") => loop {
                black_box(());
            },
            Some("recursion") => drop(black_box(recurse(0))),
            Some("memory") => {
                let mut all = Vec::new();
                loop {
                    all.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            Some("argument") => req.headers().set("x-large", &vec![b'x'; 24 << 20])?,
            Some("name") => req.headers().set(&"x".repeat(24 << 20), b"x")?,
            Some("leak") => loop {
                std::mem::forget(req.headers());
            },
            Some("kept") => bad.kept = Some(req.headers()),
            Some("sleep") => time::sleep(Duration::from_secs(3600))?,
            _ => {}
        }
        Ok(Verdict::Proceed)
    }
}

impl OnRequestBody for Hostile {
    fn on_request_body(&self, bad: &mut Bad, _: &[u8], _: bool) -> Result<Piece> {
        trap(bad, "request-body");
        Ok(Piece::Pass)
    }
}

impl SelectUpstream for Hostile {
    fn select_upstream(&self, bad: &mut Bad, _: &Selection, _: &Request) -> Result<Target> {
        trap(bad, "select-upstream");
        Ok(Target::Default)
    }
}

impl OnResponse for Hostile {
    fn on_response(&self, bad: &mut Bad, _: &Response, _: &Request) -> Result<Verdict> {
        trap(bad, "response");
        Ok(Verdict::Proceed)
    }
}

impl OnResponseBody for Hostile {
    fn on_response_body(&self, bad: &mut Bad, _: &[u8], _: bool) -> Result<Piece> {
        trap(bad, "response-body");
        black_box(bad.kept.as_ref().map(|headers| headers.get("host")));
        Ok(Piece::Pass)
    }
}

impl OnLog for Hostile {
    fn on_log(&self, bad: &mut Bad, _: &Response, _: &Request) -> Result<()> {
        trap(bad, "log");
        Ok(())
    }
}

weir_guest::export!(Hostile);

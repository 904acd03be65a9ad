//! How the configuration is read again, and how another binary takes over.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use serde::Serialize;
use weir_core::spec;

use super::Lower;
use crate::config::document::At;
use crate::config::raw;
use crate::reload::{Allowed, Proof, Settings, Shadowing};
use crate::upgrade;

/// The longest wait for a new process: who asks for it waits for 5 minutes.
const LONGEST_UPGRADE: Duration = Duration::from_secs(240);

/// What becomes of relays.
pub(super) fn of_relays(raw: &raw::Reload) -> spec::Reload {
    spec::Reload { spread: raw.spread.0, grace: raw.grace.0, generations: raw.generations as usize }
}

/// What becomes of the relays of a route.
pub(super) fn on_reload(raw: raw::OnReload) -> spec::OnReload {
    match raw {
        raw::OnReload::Pin => spec::OnReload::Pin,
        raw::OnReload::Close => spec::OnReload::Close,
        raw::OnReload::Migrate => spec::OnReload::Migrate,
    }
}

/// The same for as long as this is written of a route and of its upstream. That its relays are to end from now on is no
/// reason to end them.
pub(super) fn identity(route: &impl Serialize, upstream: Option<&String>, raw: &raw::Config) -> u64 {
    let mut hasher = DefaultHasher::new();
    let upstream = upstream.and_then(|name| raw.upstreams.get(name));
    let (route, upstream) = (serde_json::to_value(route), serde_json::to_value(upstream));
    if let Ok(serde_json::Value::Object(mut route)) = route {
        route.remove("on_reload");
        serde_json::Value::Object(route).to_string().hash(&mut hasher);
    }
    upstream.map(|upstream| upstream.to_string()).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

impl Lower<'_> {
    /// `[reload]`.
    pub fn reload(&mut self, raw: &raw::Reload) -> Settings {
        let at = At::default().key("reload");
        let rollback = raw.rollback.as_ref().and_then(|rollback| {
            let at = at.key("rollback");
            self.positive(rollback.within.0, &at.key("within"));
            if raw.keep == 0 {
                self.key_error(&at, "nothing is kept that a change could be taken back to", "")
                    .help("`reload.keep` is 0; 1 is enough");
            }
            let errors = rollback.errors?.0;
            Some(Allowed { errors, within: rollback.within.0, requests: u64::from(rollback.requests) })
        });
        Settings { watch: raw.watch, keep: raw.keep as usize, rollback, proof: self.proof(raw, &at) }
    }

    /// What is asked of a change before it serves.
    fn proof(&mut self, raw: &raw::Reload, at: &At) -> Proof {
        self.positive(raw.prove_timeout.0, &at.key("prove_timeout"));
        let raw::Shadow { share, r#for, requests, errors, latency } = &raw.shadow;
        self.positive(r#for.0, &at.key("shadow").key("for"));
        let shadow = Shadowing {
            share: share.0,
            time: r#for.0,
            requests: u64::from(*requests),
            errors: errors.0,
            latency: latency.0,
        };
        Proof {
            tests: (raw.prove >= raw::Prove::Tests).then_some(raw.prove_timeout.0),
            shadow: (raw.prove >= raw::Prove::Shadow).then_some(shadow),
        }
    }

    /// `[upgrade]`.
    pub fn upgrade(&mut self, raw: &raw::Upgrade) -> upgrade::Settings {
        let at = At::default().key("upgrade").key("timeout");
        self.positive(raw.timeout.0, &at);
        if raw.timeout.0 > LONGEST_UPGRADE {
            self.error(&at, "nobody waits so long for a new process", "expected at most \"4m\"");
        }
        upgrade::Settings { drain: raw.drain.0, timeout: raw.timeout.0 }
    }
}

//! Refuses requests that look like attacks: see README.md.
//!
//! In reading order: [`settings`], [`rules`] (what comes with the plugin), [`normalise`] (what they see), [`engine`] (which
//! match), [`body`] (the values of a body).

mod body;
mod engine;
mod normalise;
mod rules;
mod settings;
#[cfg(test)]
mod tests;

use weir_guest::prelude::*;

use body::Kind;
use engine::{Engine, Finding, Value, score};
use settings::{Large, Mode, Place, Plan, Settings};

/// Fields that are not looked at: what browsers and libraries say of themselves, and what is secret.
const SKIPPED: [&str; 9] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "accept",
    "host",
    "connection",
    "content-length",
    "date",
    "etag",
];

struct Waf {
    plan: Plan,
    engine: Engine,
}

/// What is kept of a request until its body was looked at.
#[derive(Default)]
struct Exchange {
    path: String,
    found: Vec<Finding>,
    /// How the body is read; none: it is not, or was.
    kind: Option<Kind>,
    /// What of the body is not looked at yet, at most `body_limit`.
    held: Vec<u8>,
}

impl Filter for Waf {
    type Settings = Settings;
    type Exchange = Exchange;

    fn load(settings: Settings) -> Result<Waf> {
        Ok(Waf { plan: settings.resolve()?, engine: Engine::new()? })
    }

    fn wants(&self) -> Hooks {
        if self.plan.places & rules::BODY == 0 { Hooks::REQUEST } else { Hooks::all() }
    }
}

impl OnRequest for Waf {
    fn on_request(&self, x: &mut Exchange, req: &Request) -> Result<Verdict> {
        x.path = req.path();
        let whole = self.plan.allow.iter().any(|allow| allow.is_whole() && allow.is_for(&x.path));
        if whole {
            req.body().pass();
            return Ok(Verdict::Proceed);
        }
        self.look_at_head(&x.path, req, &mut x.found)?;
        if let Some(reply) = self.judge(&x.found)? {
            return Ok(reply.into());
        }
        let reported = score(&x.found) >= self.plan.threshold;
        if self.plan.places & rules::BODY != 0 && !reported {
            x.kind = Kind::of(req.header("content-type").as_deref());
        }
        if x.kind.is_none() {
            req.body().pass();
        } else if self.plan.mode == Mode::Block && self.plan.large == Large::Refuse {
            let length = req.headers().parse::<u64>("content-length");
            if length.is_some_and(|length| length > self.plan.body_limit as u64)
                && let Some(reply) = self.too_large()?
            {
                return Ok(reply.into());
            }
        }
        Ok(Verdict::Proceed)
    }
}

impl OnRequestBody for Waf {
    fn on_request_body(&self, x: &mut Exchange, data: &[u8], last: bool) -> Result<Piece> {
        if x.kind.is_none() {
            return Ok(Piece::Pass);
        }
        let room = self.plan.body_limit.saturating_sub(x.held.len());
        let (now, beyond) = data.split_at(room.min(data.len()));
        x.held.extend_from_slice(now);
        if !last && beyond.is_empty() {
            return Ok(if self.plan.mode == Mode::Block { Piece::hold() } else { Piece::Pass });
        }
        let (Some(kind), mut held) = (x.kind.take(), std::mem::take(&mut x.held)) else {
            return Ok(Piece::Pass);
        };
        if !beyond.is_empty()
            && self.plan.large == Large::Refuse
            && let Some(reply) = self.too_large()?
        {
            return Ok(reply.into());
        }
        body::values(&kind, &held, |name, bytes| {
            let value =
                Value { place: Place::Body, name, bytes, decode: if kind == Kind::Form { 1 } else { 2 } };
            self.engine.look(&self.plan, &x.path, &value, &mut x.found)
        })?;
        if let Some(reply) = self.judge(&x.found)? {
            return Ok(reply.into());
        }
        if self.plan.mode == Mode::Report {
            return Ok(Piece::Pass);
        }
        held.extend_from_slice(beyond);
        Ok(Piece::Replace(held))
    }
}

impl Waf {
    fn look_at_head(&self, path: &str, req: &Request, found: &mut Vec<Finding>) -> Result<()> {
        let mut look = |place, name: &str, bytes: &[u8], decode| {
            self.engine.look(&self.plan, path, &Value { place, name, bytes, decode }, found)
        };
        look(Place::Path, "", path.as_bytes(), 2)?;
        for parameter in req.query().entries() {
            // The host has decoded them once.
            look(Place::Query, &parameter.name, parameter.name.as_bytes(), 1)?;
            look(Place::Query, &parameter.name, &parameter.value, 1)?;
        }
        for cookie in req.cookies().entries() {
            look(Place::Cookies, &cookie.name, &cookie.value, 2)?;
        }
        for field in req.headers().entries() {
            let name = field.name.as_str();
            let skipped = SKIPPED.contains(&name)
                || ["accept-", "if-", "sec-"].iter().any(|start| name.starts_with(start));
            if !skipped {
                look(Place::Headers, name, &field.value, 2)?;
            }
        }
        Ok(())
    }

    /// Counts and logs a request whose score is the threshold or more; the answer where it is refused.
    fn judge(&self, found: &[Finding]) -> Result<Option<Reply>> {
        let score = score(found);
        if score < self.plan.threshold {
            return Ok(None);
        }
        let rules: Vec<&str> = found.iter().map(|finding| finding.id.as_str()).collect();
        self.count(&rules)?;
        let (verb, threshold) =
            (if self.plan.mode == Mode::Block { "blocked" } else { "would block" }, self.plan.threshold);
        log::warn(format!("{verb}: score {score} of {threshold}: {}", describe(found)));
        Ok((self.plan.mode == Mode::Block).then(|| Reply::text(self.plan.status, "refused\n")))
    }

    fn too_large(&self) -> Result<Option<Reply>> {
        self.count(&["large"])?;
        let block = self.plan.mode == Mode::Block;
        let verb = if block { "blocked" } else { "would block" };
        log::warn(format!("{verb}: the body is longer than {} bytes", self.plan.body_limit));
        Ok(block.then(|| Reply::text(413, "too large\n")))
    }

    fn count(&self, rules: &[&str]) -> Result<()> {
        let name = if self.plan.mode == Mode::Block { "blocked" } else { "reported" };
        for rule in rules {
            metrics::counter(name, &[("rule", rule)])?.add(1.0)?;
        }
        Ok(())
    }
}

/// What matched, for the log: at most four rules.
fn describe(found: &[Finding]) -> String {
    let mut out: Vec<String> = found
        .iter()
        .take(4)
        .map(|Finding { id, place, name, excerpt, .. }| {
            let name = if name.is_empty() { String::new() } else { format!(" `{name}`") };
            let excerpt = excerpt.as_ref().map(|excerpt| format!(": {excerpt}")).unwrap_or_default();
            format!("{id} in {}{name}{excerpt}", place.name())
        })
        .collect();
    if found.len() > 4 {
        out.push(format!("{} more", found.len() - 4));
    }
    out.join("; ")
}

weir_guest::export!(Waf);

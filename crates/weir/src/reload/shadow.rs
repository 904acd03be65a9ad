//! Whether a configuration does on live requests what it should, before it is published: its hooks run beside those that
//! serve, without effects, and must not fail or take longer more often than they may.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_core::Snapshot;
use weir_core::shadow::{Figures, Shadow};
use weir_plugin::Plugin;

use crate::config::value::{Leaf, Share};
use crate::run::Plan;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How long hooks may go on that have begun when the time is over.
const LAST: Duration = Duration::from_secs(1);

/// How hooks are tried on live requests, and what they have to keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadowing {
    /// The share of requests that are tried.
    pub share: Share,
    /// For how long.
    pub time: Duration,
    /// The least number of requests to judge by.
    pub requests: u64,
    /// The share of these that may fail.
    pub errors: Share,
    /// How much longer than those that serve the hooks may take, in the mean.
    pub latency: Duration,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It keeps to what it has to; the figures.
    Kept(String),
    /// Too few requests came to judge by.
    Unknown(String),
}

/// Whether any route asks other plugins about requests than it did.
pub(super) fn is_needed(new: &Plan, old: &Plan) -> bool {
    let same = |new: &[Arc<dyn Plugin>], old: &[Arc<dyn Plugin>]| {
        new.len() == old.len() && new.iter().zip(old).all(|(new, old)| Arc::ptr_eq(new, old))
    };
    new.spec.routes.iter().filter(|route| route.plugins.iter().any(|plugin| plugin.hooks().request)).any(
        |route| {
            let before = old.spec.routes.iter().find(|old| old.name == route.name);
            before.is_none_or(|before| !same(&route.plugins, &before.plugins))
        },
    )
}

/// Tries a snapshot on the requests of the one that serves.
///
/// Cancel safety: dropped before its end, it is tried no more.
///
/// # Errors
/// What it does not keep to, with the figures.
pub(super) async fn shadow(
    serving: Arc<Snapshot>,
    next: Shadow,
    asked: &Shadowing,
) -> Result<Verdict, String> {
    let next = Arc::new(next);
    let begun = Instant::now();
    serving.trials.begin(next.clone());
    let _end = End(serving.clone());
    loop {
        let left = asked.time.saturating_sub(begun.elapsed());
        let figures = next.figures();
        if left.is_zero() {
            break;
        }
        // Once there are too many failures, the time is over. What is under way then mends nothing; it is waited for so that
        // the figures are whole.
        if is_enough(&figures, asked) && asked.errors.is_exceeded(figures.failed, figures.judged) {
            let refused = judge(&figures, asked);
            return judge(&settled(&serving, &next).await, asked).and(refused);
        }
        tokio::time::sleep(LOOK.min(left)).await;
    }
    judge(&settled(&serving, &next).await, asked)
}

/// The figures once nothing is under way: what has only just begun tells nothing, and gets a moment to end.
async fn settled(serving: &Snapshot, next: &Shadow) -> Figures {
    serving.trials.end();
    let over = Instant::now();
    while next.figures().waiting > 0 && over.elapsed() < LAST {
        tokio::time::sleep(LOOK / 10).await;
    }
    next.figures()
}

/// Tries nothing on this snapshot any more when it is dropped.
struct End(Arc<Snapshot>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.trials.end();
    }
}

/// Whether so many requests came that it can be judged. Those that were left out because others had not come to an end
/// are among them: what is too slow to be tried often must not pass for that.
fn is_enough(figures: &Figures, asked: &Shadowing) -> bool {
    figures.judged > 0 && figures.judged + figures.left_out >= asked.requests
}

fn judge(figures: &Figures, asked: &Shadowing) -> Result<Verdict, String> {
    let Figures { judged, failed, unjudged, longer, .. } = *figures;
    let within = format!("{:?}", asked.time);
    let count = |n: u64| if n == 1 { "1 request".to_owned() } else { format!("{n} requests") };
    let mut more = String::new();
    if unjudged > 0 {
        // Writing to a text does not fail.
        let _ = write!(
            more,
            "; {} not judged, for hooks asked for a body or another server's answer there",
            count(unjudged)
        );
    }
    if !is_enough(figures, asked) {
        let failures = if failed > 0 { format!(", {}", failures(figures)) } else { String::new() };
        return Ok(Verdict::Unknown(format!(
            "{} shadowed within {within}{failures}{more}: too few to judge by (`reload.shadow.requests` asks for {})",
            count(judged),
            asked.requests
        )));
    }
    if asked.errors.is_exceeded(failed, judged) {
        return Err(format!(
            "{} (`reload.shadow.errors` allows {}){more}",
            failures(figures),
            asked.errors.show()
        ));
    }
    if i128::from(longer) > i128::try_from(asked.latency.as_nanos()).unwrap_or(i128::MAX) {
        return Err(format!(
            "hooks took {} longer than those that serve, in the mean of {} shadowed (`reload.shadow.latency` allows \
             {:?}){more}",
            shown(longer),
            count(judged),
            asked.latency
        ));
    }
    let failures = if failed == 0 { "none failed".to_owned() } else { failures(figures) };
    let than = if longer >= 0 { "longer" } else { "less" };
    Ok(Verdict::Kept(format!(
        "{} shadowed within {within}: {failures}, hooks took {} {than} in the mean{more}",
        count(judged),
        shown(longer)
    )))
}

/// `12% of 340 shadowed requests failed in plugin auth: …`.
fn failures(figures: &Figures) -> String {
    let Figures { judged, failed, .. } = *figures;
    let mut text = format!("{} of {judged} shadowed requests failed", Share::of(failed, judged).show());
    if let Some((plugin, n, message)) = &figures.worst {
        let most = if *n < failed { format!(", {n} of them") } else { String::new() };
        let _ = write!(text, "{most} in plugin `{plugin}`: {message}");
    }
    text
}

/// So many nanoseconds, to three digits or so, without a sign.
fn shown(nanos: i64) -> String {
    let nanos = nanos.unsigned_abs();
    let unit = match nanos {
        0..1_000_000 => 1_000,
        1_000_000..1_000_000_000 => 10_000,
        _ => 10_000_000,
    };
    format!("{:?}", Duration::from_nanos(nanos / unit * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_held_against_what_is_allowed() {
        let share = |text| Share::parse(text).expect("a share");
        let asked = Shadowing {
            share: share("1%"),
            time: Duration::from_secs(10),
            requests: 100,
            errors: share("1%"),
            latency: Duration::from_millis(2),
        };
        let figures = |judged, failed, left_out, longer: i64| Figures {
            judged,
            failed,
            left_out,
            longer,
            worst: (failed > 0).then(|| ("auth".to_owned(), failed.min(40), "auth.lua:12: no".to_owned())),
            ..Figures::default()
        };
        let kept = |text: &str| Ok(Verdict::Kept(text.to_owned()));
        let unknown = |text: &str| Ok(Verdict::Unknown(text.to_owned()));
        let too_few = "too few to judge by (`reload.shadow.requests` asks for 100)";
        for (figures, expected) in [
            (
                figures(340, 0, 0, 12_345),
                kept("340 requests shadowed within 10s: none failed, hooks took 12µs longer in the mean"),
            ),
            (
                figures(100, 1, 0, -1_234_567),
                kept(
                    "100 requests shadowed within 10s: 1% of 100 shadowed requests failed in plugin `auth`: \
                     auth.lua:12: no, hooks took 1.23ms less in the mean",
                ),
            ),
            (
                figures(340, 41, 0, 0),
                Err("12.06% of 340 shadowed requests failed, 40 of them in plugin `auth`: auth.lua:12: no \
                     (`reload.shadow.errors` allows 1%)"
                    .to_owned()),
            ),
            (figures(1, 0, 0, 0), unknown(&format!("1 request shadowed within 10s: {too_few}"))),
            (
                figures(2, 2, 0, 0),
                unknown(&format!(
                    "2 requests shadowed within 10s, 100% of 2 shadowed requests failed in plugin `auth`: \
                     auth.lua:12: no: {too_few}"
                )),
            ),
            (
                Figures { unjudged: 500, ..Figures::default() },
                unknown(&format!(
                    "0 requests shadowed within 10s; 500 requests not judged, for hooks asked for a body or another \
                     server's answer there: {too_few}"
                )),
            ),
            (figures(0, 0, 500, 0), unknown(&format!("0 requests shadowed within 10s: {too_few}"))),
            // Few could be tried, for each takes so long.
            (
                figures(8, 0, 92, 5_000_000_000),
                Err("hooks took 5s longer than those that serve, in the mean of 8 requests shadowed \
                     (`reload.shadow.latency` allows 2ms)"
                    .to_owned()),
            ),
        ] {
            assert_eq!(judge(&figures, &asked), expected);
        }
    }
}

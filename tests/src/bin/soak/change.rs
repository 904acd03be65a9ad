//! The changes: which comes when, and whether the proxy did with each what it must.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::certificates::Pair;
use crate::client::{BROKEN, PATIENCE, Soak};
use crate::load::{Seen, fresh};
use crate::proxy::{Desired, Proxy, Told};

/// Between two looks at what is served.
const LOOK: Duration = Duration::from_millis(10);
/// Fresh connections that must be served by what was there before, after a broken change.
const LOOKS_AFTER_BROKEN: usize = 4;
/// Problems that are kept; the rest is only counted.
const PROBLEMS: usize = 20;

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The configuration.
    Config,
    /// A script.
    Script,
    /// A certificate with its key.
    Certificate,
    /// The port of a listener.
    Listener,
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// From 1.
    pub(crate) number: u64,
    /// What is changed.
    pub(crate) what: What,
    /// Whether it must be refused.
    pub(crate) broken: bool,
}

impl Change {
    /// The change of this number. Each tenth is broken; `listeners`: whether a listener moves, too.
    pub(crate) fn of(number: u64, listeners: bool) -> Self {
        let broken = number.is_multiple_of(10);
        let turn = if broken { number / 10 } else { number };
        let what = match turn % 3 {
            _ if listeners && number % 25 == 7 => What::Listener,
            1 => What::Config,
            2 => What::Script,
            _ => What::Certificate,
        };
        Change { number, what, broken }
    }
}

/// What came of changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    /// Good ones that were told to be published, and served.
    pub(crate) published: u64,
    /// Good ones that were not, or were not told to be.
    pub(crate) failed: u64,
    /// Broken ones that were made.
    pub(crate) broken: u64,
    /// Of these: told to be refused.
    pub(crate) reported: u64,
    /// Of these: served nevertheless, if only once, to whomever.
    pub(crate) applied: u64,
    /// From the write of a good change to the first answer by it.
    pub(crate) times: Vec<Duration>,
    /// What went wrong, as far as there is room.
    pub(crate) problems: Vec<String>,
}

impl Changes {
    /// All that were made.
    pub(crate) fn made(&self) -> u64 {
        self.published + self.failed + self.broken
    }

    fn problem(&mut self, change: Change, text: impl std::fmt::Display) {
        if self.problems.len() < PROBLEMS {
            let text = format!("change {} ({:?}): {text}", change.number, change.what);
            println!("        {text}");
            self.problems.push(text);
        }
    }
}

/// Makes changes, one after the other.
pub(crate) struct Changer {
    soak: Arc<Soak>,
    proxy: Proxy,
    /// What is served.
    serving: Desired,
    /// Where the listener that moves goes next.
    next_side: SocketAddr,
    changes: Arc<Mutex<Changes>>,
}

impl Changer {
    /// With a proxy that serves this.
    pub(crate) fn new(soak: Arc<Soak>, proxy: Proxy, serving: Desired, next_side: SocketAddr) -> Self {
        Changer { soak, proxy, serving, next_side, changes: Arc::default() }
    }

    /// What came of changes so far, also while they are made.
    pub(crate) fn changes(&self) -> Arc<Mutex<Changes>> {
        self.changes.clone()
    }

    /// The proxy.
    pub(crate) fn proxy(&mut self) -> &mut Proxy {
        &mut self.proxy
    }

    /// Makes a change and sees what comes of it.
    ///
    /// # Errors
    /// When it cannot be made, or the proxy has ended: then no other can be.
    pub(crate) async fn make(&mut self, change: Change) -> Result<()> {
        let next = self.desired(change)?;
        if change.broken {
            self.make_broken(change, next).await?;
        } else {
            self.make_good(change, next).await?;
        }
        if self.proxy.has_ended() {
            bail!("the proxy ended by itself");
        }
        Ok(())
    }

    fn desired(&self, change: Change) -> Result<Desired> {
        let mut next = self.serving.clone();
        let prefix = if change.broken { BROKEN } else { "" };
        let value = format!("{prefix}{}", change.number);
        match change.what {
            What::Config => next.config = value,
            What::Script => next.script = value,
            What::Certificate if change.broken => next.pair = Pair::mismatched()?,
            What::Certificate => {
                next.pair = Pair::new()?;
                self.soak.known.allow(next.pair.fingerprint);
            }
            What::Listener => next.side = Some(self.next_side),
        }
        next.broken = change.broken.then_some(change.what);
        Ok(next)
    }

    async fn make_good(&mut self, change: Change, next: Desired) -> Result<()> {
        if change.what == What::Listener {
            self.soak.move_side(self.next_side);
        }
        let begun = Instant::now();
        self.proxy.write(&next)?;
        let (told, served) = tokio::join!(self.proxy.take(false), until(&self.soak, &next));
        self.note(change, &told, served, begun.elapsed());
        if !served {
            // The next ones are not to fail because of this one.
            self.proxy.write(&self.serving)?;
            let _ = self.proxy.restored().await;
            return Ok(());
        }
        for (newest, value) in self.soak.serving.iter().zip([&next.config, &next.script]) {
            newest.store(value.parse()?, Relaxed);
        }
        if let (What::Listener, Some(left)) = (change.what, self.serving.side) {
            self.next_side = left;
        }
        self.serving = next;
        Ok(())
    }

    /// Counts what came of a good change.
    fn note(&self, change: Change, told: &Told, served: bool, time: Duration) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == Told::Published && served {
            changes.published += 1;
            changes.times.push(time);
        } else {
            changes.failed += 1;
            let served = if served { "served" } else { "never served" };
            changes.problem(change, format!("{served}, {told:?}"));
        }
    }

    async fn make_broken(&mut self, change: Change, next: Desired) -> Result<()> {
        let (before, answers) = (seen(&self.serving), self.soak.of_broken());
        self.proxy.write(&next)?;
        let told = self.proxy.take(true).await;
        for _ in 0..LOOKS_AFTER_BROKEN {
            // What is not as it must be is counted there.
            let _ = fresh(&self.soak, Some(&before)).await;
        }
        let applied = self.soak.of_broken() > answers;
        self.proxy.write(&self.serving)?;
        let restored = self.proxy.restored().await;
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.broken += 1;
        changes.applied += u64::from(applied);
        if applied {
            changes.problem(change, "it was broken, and was applied");
        }
        match told {
            Told::Refused(_) => changes.reported += 1,
            told => changes.problem(change, format!("it was broken, and was not reported: {told:?}")),
        }
        if restored != Told::Published {
            changes.problem(change, format!("what was there before it was not taken again: {restored:?}"));
        }
        Ok(())
    }
}

/// What a client sees of it.
fn seen(desired: &Desired) -> Seen {
    Seen {
        config: desired.config.clone(),
        script: desired.script.clone(),
        fingerprint: desired.pair.fingerprint,
    }
}

/// Waits until this is served; false if it is not for [`PATIENCE`].
async fn until(soak: &Soak, desired: &Desired) -> bool {
    let (begun, wanted) = (Instant::now(), seen(desired));
    loop {
        let all = fresh(soak, None).await.is_some_and(|seen| seen == wanted);
        if all && at_side(desired).await {
            return true;
        }
        if begun.elapsed() > PATIENCE {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the listener that moves is where it must be, if there is one.
async fn at_side(desired: &Desired) -> bool {
    match desired.side {
        Some(side) => tokio::net::TcpStream::connect(side).await.is_ok(),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_is_broken_each_in_its_turn() {
        let all: Vec<_> = (1..=60).map(|number| Change::of(number, false)).collect();
        let broken: Vec<_> = all.iter().filter(|change| change.broken).map(|change| change.what).collect();
        let turn = [What::Config, What::Script, What::Certificate];
        assert_eq!(broken, [turn, turn].concat());
        for what in turn {
            let good = all.iter().filter(|change| !change.broken && change.what == what).count();
            assert_eq!(good, 18, "{what:?}");
        }
        let moves = (1..=100).map(|number| Change::of(number, true)).filter(|c| c.what == What::Listener);
        assert_eq!(
            moves.map(|change| (change.number, change.broken)).collect::<Vec<_>>(),
            [(7, false), (32, false), (57, false), (82, false)]
        );
    }
}

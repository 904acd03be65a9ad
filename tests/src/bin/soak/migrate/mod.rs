//! The soak of relays that go over: WebSockets on a route with `on_reload = "migrate"`, whose script changes again and again
//! while numbered messages go both ways. Each script counts what goes each way of each relay, and has to take its count
//! over from the one before; both ends check numbers, counts and which script it was.
//!
//! In reading order: this file (the changes), [`check`] (a message and what is wrong with it), [`count`], [`talk`] (both
//! ends), [`files`] (what weir serves), [`report`].

mod check;
mod count;
mod files;
mod report;
mod talk;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

pub(crate) use self::files::{Spoil, texts};

use self::count::Counts;
use self::report::Report;
use crate::certificates::Pair;
use crate::client::{PATIENCE, Soak};
use crate::memory::Memory;
use crate::options::Options;
use crate::proxy::{Desired, Place, Proxy, Told, free_addresses};

/// Between two looks at how far the relays are.
const LOOK: Duration = Duration::from_millis(10);
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// Runs it, and tells what came of it.
///
/// # Errors
/// When there was nothing to change: the proxy or the relays did not start.
pub(crate) async fn soak(options: &Options, folder: &Path) -> Result<Report> {
    let counts = Arc::new(Counts::new(options.websockets));
    let upstream = talk::upstream(counts.clone()).await?;
    let [web, tls, admin] = free_addresses()?;
    let place = Place { folder: folder.to_owned(), web, tls, admin, upstreams: [upstream; 2] };
    let pair = Pair::new()?;
    let mut serving =
        Desired { config: "0".to_owned(), script: "0".to_owned(), pair, side: None, broken: None };
    let soak = Soak::new(web, tls, web)?;
    soak.known.allow(serving.pair.fingerprint);
    let mut proxy = Proxy::start(options, place, &serving)?;
    listens(&soak, &mut proxy).await?;
    let relays: Vec<JoinHandle<()>> = (0..options.websockets)
        .map(|relay| tokio::spawn(talk::client(soak.clone(), counts.clone(), relay)))
        .collect();
    opened(&counts, options.websockets).await?;
    println!("weir serves, process {}, {} relays are open", proxy.id(), options.websockets);

    let begun = Instant::now();
    let mut report = Report { reloads: options.reloads, relays: options.websockets, ..Report::default() };
    if let Err(error) = changes(options, &counts, &mut proxy, &mut serving, &mut report).await {
        report.broke_off = Some(format!("{error:#}"));
    }
    report.time = begun.elapsed();
    report.memory.push(("end", Memory::of(proxy.id())));
    soak.stop();
    for relay in relays {
        relay.await?;
    }
    report.figures = counts.figures();
    if !report.faults().is_empty() {
        println!("\nthe last lines of the proxy's log:\n{}", proxy.log());
    }
    // Ending it may take a moment, and blocks.
    tokio::task::spawn_blocking(move || drop(proxy)).await?;
    Ok(report)
}

/// Waits until the proxy takes connections.
async fn listens(soak: &Soak, proxy: &mut Proxy) -> Result<()> {
    let begun = Instant::now();
    while soak.connect_fresh().await.is_err() {
        if proxy.has_ended() || begun.elapsed() > PATIENCE {
            bail!("the proxy does not serve; its log:\n{}", proxy.log());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until all relays carry messages both ways.
async fn opened(counts: &Counts, relays: usize) -> Result<()> {
    let begun = Instant::now();
    loop {
        let figures = counts.figures();
        if figures.opened == relays as u64 {
            return Ok(());
        }
        let in_time = figures.broken == 0 && begun.elapsed() < 2 * PATIENCE;
        ensure!(in_time, "{} of {relays} relays could be opened: {:?}", figures.opened, figures.problems);
        tokio::time::sleep(LOOK).await;
    }
}

/// Makes all changes, each once all relays have shown at both ends that they went over to the one before.
async fn changes(
    options: &Options,
    counts: &Counts,
    proxy: &mut Proxy,
    serving: &mut Desired,
    report: &mut Report,
) -> Result<()> {
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / options.rate));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Instant::now();
    report.memory.push(("begin", Memory::of(proxy.id())));
    for number in 1..=options.reloads {
        pace.tick().await;
        serving.script = number.to_string();
        let begun = Instant::now();
        proxy.write(serving)?;
        match proxy.take(false).await {
            Told::Published => report.published.push(begun.elapsed()),
            other => bail!("change {number}: {other:?}"),
        }
        let mut held = true;
        while held || counts.behind(number) > 0 {
            if held && proxy.held().await? == 0 {
                held = false;
                report.over.push(begun.elapsed());
            }
            if proxy.has_ended() {
                bail!("the proxy ended by itself");
            }
            if begun.elapsed() > PATIENCE {
                let (behind, all) = (counts.behind(number), options.websockets);
                bail!("change {number}: {behind} of {all} relays have not gone over within {PATIENCE:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
        report.seen.push(begun.elapsed());
        for (quarter, when) in [(1, "25 %"), (2, "50 %"), (3, "75 %")] {
            if number == (options.reloads * quarter).div_ceil(4) && number < options.reloads {
                report.memory.push((when, Memory::of(proxy.id())));
            }
        }
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            println!("{number}/{} changes; {}", options.reloads, counts.figures().line());
        }
    }
    Ok(())
}

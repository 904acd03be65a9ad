//! The soak: a proxy under load while its configuration, scripts and certificates change all the time, and the proof
//! that nobody notices. `cargo xtask soak` builds and runs it; CONTRIBUTING.md says how to read what it tells.
//!
//! It starts two upstreams in this process, the proxy between them and the load, makes one change after the other, some
//! of them broken on purpose, and counts.
//!
//! In reading order: [`options`]; [`change`] (what is changed, and what must come of it); [`proxy`], [`weir`], [`peer`]
//! (what is soaked); [`load`], [`client`], [`upstream`], [`certificates`] (what goes through it); [`count`],
//! [`memory`], [`report`] (what is told). [`migrate`] is a soak of its own: WebSockets that go over to each new script.

mod certificates;
mod change;
mod client;
mod count;
mod load;
mod memory;
mod migrate;
mod options;
mod peer;
mod proxy;
mod report;
mod upstream;
mod weir;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::certificates::Pair;
use crate::change::{Change, Changer, Changes};
use crate::client::{PATIENCE, Soak};
use crate::count::Kind;
use crate::memory::Memory;
use crate::options::{Options, Peer};
use crate::proxy::{Desired, Place, Proxy, free_addresses};
use crate::report::Report;

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// The load goes on for so long after the last change: what a change breaks may show a moment later.
const AFTERMATH: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
fn run(options: &Options) -> Result<bool> {
    client::raise_open_files(options.websockets)?;
    let mut folder = tempfile::Builder::new().prefix("weir-soak-").tempdir()?;
    folder.disable_cleanup(options.keep);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (text, json, well) = if options.migrate {
        let report = runtime.block_on(migrate::soak(options, folder.path()))?;
        (report.text(), report.json(), report.faults().is_empty())
    } else {
        let report = runtime.block_on(soak(options, folder.path()))?;
        (report.text(), report.json(), report.faults().is_empty())
    };
    print!("\n{text}");
    if options.keep {
        println!("files and log are in {}", folder.path().display());
    }
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{json:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(well)
}

async fn soak(options: &Options, folder: &std::path::Path) -> Result<Report> {
    let [web, tls, admin, side, other_side] = free_addresses()?;
    let upstreams = [upstream::start().await?, upstream::start().await?];
    let place = Place { folder: folder.to_owned(), web, tls, admin, upstreams };
    let soak = Soak::new(web, tls, side)?;
    let serving = Desired {
        config: "0".to_owned(),
        script: "0".to_owned(),
        pair: Pair::new()?,
        side: options.listeners.then_some(side),
        broken: None,
    };
    soak.known.allow(serving.pair.fingerprint);
    let proxy = Proxy::start(options, place, &serving)?;
    let mut changer = Changer::new(soak.clone(), proxy, serving, other_side);
    starts(&soak, changer.proxy()).await?;
    println!("{} serves, process {}; the load begins", name(options), changer.proxy().id());
    let load = load::start(&soak, options.websockets, options.listeners);
    opened(&soak, options.websockets).await?;

    let begun = Instant::now();
    let progress = tokio::spawn(progress(soak.clone(), changer.changes(), options.reloads, begun));
    let mut report = Report {
        proxy: name(options),
        reloads: options.reloads,
        rate: options.rate,
        websockets: options.websockets,
        ..Report::default()
    };
    if let Err(error) = changes(options, &mut changer, &mut report).await {
        report.broke_off = Some(format!("{error:#}"));
    }
    report.time = begun.elapsed();
    soak.pause(AFTERMATH).await;
    measure(&mut report, &mut changer, "end");
    progress.abort();
    soak.stop();
    for task in load {
        task.await.context("a part of the load broke off")?;
    }
    report.requests =
        report::kinds(options.listeners).map(|kind| (kind.name(), soak.tally(kind).figures())).collect();
    report.sockets = soak.sockets.figures();
    report.changes = changer.changes().lock().unwrap_or_else(PoisonError::into_inner).clone();
    report.of_broken = soak.of_broken();
    if !report.faults().is_empty() {
        println!("\nthe last lines of the proxy's log:\n{}", changer.proxy().log());
    }
    // Ending it may take a moment, and blocks.
    tokio::task::spawn_blocking(move || drop(changer)).await?;
    Ok(report)
}

/// What is soaked, for people.
fn name(options: &Options) -> String {
    match options.peer {
        None if options.signal => "weir, by SIGHUP".to_owned(),
        None => "weir, by watching files".to_owned(),
        Some(Peer::Nginx) => "nginx".to_owned(),
        Some(Peer::Haproxy) => "HAProxy".to_owned(),
        Some(Peer::Caddy) => "Caddy".to_owned(),
    }
}

/// Waits until the proxy serves.
async fn starts(soak: &Soak, proxy: &mut Proxy) -> Result<()> {
    let begun = Instant::now();
    while let Err(reason) = load::see(soak).await {
        if proxy.has_ended() || begun.elapsed() > PATIENCE {
            bail!("the proxy does not serve: {reason}; its log:\n{}", proxy.log());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Waits until all WebSockets are open.
async fn opened(soak: &Soak, websockets: usize) -> Result<()> {
    let begun = Instant::now();
    while soak.sockets.figures().opened < websockets as u64 {
        if begun.elapsed() > 2 * PATIENCE {
            let figures = soak.sockets.figures();
            bail!("{} of {websockets} WebSockets could be opened: {:?}", figures.opened, figures.reasons);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What there is once each kind has done something is what later memory is compared with.
    tokio::time::sleep(AFTERMATH).await;
    Ok(())
}

/// Makes all changes; memory is measured before the first and after each quarter.
async fn changes(options: &Options, changer: &mut Changer, report: &mut Report) -> Result<()> {
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / options.rate));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    measure(report, changer, "begin");
    for number in 1..=options.reloads {
        tokio::select! {
            _ = pace.tick() => {}
            _ = interrupted.recv() => bail!("interrupted"),
            _ = terminated.recv() => bail!("terminated"),
        }
        changer.make(Change::of(number, options.listeners)).await?;
        report.most_processes = report.most_processes.max(memory::processes(changer.proxy().id()));
        for (quarter, when) in [(1, "25 %"), (2, "50 %"), (3, "75 %")] {
            if number == (options.reloads * quarter).div_ceil(4) && number < options.reloads {
                measure(report, changer, when);
            }
        }
    }
    Ok(())
}

fn measure(report: &mut Report, changer: &mut Changer, when: &'static str) {
    let memory = Memory::of(changer.proxy().id());
    report.most_processes = report.most_processes.max(memory.processes);
    report.memory.push((when, memory));
}

/// Tells now and then how it goes.
async fn progress(soak: Arc<Soak>, changes: Arc<Mutex<Changes>>, reloads: u64, begun: Instant) {
    loop {
        tokio::time::sleep(PROGRESS).await;
        let made = changes.lock().unwrap_or_else(PoisonError::into_inner).made();
        let requests = Kind::ALL.map(|kind| soak.tally(kind).figures());
        let sum = |what: fn(&count::Requests) -> u64| requests.iter().map(what).sum::<u64>();
        let sockets = soak.sockets.figures();
        println!(
            "{:>5} s  {made}/{reloads} changes, {} requests ({} failed), {} WebSockets ({} lost)",
            begun.elapsed().as_secs(),
            sum(|requests| requests.made),
            sum(|requests| requests.failed),
            sockets.open(),
            sockets.lost,
        );
    }
}

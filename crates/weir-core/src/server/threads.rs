//! The threads of a server: one control thread and its workers.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::timeout;

use super::{Drained, Publisher, StartError};
use crate::listen::accept::{self, Crew, HANDOVER_QUEUE, Handover};
use crate::listen::bindings::{Bindings, Errand};
use crate::listen::limits::Loads;
use crate::relay::{self, Registry};
use crate::snapshot::Snapshot;
use crate::worker::{Stage, Worker};
use crate::{ticks, upstream};

/// Idle connections close by themselves when a drain begins; they get at least so long.
const LEAST_DRAIN: Duration = Duration::from_millis(50);
/// How long relays have to say farewell.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the workers' threads may take to end before they are left behind.
const JOIN: Duration = Duration::from_secs(5);

/// What the control thread is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Serve.
    Serve,
    /// Another process accepts from now on: let go of what is under way as it ends, in so much time at the most.
    HandOver(Duration),
    /// End in so much time.
    Drain(Duration),
    /// End now.
    Stop,
}

/// The control thread, from outside.
pub(super) struct Control {
    pub(super) command: watch::Sender<Command>,
    drained: Option<oneshot::Receiver<Drained>>,
}

/// What a worker tells the control thread.
enum Report {
    /// Its listening sockets are closed.
    Closed,
    /// Its thread ends; so many relays were told farewell.
    Ended(usize),
}

/// What one worker's thread is made with.
struct Post {
    index: usize,
    published: Arc<ArcSwap<Snapshot>>,
    stage: watch::Receiver<Stage>,
    crew: Crew,
    handover: mpsc::Receiver<Handover>,
    relays: Arc<Registry>,
    /// Sockets to accept from.
    openings: mpsc::UnboundedReceiver<Errand>,
    reports: mpsc::UnboundedSender<Report>,
    finish: oneshot::Receiver<()>,
}

/// Everything that the control thread looks after.
struct Watch {
    command: watch::Receiver<Command>,
    stage: watch::Sender<Stage>,
    loads: Arc<Loads>,
    reports: mpsc::UnboundedReceiver<Report>,
    /// By worker; dropping one ends that worker.
    finish: Vec<oneshot::Sender<()>>,
    bindings: Arc<Bindings>,
    relays: Arc<Registry>,
    /// How many workers have closed their listening sockets.
    closed: usize,
}

impl Control {
    /// Ends it in this way, unless it ends already.
    pub(super) async fn end(mut self, how: Command) -> Drained {
        self.command.send_if_modified(|command| {
            let serving = *command == Command::Serve;
            if serving {
                *command = how;
            }
            serving
        });
        match self.drained.take() {
            Some(drained) => drained.await.unwrap_or_default(),
            None => Drained::default(),
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if self.drained.is_some() {
            self.command.send_replace(Command::Stop);
        }
    }
}

/// Starts all threads and waits until every worker accepts. `openings` tell each worker of sockets to accept from; those
/// of the start are in it already.
pub(super) fn start(
    publisher: &Publisher,
    openings: Vec<mpsc::UnboundedReceiver<Errand>>,
) -> Result<Control, StartError> {
    let Publisher { published, bindings, loads, relays, .. } = publisher;
    let workers = openings.len();
    let (stage, follow) = watch::channel(Stage::Serving);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(HANDOVER_QUEUE)).unzip();
    let crew = Crew { loads: loads.clone(), handover: senders.into() };
    let (reports, heard) = mpsc::unbounded_channel();
    let mut finish = Vec::with_capacity(workers);
    let (ready, started) = std::sync::mpsc::channel();
    for (index, (handover, openings)) in receivers.into_iter().zip(openings).enumerate() {
        let (end, ended) = oneshot::channel();
        finish.push(end);
        let post = Post {
            index,
            published: published.clone(),
            stage: follow.clone(),
            crew: crew.clone(),
            handover,
            relays: relays.clone(),
            openings,
            reports: reports.clone(),
            finish: ended,
        };
        let ready = ready.clone();
        let thread = std::thread::Builder::new().name(format!("weir-{index}"));
        thread.spawn(move || work(post, &ready))?;
    }
    drop(ready);
    for _ in 0..workers {
        started.recv().unwrap_or_else(|_| Err(io::Error::other("a worker did not start")))?;
    }
    let (command, orders) = watch::channel(Command::Serve);
    let (tell, drained) = oneshot::channel();
    let watch = Watch {
        command: orders,
        stage,
        loads: crew.loads,
        reports: heard,
        finish,
        bindings: bindings.clone(),
        relays: relays.clone(),
        closed: 0,
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let resolved = published.clone();
    let control = std::thread::Builder::new().name("weir-control".into());
    let body = move || {
        runtime.spawn(upstream::resolve_forever(resolved));
        let relays = watch.relays.clone();
        runtime.spawn(async move { relays.run().await });
        let drained = runtime.block_on(watch.run());
        // Name resolution that still blocks must not hold the process.
        runtime.shutdown_background();
        let _ = tell.send(drained);
    };
    control.spawn(body)?;
    Ok(Control { command, drained: Some(drained) })
}

/// The life of a worker's thread.
fn work(post: Post, ready: &std::sync::mpsc::Sender<io::Result<()>>) {
    let reports = post.reports.clone();
    let runtime: LocalRuntime =
        match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
    runtime.block_on(serve(post, ready));
    // Drops every task, and with it every connection that is still there.
    runtime.shutdown_background();
    let _ = reports.send(Report::Ended(relay::farewells()));
}

async fn serve(mut post: Post, ready: &std::sync::mpsc::Sender<io::Result<()>>) {
    let worker = Worker::new(post.index, post.published, post.stage, post.relays);
    let mut doors = JoinSet::new();
    while let Ok(errand) = post.openings.try_recv() {
        let Errand::Accept(listening) = errand else { continue };
        match accept::listen(worker.clone(), post.crew.clone(), listening) {
            Ok(door) => drop(doors.spawn_local(door)),
            Err(error) => return drop(ready.send(Err(error))),
        }
    }
    spawn_local(accept::receive(worker.clone(), post.handover));
    spawn_local(upstream::sweep(worker.clone()));
    if worker.index == 0 {
        spawn_local(ticks::run(worker.clone()));
    }
    let _ = ready.send(Ok(()));
    spawn_local(keep_doors(worker, post.crew, doors, post.openings, post.reports));
    // Also when the control thread is gone, which then cannot end anything any more.
    let _ = post.finish.await;
}

/// Accepts from the sockets that a worker is given, until the process stops accepting and all of them are closed.
async fn keep_doors(
    worker: Rc<Worker>,
    crew: Crew,
    mut doors: JoinSet<()>,
    mut openings: mpsc::UnboundedReceiver<Errand>,
    reports: mpsc::UnboundedSender<Report>,
) {
    let mut stage = worker.follow_stage();
    loop {
        tokio::select! {
            Some(errand) = openings.recv() => heed(&worker, &crew, &mut doors, errand),
            Some(_) = doors.join_next() => {}
            _ = stage.wait_for(|stage| *stage > Stage::Serving) => break,
        }
    }
    let mut open = true;
    while open {
        tokio::select! {
            biased;
            // Also who waits at a socket that came just before the end.
            Some(errand) = openings.recv() => heed(&worker, &crew, &mut doors, errand),
            door = doors.join_next() => open = door.is_some(),
        }
    }
    let _ = reports.send(Report::Closed);
    while let Some(errand) = openings.recv().await {
        heed(&worker, &crew, &mut doors, errand);
    }
}

/// Does what a worker is to do.
fn heed(worker: &Rc<Worker>, crew: &Crew, doors: &mut JoinSet<()>, errand: Errand) {
    match errand {
        Errand::Accept(listening) => {
            let listener = listening.census.listener.clone();
            match accept::listen(worker.clone(), crew.clone(), listening) {
                Ok(door) => drop(doors.spawn_local(door)),
                Err(error) => tracing::error!(%listener, %error, "a worker cannot accept from its socket"),
            }
        }
        // The one before is let go, although there may be no request for long.
        Errand::Refresh => drop(worker.snapshot()),
        // It may not be waited for any more.
        Errand::Answer(answer) => drop(answer.send(())),
    }
}

impl Watch {
    async fn run(mut self) -> Drained {
        let order = self.command.wait_for(|command| *command != Command::Serve).await;
        let mut order = order.map_or(Command::Stop, |command| *command);
        let mut ended = false;
        if let Command::HandOver(time) = order {
            self.bindings.share(true);
            self.stop_accepting(Stage::Leaving);
            ended = self.drain(time, order).await;
            let now = *self.command.borrow();
            // Else the time is over.
            order = if now == order { Command::Stop } else { now };
        }
        if !ended {
            let time = if let Command::Drain(time) = order { time } else { Duration::ZERO };
            self.stop_accepting(Stage::Draining);
            ended = self.drain(time, order).await;
        }
        let cut = if ended { 0 } else { self.end().await };
        self.bindings.remove_files();
        let workers = self.finish.len();
        self.finish.clear();
        let farewells = timeout(JOIN, self.join(workers)).await.unwrap_or_else(|_| {
            tracing::warn!("a worker did not end in time and is left behind");
            0
        });
        Drained { cut: cut.saturating_sub(farewells) }
    }

    fn stop_accepting(&self, stage: Stage) {
        self.stage.send_replace(stage);
        self.bindings.end(stage);
    }

    /// Until every connection has ended (true), the time is over or there is another order than this one (false).
    async fn drain(&mut self, time: Duration, order: Command) -> bool {
        let mut command = self.command.clone();
        let bound = async {
            tokio::time::sleep(LEAST_DRAIN).await;
            let other = command.wait_for(|command| *command != order && *command != Command::Serve);
            let _ = timeout(time.saturating_sub(LEAST_DRAIN), other).await;
        };
        let ended = async {
            while self.closed < self.finish.len() {
                match self.reports.recv().await {
                    Some(Report::Closed) => self.closed += 1,
                    Some(Report::Ended(_)) => {}
                    None => break,
                }
            }
            self.bindings.remove_files();
            self.empty().await;
        };
        tokio::select! {
            biased;
            () = ended => true,
            () = bound => false,
        }
    }

    async fn empty(&self) {
        while self.loads.total() > 0 {
            self.loads.emptied.notified().await;
        }
    }

    /// The drain time is over: what is left is told, then counted.
    async fn end(&mut self) -> usize {
        let left = self.loads.total();
        self.stage.send_replace(Stage::Ending);
        self.relays.stop();
        let _ = timeout(FAREWELL, self.empty()).await;
        left
    }

    /// Waits for the workers' threads; how many relays were told farewell.
    async fn join(&mut self, workers: usize) -> usize {
        let (mut ended, mut farewells) = (0, 0);
        while ended < workers {
            match self.reports.recv().await {
                Some(Report::Ended(told)) => {
                    ended += 1;
                    farewells += told;
                }
                Some(Report::Closed) => {}
                None => break,
            }
        }
        farewells
    }
}

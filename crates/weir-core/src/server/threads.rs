//! The threads of a server: one control thread and its workers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::{BindError, Drained};
use crate::listen::accept::{self, Crew, HANDOVER_QUEUE, Handover, Listening};
use crate::listen::bind::{Bound, SocketFile};
use crate::listen::limits::{Census, Loads};
use crate::snapshot::Snapshot;
use crate::spec::ListenAddress;
use crate::worker::{Stage, Worker};
use crate::{relay, ticks, upstream};

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
    listening: Vec<Listening>,
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
    files: Vec<SocketFile>,
}

impl Control {
    pub(super) async fn drain(mut self, time: Duration) -> Drained {
        self.command.send_if_modified(|command| {
            let serving = *command == Command::Serve;
            if serving {
                *command = Command::Drain(time);
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

/// Starts all threads and waits until every worker accepts.
pub(super) fn start(
    published: Arc<ArcSwap<Snapshot>>,
    bound: Vec<Bound>,
    workers: usize,
) -> Result<Control, BindError> {
    let blame = bound.first().map(|b| b.name.clone());
    let failed = |source| {
        let snapshot = published.load();
        let listener = blame.clone().unwrap_or_else(|| "(none)".into());
        let address = snapshot.listeners.get(&listener).map(|l| l.spec.address.clone());
        BindError { listener, address: address.unwrap_or(ListenAddress::Inherited("(none)".into())), source }
    };
    let (stage, follow) = watch::channel(Stage::Serving);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(HANDOVER_QUEUE)).unzip();
    let crew = Crew { loads: Loads::new(workers), handover: senders.into() };
    let (reports, heard) = mpsc::unbounded_channel();
    let (listening, files) = share(bound, workers);
    let mut finish = Vec::with_capacity(workers);
    let (ready, started) = std::sync::mpsc::channel();
    for (index, (handover, listening)) in receivers.into_iter().zip(listening).enumerate() {
        let (end, ended) = oneshot::channel();
        finish.push(end);
        let post = Post {
            index,
            published: published.clone(),
            stage: follow.clone(),
            crew: crew.clone(),
            handover,
            listening,
            reports: reports.clone(),
            finish: ended,
        };
        let ready = ready.clone();
        let thread = std::thread::Builder::new().name(format!("weir-{index}"));
        thread.spawn(move || work(post, &ready)).map_err(failed)?;
    }
    drop(ready);
    for _ in 0..workers {
        started.recv().unwrap_or_else(|_| Err(io::Error::other("a worker did not start"))).map_err(failed)?;
    }
    let (command, orders) = watch::channel(Command::Serve);
    let (tell, drained) = oneshot::channel();
    let watch = Watch { command: orders, stage, loads: crew.loads, reports: heard, finish, files };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let resolved = published.clone();
    let control = std::thread::Builder::new().name("weir-control".into());
    let body = move || {
        runtime.spawn(upstream::resolve_forever(resolved));
        let drained = runtime.block_on(watch.run());
        // Name resolution that still blocks must not hold the process.
        runtime.shutdown_background();
        let _ = tell.send(drained);
    };
    control.spawn(body).map_err(failed)?;
    Ok(Control { command, drained: Some(drained) })
}

/// Deals the sockets out to the workers.
fn share(bound: Vec<Bound>, workers: usize) -> (Vec<Vec<Listening>>, Vec<SocketFile>) {
    let mut dealt: Vec<Vec<Listening>> = (0..workers).map(|_| Vec::new()).collect();
    let mut files = Vec::new();
    for Bound { name, address, sockets, file } in bound {
        let census = Arc::new(Census::new(name));
        for (worker, socket) in dealt.iter_mut().zip(sockets) {
            worker.push(Listening { census: census.clone(), address, socket });
        }
        files.extend(file);
    }
    (dealt, files)
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

async fn serve(post: Post, ready: &std::sync::mpsc::Sender<io::Result<()>>) {
    let worker = Worker::new(post.index, post.published, post.stage);
    let mut accepting = Vec::new();
    for listening in post.listening {
        match accept::listen(worker.clone(), post.crew.clone(), listening) {
            Ok(task) => accepting.push(spawn_local(task)),
            Err(error) => return drop(ready.send(Err(error))),
        }
    }
    spawn_local(accept::receive(worker.clone(), post.handover));
    spawn_local(upstream::sweep(worker.clone()));
    if worker.index == 0 {
        spawn_local(ticks::run(worker.clone()));
    }
    let _ = ready.send(Ok(()));
    let reports = post.reports;
    spawn_local(async move {
        for task in accepting {
            let _ = task.await;
        }
        let mut stage = worker.follow_stage();
        let _ = stage.wait_for(|stage| *stage > Stage::Serving).await;
        let _ = reports.send(Report::Closed);
    });
    // Also when the control thread is gone, which then cannot end anything any more.
    let _ = post.finish.await;
}

impl Watch {
    async fn run(mut self) -> Drained {
        let order = self.command.wait_for(|command| *command != Command::Serve).await;
        let time = match order.map(|command| *command) {
            Ok(Command::Drain(time)) => time,
            _ => Duration::ZERO,
        };
        self.stage.send_replace(Stage::Draining);
        let cut = if self.drain(time).await { 0 } else { self.end().await };
        self.files.clear();
        let workers = self.finish.len();
        self.finish.clear();
        let farewells = timeout(JOIN, self.join(workers)).await.unwrap_or_else(|_| {
            tracing::warn!("a worker did not end in time and is left behind");
            0
        });
        Drained { cut: cut.saturating_sub(farewells) }
    }

    /// Until every connection has ended (true), the time is over or there is an order to stop (false).
    async fn drain(&mut self, time: Duration) -> bool {
        let mut command = self.command.clone();
        let bound = async {
            tokio::time::sleep(LEAST_DRAIN).await;
            let stop = command.wait_for(|command| *command == Command::Stop);
            let _ = timeout(time.saturating_sub(LEAST_DRAIN), stop).await;
        };
        let ended = async {
            let mut closed = 0;
            while closed < self.finish.len() {
                match self.reports.recv().await {
                    Some(Report::Closed) => closed += 1,
                    Some(Report::Ended(_)) => {}
                    None => break,
                }
            }
            self.files.clear();
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

//! A weir that serves: what it is asked to do is done one after the other, until it is to end, or another process takes
//! over.

use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::oneshot;
use weir_core::Server;
use weir_core::server::{Drained, Stopper};

use super::signals::{Asked, Logs, Signals};
use super::{Failure, LAST_WORDS, open_admin};
use crate::acme::Renewals;
use crate::admin::{Admin, Board, Outcome, Upgrade};
use crate::reload::{Ask, Order, Reloader};
use crate::supervisor::Supervisor;
use crate::upgrade::{Successor, Upgrader};
use crate::watch::Watcher;

/// All that serving takes.
pub(super) struct Service<'a> {
    pub(super) server: Server,
    /// The only one that publishes.
    pub(super) reloader: Reloader,
    /// Certificates of an authority.
    pub(super) renewals: Renewals,
    pub(super) board: Board,
    pub(super) admin: Vec<Admin>,
    pub(super) upgrader: Upgrader,
    pub(super) supervisor: Supervisor,
    pub(super) signals: Signals,
    /// What comes by the admin socket.
    pub(super) orders: Receiver<Order>,
    /// For an admin socket that is opened again.
    pub(super) sender: Sender<Order>,
    pub(super) logs: Logs<'a>,
}

/// Why it does not serve any more.
enum End {
    /// It is to stop; the signal's name.
    Stop(&'static str),
    /// Another process serves.
    Upgraded(Box<Successor>, Told),
}

/// Who is told what comes of an upgrade, and why it is done.
struct Told {
    cause: &'static str,
    answer: Option<oneshot::Sender<Upgrade>>,
}

impl Told {
    fn tell(self, upgrade: Upgrade) {
        if let Some(answer) = self.answer {
            // It may have gone away.
            let _ = answer.send(upgrade);
        }
    }
}

impl Service<'_> {
    /// Serves until the end.
    pub(super) async fn run(mut self) -> Drained {
        let watchdog = match self.supervisor.watchdog(self.server.publisher()) {
            Ok(watchdog) => Some(tokio::spawn(watchdog)),
            Err(error) => {
                tracing::error!(%error, "the watchdog of the service manager cannot be told");
                None
            }
        };
        self.supervisor.ready(&self.state());
        let end = self.serve().await;
        let Service { server, reloader, renewals, admin, supervisor, mut signals, orders, logs, .. } = self;
        // Who waits for an answer is told that there will be none; and the store is free for the next process.
        drop((orders, renewals));
        let stopper = server.stopper();
        let drained = match end {
            End::Stop(signal) => {
                let drain = reloader.drain();
                supervisor.stopping();
                tracing::info!(
                    signal,
                    ?drain,
                    "stopping: what is under way may go on for so long; the same signal again stops at once"
                );
                hurried(server.drain(drain), &stopper, &mut signals, &logs).await
            }
            End::Upgraded(successor, told) => {
                let (pid, drain) = (successor.pid(), reloader.upgrade().drain);
                if let Some(watchdog) = watchdog {
                    // This process is not the service any more.
                    watchdog.abort();
                }
                tracing::info!(
                    pid,
                    ?drain,
                    "another process serves: what is under way here may go on for so long"
                );
                let upgrade = Upgrade::new(told.cause, Ok(pid));
                told.tell(upgrade);
                let mut handed = std::pin::pin!(server.hand_over(drain));
                tokio::select! {
                    drained = &mut handed => drained,
                    signal = signals.stop(&logs) => {
                        let drain = reloader.drain();
                        tracing::info!(signal, ?drain, "stopping; the same signal again stops at once");
                        stopper.drain(drain);
                        hurried(handed, &stopper, &mut signals, &logs).await
                    }
                }
            }
        };
        match drained.cut {
            0 => tracing::info!("stopped; nothing was cut"),
            cut => tracing::warn!(cut, "stopped; these connections had something under way and were cut"),
        }
        for admin in &admin {
            let _ = tokio::time::timeout(LAST_WORDS, admin.answered()).await;
        }
        drained
    }

    async fn serve(&mut self) -> End {
        let mut watcher = Watcher::new();
        watcher.follow(self.reloader.inputs());
        loop {
            let asked = tokio::select! {
                asked = self.signals.next(&self.logs) => asked,
                // What changes while it is read is taken with the next round.
                changed = watcher.changed() => Asked::Changed(changed.to_string()),
                Some(order) = self.orders.recv() => order.into(),
                cause = self.renewals.renewed() => Asked::Renewed(cause),
                trouble = self.reloader.trouble() => Asked::TakeBack(trouble),
            };
            let asked = match asked {
                Asked::Stop(signal) => return End::Stop(signal),
                Asked::Upgrade(cause, answer) => match self.upgrade(Told { cause, answer }).await {
                    Some(end) => return end,
                    None => continue,
                },
                asked => asked,
            };
            watcher.renew();
            let dry = matches!(asked, Asked::Change(Ask::DryRun, _));
            if !dry {
                self.supervisor.reloading();
            }
            tokio::select! {
                () = carry_out(asked, &mut self.reloader) => {
                    watcher.follow(self.reloader.inputs());
                    self.renewals.follow(self.reloader.plan());
                }
                // The next SIGHUP and the next order wait until this one is done with.
                signal = self.signals.stop(&self.logs) => return End::Stop(signal),
            }
            if !dry {
                self.supervisor.ready(&self.state());
            }
        }
    }

    /// What it does, for the service manager.
    fn state(&self) -> String {
        let status = self.board.status();
        let refused = status.last_change.is_some_and(|change| change.outcome == Outcome::Refused);
        let more = if refused { "; the last change of the configuration was refused" } else { "" };
        format!("generation {} serves{more}", status.generation)
    }

    /// Has another process take over; none: it cannot.
    async fn upgrade(&mut self, told: Told) -> Option<End> {
        let cause = told.cause;
        self.supervisor.status("another binary is to take over");
        tracing::info!(cause, program = %self.upgrader.program.path.display(), "starting the next process");
        let begun = match self.server.publisher().sockets() {
            Ok(sockets) => tokio::select! {
                begun = self.upgrader.begin(sockets, self.reloader.upgrade().timeout) => begun,
                signal = self.signals.stop(&self.logs) => return Some(End::Stop(signal)),
            },
            Err(error) => Err(vec![format!("cannot pass the listening sockets: {error}")]),
        };
        let problems = match begun {
            Ok(successor) => match self.let_go(successor).await {
                Ok(successor) => return Some(End::Upgraded(Box::new(successor), told)),
                Err(problem) => vec![problem],
            },
            Err(problems) => problems,
        };
        for problem in &problems {
            tracing::error!(cause, "{problem}");
        }
        tracing::error!(cause, "the new process could not serve: this one goes on");
        let upgrade = Upgrade::new(cause, Err(problems));
        self.board.not_upgraded(&upgrade);
        self.supervisor.status(&format!("{}; the last upgrade failed", self.state()));
        told.tell(upgrade);
        None
    }

    /// Leaves the admin socket and the store of certificates to the next process, unless it has ended.
    async fn let_go(&mut self, mut successor: Successor) -> Result<Successor, String> {
        for admin in &mut self.admin {
            admin.close().await;
        }
        self.renewals.stop().await;
        let gone = match successor.check() {
            Ok(()) => {
                // Before that one says that it is ready: only the main process is listened to.
                self.supervisor.main_process(successor.pid());
                let gone = successor.go().await;
                if gone.is_err() {
                    self.supervisor.main_process(std::process::id());
                }
                gone
            }
            ended => ended,
        };
        let Err(problem) = gone else { return Ok(successor) };
        let opened = open_admin(self.reloader.plan(), &self.board, &self.sender);
        match opened {
            Ok(admin) => self.admin = admin,
            Err(Failure { message, .. }) => tracing::error!("{message}"),
        }
        self.renewals.start_again();
        Err(problem)
    }
}

/// A drain that a signal ends.
async fn hurried(
    drained: impl Future<Output = Drained>,
    stopper: &Stopper,
    signals: &mut Signals,
    logs: &Logs<'_>,
) -> Drained {
    let mut draining = std::pin::pin!(drained);
    tokio::select! {
        drained = &mut draining => drained,
        signal = signals.stop(logs) => {
            tracing::warn!(signal, "stopping at once");
            stopper.stop();
            // Closing takes milliseconds; should a worker not come to it, the process ends all the same.
            tokio::time::timeout(LAST_WORDS, draining).await.unwrap_or(Drained { cut: usize::MAX })
        }
    }
}

/// Does what is asked for, and tells who asked what came of it.
async fn carry_out(asked: Asked, reloader: &mut Reloader) {
    match asked {
        Asked::Stop(_) | Asked::Upgrade(..) => {}
        Asked::Changed(cause) => drop(reloader.changed(&cause).await),
        Asked::Renewed(cause) => drop(reloader.renewed(&cause).await),
        Asked::Reload(cause) => drop(reloader.asked(cause, Ask::Reload).await),
        Asked::TakeBack(trouble) => drop(reloader.take_back(trouble).await),
        Asked::Change(ask, answer) => {
            let cause = match ask {
                Ask::Reload => "weir reload",
                Ask::DryRun => "weir reload --dry-run",
                Ask::Rollback { .. } => "weir rollback",
            };
            let change = reloader.asked(cause, ask).await;
            // It may have gone away.
            let _ = answer.send(change);
        }
    }
}

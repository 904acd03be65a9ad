//! What weir is asked to do while it serves, and the signals that ask for it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::admin::{Change, Upgrade};
use crate::reload::{Ask, Order, Trouble};
use crate::telemetry::{AccessLogger, ProgramLog};

/// The logs that SIGUSR1 opens anew.
pub(super) struct Logs<'a> {
    pub(super) access: Option<&'a AccessLogger>,
    pub(super) program: &'a ProgramLog,
}

impl Logs<'_> {
    fn reopen(&self) {
        tracing::info!("SIGUSR1: opening the logs anew");
        self.program.reopen();
        if let Some(access) = self.access {
            access.reopen();
        }
    }
}

/// What a signal asks for.
pub(super) enum Asked {
    /// To stop; the signal's name.
    Stop(&'static str),
    /// To read the configuration again, and why.
    Reload(&'static str),
    /// The same because of what has changed.
    Changed(String),
    /// To serve a certificate that an authority has signed, and which.
    Renewed(String),
    /// What came by the admin socket.
    Change(Ask, oneshot::Sender<Change>),
    /// To have another binary take over, why, and where what comes of it is told.
    Upgrade(&'static str, Option<oneshot::Sender<Upgrade>>),
    /// To take the last change back.
    TakeBack(Trouble),
}

/// The signals that weir listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
    second: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
            second: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for a signal that asks for something, and opens the logs anew meanwhile. Cancel safe.
    pub(super) async fn next(&mut self, logs: &Logs<'_>) -> Asked {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Asked::Stop("SIGTERM"),
                _ = self.interrupt.recv() => return Asked::Stop("SIGINT"),
                _ = self.hangup.recv() => return Asked::Reload("SIGHUP"),
                _ = self.second.recv() => return Asked::Upgrade("SIGUSR2", None),
                _ = self.user.recv() => logs.reopen(),
            }
        }
    }

    /// As [`Signals::next`], but leaves SIGHUP and SIGUSR2 for later. Cancel safe.
    pub(super) async fn stop(&mut self, logs: &Logs<'_>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.user.recv() => logs.reopen(),
            }
        }
    }
}

impl From<Order> for Asked {
    fn from(order: Order) -> Self {
        match order {
            Order::Change { ask, answer } => Asked::Change(ask, answer),
            Order::Upgrade { answer } => Asked::Upgrade("weir upgrade", Some(answer)),
        }
    }
}

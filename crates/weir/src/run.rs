//! `weir run`: from a configuration to a running proxy, and to its end.
//!
//! The exit code says how it ended: 0, nothing was cut; [`EXIT_FAILED`], it could not start; [`EXIT_CONFIG`], the
//! command line or the configuration is wrong; [`EXIT_CUT`], it stopped, but something under way was cut.

mod service;
mod signals;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use weir_core::Server;
use weir_core::server::{BindError, Drained, StartError};
use weir_core::spec::{ListenAddress, Spec};

use crate::acme::{self, Renewals};
use crate::admin::{self, Admin, Board};
use crate::assemble::{AssembleError, Assembler, plugins};
use crate::banner::{self, Banner};
use crate::config::Source;
use crate::config::inputs::Inputs;
use crate::config::lower::Placeholder;
use crate::config::outline::Outline;
use crate::expiry;
use crate::reload::{self, Order, Reloader};
use crate::supervisor::Supervisor;
use crate::telemetry::{self, AccessLogger, ProgramLog, ProgramLogError, ProgramLogFormat, program_log};
use crate::upgrade::{self, Predecessor, Program, Upgrader};
use service::Service;
use signals::{Logs, Signals};

/// Exit code: it could not start, for example because a port is taken.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: the command line or the configuration is wrong.
pub const EXIT_CONFIG: u8 = 2;
/// Exit code: it stopped as asked, but exchanges or relays that were under way were cut.
pub const EXIT_CUT: u8 = 3;

/// How long the workers may take to stop at once, and the access log to be written at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What a configuration comes to: everything that `run` needs.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What the data plane is asked for.
    pub spec: Spec,
    /// What the logs are asked for.
    pub telemetry: telemetry::Settings,
    /// Names of upstream groups that mean the embedded demo upstream: it is started if there is any, and its
    /// address takes the place of the endpoints of these groups.
    pub demo: Vec<Arc<str>>,
    /// What it was read from, and is read from again.
    pub source: Source,
    /// By listener name: where its address is set. Named in the error when it cannot be bound.
    pub origins: HashMap<Arc<str>, Origin>,
    /// Files of certificates, by their fingerprint.
    pub certificate_files: HashMap<String, PathBuf>,
    /// By the file of a certificate: that of its key, where it is another.
    pub key_files: HashMap<PathBuf, PathBuf>,
    /// The authority that is asked for certificates, and for which.
    pub acme: Option<Arc<acme::Settings>>,
    /// Certificates that weir made until those are there.
    pub placeholders: Vec<Placeholder>,
    /// Names of listeners whose certificate was made at start: their fingerprint is printed.
    pub self_signed: Vec<Arc<str>>,
    /// Bytes of the key-value store.
    pub kv_memory: u64,
    /// Where weir tells about itself.
    pub admin: admin::Settings,
    /// The same over TCP.
    pub admin_tcp: Option<admin::Tcp>,
    /// Plugins of all routes and listeners.
    pub plugins: Vec<plugins::Loaded>,
    /// What it was read from.
    pub inputs: Inputs,
    /// What is written in it, to be compared.
    pub outline: Outline,
    /// How it is read again.
    pub reload: reload::Settings,
    /// How another binary takes over.
    pub upgrade: upgrade::Settings,
}

/// Where something is set in the configuration.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key, for example `listeners.web.address`.
    pub key: String,
}

/// Why it could not start: what a person reads, and the exit code.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn start(what: &str, error: impl std::fmt::Display) -> Self {
        Failure { message: format!("{what}: {error}"), code: EXIT_FAILED }
    }
}

/// Serves until it is told to stop. SIGTERM and SIGINT drain; the same again stops at once. SIGHUP reads the
/// configuration again, SIGUSR1 opens the logs anew, SIGUSR2 has another binary take over. Errors go to standard error,
/// and to the process whose sockets this one is to take over.
pub fn run(plan: Plan, mut predecessor: Option<Predecessor>) -> ExitCode {
    let ended = match ProgramLog::start(&plan.telemetry.log) {
        Ok(log) => start(plan, &log, &mut predecessor),
        Err(error) => {
            let code =
                if matches!(error, ProgramLogError::Filter { .. }) { EXIT_CONFIG } else { EXIT_FAILED };
            Err(Failure { message: error.to_string(), code })
        }
    };
    match ended {
        Ok(Drained { cut: 0 }) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_CUT),
        Err(Failure { message, code }) => {
            let _ = writeln!(io::stderr(), "error: {message}");
            if let Some(predecessor) = predecessor {
                predecessor.failed(vec![message]);
            }
            ExitCode::from(code)
        }
    }
}

fn start(
    mut plan: Plan,
    log: &ProgramLog,
    predecessor: &mut Option<Predecessor>,
) -> Result<Drained, Failure> {
    let program = Program::this().map_err(|e| Failure::start("cannot tell which program this is", e))?;
    let access_log = match &plan.telemetry.access_log {
        Some(settings) => Some(AccessLogger::start(settings).map_err(|e| Failure::start("access log", e))?),
        None => None,
    };
    let mut assembler = Assembler::new(access_log.as_ref());
    let snapshot = assembler.assemble(&mut plan, None).map_err(|error| Failure {
        message: format!("{}: {error}", plan.source),
        code: if matches!(error, AssembleError::Spec(_)) { EXIT_CONFIG } else { EXIT_FAILED },
    })?;
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::start("cannot make an event loop", e))?;
    let ended = control.block_on(async {
        let signals = Signals::new().map_err(|e| Failure::start("cannot listen for signals", e))?;
        let passed = predecessor.as_mut().map(Predecessor::take).unwrap_or_default();
        let server = Server::take_over(snapshot, plan.spec.workers, passed).map_err(|error| match error {
            StartError::Bind(errors) => {
                let lines: Vec<_> = errors.iter().map(|error| explain(error, &plan)).collect();
                Failure { message: lines.join("\nerror: "), code: EXIT_FAILED }
            }
            StartError::Threads(error) => Failure::start("cannot start the workers", error),
        })?;
        let board = Board::new(&plan, server.workers(), Some(server.publisher()));
        let (sender, orders) = reload::orders();
        let admin = match predecessor.take() {
            Some(predecessor) => take_over(predecessor, &plan, &server, &board, &sender),
            None => open_admin(&plan, &board, &sender)?,
        };
        plugins::show(Arc::new(board.clone()));
        tokio::spawn(expiry::watch(board.clone()));
        greet(&plan, &server);
        let folders = folders(&plan);
        let renewals = Renewals::start(&plan, assembler.challenges(), board.clone());
        let publisher = server.publisher();
        let reloader = Reloader::new(plan, assembler, publisher, board.clone());
        let logs = Logs { access: access_log.as_ref(), program: log };
        let upgrader = Upgrader { program, folders };
        let supervisor = Supervisor::from_env();
        let service = Service {
            server,
            reloader,
            renewals,
            board,
            admin,
            upgrader,
            supervisor,
            signals,
            orders,
            sender,
            logs,
        };
        Ok(service.run().await)
    });
    // A configuration that is still being read must not hold the end.
    control.shutdown_background();
    if let Some(access_log) = &access_log
        && !access_log.close(LAST_WORDS)
    {
        tracing::warn!("access log: the last records could not be written in time");
    }
    ended
}

/// The admin socket, and the address for the same. Without the socket that nobody asked for weir serves all the same.
fn open_admin(plan: &Plan, board: &Board, orders: &Sender<Order>) -> Result<Vec<Admin>, Failure> {
    let mut all = Vec::new();
    if let Some((path, mode)) = plan.admin.socket(&plan.source) {
        let socket = path.display();
        match Admin::start(&path, mode, board.clone(), orders.clone()) {
            Ok(admin) => all.push(admin),
            Err(error) if plan.admin == admin::Settings::Default => {
                tracing::warn!(%error, %socket, "no admin socket: `weir status` has nobody to ask");
            }
            Err(error) => {
                return Err(Failure::start(&format!("cannot make the admin socket {socket}"), error));
            }
        }
    }
    if let Some(admin::Tcp { address, .. }) = &plan.admin_tcp {
        let what = format!("cannot listen on {address} (`admin.address`)");
        let admin = Admin::start_tcp(*address, board.clone(), orders.clone());
        all.push(admin.map_err(|error| Failure::start(&what, error))?);
    }
    Ok(all)
}

/// Has the process that served till now let go of its sockets. This one serves whatever comes of that.
fn take_over(
    mut predecessor: Predecessor,
    plan: &Plan,
    server: &Server,
    board: &Board,
    orders: &Sender<Order>,
) -> Vec<Admin> {
    predecessor.serves();
    server.publisher().settle();
    let pid = predecessor.pid();
    board.took_over(pid);
    tracing::info!(from = pid, "took over all listening sockets");
    let admin = open_admin(plan, board, orders).unwrap_or_else(|Failure { message, .. }| {
        tracing::error!("{message}");
        Vec::new()
    });
    predecessor.settled();
    admin
}

/// Where this process and the next one may meet.
fn folders(plan: &Plan) -> Vec<PathBuf> {
    let socket = plan.admin.socket(&plan.source).map(|(path, _)| path);
    let admin = socket.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let admin = admin.filter(|folder| !folder.as_os_str().is_empty());
    admin.into_iter().chain([std::env::temp_dir()]).collect()
}

fn greet(plan: &Plan, server: &Server) {
    let colours = program_log::colours(&telemetry::Output::Stderr);
    let banner = Banner { plan, addresses: &server.addresses(), workers: server.workers(), colours };
    match plan.telemetry.log.format {
        ProgramLogFormat::Text => drop(io::stderr().write_all(banner.text().as_bytes())),
        ProgramLogFormat::Json => banner.log(),
    }
}

/// Why a listener could not be bound, and what can be done about it.
pub(crate) fn explain(error: &BindError, plan: &Plan) -> String {
    let mut text = format!(
        "cannot listen on {} (listener {}): {}",
        banner::address(&error.address),
        error.listener,
        error.source
    );
    let hint = match (error.source.kind(), &error.address) {
        (ErrorKind::AddrInUse, ListenAddress::Tcp(address)) => Some(format!(
            "another process has this address, perhaps another weir; `ss -ltnp sport = :{}` shows which",
            address.port()
        )),
        (ErrorKind::AddrInUse, _) => Some("another process, perhaps another weir, listens there".to_owned()),
        (ErrorKind::AddrNotAvailable, _) => Some("this machine has no such address".to_owned()),
        (ErrorKind::PermissionDenied, ListenAddress::Tcp(address)) if address.port() < 1024 => Some(
            "ports below 1024 need a privilege: start weir as root, give it the capability (`setcap \
             cap_net_bind_service=+ep weir`, or `AmbientCapabilities=CAP_NET_BIND_SERVICE` in its systemd unit), \
             or choose a port from 1024"
                .to_owned(),
        ),
        _ => None,
    };
    if let Some(hint) = hint {
        text.push_str("\n  ");
        text.push_str(&hint);
    }
    if let Some(Origin { file, line, key }) = plan.origins.get(&error.listener) {
        text.push_str(&format!("\n  {file}:{line}: `{key}` sets it"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_cannot_be_bound_is_explained() {
        let origin =
            Origin { file: "config/weir.toml".to_owned(), line: 7, key: "listeners.web.address".to_owned() };
        let tcp = |text: &str| ListenAddress::Tcp(text.parse().expect("an address"));
        let unix = ListenAddress::Unix { path: "/run/weir.sock".into(), mode: 0o660 };
        for (address, kind, expected) in [
            (
                tcp("127.0.0.1:8080"),
                ErrorKind::AddrInUse,
                ["listen on 127.0.0.1:8080 (listener web)", "another weir", "ss -ltnp sport = :8080"],
            ),
            (
                tcp("[::]:443"),
                ErrorKind::PermissionDenied,
                ["[::]:443", "below 1024", "cap_net_bind_service"],
            ),
            (
                tcp("192.0.2.1:8080"),
                ErrorKind::AddrNotAvailable,
                ["192.0.2.1:8080", "no such address", "web"],
            ),
            (unix, ErrorKind::AddrInUse, ["unix:/run/weir.sock", "another process", "web"]),
        ] {
            let plan = Plan { origins: [("web".into(), origin.clone())].into(), ..Plan::default() };
            let text = explain(&BindError { listener: "web".into(), address, source: kind.into() }, &plan);
            for part in expected.into_iter().chain(["config/weir.toml:7: `listeners.web.address`"]) {
                assert!(text.contains(part), "{part:?} is not in: {text}");
            }
        }
    }
}

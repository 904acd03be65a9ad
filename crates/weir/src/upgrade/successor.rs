//! The old process' side: the next one is started, gets the sockets, and says that it serves, or that it cannot.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use weir_core::server::Passed;

use super::wire::{self, Word};
use super::{Program, Upgrader, VARIABLE};

/// How long a process that said why it cannot serve has to end by itself.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the new process may take to be there for `weir status`.
const SETTLE: Duration = Duration::from_secs(5);
/// What a service manager told this process alone. Without `WATCHDOG_PID`, `WATCHDOG_USEC` is for whoever has it.
const OWN: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// The next process. It serves; dropped before [`Successor::go`], it is killed.
#[derive(Debug)]
pub struct Successor {
    process: Started,
    stream: BufReader<UnixStream>,
}

/// A process that is killed when this is dropped, unless it may live.
#[derive(Debug)]
struct Started {
    child: Child,
    pid: u32,
    may_live: bool,
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.may_live {
            // It may have ended by itself.
            let _ = self.child.start_kill();
        }
    }
}

/// Where the two meet: a folder for this user only, with a socket in it. Removed when this is dropped.
#[derive(Debug)]
struct Meeting {
    folder: PathBuf,
    listener: UnixListener,
}

impl Meeting {
    /// In the first of these folders where that can be.
    fn arrange(folders: &[PathBuf]) -> io::Result<Meeting> {
        let mut last = io::Error::other("there is no folder for it");
        for folder in folders {
            match Meeting::arrange_in(folder) {
                Ok(meeting) => return Ok(meeting),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn arrange_in(folder: &Path) -> io::Result<Meeting> {
        let folder = (0..100).find_map(|n| {
            let folder = folder.join(format!("upgrade-{}-{n}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                made => Some(made.map(|()| folder)),
            }
        });
        let folder = folder.unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))?;
        match UnixListener::bind(folder.join("socket")) {
            Ok(listener) => Ok(Meeting { folder, listener }),
            Err(error) => {
                let _ = std::fs::remove_dir(&folder);
                Err(error)
            }
        }
    }

    /// The connection of this process, and of no other.
    async fn with(&self, pid: u32) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let peer = stream.peer_cred()?.pid();
            if peer.and_then(|peer| u32::try_from(peer).ok()) == Some(pid) {
                return Ok(stream);
            }
            tracing::warn!(?peer, "another process than the one that was started asks for the sockets");
        }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.join("socket"));
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// What [`Upgrader::begin`] does.
pub(super) async fn begin(
    upgrader: &Upgrader,
    passed: Vec<Passed>,
    patience: Duration,
) -> Result<Successor, Vec<String>> {
    let meeting =
        Meeting::arrange(&upgrader.folders).map_err(|e| vec![format!("cannot make a socket for it: {e}")])?;
    let path = upgrader.program.path.display().to_string();
    let mut process = start(&upgrader.program, &meeting.folder.join("socket"))
        .map_err(|error| vec![format!("cannot start {path}: {error}")])?;
    let pid = process.pid;
    let greeted = tokio::select! {
        biased;
        ready = timeout(patience, greet(&meeting, pid, passed)) => ready,
        ended = process.child.wait() => return Err(vec![ended_early(&path, ended)]),
    };
    let problems = match greeted {
        Ok(Ok(stream)) => return Ok(Successor { process, stream }),
        Ok(Err(Refusal::Told(problems))) => {
            let _ = timeout(FAREWELL, process.child.wait()).await;
            problems
        }
        Ok(Err(Refusal::Broken(error))) => match timeout(FAREWELL, process.child.wait()).await {
            Ok(ended) => vec![ended_early(&path, ended)],
            Err(_) => vec![format!("{path} does not speak as weir does: {error}")],
        },
        Err(_) => vec![format!("{path} was not ready within {patience:?}")],
    };
    // Gone before anybody is told that it is.
    let _ = process.child.kill().await;
    Err(problems)
}

fn start(program: &Program, socket: &Path) -> io::Result<Started> {
    let mut command = Command::new(&program.path);
    command.args(&program.arguments).env(VARIABLE, socket);
    for name in OWN {
        command.env_remove(name);
    }
    if std::env::var("WATCHDOG_PID").is_ok_and(|pid| pid.parse() != Ok(std::process::id())) {
        command.env_remove("WATCHDOG_USEC");
    }
    let child = command.spawn()?;
    let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
    Ok(Started { child, pid, may_live: false })
}

fn ended_early(path: &str, ended: io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) => format!("{path} ended before it served: {status}"),
        Err(error) => format!("{path} cannot be waited for: {error}"),
    }
}

/// Why the next process does not serve.
enum Refusal {
    /// What it says.
    Told(Vec<String>),
    /// It speaks in another way, or is gone.
    Broken(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Broken(error)
    }
}

/// Until the next process says that it serves.
async fn greet(meeting: &Meeting, pid: u32, passed: Vec<Passed>) -> Result<BufReader<UnixStream>, Refusal> {
    let stream = meeting.with(pid).await?.into_std()?;
    // The other side reads at once; should it not, there is an end to this.
    let sent = tokio::task::spawn_blocking(move || pass(stream, &passed)).await;
    let stream = UnixStream::from_std(sent.map_err(io::Error::other)??)?;
    let mut stream = BufReader::new(stream);
    match hear(&mut stream).await? {
        Word::Ready => Ok(stream),
        Word::Failed(problems) => Err(Refusal::Told(problems)),
        other => Err(Refusal::Broken(io::Error::other(format!("it said {other:?}")))),
    }
}

fn pass(stream: StdStream, passed: &[Passed]) -> io::Result<StdStream> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(SETTLE))?;
    wire::send(&stream, passed)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

async fn hear(stream: &mut BufReader<UnixStream>) -> io::Result<Word> {
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Word::parse(&line),
    }
}

impl Successor {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Whether it is still there.
    ///
    /// # Errors
    /// When it has ended: what is said of that.
    pub fn check(&mut self) -> Result<(), String> {
        let ended = self.process.child.try_wait().transpose();
        ended.map_or(Ok(()), |ended| Err(ended_early("the new process", ended)))
    }

    /// Tells it that this process lets go, and waits for a moment until it can be asked by `weir status`. It lives then,
    /// whatever becomes of this process.
    ///
    /// # Errors
    /// When it has ended: what is said of that.
    pub async fn go(&mut self) -> Result<(), String> {
        self.process.may_live = true;
        let settled = async {
            self.stream.get_mut().write_all(Word::Go.line().as_bytes()).await?;
            hear(&mut self.stream).await
        };
        match timeout(SETTLE, settled).await {
            Ok(Ok(Word::Settled)) => return Ok(()),
            Ok(Err(_)) => {
                // A process that ends lets go of this before it is gone.
                if let Ok(ended) = timeout(FAREWELL, self.process.child.wait()).await {
                    return Err(ended_early("the new process", ended));
                }
            }
            _ => {}
        }
        tracing::warn!("the new process serves, but does not say that it can be asked");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn go(script: &str, there: impl AsyncFnOnce(UnixStream)) -> Result<(), String> {
        let child = Command::new("sh").args(["-c", script]).kill_on_drop(true).spawn().expect("a shell");
        let pid = child.id().expect("it was just started");
        let (stream, other) = UnixStream::pair().expect("a pair");
        let process = Started { child, pid, may_live: false };
        let mut successor = Successor { process, stream: BufReader::new(stream) };
        tokio::join!(successor.go(), there(other)).0
    }

    #[tokio::test]
    async fn one_that_has_ended_does_not_serve() {
        assert_eq!(
            go("exit 7", async |other| drop(other)).await,
            Err("the new process ended before it served: exit status: 7".to_owned())
        );
        let settles = async |mut other: UnixStream| {
            other.write_all(Word::Settled.line().as_bytes()).await.expect("it is read");
        };
        assert_eq!(go("exec sleep 60", settles).await, Ok(()));
        assert_eq!(
            go("exec sleep 60", async |other| drop(other)).await,
            Ok(()),
            "it may be there all the same"
        );
    }
}

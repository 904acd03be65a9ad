//! The new process' side: it gets the sockets, says that it serves, and is let alone with them.

use std::env;
use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use weir_core::server::Passed;

use super::VARIABLE;
use super::wire::{self, Word};

/// How long the other process may take to say or read something.
const PATIENCE: Duration = Duration::from_secs(10);

/// The process that has started this one for an upgrade. Dropped before [`Predecessor::serves`], it is told that this one
/// ends.
#[derive(Debug)]
pub struct Predecessor {
    stream: BufReader<UnixStream>,
    passed: Vec<Passed>,
    pid: Option<u32>,
}

impl Predecessor {
    /// Gets the sockets, if this process was started for an upgrade.
    ///
    /// # Errors
    /// When it was, and the other process is not there.
    pub fn meet() -> io::Result<Option<Predecessor>> {
        env::var_os(VARIABLE).map(|path| Predecessor::meet_at(Path::new(&path))).transpose()
    }

    pub(super) fn meet_at(path: &Path) -> io::Result<Predecessor> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let passed = wire::receive(&stream)?;
        let pid = rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
        Ok(Predecessor { stream: BufReader::new(stream), passed, pid })
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The sockets.
    pub fn take(&mut self) -> Vec<Passed> {
        std::mem::take(&mut self.passed)
    }

    /// Says that this process cannot serve, and why.
    pub fn failed(mut self, problems: Vec<String>) {
        // It may be gone: then nobody needs to know.
        let _ = self.say(&Word::Failed(problems));
    }

    /// Says that this process serves, and waits until the other one does not answer `weir status` any more. Should it
    /// have died meanwhile, that is so, too.
    pub fn serves(&mut self) {
        if let Err(error) = self.say(&Word::Ready).and_then(|()| Word::read(&mut self.stream)) {
            tracing::warn!(%error, "the process that serves till now does not say that it lets go");
        }
    }

    /// Says that this process can be asked by `weir status`.
    pub fn settled(mut self) {
        let _ = self.say(&Word::Settled);
    }

    fn say(&mut self, word: &Word) -> io::Result<()> {
        self.stream.get_mut().write_all(word.line().as_bytes())
    }
}

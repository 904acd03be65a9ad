//! The proxy under load: its files, its process, and how it is told that they have changed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::certificates::Pair;
use crate::change::What;
use crate::options::Options;
use crate::{peer, weir};

/// How long a proxy may take to end.
const ENDING: Duration = Duration::from_secs(10);

/// Where a proxy is, and what it serves.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its files.
    pub(crate) folder: PathBuf,
    /// The plain listener.
    pub(crate) web: SocketAddr,
    /// The TLS listener.
    pub(crate) tls: SocketAddr,
    /// Where it may be asked by TCP.
    pub(crate) admin: SocketAddr,
    /// The servers behind it.
    pub(crate) upstreams: [SocketAddr; 2],
}

impl Place {
    /// A file of the folder.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// What a proxy is to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Desired {
    /// The value that its configuration sets.
    pub(crate) config: String,
    /// The value that its script sets.
    pub(crate) script: String,
    /// Its certificate.
    pub(crate) pair: Pair,
    /// The listener that moves, where one does.
    pub(crate) side: Option<SocketAddr>,
    /// What is broken in it, if anything. A broken certificate is so by itself.
    pub(crate) broken: Option<What>,
}

/// What a proxy told of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// It serves, or is about to.
    Published,
    /// It does not, because of this.
    Refused(String),
    /// Nothing that would do as an answer.
    Silent(String),
}

/// The ways of one proxy.
#[derive(Debug)]
pub(crate) enum Ways {
    /// weir.
    Weir(weir::Ways),
    /// Another one.
    Peer(peer::Ways),
}

impl Ways {
    /// Every file but those of certificates: name and content.
    fn texts(&self, place: &Place, desired: &Desired) -> Vec<(&'static str, String)> {
        match self {
            Ways::Weir(ways) => ways.texts(place, desired),
            Ways::Peer(ways) => ways.texts(place, desired),
        }
    }

    fn command(&self, place: &Place) -> Command {
        match self {
            Ways::Weir(ways) => ways.command(place),
            Ways::Peer(ways) => ways.command(place),
        }
    }
}

/// A proxy that runs. Dropping it ends it, with all of its processes.
#[derive(Debug)]
pub(crate) struct Proxy {
    ways: Ways,
    place: Place,
    child: Child,
    files: Files,
}

impl Proxy {
    /// Writes the files and starts it. It may not listen yet.
    pub(crate) fn start(options: &Options, place: Place, desired: &Desired) -> Result<Self> {
        let ways = match options.peer {
            None => Ways::Weir(weir::Ways::new(options)?),
            Some(peer) => Ways::Peer(peer::Ways::new(peer, options.program.as_deref())?),
        };
        let mut files = Files { folder: place.folder.clone(), ..Files::default() };
        files.write(&ways.texts(&place, desired), &desired.pair)?;
        let log = File::create(place.folder.join("proxy.log"))?;
        let mut command = ways.command(&place);
        // A group of its own: it can be ended whole, and is spared when the soak is interrupted at a terminal.
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("{command:?} does not start"))?;
        Ok(Proxy { ways, place, child, files })
    }

    /// The process that was started; others may have come of it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Puts files into place that differ from those that are there, each by a rename.
    pub(crate) fn write(&mut self, desired: &Desired) -> Result<()> {
        self.files.write(&self.ways.texts(&self.place, desired), &desired.pair)
    }

    /// Asks it, in its own way, to take what has been written, and hears what comes of it. `broken`: whether that is
    /// to be refused.
    pub(crate) async fn take(&mut self, broken: bool) -> Told {
        match &mut self.ways {
            Ways::Weir(ways) => ways.take(&self.place, self.child.id(), broken).await,
            Ways::Peer(ways) => ways.take(&self.place, self.child.id()).await,
        }
    }

    /// Sees that it has taken again what it served before a broken change.
    pub(crate) async fn restored(&mut self) -> Told {
        match &self.ways {
            Ways::Weir(_) => self.take(false).await,
            // They were never asked to load what they refused.
            Ways::Peer(_) => Told::Published,
        }
    }

    /// How many WebSockets of weir's still go by what was there before the last change.
    pub(crate) async fn held(&self) -> Result<u64> {
        weir::held(&self.place).await
    }

    /// The last lines of its log.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.place.folder.join("proxy.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = signal(self.child.id(), Signal::TERM);
        let until = Instant::now() + ENDING;
        while !self.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        // What it left behind: old workers, say. The id stands for the group as long as it has a process.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that the soak has started.
pub(crate) fn signal(id: u32, signal: Signal) -> Result<()> {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).context("not a process")?;
    Ok(kill_process(id, signal)?)
}

/// The files of a proxy.
#[derive(Debug, Default)]
struct Files {
    folder: PathBuf,
    written: BTreeMap<&'static str, String>,
    pair: Option<Pair>,
    /// Counts folders of certificates.
    folders: u64,
}

impl Files {
    fn write(&mut self, texts: &[(&'static str, String)], pair: &Pair) -> Result<()> {
        for (name, text) in texts {
            if self.written.get(name) != Some(text) {
                replace(&self.folder.join(name), text)?;
                self.written.insert(name, text.clone());
            }
        }
        if self.pair.as_ref() != Some(pair) {
            self.certificate(pair)?;
            self.pair = Some(pair.clone());
        }
        Ok(())
    }

    /// As Kubernetes does it, so that a certificate and its key change in one step: `cert.pem` is a link to
    /// `..data/cert.pem`, and `..data` a link to a folder, another one after each change.
    fn certificate(&mut self, pair: &Pair) -> Result<()> {
        let certs = self.folder.join("certs");
        self.folders += 1;
        let (old, new) = (format!("..{}", self.folders - 1), format!("..{}", self.folders));
        fs::create_dir_all(certs.join(&new))?;
        let whole = format!("{}{}", pair.certificate, pair.key);
        for (name, text) in [("cert.pem", &pair.certificate), ("key.pem", &pair.key), ("site.pem", &whole)] {
            fs::write(certs.join(&new).join(name), text)?;
            let link = certs.join(name);
            if fs::symlink_metadata(&link).is_err() {
                std::os::unix::fs::symlink(Path::new("..data").join(name), link)?;
            }
        }
        std::os::unix::fs::symlink(&new, certs.join("..data_tmp"))?;
        fs::rename(certs.join("..data_tmp"), certs.join("..data"))?;
        if self.folders > 1 {
            fs::remove_dir_all(certs.join(old))?;
        }
        Ok(())
    }
}

/// Another file in the place of one, in one step.
fn replace(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    fs::write(&fresh, text)?;
    Ok(fs::rename(fresh, path)?)
}

/// Ports that are free, below those that the system gives to clients: the load cannot take one meanwhile.
pub(crate) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut found = Vec::new();
    let first = 20_000 + u16::try_from(std::process::id() % 5_000)? * 2;
    for port in (first..32_000).chain(20_000..first) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            found.push(address);
        }
        if found.len() == N {
            return found.try_into().map_err(|_| anyhow::anyhow!("so many were looked for"));
        }
    }
    bail!("no ports are free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_its_key_change_together() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files { folder: folder.path().to_owned(), ..Files::default() };
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        for text in ["one", "two"] {
            let pair = Pair::new().unwrap();
            files.write(&[("a/b.toml", text.to_owned())], &pair).unwrap();
            assert_eq!((read("certs/cert.pem"), read("certs/key.pem")), (pair.certificate, pair.key));
            assert_eq!(read("a/b.toml"), text);
        }
        assert_eq!(fs::read_dir(folder.path().join("certs")).unwrap().count(), 5, "old folders go");
    }

    #[test]
    fn what_did_not_change_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files { folder: folder.path().to_owned(), ..Files::default() };
        let pair = Pair::new().unwrap();
        files.write(&[("a", "1".to_owned())], &pair).unwrap();
        fs::remove_file(folder.path().join("a")).unwrap();
        files.write(&[("a", "1".to_owned())], &pair).unwrap();
        assert!(!folder.path().join("a").exists());
    }
}

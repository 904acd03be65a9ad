//! What systemd is told, where it started weir (`sd_notify(3)`, `Type=notify-reload`): that it serves, reads its
//! configuration again, stops, is another process now; and, for its watchdog, that the event loops turn.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use std::{env, io};

use rustix::time::{ClockId, clock_gettime};
use weir_core::server::Publisher;

/// The service manager, if there is one that wants to know.
#[derive(Debug, Default)]
pub struct Supervisor {
    at: Option<(UnixDatagram, SocketAddr)>,
    /// Within this time it wants to hear that all is well.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// Who started this process, by the variables of its environment.
    pub fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Supervisor::default();
        };
        let watchdog = watchdog(env::var("WATCHDOG_USEC").ok(), env::var("WATCHDOG_PID").ok());
        match connect(&name) {
            Ok(at) => Supervisor { at: Some(at), watchdog },
            Err(error) => {
                tracing::warn!(%error, ?name, "NOTIFY_SOCKET names no socket: the service manager is told nothing");
                Supervisor::default()
            }
        }
    }

    /// It serves, or serves again.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its configuration again; [`Supervisor::ready`] is to follow whatever comes of it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the configuration again"));
    }

    /// What it does now.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={status}"));
    }

    /// It ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Another process is the service from now on. Nothing is to be told after that.
    pub fn main_process(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}"));
    }

    /// Tells the watchdog that all is well, as long as every worker answers, and this thread. Never ends.
    pub fn watchdog(&self, server: Publisher) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let (at, every) = match (&self.at, self.watchdog) {
            (Some((socket, address)), Some(within)) => {
                (Some((socket.try_clone()?, address.clone())), within / 2)
            }
            _ => (None, Duration::ZERO),
        };
        Ok(async move {
            let Some((socket, address)) = at else { return };
            loop {
                server.answers().await;
                send(&socket, &address, "WATCHDOG=1");
                tokio::time::sleep(every).await;
            }
        })
    }

    fn tell(&self, text: &str) {
        if let Some((socket, address)) = &self.at {
            send(socket, address, text);
        }
    }
}

fn send(socket: &UnixDatagram, address: &SocketAddr, text: &str) {
    // The service manager may be busy or starting anew: nothing waits for it.
    if let Err(error) = socket.send_to_addr(text.as_bytes(), address) {
        tracing::debug!(%error, text, "the service manager cannot be told");
    }
}

/// A socket to send by, and the address to send to.
fn connect(name: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// Within which time the watchdog wants to hear something of this process.
fn watchdog(within: Option<String>, pid: Option<String>) -> Option<Duration> {
    let is_other = pid.is_some_and(|pid| pid.parse() != Ok(std::process::id()));
    let micros = within?.parse().ok().filter(|micros| *micros > 0 && !is_other)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let n = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    #[test]
    fn it_is_told_at_a_path_or_an_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let at_path = UnixDatagram::bind(&path).expect("it can be bound");
        let name = format!("weir-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let at_name = UnixDatagram::bind_addr(&address).expect("it can be bound");
        for (name, socket) in [(path.into_os_string(), at_path), (format!("@{name}").into(), at_name)] {
            let supervisor = Supervisor { at: connect(&name).ok(), watchdog: None };
            supervisor.ready("all is well");
            supervisor.main_process(7);
            assert_eq!([heard(&socket), heard(&socket)], ["READY=1\nSTATUS=all is well", "MAINPID=7"]);
            drop(socket);
            supervisor.stopping();
        }
        assert!(connect(&"vsock:2:1".into()).is_err());
    }

    #[test]
    fn a_watchdog_of_another_process_is_none() {
        let this = std::process::id();
        let check = |within: &str, pid: Option<String>| watchdog(Some(within.to_owned()), pid);
        assert_eq!(check("2000000", None), Some(Duration::from_secs(2)));
        assert_eq!(check("2000000", Some(this.to_string())), Some(Duration::from_secs(2)));
        assert_eq!(check("2000000", Some((this + 1).to_string())), None);
        assert_eq!((check("0", None), check("x", None), watchdog(None, None)), (None, None, None));
    }
}

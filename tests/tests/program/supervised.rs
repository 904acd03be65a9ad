//! What systemd is told, over a socket as systemd has one.

use std::fs;
use std::os::unix::net::UnixDatagram;

use rustix::process::{Pid, Signal, kill_process};
use weir_tests::{PATIENCE, RawClient, Weir, weir};

const CONFIG: &str = "workers = 2\nreload = { watch = false }\n[[listeners]]\nname = \"web\"\n\
    address = \"127.0.0.1:0\"\n[[routes]]\nrespond = \"1\"\n";

/// The next thing that is told, but for the watchdog.
fn told(socket: &UnixDatagram) -> String {
    loop {
        let text = any(socket);
        if text != "WATCHDOG=1" {
            return text;
        }
    }
}

fn any(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let n = socket.recv(&mut buffer).expect("weir tells something");
    String::from_utf8_lossy(&buffer[..n]).into_owned()
}

fn watched(socket: &UnixDatagram) {
    while any(socket) != "WATCHDOG=1" {}
}

/// The process that took over, killed at the end while it may be there.
pub(crate) struct Next(pub(crate) Pid, pub(crate) bool);

impl Drop for Next {
    fn drop(&mut self) {
        if self.1 {
            let _ = kill_process(self.0, Signal::KILL);
        }
    }
}

#[test]
fn systemd_is_told_what_happens() {
    let folder = weir::folder();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("it can be bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let config = weir::write_config(&folder, CONFIG);
    let mut command = weir::command(&["run", "--config"]);
    command.arg(&config).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "20000");
    let mut weir = Weir::start_command(folder, &mut command);
    assert_eq!(told(&socket), "READY=1\nSTATUS=generation 1 serves");
    (0..3).for_each(|_| watched(&socket));

    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec;
    for (text, state) in [
        (CONFIG.replace("\"1\"", "\"2\""), "generation 2 serves"),
        ("nonsense".to_owned(), "generation 2 serves; the last change of the configuration was refused"),
        (CONFIG.to_owned(), "generation 3 serves"),
    ] {
        fs::write(&config, text).expect("a temporary file can be written");
        weir.process().signal(Signal::HUP);
        let reloading = told(&socket);
        let since =
            reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.split_once('\n'));
        let since: i64 =
            since.and_then(|(micros, _)| micros.parse().ok()).unwrap_or_else(|| panic!("{reloading}"));
        assert!((now..now + 600).contains(&(since / 1_000_000)), "{reloading}");
        assert_eq!(told(&socket), format!("READY=1\nSTATUS={state}"));
    }

    // The process changes: first it is told which is the service, then by that one that it serves.
    weir.process().signal(Signal::USR2);
    assert_eq!(told(&socket), "STATUS=another binary is to take over");
    let main = told(&socket);
    let pid: i32 =
        main.strip_prefix("MAINPID=").and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("{main}"));
    let mut next = Next(Pid::from_raw(pid).expect("a process id"), true);
    assert_eq!(told(&socket), "READY=1\nSTATUS=generation 1 serves");
    assert_eq!(weir.process().end().code(), Some(0));
    watched(&socket);
    let answer = RawClient::connect(weir.address("web")).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status, 200);
    kill_process(next.0, Signal::TERM).expect("it runs");
    assert_eq!(told(&socket), "STOPPING=1\nSTATUS=stopping");
    // Its output ends with it.
    weir.process().wait();
    next.1 = false;
}

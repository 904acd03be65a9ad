//! Listeners that are not an address of the network: Unix sockets, and sockets that systemd passes in.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use weir_tests::{Process, RawClient, RawUpstream, Weir, process, tools, weir};

use crate::configuration;
use crate::supervised::Next;

/// The configuration with its listener at another address.
fn at(address: &str, upstream: &RawUpstream) -> String {
    configuration("", upstream.address()).replace("\"127.0.0.1:0\"", address)
}

/// curl through a Unix socket: what it printed, with the status.
fn curl(socket: &Path, arguments: &[&str]) -> String {
    let mut command = tools::program("curl");
    command.args(["--silent", "--show-error", "-w", " %{http_code}", "--unix-socket"]).arg(socket);
    let output = process::run("curl", command.args(arguments), b"");
    assert_eq!(output.code, Some(0), "curl {arguments:?}: {}{}", output.stdout, output.stderr);
    output.stdout
}

#[test]
fn unix_socket() {
    let upstream = RawUpstream::polite();
    let place = weir::folder();
    let socket = place.path().join("weir.sock");
    for (more, mode) in [("\nmode = \"0604\"", 0o604), ("", 0o660)] {
        let config = at(&format!("\"unix:{}\"{more}", socket.display()), &upstream);
        let mut weir = Weir::start(&config);
        let file = std::fs::metadata(&socket).expect("the socket's file");
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, mode, "whatever the umask is");
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let target = format!("/{mode:o}{version}");
            let got =
                curl(&socket, &[version, "-H", "X-Real-IP: 6.6.6.6", &format!("http://app.test{target}")]);
            assert_eq!(got, "ok 200");
            let head = upstream.head_of(&target);
            assert!(
                head.contains("\r\nhost: app.test\r\n") && head.contains("\r\nx-forwarded-proto: http\r\n"),
                "{head}"
            );
            assert!(
                !head.contains("6.6.6.6") && !head.contains("x-forwarded-for"),
                "it has no address: {head}"
            );
        }
        // A second one does not take the socket away from the first.
        let folder = weir::folder();
        let path = weir::write_config(&folder, &config);
        let second = weir::run(&["run", "--config", &path.to_string_lossy()]);
        assert_eq!(second.code, Some(1), "{}", second.stderr);
        assert!(second.stderr.contains(&*socket.to_string_lossy()), "{}", second.stderr);
        assert_eq!(curl(&socket, &["http://app.test/"]), "ok 200");

        assert_eq!(weir.terminate().code(), Some(0));
        assert!(!socket.exists(), "the file goes with it");
    }
}

/// What a weir that was killed leaves behind does not keep the next one from starting.
#[test]
fn unix_socket_that_was_left_behind() {
    let upstream = RawUpstream::polite();
    let place = weir::folder();
    let socket = place.path().join("weir.sock");
    let config = at(&format!("\"unix:{}\"", socket.display()), &upstream);
    let mut weir = Weir::start(&config);
    weir.process().kill();
    assert!(socket.exists());
    let _weir = Weir::start(&config);
    assert_eq!(curl(&socket, &["http://app.test/"]), "ok 200");
}

/// A listener `local` beside `web`, both passed in.
fn inherited(upstream: &RawUpstream) -> String {
    let config = at("\"systemd:web\"", upstream);
    config.replace("[[routes]]", "[[listeners]]\nname = \"local\"\naddress = \"systemd:local\"\n[[routes]]")
}

/// The sockets are there before weir is, and stay when it is gone: who connects meanwhile waits, and is served.
#[test]
fn sockets_passed_in_by_systemd() {
    let upstream = RawUpstream::polite();
    let folder = weir::folder();
    let path = weir::write_config(&folder, &inherited(&upstream));
    let socket = folder.path().join("local.sock");
    let mut command = tools::program("python3");
    command.arg(weir::root().join("tests/python/activate.py")).arg(&socket).arg(weir::binary());
    command.args(["run", "--config"]).arg(&path).env("NO_COLOR", "1").env_remove("RUST_LOG");
    let mut weir = Process::start("weir", command.stdin(Stdio::piped()));
    let port: u16 = weir.line("its port", |line| line.strip_prefix("bound ")?.parse().ok());
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));

    let mut early = RawClient::connect(address);
    early.send("GET /early HTTP/1.1\r\nHost: a\r\n\r\n");
    weir.close_stdin();
    assert_eq!(early.answer("GET").status, 200);
    let told = weir.line("where it listens", |line| line.strip_prefix("listening web").map(str::to_owned));
    assert!(told.contains(&address.to_string()), "{told}");
    for _ in 0..8 {
        assert_eq!(RawClient::connect(address).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
        assert_eq!(curl(&socket, &["http://app.test/"]), "ok 200");
    }
    drop(early);
    // They go on to the next process, which systemd has given nothing.
    weir.signal(Signal::USR2);
    let next = weir.line("the next process", |line| {
        line.contains("another process serves").then_some(())?;
        line.split("pid=").nth(1)?.split_whitespace().next()?.parse().ok()
    });
    let mut next = Next(Pid::from_raw(next).expect("a process id"), true);
    assert_eq!(weir.end().code(), Some(0));
    for _ in 0..4 {
        assert_eq!(RawClient::connect(address).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
        assert_eq!(curl(&socket, &["http://app.test/"]), "ok 200");
    }
    kill_process(next.0, Signal::TERM).expect("it runs");
    weir.wait();
    next.1 = false;
    assert!(socket.exists(), "the file is not weir's to remove");
}

#[test]
fn sockets_that_nobody_passed_in() {
    let upstream = RawUpstream::polite();
    let folder = weir::folder();
    let path = weir::write_config(&folder, &inherited(&upstream));
    let path = path.to_string_lossy().into_owned();
    // Variables that were meant for another process count for nothing.
    for variables in [&[][..], &[("LISTEN_PID", "1"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "web:local")]] {
        let mut command = weir::command(&["run", "--config", &path]);
        let output = process::run("weir", command.envs(variables.iter().copied()), b"");
        assert_eq!(output.code, Some(1), "{variables:?}: {}", output.stderr);
        assert!(output.stderr.contains("no socket was passed in"), "{variables:?}: {}", output.stderr);
        assert!(
            output.stderr.contains("weir.toml:") && output.stderr.contains("address"),
            "{}",
            output.stderr
        );
    }
}

//! The life of the process with the real binary: start, signals, logs, exit codes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Over it a test has failed; none waits so long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running weir and the lines of its stderr.
struct Weir {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    folder: TempDir,
}

impl Weir {
    /// Starts it with this configuration, in a folder of its own that `%DIR%` stands for.
    fn start(config: &str) -> Weir {
        let folder = tempfile::tempdir().expect("a folder");
        Weir::start_in(folder, config, &[])
    }

    fn start_in(folder: TempDir, config: &str, environment: &[(&str, &str)]) -> Weir {
        let path = folder.path().join("weir.toml");
        fs::write(&path, config.replace("%DIR%", &folder.path().to_string_lossy())).expect("a file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["run", "--config"])
            .arg(&path)
            .env_remove("RUST_LOG")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("weir starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let (send, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Weir { child, lines, seen: Vec::new(), folder }
    }

    /// Waits for a line of stderr with this in it.
    fn line(&mut self, with: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(with) {
                        return line;
                    }
                }
                Err(_) => panic!("{with:?} never came:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Where a listener is bound.
    fn address(&mut self, listener: &str) -> SocketAddr {
        let line = self.line(&format!("listening {listener} "));
        line.rsplit("//").next().and_then(|address| address.parse().ok()).expect("an address")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for its end; the exit code, and all of stderr.
    fn end(mut self) -> (i32, String) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(line);
        }
        assert!(Instant::now() < deadline, "it did not end:\n{}", self.seen.join("\n"));
        let status = self.child.wait().expect("it ended");
        (status.code().expect("an exit code"), self.seen.join("\n"))
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A layer 4 proxy before a server of the test's own.
fn relay_config(upstream: SocketAddr, more: &str) -> String {
    format!(
        "{more}\n[[listeners]]\nname = \"tcp\"\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
         [[tcp_routes]]\nlistener = \"tcp\"\nupstream = \"one\"\n[upstreams.one]\nendpoints = [\"{upstream}\"]\n"
    )
}

/// A connection through weir, both ends, over which a byte has passed.
fn connect(weir: &mut Weir, server: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(weir.address("tcp")).expect("it listens");
    client.write_all(b"x").expect("it reads");
    let (mut upstream, _) = server.accept().expect("it connects");
    upstream.read_exact(&mut [0]).expect("the byte");
    for end in [&client, &upstream] {
        end.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    }
    (client, upstream)
}

fn server() -> (TcpListener, SocketAddr) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    (server, address)
}

/// Waits until a file holds a record.
fn wait_for_record(path: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while fs::read_to_string(path).unwrap_or_default().lines().count() == 0 {
        assert!(Instant::now() < deadline, "no record in {}", path.display());
        thread::yield_now();
    }
}

#[test]
fn idle_it_stops_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let (_server, upstream) = server();
        let mut weir = Weir::start(&relay_config(upstream, ""));
        weir.line("ready");
        weir.signal(signal);
        let (code, log) = weir.end();
        assert_eq!(code, 0, "{log}");
        assert!(log.contains("nothing was cut"), "{log}");
    }
}

#[test]
fn what_ends_in_the_drain_time_is_not_cut() {
    let (server, upstream) = server();
    let mut weir = Weir::start(&relay_config(upstream, "drain = \"1m\""));
    let (mut client, mut upstream) = connect(&mut weir, &server);
    weir.signal(Signal::TERM);
    weir.line("stopping");
    upstream.write_all(b"last words").expect("still relayed");
    drop(upstream);
    let mut received = String::new();
    client.read_to_string(&mut received).expect("all of it");
    assert_eq!(received, "last words");
    drop(client);
    let (code, log) = weir.end();
    assert_eq!(code, 0, "{log}");
}

#[test]
fn what_is_cut_at_the_end_of_the_drain_time_makes_it_3() {
    let (server, upstream) = server();
    let mut weir = Weir::start(&relay_config(upstream, "drain = \"10ms\""));
    let _held = connect(&mut weir, &server);
    weir.signal(Signal::TERM);
    let (code, log) = weir.end();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("were cut"), "{log}");
}

#[test]
fn a_second_signal_stops_at_once() {
    let (server, upstream) = server();
    let mut weir = Weir::start(&relay_config(upstream, "drain = \"1h\""));
    let _held = connect(&mut weir, &server);
    weir.signal(Signal::TERM);
    weir.line("stopping");
    weir.signal(Signal::INT);
    let (code, log) = weir.end();
    assert_eq!(code, 3, "{log}");
}

#[test]
fn a_port_that_is_taken_is_named_with_its_key() {
    let (_server, taken) = server();
    let config =
        format!("[[listeners]]\nname = \"web\"\naddress = \"{taken}\"\n[[routes]]\nrespond = \"hello\"\n");
    let (code, log) = Weir::start(&config).end();
    assert_eq!(code, 1, "{log}");
    for part in
        [format!("cannot listen on {taken} (listener web)"), "weir.toml:3".into(), "address` sets it".into()]
    {
        assert!(log.contains(&part), "{part:?} is not in: {log}");
    }
}

#[test]
fn what_is_wrong_in_the_configuration_makes_it_2() {
    let (code, log) = Weir::start("[[listners]]\n").end();
    assert_eq!(code, 2, "{log}");
    let (code, log) = Weir::start("[access_log]\nformat = \"{stauts}\"\n").end();
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("did you mean `status`?"), "{log}");
    let (_server, upstream) = server();
    let folder = tempfile::tempdir().expect("a folder");
    let (code, log) = Weir::start_in(folder, &relay_config(upstream, ""), &[("RUST_LOG", "weir=lout")]).end();
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("RUST_LOG `weir=lout`"), "{log}");
}

#[test]
fn a_log_that_cannot_be_opened_makes_it_1() {
    let (_server, upstream) = server();
    let config = relay_config(upstream, "access_log = { path = \"%DIR%/nowhere/access.log\" }");
    let (code, log) = Weir::start(&config).end();
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("nowhere/access.log"), "{log}");
}

#[test]
fn logs_are_opened_anew_on_sigusr1() {
    let (server, upstream) = server();
    let mut weir = Weir::start(&relay_config(upstream, "access_log = { path = \"%DIR%/access.log\" }"));
    let path = weir.folder.path().join("access.log");
    let (client, end) = connect(&mut weir, &server);
    drop((client, end));
    wait_for_record(&path);
    fs::rename(&path, path.with_extension("1")).expect("rename");
    weir.signal(Signal::USR1);
    weir.line("SIGUSR1");
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "never opened anew");
        thread::yield_now();
    }
    weir.signal(Signal::TERM);
    let (code, log) = weir.end();
    assert_eq!(code, 0, "{log}");
}

#[test]
fn a_full_disk_is_told_and_stops_nothing() {
    let (server, upstream) = server();
    let mut weir = Weir::start(&relay_config(upstream, "access_log = { path = \"/dev/full\" }"));
    let (client, end) = connect(&mut weir, &server);
    drop((client, end));
    let line = weir.line("access log: cannot be written");
    assert!(line.contains("records=1") && line.contains("No space left"), "{line}");
    weir.signal(Signal::TERM);
    let (code, log) = weir.end();
    assert_eq!(code, 0, "{log}");
}

/// What weir answers.
fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}

/// A listener `web` that answers every request with this text.
fn answering(text: &str, more: &str) -> String {
    format!(
        "{more}\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n[[routes]]\nrespond = \"{text}\"\n"
    )
}

#[test]
fn a_configuration_that_changed_serves_after_sighup() {
    let mut weir = Weir::start(&answering("one", ""));
    let address = weir.address("web");
    let path = weir.folder.path().join("weir.toml");
    assert_eq!(get(address), "one");
    for (generation, text) in [(2, "two"), (3, "three")] {
        fs::write(&path, answering(text, "drain = \"1m\"")).expect("a file");
        weir.signal(Signal::HUP);
        let line = weir.line("a new configuration serves");
        assert!(line.contains(&format!("generation={generation}")), "{line}");
        assert_eq!(get(address), text);
    }
    weir.signal(Signal::TERM);
    let line = weir.line("stopping");
    assert!(line.contains("drain=60s"), "the drain time is that of the last configuration: {line}");
    let (code, log) = weir.end();
    assert_eq!(code, 0, "{log}");
}

#[test]
fn what_is_wrong_with_a_changed_configuration_is_told_and_changes_nothing() {
    let mut weir = Weir::start(&answering("one", ""));
    let address = weir.address("web");
    let path = weir.folder.path().join("weir.toml");
    let taking = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taking.local_addr().expect("an address");
    let moved = answering("two", "").replace("127.0.0.1:0", &taken.to_string());
    let another = format!("{}[[listeners]]\nname = \"more\"\naddress = \"{taken}\"\n", answering("two", ""));
    for (config, told) in [
        (answering("two", "wrkers = 1"), "weir.toml:1:1: unknown key `wrkers`"),
        ("[[listeners".to_owned(), "weir.toml:1:"),
        (answering("two", "workers = 7"), "`workers` has changed; start weir again"),
        (answering("two", "kv = { size = \"32MiB\" }"), "`kv.size` has changed; start weir again"),
        (answering("two", "log = { level = \"debug\" }"), "`log` has changed; start weir again"),
        (answering("two", "access_log = { path = \"off\" }"), "`access_log` has changed; start weir again"),
        (moved, "(listener web): Address already in use"),
        (another, "(listener more): Address already in use"),
    ] {
        fs::write(&path, config).expect("a file");
        weir.signal(Signal::HUP);
        weir.line(told);
        weir.line("what served before goes on");
        assert_eq!(get(address), "one", "{told}");
    }
    fs::remove_file(&path).expect("it was there");
    weir.signal(Signal::HUP);
    weir.line("cannot read");
    weir.line("what served before goes on");
    fs::write(&path, answering("two", "")).expect("a file");
    weir.signal(Signal::HUP);
    weir.line("a new configuration serves");
    assert_eq!(get(address), "two");
}

#[test]
fn a_relay_goes_on_over_a_change_of_the_configuration() {
    let ((one, address), (two, other)) = (server(), server());
    let mut weir = Weir::start(&relay_config(address, ""));
    let (mut client, mut upstream) = connect(&mut weir, &one);
    let path = weir.folder.path().join("weir.toml");
    fs::write(&path, relay_config(other, "")).expect("a file");
    weir.signal(Signal::HUP);
    weir.line("a new configuration serves");
    upstream.write_all(b"still here").expect("still relayed");
    let mut received = [0; 10];
    client.read_exact(&mut received).expect("all of it");
    assert_eq!(&received, b"still here");
    // A connection that comes now goes where the new configuration says.
    let local = client.peer_addr().expect("an address");
    let mut fresh = TcpStream::connect(local).expect("it listens");
    fresh.write_all(b"x").expect("it reads");
    two.accept().expect("it connects to the other server");
}

#[test]
fn a_certificate_that_is_about_to_expire_is_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).expect("a name");
    params.not_after = (std::time::SystemTime::now() + Duration::from_secs(5 * 24 * 3600 + 3600)).into();
    fs::write(folder.path().join("a.pem"), params.self_signed(&key).expect("a certificate").pem())
        .expect("a file");
    fs::write(folder.path().join("a.key"), key.serialize_pem()).expect("a file");
    let config = "[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
                  tls = { cert = \"a.pem\", key = \"a.key\" }\n[[routes]]\nrespond = \"ok\"\n";
    let mut weir = Weir::start_in(folder, config, &[]);
    let line = weir.line("expires on");
    assert!(line.contains("WARN") && line.contains("a.pem (a.test)") && line.contains("in 5 days"), "{line}");
    fs::write(weir.folder.path().join("weir.toml"), config.replace("ok", "other")).expect("a file");
    weir.signal(Signal::HUP);
    weir.line("a new configuration serves");
    weir.signal(Signal::TERM);
    let (code, said) = weir.end();
    assert_eq!((code, said.matches("expires on").count()), (0, 1), "{said}");
}

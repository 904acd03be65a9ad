//! Child processes: their lines as they come, signals, exit codes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;

/// A child process. Dropping it kills it; if the test is failing then, everything it printed is shown.
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Lines>,
    readers: Vec<JoinHandle<()>>,
}

/// Every line of a child so far, stdout and stderr in the order in which they were read.
#[derive(Default)]
struct Lines {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    open: usize,
}

impl Process {
    /// Starts a command with its output captured; `name` is for failures.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e} ({command:?})"));
        let lines = Arc::new(Lines::default());
        lines.lock().open = 2;
        let stdout = child.stdout.take().expect("stdout was asked for");
        let stderr = child.stderr.take().expect("stderr was asked for");
        let readers = vec![follow(stdout, lines.clone()), follow(stderr, lines.clone())];
        Process { name: name.to_owned(), child, lines, readers }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `pick` finds something in a line, those already printed first, and returns it.
    pub fn line<T>(&self, what: &str, pick: impl FnMut(&str) -> Option<T>) -> T {
        self.line_from(&mut 0, what, pick)
    }

    /// The same from line number `from` on, which is moved behind the line found.
    pub fn line_from<T>(&self, from: &mut usize, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lines.lock();
        loop {
            while let Some(line) = state.lines.get(*from) {
                *from += 1;
                if let Some(found) = pick(line) {
                    return found;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.open == 0 {
                let end = if left.is_zero() { "in time" } else { "before it ended" };
                let text = state.lines.join("\n");
                drop(state);
                panic!("{} did not print {what} {end}; it printed:\n{text}", self.name);
            }
            state = self.lines.wait(state, left);
        }
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().lines.clone()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
        kill_process(pid, signal).unwrap_or_else(|e| panic!("cannot signal {}: {e}", self.name));
    }

    /// Waits for the end of the process and of its output.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lines.lock();
        while state.open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = state.lines.join("\n");
                drop(state);
                panic!("{} did not end; it printed:\n{text}", self.name);
            }
            state = self.lines.wait(state, left);
        }
        drop(state);
        self.child.wait().expect("a child can be waited for")
    }

    /// Waits for the end of the process alone: others may still write where it did.
    pub fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "{} did not end:\n{}", self.name, self.lines().join("\n"));
            std::thread::yield_now();
        }
    }

    /// Closes its standard input, if it has one.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Kills it at once (SIGKILL) and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
        }
        if std::thread::panicking() {
            for reader in self.readers.drain(..) {
                let _ = reader.join();
            }
            eprintln!("---- {} ----\n{}\n----", self.name, self.lines.lock().lines.join("\n"));
        }
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, left: std::time::Duration) -> MutexGuard<'a, State> {
        self.grown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }
}

fn follow(pipe: impl Read + Send + 'static, lines: Arc<Lines>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(pipe.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            lines.lock().lines.push(text);
            lines.grown.notify_all();
            line.clear();
        }
        lines.lock().open -= 1;
        lines.grown.notify_all();
    })
}

/// The output of a command that ends by itself.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
}

/// Runs a command to its end, feeding it `input`. If it takes very long it is killed, and has no exit code.
pub fn run(name: &str, command: &mut Command, input: &[u8]) -> Output {
    run_for(name, command, input, 4 * PATIENCE)
}

/// The same with another idea of very long.
pub fn run_for(name: &str, command: &mut Command, input: &[u8], patience: Duration) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{name} does not start: {e} ({command:?})"));
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        let _ = std::io::Write::write_all(&mut stdin, &input);
    });
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if ended.recv_timeout(patience) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().expect("a child can be waited for");
    drop(done);
    let _ = watchdog.join();
    let _ = feeder.join();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

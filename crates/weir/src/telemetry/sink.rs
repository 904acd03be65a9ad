//! Lines on their way to a file: a bounded buffer in front of a thread that writes in batches.
//!
//! [`Sink::push`] copies a line into a buffer of its thread's own shard and returns; it takes no lock that
//! another worker holds and makes no system call, except for one wake-up after the writer has gone to sleep.
//! Lines of one thread keep their order; those of different threads may change places within some milliseconds.

use std::cell::Cell;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::output::Destination;

/// How long the writer waits for more lines after it has written some.
const LINGER: Duration = Duration::from_millis(10);
/// How often the file is looked at and losses are reported.
const TICK: Duration = Duration::from_secs(1);
/// Buffers that grew over this give their memory back.
const KEEP: usize = 256 << 10;

/// Where lines are handed in. Clones share one buffer and one writer.
#[derive(Clone)]
pub struct Sink {
    shared: Arc<Shared>,
}

/// What was lost since the last report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Lines that found no room in the buffer.
    pub dropped: u64,
    /// Lines that could not be written.
    pub unwritten: u64,
    /// Why the last write or the opening of the file failed.
    pub error: Option<String>,
}

/// Told of losses, once a second while there are any and at the end. Called on the writer's thread.
pub type Report = Box<dyn FnMut(&Losses) + Send>;

struct Shared {
    shards: Box<[Shard]>,
    /// Bytes handed in and not yet written.
    pending: AtomicUsize,
    capacity: usize,
    dropped: AtomicU64,
    asleep: AtomicBool,
    reopen: AtomicBool,
    closing: AtomicBool,
    writer: OnceLock<Thread>,
    done: Mutex<bool>,
    finished: Condvar,
}

/// On a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Vec<u8>>);

impl Sink {
    /// Starts the writer. At most `capacity` bytes wait for it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        name: &str,
        destination: Box<dyn Destination>,
        capacity: usize,
        report: Report,
    ) -> io::Result<Sink> {
        let shards = thread::available_parallelism().map_or(1, usize::from).next_power_of_two();
        let shared = Arc::new(Shared {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            pending: AtomicUsize::new(0),
            capacity,
            dropped: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            writer: OnceLock::new(),
            done: Mutex::new(false),
            finished: Condvar::new(),
        });
        let writer = Writer {
            shared: shared.clone(),
            destination,
            report,
            batch: Vec::new(),
            torn: false,
            losses: Losses::default(),
            ticked: Instant::now(),
        };
        let handle = thread::Builder::new().name(name.to_owned()).spawn(move || writer.run())?;
        // Set once, here: the writer itself never reads it.
        let _ = shared.writer.set(handle.thread().clone());
        Ok(Sink { shared })
    }

    /// Hands in a line, its line feed included. False: there was no room, and it was counted as dropped.
    pub fn push(&self, line: &[u8]) -> bool {
        let shared = &*self.shared;
        let before = shared.pending.fetch_add(line.len(), Ordering::SeqCst);
        let after = before + line.len();
        if after > shared.capacity {
            shared.pending.fetch_sub(line.len(), Ordering::SeqCst);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        lock(&shared.shards[shard_index() & (shared.shards.len() - 1)].0).extend_from_slice(line);
        let half = shared.capacity / 2;
        let filling = before < half && after >= half;
        if filling || (shared.asleep.load(Ordering::SeqCst) && shared.asleep.swap(false, Ordering::SeqCst)) {
            shared.wake();
        }
        true
    }

    /// Has the file opened anew before the next line is written.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::SeqCst);
        self.shared.wake();
    }

    /// Writes what was handed in so far, reports losses and ends the writer. False: it did not manage in time.
    /// Lines handed in later go nowhere.
    pub fn close(&self, within: Duration) -> bool {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.wake();
        let done = lock(&self.shared.done);
        match self.shared.finished.wait_timeout_while(done, within, |done| !*done) {
            Ok((done, _)) => *done,
            Err(poisoned) => *poisoned.into_inner().0,
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("capacity", &self.shared.capacity).finish_non_exhaustive()
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

/// The writer's side.
struct Writer {
    shared: Arc<Shared>,
    destination: Box<dyn Destination>,
    report: Report,
    batch: Vec<u8>,
    /// The last write ended inside a line.
    torn: bool,
    losses: Losses,
    ticked: Instant,
}

impl Writer {
    fn run(mut self) {
        loop {
            // Read before the buffers are: what was handed in before `close` is written.
            let closing = self.shared.closing.load(Ordering::SeqCst);
            if self.shared.reopen.swap(false, Ordering::SeqCst) {
                self.refresh(true);
            }
            let wrote = self.write_all_shards();
            if closing || self.ticked.elapsed() >= TICK {
                self.ticked = Instant::now();
                self.refresh(false);
                self.tell();
            }
            if closing {
                break;
            }
            if wrote {
                thread::park_timeout(LINGER);
                continue;
            }
            self.shared.asleep.store(true, Ordering::SeqCst);
            if self.shared.pending.load(Ordering::SeqCst) == 0 {
                thread::park_timeout(TICK);
            }
            self.shared.asleep.store(false, Ordering::SeqCst);
        }
        *lock(&self.shared.done) = true;
        self.shared.finished.notify_all();
    }

    /// True if there was anything to write.
    fn write_all_shards(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.shared.shards.len() {
            self.batch.clear();
            std::mem::swap(&mut self.batch, &mut *lock(&self.shared.shards[index].0));
            if self.batch.is_empty() {
                continue;
            }
            any = true;
            self.write_batch();
            self.shared.pending.fetch_sub(self.batch.len(), Ordering::SeqCst);
            if self.batch.capacity() > KEEP {
                self.batch.clear();
                self.batch.shrink_to(KEEP);
            }
        }
        any
    }

    /// Writes the batch. What cannot be written is counted and given up: the disk may be full for hours.
    fn write_batch(&mut self) {
        let mut rest = &self.batch[..];
        if self.torn {
            match self.destination.write(b"\n") {
                Ok(1) => self.torn = false,
                result => {
                    self.losses.unwritten += lines(rest);
                    self.losses.error = Some(describe(result));
                    return;
                }
            }
        }
        while !rest.is_empty() {
            match self.destination.write(rest) {
                Ok(n) if n > 0 => {
                    self.torn = rest[n - 1] != b'\n';
                    rest = &rest[n..];
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Somebody made the pipe or terminal non-blocking: as good as a slow reader.
                Err(e)
                    if e.kind() == ErrorKind::WouldBlock && !self.shared.closing.load(Ordering::SeqCst) =>
                {
                    thread::park_timeout(LINGER);
                }
                result => {
                    self.losses.unwritten += lines(rest);
                    self.losses.error = Some(describe(result));
                    return;
                }
            }
        }
    }

    fn refresh(&mut self, force: bool) {
        if let Err(e) = self.destination.refresh(force) {
            self.losses.error = Some(e.to_string());
        }
    }

    fn tell(&mut self) {
        self.losses.dropped += self.shared.dropped.swap(0, Ordering::Relaxed);
        if self.losses != Losses::default() {
            (self.report)(&self.losses);
            self.losses = Losses::default();
        }
    }
}

fn describe(result: io::Result<usize>) -> String {
    match result {
        Ok(_) => "nothing could be written".to_owned(),
        Err(e) => e.to_string(),
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

/// The shards hold plain bytes: a thread that panicked while it held one left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number of this thread's own, counted from 0.
fn shard_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static INDEX: Cell<usize> = const { Cell::new(usize::MAX) });
    INDEX.with(|index| {
        if index.get() == usize::MAX {
            index.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        index.get()
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// Collects what is written; with a gate each write first waits for a permit.
    struct Fake {
        written: Arc<Mutex<Vec<u8>>>,
        gate: Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>,
        /// Bytes of room; then the disk is full.
        room: Arc<AtomicUsize>,
    }

    impl Write for Fake {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            if let Some((arrived, permit)) = &self.gate {
                let _ = arrived.send(());
                let _ = permit.recv();
            }
            let n = buf.len().min(self.room.load(Ordering::SeqCst));
            if n == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room.fetch_sub(n, Ordering::SeqCst);
            lock(&self.written).extend_from_slice(&buf[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Destination for Fake {
        fn refresh(&mut self, _force: bool) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        sink: Sink,
        written: Arc<Mutex<Vec<u8>>>,
        room: Arc<AtomicUsize>,
        losses: mpsc::Receiver<Losses>,
    }

    fn bench(capacity: usize, room: usize, gate: Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>) -> Bench {
        let written = Arc::new(Mutex::new(Vec::new()));
        let room = Arc::new(AtomicUsize::new(room));
        let (tell, losses) = mpsc::channel();
        let fake = Fake { written: written.clone(), gate, room: room.clone() };
        let report = Box::new(move |l: &Losses| {
            let _ = tell.send(l.clone());
        });
        let sink = Sink::start("test-log", Box::new(fake), capacity, report).expect("a thread");
        Bench { sink, written, room, losses }
    }

    #[test]
    fn what_was_pushed_is_written_by_close() {
        let b = bench(1 << 20, usize::MAX, None);
        let threads: Vec<_> = (0..4)
            .map(|t| {
                let sink = b.sink.clone();
                thread::spawn(move || {
                    (0..500).for_each(|i| assert!(sink.push(format!("{t} {i}\n").as_bytes())))
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().expect("pushes"));
        assert!(b.sink.close(LONG));
        let text = String::from_utf8(lock(&b.written).clone()).expect("text");
        for t in 0..4 {
            let prefix = format!("{t} ");
            let of_thread: Vec<usize> =
                text.lines().filter_map(|l| l.strip_prefix(&prefix)?.parse().ok()).collect();
            assert_eq!(of_thread, (0..500).collect::<Vec<_>>(), "lines of one thread keep their order");
        }
        assert!(b.losses.try_recv().is_err(), "nothing was lost");
    }

    #[test]
    fn lines_over_the_bound_are_dropped_and_counted() {
        let (arrived_tx, arrived) = mpsc::channel();
        let (permit, permit_rx) = mpsc::channel();
        let b = bench(100, usize::MAX, Some((arrived_tx, permit_rx)));
        // In one piece: the writer may take what is there at any time.
        let mut line = [b'a'; 40];
        line[39] = b'\n';
        assert!(b.sink.push(&line));
        arrived.recv_timeout(LONG).expect("the writer holds the first lines");
        // What the writer holds still counts: at most 60 bytes more.
        let taken = (0..10).filter(|_| b.sink.push(b"123456789012345678\n\n")).count();
        assert_eq!(taken, 3);
        drop(permit);
        assert!(b.sink.close(LONG));
        assert_eq!(lock(&b.written).len(), 100);
        assert_eq!(b.losses.recv_timeout(LONG).expect("a report").dropped, 7);
    }

    #[test]
    fn a_stalled_reader_does_not_hold_up_close() {
        let (arrived_tx, arrived) = mpsc::channel();
        let (permit, permit_rx) = mpsc::channel();
        let b = bench(100, usize::MAX, Some((arrived_tx, permit_rx)));
        b.sink.push(b"line\n");
        arrived.recv_timeout(LONG).expect("the writer is in its write");
        assert!(!b.sink.close(Duration::from_millis(1)));
        drop(permit);
        assert!(b.sink.close(LONG));
    }

    #[test]
    fn a_full_disk_is_reported_and_the_torn_line_is_ended() {
        let b = bench(1 << 20, 7, None);
        b.sink.push(b"first\nsecond\nthird\n");
        let losses = b.losses.recv_timeout(LONG).expect("a report");
        assert_eq!((losses.dropped, losses.unwritten), (0, 2));
        assert!(losses.error.is_some_and(|e| !e.is_empty()));
        b.room.store(usize::MAX, Ordering::SeqCst);
        b.sink.push(b"fourth\n");
        assert!(b.sink.close(LONG));
        assert_eq!(String::from_utf8_lossy(&lock(&b.written)), "first\ns\nfourth\n");
    }
}

//! Watching what a configuration was read from. Folders are watched, not files: editors and deployments put another
//! file in the place of one, or point a link elsewhere. So the folder of each file is watched, and that of each link
//! on the way to it.

mod places;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::config::inputs::Inputs;
use places::Places;

/// A change is taken once nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(100);
/// A change is taken after so long, quiet or not.
const LONGEST: Duration = Duration::from_secs(1);
/// The same while somebody has a file open that is being written: half of it must not be taken for the whole.
const WRITING: Duration = Duration::from_secs(5);

/// Tells when something that was read has changed.
pub struct Watcher {
    /// None where the system cannot watch.
    watcher: Option<RecommendedWatcher>,
    heard: Arc<Heard>,
    /// What is watched.
    folders: BTreeSet<PathBuf>,
    inputs: Vec<Inputs>,
    /// Since these inputs were looked at: what changed meanwhile may not have been heard.
    renewed: bool,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The first of it.
    pub path: PathBuf,
    /// Whether there is more.
    pub more: bool,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.more { " and more" } else { "" };
        write!(f, "{}{more} changed", self.path.display())
    }
}

/// Between the thread that hears of changes and whoever waits for them.
#[derive(Default)]
struct Heard {
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Default)]
struct State {
    /// What matters.
    places: Places,
    seen: Option<Seen>,
}

/// Changes that nobody was told of yet.
struct Seen {
    changed: Changed,
    first: Instant,
    last: Instant,
    /// Files that somebody is writing to.
    written: BTreeSet<PathBuf>,
}

impl Watcher {
    /// Watches nothing yet. Where the system cannot watch the log says so, and SIGHUP and `weir reload` remain.
    pub fn new() -> Self {
        let heard: Arc<Heard> = Arc::default();
        let hears = heard.clone();
        let watcher = notify::recommended_watcher(move |event| hears.event(event));
        let watcher = watcher.inspect_err(|error| tracing::warn!(%error, "cannot watch for changes")).ok();
        Watcher { watcher, heard, folders: BTreeSet::new(), inputs: Vec::new(), renewed: false }
    }

    /// Watches these instead. The last is what was read last: what has changed in it since then is told, too.
    pub fn follow(&mut self, inputs: Vec<Inputs>) {
        if inputs == self.inputs && !std::mem::take(&mut self.renewed) {
            return;
        }
        let places = Places::of(&inputs);
        let folders = places.folders();
        for gone in self.folders.difference(&folders) {
            if let Some(watcher) = &mut self.watcher {
                // It may be gone from the disk.
                let _ = watcher.unwatch(gone);
            }
        }
        self.heard.lock().places = places;
        let new: Vec<PathBuf> = folders.difference(&self.folders).cloned().collect();
        for folder in &new {
            self.watch(folder);
        }
        if self.watcher.is_some()
            && let Some(stale) = inputs.last().and_then(Inputs::stale)
        {
            self.heard.changed(stale.to_path_buf());
        }
        (self.folders, self.inputs, self.renewed) = (folders, inputs, false);
    }

    /// Watches anew: after a change a folder may be another under the same name, and a link may lead elsewhere. To be
    /// done before the files are read, so that no later change is missed.
    pub fn renew(&mut self) {
        let places = Places::of(&self.inputs);
        let folders = places.folders();
        if let Some(watcher) = &mut self.watcher {
            for folder in &self.folders {
                let _ = watcher.unwatch(folder);
            }
        }
        self.heard.lock().places = places;
        for folder in &folders {
            self.watch(folder);
        }
        (self.folders, self.renewed) = (folders, true);
    }

    fn watch(&mut self, folder: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::warn!(folder = %folder.display(), %error, "cannot watch for changes");
        }
    }

    /// Waits for a change, and until it is quiet again. Cancel safe.
    pub async fn changed(&mut self) -> Changed {
        loop {
            let until = {
                let mut state = self.heard.lock();
                match state.seen.take_if(|seen| seen.due() <= Instant::now()) {
                    Some(seen) => return seen.changed,
                    None => state.seen.as_ref().map(Seen::due),
                }
            };
            match until {
                // It may be sooner: when a file is closed.
                Some(until) => {
                    let _ = tokio::time::timeout_at(until.into(), self.heard.woken.notified()).await;
                }
                None => self.heard.woken.notified().await,
            }
        }
    }
}

impl Default for Watcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the system tells, in a thread of its own.
    fn event(&self, event: notify::Result<Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => return tracing::warn!(%error, "watching for changes"),
        };
        // What weir itself reads is told, too.
        let written = AccessKind::Close(AccessMode::Write);
        if matches!(event.kind, EventKind::Access(kind) if kind != written) {
            return;
        }
        let lost = event.need_rescan();
        let first = {
            let state = self.lock();
            let mut matter = event.paths.iter().filter_map(|path| state.places.find(path, &event.kind));
            // Where the system had too much to tell, anything may have changed.
            matter.next().or_else(|| if lost { state.places.any() } else { None })
        };
        if let Some(path) = first {
            self.changed(path);
            self.follow_writers(&event);
        }
    }

    /// Keeps in mind who has not closed yet what is being written.
    fn follow_writers(&self, event: &Event) {
        let mut state = self.lock();
        let Some(seen) = &mut state.seen else { return };
        for path in &event.paths {
            if begins_to_write(&event.kind, path) {
                seen.written.insert(path.clone());
            } else if !matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_))) {
                seen.written.remove(path);
            }
        }
        drop(state);
        self.woken.notify_one();
    }

    fn changed(&self, path: PathBuf) {
        let now = Instant::now();
        let mut state = self.lock();
        match &mut state.seen {
            Some(seen) => {
                seen.last = now;
                seen.changed.more |= seen.changed.path != path;
            }
            None => {
                state.seen = Some(Seen {
                    changed: Changed { path, more: false },
                    first: now,
                    last: now,
                    written: BTreeSet::new(),
                });
            }
        }
        drop(state);
        self.woken.notify_one();
    }
}

/// Whether somebody has a file open to write to it, whose closing will be told, too. Links are whole at once.
fn begins_to_write(kind: &EventKind, path: &Path) -> bool {
    let tells_of_closing = cfg!(target_os = "linux");
    let is_file = || fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.nlink() == 1);
    match kind {
        EventKind::Modify(ModifyKind::Data(_)) => tells_of_closing,
        EventKind::Create(_) => tells_of_closing && is_file(),
        _ => false,
    }
}

impl Seen {
    /// When it is told.
    fn due(&self) -> Instant {
        match self.written.is_empty() {
            true => (self.last + QUIET).min(self.first + LONGEST),
            false => self.first + WRITING,
        }
    }
}

#[cfg(test)]
mod tests;

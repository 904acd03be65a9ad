//! Watching the files of plugins and of their tests. Folders are watched, not files: editors and deployments put another file in the
//! place of one, or point a link elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use crate::run::Plan;

/// A change is taken once nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(100);
/// A change is taken after so long, quiet or not.
const LONGEST: Duration = Duration::from_secs(1);

/// Tells when a file of a plugin has changed.
pub struct Watcher {
    /// None where the system cannot watch.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeMap<PathBuf, RecursiveMode>,
    changes: UnboundedReceiver<PathBuf>,
    /// What has changed, and when the first of it did, until it is told.
    pending: Option<(PathBuf, Instant)>,
}

impl Watcher {
    /// Watches the files of a plan's plugins. Where that is not possible the log says so, and SIGHUP remains.
    pub fn new(plan: &Plan) -> Self {
        Self::over(&paths(plan))
    }

    /// Watches these files and folders.
    pub fn over(paths: &[PathBuf]) -> Self {
        let (tell, changes) = unbounded_channel();
        let watcher = notify::recommended_watcher(move |event| heard(event, &tell));
        let watcher =
            watcher.inspect_err(|error| tracing::warn!(%error, "cannot watch the files of plugins")).ok();
        let mut watcher = Watcher { watcher, folders: BTreeMap::new(), changes, pending: None };
        watcher.look_at(paths);
        watcher
    }

    /// Watches the files of this plan's plugins instead.
    pub fn follow(&mut self, plan: &Plan) {
        self.look_at(&paths(plan));
    }

    /// Watches these files and folders instead.
    pub fn look_at(&mut self, paths: &[PathBuf]) {
        let mut wanted = BTreeMap::new();
        for path in paths {
            if path.is_dir() {
                wanted.insert(path.clone(), RecursiveMode::Recursive);
            }
            let parent =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            wanted.entry(parent.to_path_buf()).or_insert(RecursiveMode::NonRecursive);
        }
        if wanted != self.folders {
            self.watch(wanted);
        }
    }

    /// Watches anew: after a change a folder may be another under the same name. To be done before the files are read,
    /// so that no later change is missed.
    pub fn renew(&mut self) {
        let folders = self.folders.clone();
        self.watch(folders);
    }

    fn watch(&mut self, wanted: BTreeMap<PathBuf, RecursiveMode>) {
        let Some(watcher) = &mut self.watcher else { return };
        for folder in self.folders.keys() {
            // It may be gone from the disk.
            let _ = watcher.unwatch(folder);
        }
        for (folder, mode) in &wanted {
            if let Err(error) = watcher.watch(folder, *mode) {
                tracing::warn!(folder = %folder.display(), %error, "cannot watch for changes of plugins");
            }
        }
        self.folders = wanted;
    }

    /// Waits for a change, and until the files are quiet again. What has changed first. Cancel safe.
    pub async fn changed(&mut self) -> PathBuf {
        loop {
            let Some((path, first)) = &self.pending else {
                match self.changes.recv().await {
                    Some(path) => self.pending = Some((path, Instant::now())),
                    None => std::future::pending().await,
                }
                continue;
            };
            let until = (Instant::now() + QUIET).min(*first + LONGEST);
            let path = path.clone();
            match timeout_at(until, self.changes.recv()).await {
                Ok(Some(_)) if Instant::now() < until => {}
                _ => {
                    self.pending = None;
                    return path;
                }
            }
        }
    }
}

/// Where the plugins of a plan are.
fn paths(plan: &Plan) -> Vec<PathBuf> {
    plan.plugins.iter().map(|plugin| plugin.what.path.clone()).collect()
}

fn heard(event: notify::Result<Event>, tell: &UnboundedSender<PathBuf>) {
    match event {
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
        Ok(event) => {
            // Links of deployments have no extension; temporary files of editors have others.
            let is_link =
                |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
            let matters = |path: &&PathBuf| {
                is_link(path) || path.extension().is_none_or(|extension| extension == "lua")
            };
            for path in event.paths.iter().filter(matters) {
                // Nobody listens any more at the end.
                let _ = tell.send(path.clone());
            }
        }
        Err(error) => tracing::warn!(%error, "watching the files of plugins"),
    }
}

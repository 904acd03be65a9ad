//! Memory of a proxy: of all its processes, old ones that are kept for their connections included.

use std::collections::BTreeMap;
use std::fs;

/// Memory of a process and of all that came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// How many processes there are.
    pub(crate) processes: usize,
    /// KiB, with what processes share divided among them.
    pub(crate) pss: u64,
    /// KiB, with what processes share counted for each.
    pub(crate) rss: u64,
}

impl Memory {
    /// Of a process and of all that came of it, now.
    pub(crate) fn of(root: u32) -> Self {
        let mut sum = Memory::default();
        for process in tree(root) {
            let Ok(rollup) = fs::read_to_string(format!("/proc/{process}/smaps_rollup")) else { continue };
            sum.processes += 1;
            sum.pss += field(&rollup, "Pss").unwrap_or(0);
            sum.rss += field(&rollup, "Rss").unwrap_or(0);
        }
        sum
    }
}

/// How many processes there are: a process and all that came of it.
pub(crate) fn processes(root: u32) -> usize {
    tree(root).len()
}

/// A process and all that came of it.
fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children.remove(process).unwrap_or_default());
        next += 1;
    }
    found
}

/// The parent in `/proc/PID/stat`, unless the process has ended. The name before it may hold anything.
fn parent(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| state != "Z")
}

/// A field of `/proc/PID/smaps_rollup`, in KiB.
fn field(rollup: &str, name: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_linux_tells_is_read() {
        assert_eq!(parent("12 (a) b) S 7 12 12 0 -1"), Some(7));
        assert_eq!(parent("12 (a) Z 7 12 12 0 -1"), None);
        let rollup =
            "00-ff ---p 00000000 00:00 0 [rollup]\nRss:    1200 kB\nPss:     900 kB\nPss_Anon:  8 kB\n";
        assert_eq!((field(rollup, "Rss"), field(rollup, "Pss")), (Some(1200), Some(900)));
        assert_eq!(field(rollup, "Swap"), None);
    }

    #[test]
    fn children_count() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let memory = Memory::of(std::process::id());
        assert!(memory.processes >= 2, "{memory:?}");
        assert!(memory.pss > 0 && memory.rss >= memory.pss, "{memory:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

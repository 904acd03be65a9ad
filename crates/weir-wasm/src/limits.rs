//! What a guest may hold.

use std::cell::Cell;

use wasmtime::ResourceLimiter;

/// The most elements of a table: functions that are called through pointers.
pub(crate) const MOST_ELEMENTS: usize = 20_000;
/// The most core instances of a component: its own modules, and what adapts them to each other.
pub(crate) const MOST_INSTANCES: u32 = 50;
/// The most memories, and the most tables, of a component.
pub(crate) const MOST_MEMORIES: u32 = 10;

/// What a guest holds, and may hold.
#[derive(Debug)]
pub(crate) struct Holds {
    /// Bytes of all its memories.
    memory: usize,
    most: usize,
    /// Where it is to be replaced by a fresh one: memory of WebAssembly never shrinks.
    full: usize,
    /// Whether it was refused memory.
    refused: Cell<bool>,
}

impl Holds {
    /// Nothing yet, and at most so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Holds { memory: 0, most, full: most, refused: Cell::new(false) }
    }

    /// It has started: of what it may grow from here on, four fifths are enough for a fresh one.
    pub(crate) fn has_started(&mut self) {
        self.full = self.memory + (self.most.saturating_sub(self.memory)) / 5 * 4;
    }

    /// Whether new exchanges should get another one.
    pub(crate) fn is_full(&self) -> bool {
        self.memory > self.full
    }

    /// What to say where it was refused memory.
    pub(crate) fn refusal(&self) -> Option<String> {
        let most = self.most;
        self.refused.get().then(|| format!("it was refused memory: `limits.memory` allows {most} bytes"))
    }
}

impl ResourceLimiter for Holds {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let memory = self.memory.saturating_sub(current).saturating_add(desired);
        let fits = memory <= self.most;
        match fits {
            true => self.memory = memory,
            false => self.refused.set(true),
        }
        Ok(fits)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MOST_ELEMENTS)
    }

    fn instances(&self) -> usize {
        MOST_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        MOST_MEMORIES as usize
    }

    fn memories(&self) -> usize {
        MOST_MEMORIES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut holds = Holds::new(100);
        let mut grow = |from, to| holds.memory_growing(from, to, None).expect("it is asked");
        assert!(grow(0, 10) && grow(0, 40) && grow(40, 50));
        assert!(!grow(10, 60), "that would be 110");
        assert!(holds.refusal().is_some());
        holds.has_started();
        assert!(!holds.is_full());
        assert!(holds.memory_growing(50, 89, None).is_ok_and(|fits| fits));
        assert!(holds.is_full(), "99 of 92");
    }
}

//! What all relays of a server have carried, those that have ended too.

use std::collections::BTreeMap;

use super::tap::RelayKind;

/// What all relays have carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many are open now, by what is read of them.
    pub open: BTreeMap<RelayKind, usize>,
    /// Frames that have passed, to upstreams and to clients.
    pub frames: [u64; 2],
    /// Bytes that have passed on the wire, to upstreams and to clients.
    pub bytes: [u64; 2],
    /// What was sent into them and did not fit into their queues.
    pub dropped: u64,
    /// How WebSockets whose frames were read have ended, in the order of [`Totals::CODES`].
    pub closes: [u64; Totals::CODES.len()],
}

impl Totals {
    /// Close codes, by class; the last is for those that ended without one.
    pub const CODES: [&str; 6] = ["1000", "1001", "1xxx", "3xxx", "4xxx", "none"];

    /// Counts one that has ended with this code.
    pub(super) fn closed(&mut self, code: Option<u16>) {
        let class = match code {
            Some(1000) => 0,
            Some(1001) => 1,
            Some(3000..=3999) => 3,
            Some(4000..=4999) => 4,
            Some(_) => 2,
            None => 5,
        };
        if let Some(count) = self.closes.get_mut(class) {
            *count += 1;
        }
    }

    /// Adds what others have carried.
    pub(super) fn add(&mut self, other: &Totals) {
        for (kind, n) in &other.open {
            *self.open.entry(*kind).or_default() += n;
        }
        let pairs = [(&mut self.frames, other.frames), (&mut self.bytes, other.bytes)];
        for (sums, more) in pairs {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        self.dropped += other.dropped;
        self.closes.iter_mut().zip(other.closes).for_each(|(sum, more)| *sum += more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_by_class() {
        let mut totals = Totals::default();
        for code in [1000, 1001, 1002, 1012, 3000, 4001, 4999] {
            totals.closed(Some(code));
        }
        totals.closed(None);
        assert_eq!(totals.closes, [1, 1, 2, 1, 2, 1]);
        let mut sum = totals.clone();
        sum.open.insert(RelayKind::Tcp, 2);
        sum.add(&Totals { frames: [1, 2], bytes: [3, 4], dropped: 5, ..totals });
        assert_eq!((sum.frames, sum.bytes, sum.dropped), ([1, 2], [3, 4], 5));
        assert_eq!((sum.closes, sum.open[&RelayKind::Tcp]), ([2, 2, 4, 2, 4, 2], 2));
    }
}

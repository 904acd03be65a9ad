//! Drawing at random by weight.

/// The weights of a group's endpoints, by index.
#[derive(Debug)]
pub(super) struct Weights {
    /// The sum of the weights up to and with each endpoint.
    sums: Vec<u64>,
    /// Whether all are the same: then drawing needs no search.
    equal: bool,
}

impl Weights {
    /// These weights; each at least 1.
    pub(super) fn new(weights: impl IntoIterator<Item = u16>) -> Self {
        let mut sums = Vec::new();
        let mut sum = 0;
        let mut equal = true;
        let mut first = None;
        for weight in weights {
            equal &= *first.get_or_insert(weight) == weight;
            sum += u64::from(weight);
            sums.push(sum);
        }
        Weights { sums, equal }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether all are the same.
    pub(super) fn are_equal(&self) -> bool {
        self.equal
    }

    /// The weight of one; 0 if there is none of this index.
    pub(super) fn of(&self, index: usize) -> u64 {
        self.sums.get(index).map_or(0, |sum| sum - self.below(index))
    }

    /// The sum of all.
    pub(super) fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0)
    }

    /// One at random.
    pub(super) fn draw(&self) -> usize {
        if self.equal {
            fastrand::usize(..self.len().max(1))
        } else {
            self.at(fastrand::u64(..self.total().max(1)))
        }
    }

    /// One at random that is not `first`; `None`: there is no other.
    pub(super) fn draw_other(&self, first: usize) -> Option<usize> {
        let others = self.len().checked_sub(1).filter(|n| *n > 0)?;
        if self.equal {
            let index = fastrand::usize(..others);
            return Some(index + usize::from(index >= first));
        }
        let mut ticket = fastrand::u64(..self.total() - self.of(first));
        if ticket >= self.below(first) {
            ticket += self.of(first);
        }
        Some(self.at(ticket))
    }

    /// One at random of those that will do; `None`: there is none.
    pub(super) fn draw_among(&self, will_do: impl Fn(usize) -> bool) -> Option<usize> {
        let mut total = 0;
        let mut drawn = None;
        for index in (0..self.len()).filter(|index| will_do(*index)) {
            let weight = self.of(index);
            total += weight;
            if fastrand::u64(..total.max(1)) < weight {
                drawn = Some(index);
            }
        }
        drawn
    }

    fn below(&self, index: usize) -> u64 {
        index.checked_sub(1).and_then(|before| self.sums.get(before)).copied().unwrap_or(0)
    }

    /// Whose a ticket is, of as many tickets as the total.
    fn at(&self, ticket: u64) -> usize {
        self.sums.partition_point(|sum| *sum <= ticket)
    }
}

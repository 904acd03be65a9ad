//! Configurations that served before, to go back to.

use crate::run::Plan;

/// Configurations that served before, the newest first.
#[derive(Debug, Default)]
pub(super) struct History(Vec<(u64, Plan)>);

impl History {
    /// This one served until now; at the most `keep` are kept.
    pub(super) fn push(&mut self, generation: u64, plan: Plan, keep: usize) {
        self.0.insert(0, (generation, plan));
        self.0.truncate(keep);
    }

    /// A generation, or the one before this one.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn find(&self, generation: Option<u64>) -> Result<(u64, Plan), String> {
        let mut kept = self.0.iter();
        let found = match generation {
            None => kept.next(),
            Some(generation) => kept.find(|(kept, _)| *kept == generation),
        };
        found.cloned().ok_or_else(|| {
            let kept: Vec<String> = self.generations().iter().map(u64::to_string).collect();
            match generation {
                Some(generation) if !kept.is_empty() => {
                    format!("generation {generation} is not kept; kept are {}", kept.join(", "))
                }
                _ => "no earlier configuration is kept (`reload.keep` says how many are)".to_owned(),
            }
        })
    }

    /// This one serves again: it and those after it are not kept any more.
    pub(super) fn back_to(&mut self, generation: u64) {
        self.0.retain(|(kept, _)| *kept < generation);
    }

    /// What is kept, the newest first.
    pub(super) fn generations(&self) -> Vec<u64> {
        self.0.iter().map(|(generation, _)| *generation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_going_back_drops_what_came_after() {
        let mut history = History::default();
        let none = history.find(None).expect_err("there is none");
        assert!(none.contains("reload.keep"), "{none}");
        for generation in 1..=4 {
            history.push(generation, Plan::default(), 3);
        }
        assert_eq!(history.generations(), [4, 3, 2]);
        assert_eq!(history.find(None).map(|(generation, _)| generation), Ok(4));
        assert_eq!(history.find(Some(3)).map(|(generation, _)| generation), Ok(3));
        let missing = history.find(Some(1)).expect_err("it is gone");
        assert_eq!(missing, "generation 1 is not kept; kept are 4, 3, 2");
        history.back_to(3);
        assert_eq!(history.generations(), [2]);
        history.push(6, Plan::default(), 0);
        assert!(history.generations().is_empty());
    }
}

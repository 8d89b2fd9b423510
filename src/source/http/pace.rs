//! How many pages are asked for at the same time (自适应并发): one more while a service keeps up, half as many when it does
//! not (additive increase, multiplicative decrease).
//!
//! Pure: told how each answer came, says how many may be under way.

use std::time::Duration;

/// An answer that takes so many times as long as the quickest says that a service is busy.
const BUSY: u32 = 3;
/// Answers quicker than this differ by chance.
const QUICK: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    most: f64,
    now: f64,
    /// The quickest answer so far.
    quickest: Option<Duration>,
}

impl Pace {
    /// At most so many at once; it begins with one.
    pub(super) fn new(most: u32) -> Self {
        Self { most: f64::from(most.max(1)), now: 1.0, quickest: None }
    }

    /// How many may be under way.
    pub(super) fn at_once(&self) -> usize {
        self.now as usize
    }

    /// An answer came after so long; `refused` when the service had asked for patience before (429, 503).
    pub(super) fn answered(&mut self, took: Duration, refused: bool) {
        let quickest = self.quickest.map_or(took, |quickest| quickest.min(took));
        self.quickest = Some(quickest);
        self.now = if refused || took > (quickest * BUSY).max(QUICK) {
            (self.now / 2.0).max(1.0)
        } else {
            // One more when as many as are under way have come.
            (self.now + 1.0 / self.now.floor()).min(self.most)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(most: u32, answers: &[(u64, bool)]) -> usize {
        let mut pace = Pace::new(most);
        answers.iter().for_each(|&(millis, refused)| pace.answered(Duration::from_millis(millis), refused));
        pace.at_once()
    }

    #[test]
    fn a_service_that_keeps_up_is_asked_for_more_and_one_that_does_not_for_half() {
        let ok = (100, false);
        assert_eq!(after(8, &[]), 1);
        assert_eq!(after(8, &[ok]), 2);
        assert_eq!(after(8, &[ok; 3]), 3);
        assert_eq!(after(8, &[ok; 100]), 8, "never above what was configured");
        assert_eq!(after(1, &[ok; 100]), 1);
        assert_eq!(after(8, &[[ok; 100].as_slice(), &[(100, true)]].concat()), 4, "it asked for patience");
        assert_eq!(after(8, &[[ok; 100].as_slice(), &[(301, false)]].concat()), 4, "it became slow");
        assert_eq!(after(8, &[[ok; 100].as_slice(), &[(100, true); 9]].concat()), 1, "never below one");
        assert_eq!(after(8, &[(1, false), (49, false)]), 2, "milliseconds say nothing");
    }
}

//! How long to wait after the n-th failure in a row: twice as long each time, bounded, and never the same for two jobs.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(5);
/// However often it failed.
const MOST: Duration = Duration::from_secs(15 * 60);

/// The wait after so many failures (from 1) of the job of this name: between three and five quarters of the doubled
/// wait, so that jobs that failed together do not come back together.
pub(super) fn after(failures: u32, seed: u64, name: &str) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(u32::MAX));
    let mark = format!("{seed}/{name}/{failures}");
    let share = xxhash_rust::xxh3::xxh3_64(mark.as_bytes()) % 1000;
    doubled.min(MOST).mul_f64(0.75 + share as f64 / 2000.0).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_stay_bounded_and_differ_between_jobs() {
        let mut last = Duration::ZERO;
        for n in 1..=7 {
            let wait = after(n, 7, "pipeline/qy");
            assert!(wait > last && wait < FIRST * (1 << n), "{n}: {wait:?}");
            last = wait;
        }
        assert!((0..200).all(|n| after(n, 7, "x") <= MOST && after(n, 7, "x") > Duration::from_secs(3)));
        assert_ne!(after(3, 7, "pipeline/a"), after(3, 7, "pipeline/b"));
        assert_eq!(after(3, 7, "pipeline/a"), after(3, 7, "pipeline/a"), "the same seed gives the same wait");
    }
}

//! How long to wait after the n-th failure in a row: twice as long each time, bounded, and never the same for two jobs.

use std::time::Duration;

use super::Job;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(5);
/// However often it failed: somebody else's system is asked again.
const MOST: Duration = Duration::from_secs(15 * 60);
/// The same of a feed, which tries with a single batch, and whose subscriber wants to be served soon after it came back.
const MOST_OF_A_FEED: Duration = Duration::from_secs(60);

/// The wait after so many failures (from 1) of this job: between three and five quarters of the doubled wait, so that
/// jobs that failed together do not come back together.
pub(super) fn after(failures: u32, seed: u64, job: &Job) -> Duration {
    let most = if matches!(job, Job::Feed(_)) { MOST_OF_A_FEED } else { MOST };
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(u32::MAX));
    let mark = format!("{seed}/{job}/{failures}");
    let share = xxhash_rust::xxh3::xxh3_64(mark.as_bytes()) % 1000;
    doubled.min(most).mul_f64(0.75 + share as f64 / 2000.0).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(name: &str) -> Job {
        Job::Pipeline(name.to_owned())
    }

    #[test]
    fn waits_double_stay_bounded_and_differ_between_jobs() {
        let (qy, a, b) = (pipeline("qy"), pipeline("a"), pipeline("b"));
        let mut last = Duration::ZERO;
        for n in 1..=7 {
            let wait = after(n, 7, &qy);
            assert!(wait > last && wait < FIRST * (1 << n), "{n}: {wait:?}");
            last = wait;
        }
        assert!((0..200).all(|n| after(n, 7, &a) <= MOST && after(n, 7, &a) > Duration::from_secs(3)));
        assert_ne!(after(3, 7, &a), after(3, 7, &b));
        assert_eq!(after(3, 7, &a), after(3, 7, &a), "the same seed gives the same wait");
        let feed = Job::Feed("housing.enterprise".into());
        assert!((5..200).all(|n| after(n, 7, &feed) <= MOST_OF_A_FEED && after(n, 7, &feed) > MOST_OF_A_FEED / 2));
    }
}

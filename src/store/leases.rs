//! Who may write for one job now, when several daemons share a store (租约).
//!
//! A lease has a name (`pipeline/qy`, `feed/housing.enterprise`, `daemon/…`), a holder, an end, and a token that grows
//! with every new holder. The end tells others when they may take it over; the token tells the store whose writes still
//! count: a holder that slept through its end and wakes up writes nothing (see [`super::Operations::set_fence`]).

use std::time::Duration;

use serde::Serialize;

/// No lease is taken for longer.
pub const LONGEST_LEASE: Duration = Duration::from_secs(3600);

/// How the holder of a lease ends when a backfill works under it.
const BACKFILL: &str = "#backfill";

/// Microseconds of a lease's time, at most [`LONGEST_LEASE`].
pub(super) fn micros(ttl: Duration) -> i64 {
    i64::try_from(ttl.min(LONGEST_LEASE).as_micros()).unwrap_or(i64::MAX)
}

/// A lease as its holder knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is about.
    pub name: String,
    /// Who holds it: unique among all processes and restarts.
    pub holder: String,
    /// Grows with every new holder, never shrinks, also over releases.
    pub token: i64,
}

/// The same holder, working off a backfill.
pub fn for_backfill(holder: &str) -> String {
    format!("{holder}{BACKFILL}")
}

/// A lease that somebody holds, or held and never released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaseView {
    /// What it is about.
    pub name: String,
    /// Who.
    pub holder: String,
    /// Its token.
    pub token: i64,
    /// Held until then unless renewed, microseconds.
    pub until: i64,
}

impl LeaseView {
    /// Who, whether for live work or for a backfill.
    pub fn holder_process(&self) -> &str {
        self.holder.strip_suffix(BACKFILL).unwrap_or(&self.holder)
    }

    /// Whether a pipeline or feed is at work under it now, and not a backfill.
    pub fn is_live(&self, now: i64) -> bool {
        let of_work = self.name.starts_with("pipeline/") || self.name.starts_with("feed/");
        of_work && !self.holder.ends_with(BACKFILL) && now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_work_is_told_from_backfills_daemons_and_the_dead() {
        let live = |name: &str, holder: &str| {
            LeaseView { name: name.into(), holder: holder.into(), token: 1, until: 10 }.is_live(9)
        };
        assert!(live("pipeline/qy", "a:1:x") && live("feed/housing.enterprise", "a:1:x"));
        assert!(!live("pipeline/qy", &for_backfill("a:1:x")) && !live("daemon/a/1", "a:1:x"));
        let ended = LeaseView { name: "pipeline/qy".into(), holder: for_backfill("a:1:x"), token: 1, until: 9 };
        assert!(!ended.is_live(9) && ended.holder_process() == "a:1:x");
    }
}

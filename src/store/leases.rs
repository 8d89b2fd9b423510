//! Who may write for one job now, when several daemons share a store (租约).
//!
//! A lease has a name (`pipeline/qy`, `feed/housing.enterprise`, `daemon/…`), a holder, an end, and a token that grows
//! with every new holder. The end tells others when they may take it over; the token tells the store whose writes still
//! count: a holder that slept through its end and wakes up writes nothing (see [`super::Operations::set_fence`]).

use std::time::Duration;

use serde::Serialize;

/// No lease is taken for longer.
pub const LONGEST_LEASE: Duration = Duration::from_secs(3600);

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

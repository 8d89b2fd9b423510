//! Time stamps (时间戳) of batches: which still want one, and those that came.

use crate::config::Timestamps;

/// A batch that is to be stamped, or whose token the outlet does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampDue {
    /// Its number.
    pub seq: i64,
    /// Detached CMS: what is stamped.
    pub signature: Vec<u8>,
    /// The token, if it has come; then the outlet is to have it.
    pub token: Option<Vec<u8>>,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampRow {
    /// The batch's number.
    pub seq: i64,
    /// Time-stamp response (RFC 3161 §2.4.2), exactly as it came.
    pub token: Vec<u8>,
    /// The time it proves, microseconds.
    pub at: i64,
    /// Whose it is.
    pub authority: String,
    /// When it was kept, microseconds.
    pub recorded_at: i64,
}

/// What of a feed waits for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unstamped {
    /// Batches.
    pub batches: u64,
    /// When the oldest of them was sealed, microseconds.
    pub since: Option<i64>,
}

impl Unstamped {
    /// HL0778: whether one has waited longer than the installation allows, at this instant (microseconds).
    pub fn late(&self, asked: Option<&Timestamps>, now: i64) -> bool {
        let (Some(asked), Some(since)) = (asked, self.since) else { return false };
        now.saturating_sub(since) > i64::try_from(asked.within.as_micros()).unwrap_or(i64::MAX)
    }
}

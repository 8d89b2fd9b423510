//! Whether a grant counts today.

use chrono::NaiveDate;

use crate::config::Feed;

/// Why a grant does not count on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotInForce {
    /// It has ended; the last day was this one.
    #[error("the grant ended on {0}")]
    Expired(NaiveDate),
    /// It begins on this day.
    #[error("the grant begins on {0}")]
    NotYet(NaiveDate),
}

/// Whether the feed's grant is in force on a civil day of the installation's zone; both ends are included.
///
/// # Errors
/// [`NotInForce`] says on which side of the span the day lies.
pub fn in_force(feed: &Feed, day: NaiveDate) -> Result<(), NotInForce> {
    match feed.valid.until {
        _ if day < feed.valid.from => Err(NotInForce::NotYet(feed.valid.from)),
        Some(until) if day > until => Err(NotInForce::Expired(until)),
        _ => Ok(()),
    }
}

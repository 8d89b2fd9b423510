//! What time it is, as a value that tests can set; which days people work, and when a term is over.
//!
//! Decides: how terms are counted ([`Term`]). Must not know: schedules, definitions, where the calendar was read.
//! Guarantees: a frozen clock always says the same, so that cases, the demo and tests give the same answer on any day.

mod workdays;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

pub use workdays::{Calendar, Days, NotPublished, Term, Year};

/// Where the present comes from. Cheap to copy; passed down, never global.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Always this instant.
    Frozen(DateTime<Utc>),
}

impl Clock {
    /// The present instant, UTC.
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            #[expect(clippy::disallowed_methods, reason = "this is the clock")]
            Self::System => Utc::now() + crate::failpoint::clock_is_off_by(),
            Self::Frozen(at) => *at,
        }
    }

    /// The civil date in `zone` (`Asia/Shanghai`): grants, validity and schedules count in these days.
    pub fn today(&self, zone: Tz) -> NaiveDate {
        self.now().with_timezone(&zone).date_naive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_in_shanghai_begins_eight_hours_before_utc() {
        let at = DateTime::from_timestamp(1_772_294_400, 0).expect("2026-02-28T16:00:00Z is an instant");
        let clock = Clock::Frozen(at);
        assert_eq!(clock.now(), at);
        assert_eq!(clock.today(Tz::Asia__Shanghai).to_string(), "2026-03-01");
        assert_eq!(clock.today(Tz::UTC).to_string(), "2026-02-28");
    }

    #[test]
    fn the_system_clock_moves() {
        assert!(Clock::System.now() > DateTime::from_timestamp(1_700_000_000, 0).expect("an instant"));
    }
}

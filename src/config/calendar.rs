//! `mappings/calendar.yaml`: the working days (工作日历) that were published, year by year.

use super::{At, Workspace};
use crate::clock::{Calendar, Days, Year};

/// Where it stands.
pub(super) const FILE: &str = "mappings/calendar.yaml";

/// What a notice says of one year, as it is written.
#[derive(Debug, Clone)]
pub struct PublishedYear {
    /// 2026.
    pub year: At<u64>,
    /// 国办发明电〔2025〕7号.
    pub notice: String,
    /// Holidays.
    pub off: Vec<At<Days>>,
    /// Weekends on which people work.
    pub work: Vec<At<Days>>,
}

impl Workspace {
    /// The working days of the years that were published.
    pub fn working_days(&self) -> Calendar {
        let days = |listed: &[At<Days>]| listed.iter().map(|days| days.value).collect();
        let years: Vec<Year> = self
            .calendar
            .iter()
            .map(|of| Year {
                year: i32::try_from(of.year.value).unwrap_or(i32::MAX),
                off: days(&of.off),
                work: days(&of.work),
            })
            .collect();
        Calendar::of(&years)
    }
}

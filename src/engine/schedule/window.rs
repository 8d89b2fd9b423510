//! The hours of a day in which a backfill may work: `22:00-06:00`.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

/// From one time of day to another, over midnight where the second is the earlier; the end is outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    from: NaiveTime,
    to: NaiveTime,
}

impl Window {
    /// Whether it is open.
    pub fn open(&self, now: DateTime<Utc>, zone: Tz) -> bool {
        let time = now.with_timezone(&zone).time();
        if self.from < self.to { time >= self.from && time < self.to } else { time >= self.from || time < self.to }
    }

    /// `now` where it is open, else when it opens next.
    pub fn opens(&self, now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
        if self.open(now, zone) {
            return now;
        }
        let today = now.with_timezone(&zone).date_naive();
        let days = (0..3).filter_map(|n| today.checked_add_signed(TimeDelta::days(n)));
        let opens = days.filter_map(|day| day.and_time(self.from).and_local_timezone(zone).earliest());
        opens.map(|at| at.to_utc()).find(|at| *at > now).unwrap_or(now + TimeDelta::hours(1))
    }
}

impl FromStr for Window {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (from, to) = text.split_once('-').ok_or(())?;
        let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").map_err(drop);
        let window = Self { from: time(from)?, to: time(to)? };
        if window.from == window.to { Err(()) } else { Ok(window) }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from.format("%H:%M"), self.to.format("%H:%M"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn a_window_may_reach_over_midnight() {
        let zone = Tz::Asia__Shanghai;
        let night: Window = "22:00-06:00".parse().unwrap();
        let noon: Window = "11:30-13:00".parse().unwrap();
        for (now, window, expect) in [
            ("2026-11-21T23:00:00+08:00", night, "2026-11-21T23:00:00+08:00"),
            ("2026-11-22T05:59:59+08:00", night, "2026-11-22T05:59:59+08:00"),
            ("2026-11-22T06:00:00+08:00", night, "2026-11-22T22:00:00+08:00"),
            ("2026-11-22T13:00:00+08:00", noon, "2026-11-23T11:30:00+08:00"),
            ("2026-11-22T11:30:00+08:00", noon, "2026-11-22T11:30:00+08:00"),
        ] {
            assert_eq!(window.opens(at(now), zone), at(expect), "{window} {now}");
            assert_eq!(window.open(at(now), zone), now == expect, "{window} {now}");
        }
        for wrong in ["22-6", "22:00", "22:00-22:00", "25:00-01:00", "夜里"] {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }
}

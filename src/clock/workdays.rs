//! Working days (工作日): which days are, and when a term that counts them is over.
//!
//! Pure. Knows only the years that were published (国务院办公厅关于部分节假日安排的通知); a day of another year is
//! [`NotPublished`], not a guess.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, Days as Step, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;

/// Days from the first to the last, both counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// First day.
    pub first: NaiveDate,
    /// Last day.
    pub last: NaiveDate,
}

impl Days {
    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = NaiveDate> {
        self.first.iter_days().take_while(move |day| *day <= self.last)
    }
}

/// What a notice says of one year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Year {
    /// 2026.
    pub year: i32,
    /// Holidays (放假), whether or not they fall on a weekend.
    pub off: Vec<Days>,
    /// Weekends on which people work (调休上班).
    pub work: Vec<Days>,
}

/// The years that were published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    published: BTreeSet<i32>,
    off: BTreeSet<NaiveDate>,
    work: BTreeSet<NaiveDate>,
}

/// Nobody has said yet which days of this year are working days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("HL0517 the working days of {year} are not in mappings/calendar.yaml")]
pub struct NotPublished {
    /// 2027.
    pub year: i32,
}

impl Calendar {
    /// Of these years.
    pub fn of<'a>(years: impl IntoIterator<Item = &'a Year>) -> Self {
        let mut all = Self::default();
        for Year { year, off, work } in years {
            all.published.insert(*year);
            all.off.extend(off.iter().flat_map(|days| days.iter()));
            all.work.extend(work.iter().flat_map(|days| days.iter()));
        }
        all
    }

    /// Whether people work on this day.
    ///
    /// # Errors
    /// [`NotPublished`].
    pub fn works(&self, day: NaiveDate) -> Result<bool, NotPublished> {
        if !self.published.contains(&day.year()) {
            return Err(NotPublished { year: day.year() });
        }
        let weekend = matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        Ok(self.work.contains(&day) || !weekend && !self.off.contains(&day))
    }

    /// The `n`-th working day after `start`, which is not counted itself (民法典 第二百零一条).
    ///
    /// # Errors
    /// [`NotPublished`], of the first year on the way that is not known.
    pub fn after(&self, start: NaiveDate, n: u32) -> Result<NaiveDate, NotPublished> {
        let (mut day, mut left) = (start, n);
        while left > 0 {
            day = next(day);
            left -= u32::from(self.works(day)?);
        }
        Ok(day)
    }

    /// The day itself if people work on it, else the next on which they do (民法典 第二百零三条).
    ///
    /// # Errors
    /// [`NotPublished`].
    pub fn this_or_next(&self, mut day: NaiveDate) -> Result<NaiveDate, NotPublished> {
        while !self.works(day)? {
            day = next(day);
        }
        Ok(day)
    }
}

fn next(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Step::new(1)).unwrap_or(NaiveDate::MAX)
}

/// How long something may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Term {
    /// Hours on the clock, from the moment on.
    Hours(u32),
    /// Calendar days; one that would end on a day of rest ends on the next working day.
    Days(u32),
    /// Working days (工作日).
    WorkingDays(u32),
}

impl Term {
    /// What is written, for messages and schemas.
    pub const EXPECTED: &'static str = "a term such as 24h, 30d or 5 working days (5 个工作日)";
    /// The same as a regular expression, for editors.
    pub const PATTERN: &'static str = r"^[1-9][0-9]{0,3} *(h|d|working days?|个?工作日)$";

    /// Reads `5 working days`.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let n = number.parse().ok().filter(|n| (1..=9_999).contains(n) && !number.starts_with('0'))?;
        match unit.trim_start_matches(' ') {
            "h" => Some(Self::Hours(n)),
            "d" => Some(Self::Days(n)),
            "working day" | "working days" | "工作日" | "个工作日" => Some(Self::WorkingDays(n)),
            _ => None,
        }
    }

    /// Longer by days of its own kind that do not count (不计时); hours stay as they are.
    #[must_use]
    pub const fn and_days(self, more: u32) -> Self {
        match self {
            Self::Hours(n) => Self::Hours(n),
            Self::Days(n) => Self::Days(n.saturating_add(more)),
            Self::WorkingDays(n) => Self::WorkingDays(n.saturating_add(more)),
        }
    }

    /// The last moment that is still in time when it begins at `start`. A term of days ends with its last day, at
    /// midnight in `zone`.
    ///
    /// # Errors
    /// [`NotPublished`].
    pub fn last_moment(self, start: DateTime<Utc>, zone: Tz, days: &Calendar) -> Result<DateTime<Utc>, NotPublished> {
        let first = start.with_timezone(&zone).date_naive();
        let last = match self {
            Self::Hours(n) => return Ok(start + TimeDelta::hours(n.into())),
            Self::Days(n) => {
                days.this_or_next(first.checked_add_days(Step::new(n.into())).unwrap_or(NaiveDate::MAX))?
            }
            Self::WorkingDays(n) => days.after(first, n)?,
        };
        let midnight = next(last).and_time(NaiveTime::MIN).and_local_timezone(zone).earliest();
        Ok(midnight.map_or(DateTime::<Utc>::MAX_UTC, |at| at.to_utc()) - TimeDelta::microseconds(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn days(first: &str, last: &str) -> Days {
        Days { first: day(first), last: day(last) }
    }

    /// 国办发明电〔2025〕7号.
    fn spring_of_2026() -> Calendar {
        let work = ["2026-01-04", "2026-02-14", "2026-02-28"].map(|text| days(text, text)).to_vec();
        let off = vec![days("2026-01-01", "2026-01-03"), days("2026-02-15", "2026-02-23")];
        Calendar::of([&Year { year: 2026, off, work }])
    }

    #[test]
    fn weekends_rest_unless_they_are_made_up_for_and_holidays_rest() {
        let calendar = spring_of_2026();
        for (text, works) in [
            ("2026-01-02", false), // a Friday off
            ("2026-01-04", true),  // a Sunday to make up for it
            ("2026-01-10", false),
            ("2026-01-12", true),
        ] {
            assert_eq!(calendar.works(day(text)), Ok(works), "{text}");
        }
        assert_eq!(calendar.works(day("2027-01-04")), Err(NotPublished { year: 2027 }));
    }

    #[test]
    fn the_day_it_begins_is_not_counted_and_it_ends_at_midnight() {
        let calendar = spring_of_2026();
        assert_eq!(calendar.after(day("2026-02-10"), 10), Ok(day("2026-03-02")));
        assert_eq!(calendar.after(day("2026-02-13"), 1), Ok(day("2026-02-14")));
        assert_eq!(calendar.after(day("2026-12-25"), 10), Err(NotPublished { year: 2027 }));
        let ends = |term: Term, start: &str| {
            let start = DateTime::parse_from_rfc3339(start).expect("an instant").to_utc();
            term.last_moment(start, Tz::Asia__Shanghai, &calendar).map(|at| at.to_rfc3339())
        };
        let midnight = Ok("2026-02-14T15:59:59.999999+00:00".to_owned());
        assert_eq!(ends(Term::WorkingDays(1), "2026-02-13T23:30:00+08:00"), midnight);
        assert_eq!(ends(Term::WorkingDays(1), "2026-02-12T16:30:00Z"), midnight, "it is the 13th in Shanghai");
        assert_eq!(ends(Term::Hours(24), "2026-02-13T09:00:00Z"), Ok("2026-02-14T09:00:00+00:00".to_owned()));
        // The 15th is the first day of the holidays; the 24th is the day after them.
        assert_eq!(ends(Term::Days(2), "2026-02-13T01:00:00Z"), Ok("2026-02-24T15:59:59.999999+00:00".to_owned()));
    }

    #[test]
    fn terms_are_a_number_and_a_unit() {
        for (text, term) in [
            ("24h", Some(Term::Hours(24))),
            ("30 d", Some(Term::Days(30))),
            ("5 working days", Some(Term::WorkingDays(5))),
            ("1 working day", Some(Term::WorkingDays(1))),
            ("5个工作日", Some(Term::WorkingDays(5))),
            ("20 工作日", Some(Term::WorkingDays(20))),
            ("5", None),
            ("0 working days", None),
            ("05d", None),
            ("10000d", None),
            ("five days", None),
            ("", None),
        ] {
            assert_eq!(Term::parse(text), term, "{text}");
        }
    }

    /// `data/vectors/workdays.json`, over the years that NateScarlet/holiday-cn collected.
    #[test]
    fn the_measured_terms_end_when_they_did() {
        let Some(data) = crate::testing::shared("data/vectors/workdays.json") else { return };
        let read = |path: std::path::PathBuf| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
        };
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let vectors = read(data);
        let years: Vec<Year> = (2019..=2026)
            .map(|year| {
                let path = crate::testing::shared(&format!("data/calendar/holiday-cn/{year}.json")).expect("a year");
                let told = read(path);
                let listed = told["days"].as_array().expect("days");
                let of = |off: bool| {
                    let of = listed.iter().filter(|one| one["isOffDay"] == off).map(|one| text(&one["date"]));
                    of.map(|date| days(&date, &date)).collect()
                };
                Year { year, off: of(true), work: of(false) }
            })
            .collect();
        let calendar = Calendar::of(&years);
        for (year, expected) in vectors["workdays_per_year"].as_object().expect("years") {
            let whole = days(&format!("{year}-01-01"), &format!("{year}-12-31"));
            let works = whole.iter().filter(|day| calendar.works(*day) == Ok(true)).count();
            assert_eq!(Some(works as u64), expected.as_u64(), "{year}");
        }
        let vectors = vectors["vectors"].as_array().expect("vectors");
        assert!(vectors.len() > 8);
        for vector in vectors {
            let n = vector["n"].as_u64().and_then(|n| u32::try_from(n).ok()).expect("a number");
            let due = calendar.after(day(&text(&vector["start"])), n).ok().map(|day| day.to_string());
            let expected = vector["due"].as_str().filter(|due| due.parse::<NaiveDate>().is_ok());
            assert_eq!(due.as_deref(), expected, "{vector}");
        }
    }
}

//! Which day a file is of: the date in its name, else when it was last written. Pure.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::source::Item;

/// The first and last year that a file of a department can be of.
const YEARS: std::ops::RangeInclusive<i32> = 1949..=2199;

/// The day of a file.
pub(super) fn day(item: &Item, zone: Tz) -> Option<NaiveDate> {
    let written = || item.modified.map(|at| DateTime::<Utc>::from(at).with_timezone(&zone).date_naive());
    in_name(&item.name).or_else(written)
}

/// The last date in a name: `QYDJ_20260101.csv`, `参保-2026-01-01.txt`, `2026_1月` is none.
fn in_name(name: &str) -> Option<NaiveDate> {
    let digits: Vec<(usize, char)> = name.char_indices().filter(|(_, c)| c.is_ascii_digit()).collect();
    let mut found = None;
    for window in digits.windows(8) {
        let (first, last) = (window.first()?.0, window.last()?.0);
        let text: String = window.iter().map(|(_, c)| c).collect();
        let bare = last - first == 7;
        let parted = last - first == 9
            && [first + 4, first + 7]
                .iter()
                .all(|at| name.get(*at..=*at).is_some_and(|c| matches!(c, "-" | "_" | ".")));
        if !(bare || parted) {
            continue;
        }
        let day = NaiveDate::parse_from_str(&text, "%Y%m%d").ok();
        found = day.filter(|day| is_sane(*day)).or(found);
    }
    found
}

/// Whether a day is one that a person can mean.
pub(super) fn is_sane(day: NaiveDate) -> bool {
    YEARS.contains(&day.year())
}

/// The first instant of a day, microseconds.
pub(super) fn midnight(day: NaiveDate, zone: Tz) -> i64 {
    let midnight = day.and_time(chrono::NaiveTime::MIN).and_local_timezone(zone).earliest();
    midnight.map_or(0, |at| at.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_in_a_name_is_eight_digits_or_parted_by_signs() {
        for (name, expect) in [
            ("QYDJ_20260101.csv", Some("2026-01-01")),
            ("QYDJ_2026-01-31.csv", Some("2026-01-31")),
            ("参保_2026.02.03.txt", Some("2026-02-03")),
            ("20250101_20260101.csv", Some("2026-01-01")),
            ("QYDJ_20261301.csv", None),
            ("QYDJ_00000101.csv", None),
            ("QYDJ_1.csv", None),
            ("2026-1-1.csv", None),
            ("企业2026年", None),
        ] {
            assert_eq!(in_name(name).map(|day| day.to_string()).as_deref(), expect, "{name}");
        }
    }
}

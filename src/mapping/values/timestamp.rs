//! Instants 时间戳, such as 更新时间 and 入库时间.
//!
//! Decides: which instant a text names; without a zone it is Chinese time, +08:00.

use chrono::{DateTime, NaiveDate, Utc};

use super::civil::{self, Time, Written};
use super::date;
use super::instant::{CHINA, Number, number};
use super::text::{null_token, trim};
use super::writing::plain_writing;
use super::{Converted, Notes, Outcome, note, noted, nothing, refuse};

/// Reads an instant: the forms of [`super::cn_date`] with a time of day.
///
/// Without a zone +08:00 is meant (also in 1986–1991). A date alone is its first moment, noted `time_missing`. `None`
/// for blank, N/A, 无 and, noted, the null sentinels of dates. Refusals and other notes: those of `cn_date`, without
/// `time_dropped` and `zone_shifted`.
pub fn cn_timestamp(text: &str) -> Outcome<DateTime<Utc>> {
    let text = trim(text);
    if let Some(written) = civil::scan(text) {
        return instant(written, Notes::new());
    }
    if null_token(text) {
        return nothing();
    }
    if date::is_open_end(text) {
        return refuse("date_open_end");
    }
    let (plain, mut notes) = plain_writing(text);
    if let Some(written) = civil::scan(&plain) {
        return instant(written, notes);
    }
    match number(&plain) {
        Some(Number::Serial(at)) => {
            note(&mut notes, "excel_serial");
            noted(at, notes)
        }
        Some(Number::Epoch(at)) => {
            note(&mut notes, "epoch");
            noted(at, notes)
        }
        None => refuse(date::reason(&plain)),
    }
}

fn instant(written: Written, mut notes: Notes) -> Outcome<DateTime<Utc>> {
    if date::is_null_sentinel(written) {
        return Ok(Converted { value: None, notes: vec!["null_sentinel"] });
    }
    if date::is_open_end_day(written) {
        return refuse("date_open_end");
    }
    let Some(day) = NaiveDate::from_ymd_opt(written.year, written.month, written.day) else {
        return refuse("date_impossible");
    };
    if !(1600..2200).contains(&written.year) {
        return refuse("date_out_of_range");
    }
    let local = match written.time {
        Some(Time::HOUR_24) => {
            note(&mut notes, "hour_24");
            day.succ_opt().and_then(|next| next.and_hms_opt(0, 0, 0))
        }
        Some(Time { hour, minute, second, nanos }) => day.and_hms_nano_opt(hour, minute, second, nanos),
        None => {
            note(&mut notes, "time_missing");
            day.and_hms_opt(0, 0, 0)
        }
    };
    let offset = written.offset.map_or(CHINA.local_minus_utc(), |seconds| seconds);
    let utc = local.and_then(|local| local.checked_sub_signed(chrono::TimeDelta::seconds(offset.into())));
    match utc {
        Some(utc) => noted(utc.and_utc(), notes),
        None => refuse("date_impossible"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::Refusal;

    fn check(input: &str, expect: Result<(Option<&str>, &[&str]), &'static str>) {
        let got = cn_timestamp(input);
        let text =
            got.as_ref().ok().and_then(|c| c.value).map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
        let got = got.as_ref().map(|c| (text.as_deref(), c.notes.as_slice()));
        assert_eq!(got, expect.map_err(|code| Refusal { code }).as_ref().map(|pair| *pair), "{input:?}");
    }

    #[test]
    fn every_form_names_the_same_instant() {
        for (input, notes) in [
            ("2026-10-01 10:30:00", &[][..]),
            ("2026-10-01 10:30:00.0", &[]),
            ("2026/10/1 10:30", &[]),
            ("20261001103000", &[]),
            ("2026年10月1日10时30分", &[]),
            ("2026-10-01T02:30:00Z", &[]),
            ("2026-10-01T11:30:00+09:00", &[]),
            ("２０２６-10-01 10:30:00", &["full_width"]),
            ("1790821800000", &["epoch"]),
            ("46296.4375", &["excel_serial"]),
        ] {
            check(input, Ok((Some("2026-10-01T02:30:00Z"), notes)));
        }
        check("2026-10-01", Ok((Some("2026-09-30T16:00:00Z"), &["time_missing"])));
        check("2020-07-31 24:00:00", Ok((Some("2020-07-31T16:00:00Z"), &["hour_24"])));
        check("2026-10-01 10:30:00.123456", Ok((Some("2026-10-01T02:30:00.123456Z"), &[])));
    }

    #[test]
    fn faults_and_nothing() {
        check("N/A", Ok((None, &[])));
        check("0001-01-01 00:00:00", Ok((None, &["null_sentinel"])));
        check("2026-13-01 10:30:00", Err("date_impossible"));
        check("2026-10-01 10:61:00", Err("date_impossible"));
        check("9999-12-31 23:59:59", Err("date_open_end"));
        check("刚才", Err("date_unreadable"));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*|[0-9:./ TZ+年月日时分秒-]{0,30}|-?[0-9]{4,15}") {
            let _ = cn_timestamp(&text);
        }
    }
}

//! Calendar dates 日期 in every form that departments write.
//!
//! Decides: which day a text names, what stands for "no end" and for "no date". Must not know: columns, today. Never
//! guesses: two-digit years and day/month orders are refused. Instants become days in China's civil time with its
//! daylight-saving years 1986–1991, so midnights exported as epoch milliseconds keep their day.

use chrono::{DateTime, NaiveDate, Timelike, Utc};

use super::civil::{self, Time, Written};
use super::instant::{CHINA, Number, number};
use super::text::{null_token, trim};
use super::writing::plain_writing;
use super::{Converted, Notes, Outcome, note, noted, nothing, period, refuse};

/// Reads a date.
///
/// Forms: `2020-07-31`, `2020/7/3`, `2020.7.3`, `20200731`, `2020年7月3日`, each with a time (`2020-07-31 00:00:00.0`,
/// ISO with zone, `24:00:00` = the next day), full-width digits, `二〇二〇年七月三十一日`, Excel serials 20000–60000 of the
/// 1900 system, epoch milliseconds.
///
/// `None` for blank, N/A, 无, and, noted `null_sentinel`, for 0000-00-00, 0001-01-01, 1899-12-30, 1900-01-01.
///
/// Refusals: `date_open_end` (长期, 永久, any day of 9999, 2099-12-31, 2999-12-31), `date_is_period` (202007, 2020年7月,
/// 2020Q3, 2020年), `date_is_range`, `date_impossible` (no such day or time), `date_out_of_range` (before 1600, after
/// 2199), `date_ambiguous` (two-digit years, day first), `date_unreadable`.
///
/// Notes: `full_width`, `chinese_numerals`, `blanks`, `excel_serial`, `epoch`, `hour_24`, `time_dropped` (it was not
/// midnight), `zone_shifted` (the day in China is not the day written).
pub fn cn_date(text: &str) -> Outcome<NaiveDate> {
    let text = trim(text);
    if let Some(written) = civil::scan(text) {
        return day(written, Notes::new());
    }
    if null_token(text) {
        return nothing();
    }
    if is_open_end(text) {
        return refuse("date_open_end");
    }
    let (plain, mut notes) = plain_writing(text);
    if let Some(written) = civil::scan(&plain) {
        return day(written, notes);
    }
    match number(&plain) {
        Some(Number::Serial(at)) => {
            note(&mut notes, "excel_serial");
            let local = at.with_timezone(&CHINA);
            if local.num_seconds_from_midnight() != 0 {
                note(&mut notes, "time_dropped");
            }
            noted(local.date_naive(), notes)
        }
        Some(Number::Epoch(at)) => {
            note(&mut notes, "epoch");
            day_of_instant(at, notes)
        }
        None => refuse(reason(&plain)),
    }
}

/// 长期, 永久, 无固定期限 and their relatives.
pub(super) fn is_open_end(text: &str) -> bool {
    const WORDS: [&str; 10] =
        ["长期", "永久", "长期有效", "永久有效", "永久存续", "无固定期限", "无限期", "不约定期限", "无期限", "永续"];
    WORDS.contains(&text)
}

/// The day that was written, judged.
fn day(written: Written, mut notes: Notes) -> Outcome<NaiveDate> {
    let Written { year, month, day, compact, time, offset } = written;
    if is_null_sentinel(written) {
        return Ok(Converted { value: None, notes: vec!["null_sentinel"] });
    }
    if is_open_end_day(written) {
        return refuse("date_open_end");
    }
    let Some(date) = NaiveDate::from_ymd_opt(year, month, day) else {
        return refuse(if compact && is_day_first(written) { "date_ambiguous" } else { "date_impossible" });
    };
    if !(1600..2200).contains(&year) {
        return refuse(if compact && is_day_first(written) { "date_ambiguous" } else { "date_out_of_range" });
    }
    match time {
        None | Some(Time::MIDNIGHT) if offset.is_none() => noted(date, notes),
        Some(Time::HOUR_24) => {
            note(&mut notes, "hour_24");
            noted(date.succ_opt().unwrap_or(date), notes)
        }
        _ => day_of_moment(date, written, notes),
    }
}

/// A day with a time that is not midnight or with a zone; +08:00 is our own.
fn day_of_moment(date: NaiveDate, written: Written, mut notes: Notes) -> Outcome<NaiveDate> {
    let Time { hour, minute, second, nanos } = written.time.unwrap_or(Time::MIDNIGHT);
    let Some(at) = date.and_hms_nano_opt(hour, minute, second, nanos) else { return refuse("date_impossible") };
    let Some(offset) = written.offset.filter(|&offset| offset != CHINA.local_minus_utc()) else {
        if written.time != Some(Time::MIDNIGHT) {
            note(&mut notes, "time_dropped");
        }
        return noted(date, notes);
    };
    let Some(utc) = at.checked_sub_signed(chrono::TimeDelta::seconds(offset.into())) else {
        return refuse("date_out_of_range");
    };
    let outcome = day_of_instant(utc.and_utc(), notes)?;
    let mut notes = outcome.notes;
    if outcome.value != Some(date) {
        note(&mut notes, "zone_shifted");
    }
    Ok(Converted { value: outcome.value, notes })
}

/// The day in China; a time other than midnight is dropped, noted.
fn day_of_instant(at: DateTime<Utc>, mut notes: Notes) -> Outcome<NaiveDate> {
    let local = at.with_timezone(&chrono_tz::Asia::Shanghai);
    // An hour past midnight in a daylight-saving year is midnight in the +08:00 that other exporters use.
    let standard = at.with_timezone(&CHINA);
    if local.num_seconds_from_midnight() != 0 && standard.num_seconds_from_midnight() != 0 {
        note(&mut notes, "time_dropped");
    }
    noted(local.date_naive(), notes)
}

/// Whether a written day stands for "no date": 0000-00-00, 0001-01-01, 1899-12-30 (Excel's zero), 1900-01-01.
pub(super) fn is_null_sentinel(written: Written) -> bool {
    matches!((written.year, written.month, written.day), (0, 0, 0) | (1, 1, 1) | (1899, 12, 30) | (1900, 1, 1))
}

/// Whether a written day stands for "no end".
pub(super) fn is_open_end_day(written: Written) -> bool {
    matches!((written.year, written.month, written.day), (9999, ..) | (2099 | 2999, 12, 31))
}

/// `31072020`: the eight digits make a day when read day first.
fn is_day_first(written: Written) -> bool {
    let (first, second) = (written.year.unsigned_abs() / 100, written.year.unsigned_abs() % 100);
    let year = i32::try_from(written.month * 100 + written.day).unwrap_or(0);
    let real = |month, day| NaiveDate::from_ymd_opt(year, month, day).is_some();
    (1900..2100).contains(&year) && (real(second, first) || real(first, second))
}

/// Why a text in plain writing is no date.
pub(super) fn reason(plain: &str) -> &'static str {
    if period::scan(plain).is_some() {
        return "date_is_period";
    }
    let digits = plain.bytes().all(|b| b.is_ascii_digit());
    if digits && plain.len() == 6 {
        return if is_two_digit_year(plain) { "date_ambiguous" } else { "date_impossible" };
    }
    if digits && plain.len() == 12 {
        return "date_ambiguous";
    }
    if ["至", "到", "~"].iter().any(|word| plain.contains(word)) {
        return "date_is_range";
    }
    if is_day_or_short_year_first(plain) { "date_ambiguous" } else { "date_unreadable" }
}

/// `200731`: a day when the century is guessed.
fn is_two_digit_year(digits: &str) -> bool {
    let part = |from: usize| digits.get(from..from + 2).and_then(|two| two.parse::<u32>().ok()).unwrap_or(0);
    let real = |month, day| NaiveDate::from_ymd_opt(2000, month, day).is_some();
    real(part(2), part(4)) || real(part(2), part(0))
}

/// Three groups of digits, the first of one or two: 31/07/2020, 98年7月1日, 31-7月 -20.
fn is_day_or_short_year_first(plain: &str) -> bool {
    const SEPARATORS: [char; 8] = ['年', '月', '日', '号', '-', '/', '.', ' '];
    let date =
        plain.split_once(':').map_or(plain, |(before, _)| before.rsplit_once(' ').map_or(before, |(date, _)| date));
    let mut lengths = date
        .split(SEPARATORS)
        .filter(|group| !group.is_empty())
        .map(|group| if group.bytes().all(|b| b.is_ascii_digit()) { group.len() } else { usize::MAX });
    let groups = [lengths.next(), lengths.next(), lengths.next(), lengths.next()];
    matches!(groups, [Some(1 | 2), Some(1 | 2), Some(1..=4), None])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::{Refusal, vectors};

    fn check(input: &str, expect: Result<(Option<&str>, &[&str]), &'static str>) {
        let got = cn_date(input);
        let text = got.as_ref().ok().and_then(|c| c.value).map(|date| date.to_string());
        let got = got.as_ref().map(|c| (text.as_deref(), c.notes.as_slice()));
        assert_eq!(got, expect.map_err(|code| Refusal { code }).as_ref().map(|pair| *pair), "{input:?}");
    }

    #[test]
    fn every_form_names_the_same_day() {
        for (input, notes) in [
            ("2020-07-31", &[][..]),
            ("20200731", &[]),
            ("2020/7/31", &[]),
            ("2020.7.31", &[]),
            ("2020年7月31日", &[]),
            ("2020年07月31日", &[]),
            (" 2020-07-31 ", &[]),
            ("2020-07-31 00:00:00.0", &[]),
            ("20200731000000", &[]),
            ("2020-07-31T08:00:00+08:00", &["time_dropped"]),
            ("2020-07-31T00:00:00+08:00", &[]),
            ("2020-07-30T16:00:00Z", &["zone_shifted"]),
            ("2020-07-31 13:45", &["time_dropped"]),
            ("２０２０年７月３１日", &["full_width"]),
            ("２０２０／０７／３１", &["full_width"]),
            ("二〇二〇年七月三十一日", &["chinese_numerals"]),
            ("二○二○年七月卅一日", &["chinese_numerals"]),
            ("二O二O年七月三十一日", &["chinese_numerals"]),
            ("贰零贰零年零柒月叁拾壹日", &["chinese_numerals"]),
            ("2020 年 7 月 31 日", &["blanks"]),
            ("2020—07—31", &[]),
            ("44043", &["excel_serial"]),
            ("44043.0", &["excel_serial"]),
            ("44043.5", &["excel_serial", "time_dropped"]),
            ("1596124800000", &["epoch"]),
            ("2020-07-30 24:00:00", &["hour_24"]),
        ] {
            check(input, Ok((Some("2020-07-31"), notes)));
        }
    }

    #[test]
    fn midnights_of_daylight_saving_years_keep_their_day() {
        // 1988-07-01 00:00 written by an exporter that knows daylight saving, and by one that does not.
        check("583686000000", Ok((Some("1988-07-01"), &["epoch"])));
        check("583689600000", Ok((Some("1988-07-01"), &["epoch"])));
        check("1988-06-30T15:00:00Z", Ok((Some("1988-07-01"), &["zone_shifted"])));
        check("-315734400000", Ok((Some("1959-12-31"), &["epoch"])));
    }

    #[test]
    fn what_is_no_day_says_why() {
        for (inputs, code) in [
            (
                &["长期", "永久", "长期有效", "无固定期限", "9999-12-31", "9999-9-9", "2099/12/31", "99991231"][..],
                "date_open_end",
            ),
            (
                &[
                    "202007",
                    "2020年7月",
                    "2020-07",
                    "2020.7",
                    "2020Q3",
                    "2020年",
                    "2020",
                    "２０２０年",
                    "二〇二〇年七月",
                ],
                "date_is_period",
            ),
            (&["2020-02-30", "20201331", "2021-02-29", "2020-07-31 25:00:00", "202013"], "date_impossible"),
            (
                &[
                    "31/07/2020",
                    "7/31/2020",
                    "20-7-31",
                    "98年7月1日",
                    "200731",
                    "31-7月 -20",
                    "31072020",
                    "85.3.1",
                    "202007311200",
                ],
                "date_ambiguous",
            ),
            (&["0020-07-31", "3020-07-31", "1066-10-14"], "date_out_of_range"),
            (&["2020-07-31至2025-07-30", "2020年7月31日到2025年7月30日"], "date_is_range"),
            (
                &["昨天", "2020-7", "7月31日", "12345", "2020-7/31", "61000", "1596124800", "2020-07-31T"][..],
                "date_unreadable",
            ),
        ] {
            for input in inputs {
                let expected = if *input == "2020-7" { "date_is_period" } else { code };
                check(input, Err(expected));
            }
        }
    }

    #[test]
    fn nothing_is_nothing_and_sentinels_are_noted() {
        for input in ["", "-", "/", "N/A", "无", "0"] {
            check(input, Ok((None, &[])));
        }
        for input in ["1900-01-01", "1899-12-30", "0000-00-00", "0001-01-01", "1900-01-01 00:00:00.0", "00000000"] {
            check(input, Ok((None, &["null_sentinel"])));
        }
    }

    #[test]
    fn vectors_agree() {
        let Some(vectors) = vectors::json("dates") else { return };
        for row in vectors["vectors"].as_array().expect("a list") {
            let (input, expect) = (row[0].as_str().expect("a text"), row[1].as_str().expect("an answer"));
            let got = cn_date(input);
            let code = got.as_ref().err().map(|refusal| refusal.code);
            let date = got.as_ref().ok().and_then(|converted| converted.value).map(|date| date.to_string());
            if expect.contains("date1904") {
                assert_eq!(date.as_deref(), Some("2016-07-30"), "the decoder converts 1904 workbooks: {input}");
            } else if expect.starts_with("OPEN_END") {
                assert_eq!(code, Some("date_open_end"), "{input}");
            } else if expect.starts_with("NULL") {
                assert_eq!((code, date), (None, None), "{input}");
            } else if expect.starts_with("INVALID") {
                assert!(matches!(code, Some("date_impossible" | "date_ambiguous")), "{input}");
            } else if expect.len() < 10 || expect.contains("period") {
                assert_eq!(code, Some("date_is_period"), "{input}");
                let period = super::super::cn_period(input).expect("a period").value;
                assert_eq!(period.as_deref(), expect.split(' ').next(), "{input}");
            } else {
                assert_eq!(date.as_deref(), expect.get(..10), "{input}");
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*|[0-9:./ TZ+〇二十廿年月日号至０-９-]{0,30}|-?[0-9]{4,15}") {
            let _ = cn_date(&text);
        }

        #[test]
        fn every_day_reads_back_in_every_form(days in -134_000..84_000_i32) {
            let date = NaiveDate::from_epoch_days(days).expect("a day");
            prop_assume!(date.to_string() != "1899-12-30" && date.to_string() != "1900-01-01" && date.to_string() != "2099-12-31");
            for format in ["%Y-%m-%d", "%Y%m%d", "%Y/%-m/%-d", "%Y.%m.%d", "%Y年%-m月%-d日", "%Y-%m-%d 00:00:00.0"] {
                let text = date.format(format).to_string();
                prop_assert_eq!(cn_date(&text), noted(date, Notes::new()), "{}", text);
            }
        }
    }
}

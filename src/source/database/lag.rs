//! How far a pull goes (游标余量): what is younger than the dataset's `lag` waits for the next one.
//!
//! Decides: the newest value that is taken, written as the column writes its own. A column of times is asked by its type; one
//! of texts or numbers by the form of its newest value. A form that nobody knows is refused: a lag that is not kept loses
//! what is committed late.

use std::time::Duration;

use chrono::{NaiveDateTime, TimeDelta};

use super::client::Client;
use super::sql::Select;
use crate::source::SourceError;

/// Times of day as departments write them.
const MOMENTS: [&str; 8] = [
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y.%m.%d %H:%M:%S",
    "%Y年%m月%d日 %H:%M:%S",
    "%Y%m%d%H%M%S",
    "%Y%m%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
];

/// Days.
const DAYS: [&str; 5] = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%Y%m%d"];

/// The greatest value of the cursor that is old enough; `None` without a lag, or where there are no rows.
pub(super) async fn ceiling(
    client: &mut Client,
    select: &Select,
    (lag, table): (Duration, &str),
) -> Result<Option<String>, SourceError> {
    if lag.is_zero() {
        return Ok(None);
    }
    if let Some(asked) = select.ceiling(lag) {
        return Ok(client.first(&asked).await?.and_then(|row| row.into_iter().next().flatten()));
    }
    let Some(newest) = client.first(&select.newest()).await?.and_then(|row| row.into_iter().next().flatten()) else {
        return Ok(None);
    };
    let clock = client.first(&select.clock(lag)).await?.unwrap_or_default();
    let clock = clock.into_iter().next().flatten().and_then(|now| {
        let (civil, epoch) = now.split_once('|').unwrap_or((&now, ""));
        let civil = NaiveDateTime::parse_from_str(civil.get(..19)?, "%Y-%m-%d %H:%M:%S").ok()?;
        Some((civil, epoch.split('.').next()?.parse::<i64>().ok()))
    });
    let written = clock.and_then(|clock| written_like(&newest, clock));
    written.map(Some).ok_or_else(|| SourceError::Lag { table: table.to_owned() })
}

/// A moment, and the same in seconds since 1970, as this value is written; a place's type (`i:`) stays before it.
fn written_like(newest: &str, (civil, epoch): (NaiveDateTime, Option<i64>)) -> Option<String> {
    if let Some((kind, value)) = newest.split_once(':').filter(|(kind, _)| ["i", "r", "t"].contains(kind)) {
        return written_like(value, (civil, epoch)).map(|written| format!("{kind}:{written}"));
    }
    let whole = newest.trim_end();
    let value = whole.split_once('.').filter(|(_, rest)| is_number(rest)).map_or(whole, |(value, _)| value);
    let fits =
        |form: &&&str| NaiveDateTime::parse_from_str(value, form).is_ok_and(|at| at.format(form).to_string() == value);
    if let Some(form) = MOMENTS.iter().find(fits) {
        return Some(civil.format(form).to_string());
    }
    let is_day = |form: &&&str| {
        chrono::NaiveDate::parse_from_str(whole, form).is_ok_and(|day| day.format(form).to_string() == whole)
    };
    if let Some(form) = DAYS.iter().find(is_day) {
        // A day is old enough when all of it is.
        return Some((civil - TimeDelta::days(1)).format(form).to_string());
    }
    match value.len() {
        // Seconds, milli- and microseconds since 1970.
        10 | 13 | 16 if is_number(value) => Some(format!("{}{}", epoch?, "0".repeat(value.len() - 10))),
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_is_written_as_the_column_writes() {
        let civil = NaiveDateTime::parse_from_str("2026-11-23 09:05:07", "%Y-%m-%d %H:%M:%S").unwrap();
        let check = |newest: &str, expected: Option<&str>| {
            assert_eq!(written_like(newest, (civil, Some(1_795_395_907))).as_deref(), expected, "{newest}");
        };
        check("2026-11-23 10:00:00", Some("2026-11-23 09:05:07"));
        check("2026-11-23 10:00:00.250", Some("2026-11-23 09:05:07"));
        check("2026-11-23T10:00:00", Some("2026-11-23T09:05:07"));
        check("2026/11/23 10:00:00", Some("2026/11/23 09:05:07"));
        check("20261123100000", Some("20261123090507"));
        check("t:20261123100000", Some("t:20261123090507"));
        check("2026年11月23日", Some("2026年11月22日"));
        check("20261123", Some("20261122"));
        check("1795399507", Some("1795395907"));
        check("i:1795399507123", Some("i:1795395907000"));
        // Their texts are not in the order of their times.
        check("2026-1-3 9:00:00", None);
        check("23/11/2026", None);
        check("2026-11-23T10:00:00Z", None);
        check("42", None);
        check("昨天", None);
    }
}

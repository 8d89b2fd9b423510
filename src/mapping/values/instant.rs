//! Instants written as plain numbers: Excel serials and epoch milliseconds.
//!
//! Decides: which numbers count days, which milliseconds, and which could be either or something else.

use chrono::{DateTime, NaiveDate, Utc};

use super::civil;

/// +08:00.
pub(super) const CHINA: chrono::FixedOffset = match chrono::FixedOffset::east_opt(8 * 3600) {
    Some(offset) => offset,
    None => panic!("eight hours are less than a day"),
};

/// A number that counts days or milliseconds.
pub(super) enum Number {
    /// Days since 1899-12-30 with a fraction: Excel's 1900 system, in Chinese civil time.
    Serial(DateTime<Utc>),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Epoch(DateTime<Utc>),
}

/// Excel serials 20000–60000 (1954–2064) and epoch milliseconds of 12 or 13 digits. Twelve digits that also read as
/// `yyyymmddhhmm` are neither.
pub(super) fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if matches!(digits.len(), 12 | 13) && digits.bytes().all(|b| b.is_ascii_digit()) {
        if digits.len() == 12 && is_minute(text) {
            return None;
        }
        return DateTime::from_timestamp_millis(text.parse().ok()?).map(Number::Epoch);
    }
    let (days, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if days.len() != 5 || !all_digits(days) || !all_digits(fraction) || fraction.len() > 15 {
        return None;
    }
    let days: i64 = days.parse().ok().filter(|days| (20_000..=60_000).contains(days))?;
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "a fraction of a day has at most 86,400 seconds")]
    let seconds = (fraction * 86_400.0).round() as i64;
    let midnight = NaiveDate::from_ymd_opt(1899, 12, 30)?.and_hms_opt(0, 0, 0)?.and_local_timezone(CHINA).single()?;
    let at = midnight.checked_add_signed(chrono::TimeDelta::seconds(days * 86_400 + seconds))?;
    Some(Number::Serial(at.to_utc()))
}

/// `202007311200` as year to minute.
fn is_minute(digits: &str) -> bool {
    digits
        .split_at_checked(8)
        .and_then(|(date, time)| Some((civil::scan(date)?, time.parse::<u32>().ok()?)))
        .is_some_and(|(date, time)| {
            let real = NaiveDate::from_ymd_opt(date.year, date.month, date.day).is_some();
            real && (1900..2100).contains(&date.year) && time / 100 < 24 && time % 100 < 60
        })
}

//! One scalar against what is expected of it.

use std::str::FromStr;

use chrono::{DateTime, FixedOffset, NaiveDate};

use super::shape::Kind;
use super::units::{ByteSize, Percent, Quota, Rate, span};
use crate::clock::{Days, Term};

/// Why a scalar is not what is expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub code: &'static str,
    /// What it is not: `a duration`.
    pub not: &'static str,
    pub hint: Option<&'static str>,
}

/// Whether `text` (written without quotes when `plain`) is of this kind. Words and references are checked elsewhere.
pub(super) fn check(text: &str, plain: bool, kind: &Kind) -> Result<(), Wrong> {
    let value = |not, hint| Wrong { code: "HL0108", not, hint };
    let unit = |not| Wrong { code: "HL0111", not, hint: None };
    match kind {
        Kind::Text if text.trim().is_empty() => Err(value("text", None)),
        Kind::Version if text != "1" => Err(Wrong { code: "HL0113", not: "a version that is known", hint: None }),
        Kind::Integer(least, most) => integer(text)
            .filter(|n| plain && (*least..=*most).contains(n))
            .map(drop)
            .ok_or(value("a whole number in range", None)),
        Kind::Boolean => boolean(text).filter(|_| plain).map(drop).ok_or(value("a truth value", truth_hint(text))),
        Kind::Character(or_none) => {
            character(text).filter(|c| *or_none || c.is_some()).map(drop).ok_or(value("a separator", None))
        }
        Kind::Separator => separator(text).map(drop).ok_or(value("a separator", None)),
        Kind::Pattern if text.trim().is_empty() => Err(value("a pattern", None)),
        Kind::Pattern => match text.split('/').find_map(|name| super::Pattern::parse(name).err()) {
            None => Ok(()),
            Some(why) => Err(value("a pattern", Some(why))),
        },
        Kind::Template => match super::Template::parse(text) {
            Ok(_) => Ok(()),
            Err(why) => Err(value("a template", Some(why))),
        },
        Kind::Date => date(text).map(drop).ok_or(value("a date", None)),
        Kind::Instant => instant(text).map(drop).ok_or(value("an instant", None)),
        Kind::Span => span::parse(text).map(drop).map_err(|_| unit("a duration")),
        Kind::Term => Term::parse(text).map(drop).ok_or(unit("a term")),
        Kind::Days => days(text).map(drop).ok_or(value("a date, or two with .. between them", None)),
        Kind::Percent => Percent::parse(text).map(drop).map_err(|_| unit("a share")),
        Kind::Bytes => ByteSize::parse(text).map(drop).map_err(|_| unit("a size")),
        Kind::Rate => Rate::parse(text).map(drop).map_err(|_| unit("a rate")),
        Kind::Quota => Quota::parse(text).map(drop).map_err(|_| unit("a quota")),
        Kind::Cron => cron(text),
        Kind::Zone => text.parse::<chrono_tz::Tz>().map(drop).map_err(|_| value("a time zone", None)),
        _ => Ok(()),
    }
}

/// Digits without sign or leading zero.
pub(super) fn integer(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if digits { text.parse().ok() } else { None }
}

/// `true` or `false` and nothing else: `no` and `off` are words, and Norway is not false.
pub(super) fn boolean(text: &str) -> Option<bool> {
    bool::from_str(text).ok()
}

/// One ASCII character, `tab`, or `none`; the outer `None` is a text that is none of these.
pub(super) fn character(text: &str) -> Option<Option<u8>> {
    match (text, text.as_bytes()) {
        ("none", _) => Some(None),
        ("tab", _) => Some(Some(b'\t')),
        (_, [byte]) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Some(Some(*byte)),
        _ => None,
    }
}

/// One to sixteen characters, `tab`, or `line` (`None`: the end of a line).
pub(super) fn separator(text: &str) -> Option<Option<String>> {
    match text {
        "line" | "\n" | "\r\n" => Some(None),
        "tab" => Some(Some("\t".to_owned())),
        _ => (!text.is_empty() && text.chars().count() <= 16).then(|| Some(text.to_owned())),
    }
}

/// `2026-03-01`.
pub(super) fn date(text: &str) -> Option<NaiveDate> {
    let shape = text.len() == 10; // chrono alone would also take 2026-3-1
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| shape)
}

/// `2026-02-15..2026-02-23`, or one date.
pub(super) fn days(text: &str) -> Option<Days> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let days = Days { first: date(first.trim())?, last: date(last.trim())? };
    (days.first <= days.last).then_some(days)
}

/// RFC 3339.
pub(super) fn instant(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok()
}

/// Six fields, weekdays by name, and at least one day on which it fires.
fn cron(text: &str) -> Result<(), Wrong> {
    let wrong = |hint| Wrong { code: "HL0112", not: "a schedule", hint };
    let fields: Vec<&str> = text.split_whitespace().collect();
    match fields.as_slice() {
        [_, _, _, _, _] => return Err(wrong(Some("put the second first: 0 30 2 * * * is half past two every night"))),
        [_, _, _, _, _, weekday] if weekday.chars().any(|c| c.is_ascii_digit()) => {
            return Err(wrong(Some("write weekdays as names (Mon-Fri): their numbers differ from cron to cron")));
        }
        [_, _, _, _, _, _] => {}
        _ => return Err(wrong(None)),
    }
    let schedule = cron::Schedule::from_str(text).map_err(|_| wrong(None))?;
    match schedule.after(&DateTime::UNIX_EPOCH).next() {
        Some(_) => Ok(()),
        None => Err(wrong(Some("it is well-formed, but no such day exists"))),
    }
}

fn truth_hint(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" | "是" => Some("write true"),
        "no" | "off" | "false" | "否" => Some("write false"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(kind: &Kind, text: &str) -> Option<(&'static str, Option<&'static str>)> {
        super::check(text, true, kind).err().map(|wrong| (wrong.code, wrong.hint))
    }

    #[test]
    fn schedules_have_six_fields_named_weekdays_and_a_day_to_fire() {
        for (text, valid) in [
            ("0 30 2 * * *", true),
            ("0 0/15 * * * Mon-Fri", true),
            ("0 0 3 1 1,7 *", true),
            ("30 2 * * *", false),
            ("0 30 2 * * 1", false),
            ("0 30 2 * * * 2026", false),
            ("0 61 2 * * *", false),
            ("0 0 0 30 2 *", false),
            ("every night", false),
        ] {
            assert_eq!(verdict(&Kind::Cron, text).is_none(), valid, "{text:?}");
        }
        let hint = verdict(&Kind::Cron, "30 2 * * *").and_then(|(_, hint)| hint).unwrap_or_default();
        assert!(hint.starts_with("put the second first"), "{hint}");
    }

    #[test]
    fn yes_is_not_true_and_quoted_true_is_text() {
        assert_eq!(verdict(&Kind::Boolean, "true"), None);
        assert_eq!(verdict(&Kind::Boolean, "yes"), Some(("HL0108", Some("write true"))));
        assert_eq!(verdict(&Kind::Boolean, "NO"), Some(("HL0108", Some("write false"))));
        assert!(super::check("true", false, &Kind::Boolean).is_err());
    }

    #[test]
    fn other_scalars_are_what_they_say() {
        for (kind, text, code) in [
            (Kind::Text, "工商", None),
            (Kind::Text, "  ", Some("HL0108")),
            (Kind::Version, "1", None),
            (Kind::Version, "2", Some("HL0113")),
            (Kind::Integer(1, 4), "4", None),
            (Kind::Integer(1, 4), "5", Some("HL0108")),
            (Kind::Integer(0, 9), "07", Some("HL0108")),
            (Kind::Integer(0, 9), "1_0", Some("HL0108")),
            (Kind::Date, "2026-02-28", None),
            (Kind::Date, "2026-02-29", Some("HL0108")),
            (Kind::Date, "2026-3-1", Some("HL0108")),
            (Kind::Instant, "2026-03-01T08:00:00+08:00", None),
            (Kind::Instant, "2026-03-01", Some("HL0108")),
            (Kind::Span, "10m", None),
            (Kind::Span, "10", Some("HL0111")),
            (Kind::Term, "5 个工作日", None),
            (Kind::Term, "5", Some("HL0111")),
            (Kind::Days, "2026-02-15..2026-02-23", None),
            (Kind::Days, "2026-02-23..2026-02-15", Some("HL0108")),
            (Kind::Percent, "5", Some("HL0111")),
            (Kind::Bytes, "512MB", Some("HL0111")),
            (Kind::Rate, "5/s", Some("HL0111")),
            (Kind::Quota, "5/d", Some("HL0111")),
            (Kind::Zone, "Asia/Shanghai", None),
            (Kind::Zone, "Beijing", Some("HL0108")),
            (Kind::Character(false), ",", None),
            (Kind::Character(false), "tab", None),
            (Kind::Character(false), "none", Some("HL0108")),
            (Kind::Separator, "|||", None),
            (Kind::Separator, "\0", None),
            (Kind::Separator, "line", None),
            (Kind::Separator, "", Some("HL0108")),
            (Kind::Separator, "12345678901234567", Some("HL0108")),
            (Kind::Template, "3003{bytes:8}", None),
            (Kind::Template, "{a}{b}", Some("HL0108")),
            (Kind::Pattern, "{yyyy}/QY_{yyyyMMdd}_*.csv", None),
            (Kind::Pattern, "QY_{date}.csv", Some("HL0108")),
            (Kind::Character(true), "none", None),
            (Kind::Character(true), "，", Some("HL0108")),
            (Kind::Character(true), "||", Some("HL0108")),
        ] {
            assert_eq!(verdict(&kind, text).map(|(code, _)| code), code, "{kind:?} {text:?}");
        }
    }
}

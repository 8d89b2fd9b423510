//! Periods 所属期: a year, a quarter, a month.
//!
//! Decides: which texts name a period and not a day, and their canonical text.

use super::text::{null_token, trim};
use super::writing::plain_writing;
use super::{Notes, Outcome, civil, noted, nothing, refuse};

/// Reads a period into canonical text: `2020-07`, `2020-Q3`, `2020`.
///
/// Accepts `202007`, `2020-7`, `2020/7`, `2020.7`, `2020年7月`, `2020年7月份`, `2020Q3`, `2020-Q3`, `2020年第三季度`,
/// `2020年3季度`, `2020`, `2020年`, `2020年度`, with full-width digits and Chinese numerals. `None` for blank, N/A, 无.
/// Refusals: `period_is_date` (it names a day), `period_unreadable`. Notes: `full_width`, `chinese_numerals`, `blanks`.
pub fn cn_period(text: &str) -> Outcome<String> {
    let text = trim(text);
    if null_token(text) {
        return nothing();
    }
    if let Some(period) = scan(text) {
        return noted(period.to_string(), Notes::new());
    }
    let (plain, notes) = plain_writing(text);
    match scan(&plain) {
        Some(period) => noted(period.to_string(), notes),
        None if civil::scan(&plain).is_some() => refuse("period_is_date"),
        None => refuse("period_unreadable"),
    }
}

/// A period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Year(u32),
    Quarter(u32, u32),
    Month(u32, u32),
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Year(year) => write!(f, "{year}"),
            Self::Quarter(year, quarter) => write!(f, "{year}-Q{quarter}"),
            Self::Month(year, month) => write!(f, "{year}-{month:02}"),
        }
    }
}

/// A period in half-width digits.
pub(super) fn scan(text: &str) -> Option<Period> {
    let (year, rest) = text.split_at_checked(4)?;
    let year = number(year, 4).filter(|year| (1900..2200).contains(year))?;
    if rest.is_empty() || rest == "年" || rest == "年度" {
        return Some(Period::Year(year));
    }
    let tail = rest.strip_prefix("年").unwrap_or(rest);
    let in_chinese = tail.len() < rest.len();
    if let Some(month) = tail.strip_suffix("月份").or_else(|| tail.strip_suffix("月")).filter(|_| in_chinese) {
        return month_of(year, month);
    }
    if let Some(quarter) = tail.strip_suffix("季度").or_else(|| tail.strip_suffix("季")) {
        return quarter_of(year, quarter.trim_start_matches('第'));
    }
    let bare = tail.strip_prefix(['-', '/', '.']).unwrap_or(tail);
    if let Some(quarter) = bare.strip_prefix(['Q', 'q']) {
        return quarter_of(year, quarter);
    }
    match bare.len() {
        2 if !in_chinese => month_of(year, bare),
        1 if !in_chinese && bare.len() < tail.len() => month_of(year, bare),
        _ => None,
    }
}

fn month_of(year: u32, month: &str) -> Option<Period> {
    number(month, 2).filter(|month| (1..=12).contains(month)).map(|month| Period::Month(year, month))
}

fn quarter_of(year: u32, quarter: &str) -> Option<Period> {
    number(quarter, 1).filter(|quarter| (1..=4).contains(quarter)).map(|quarter| Period::Quarter(year, quarter))
}

fn number(digits: &str, max: usize) -> Option<u32> {
    let good = (1..=max).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| good)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::Refusal;

    fn check(input: &str, expect: Result<Option<&str>, &'static str>) {
        let got = cn_period(input).map(|converted| converted.value);
        assert_eq!(got, expect.map(|v| v.map(str::to_owned)).map_err(|code| Refusal { code }), "{input:?}");
    }

    #[test]
    fn periods_have_one_canonical_text() {
        for input in [
            "202007",
            "2020-07",
            "2020-7",
            "2020/7",
            "2020.7",
            "2020年7月",
            "2020年07月份",
            "２０２０年７月",
            "二〇二〇年七月",
        ] {
            check(input, Ok(Some("2020-07")));
        }
        for input in ["2020Q3", "2020-Q3", "2020q3", "2020年3季度", "2020年第3季度", "2020年第三季度", "2020第三季度"]
        {
            check(input, Ok(Some("2020-Q3")));
        }
        for input in ["2020", "2020年", "2020年度", "二〇二〇年"] {
            check(input, Ok(Some("2020")));
        }
        check("N/A", Ok(None));
        check("20200731", Err("period_is_date"));
        check("2020年7月31日", Err("period_is_date"));
        for input in ["202013", "2020Q5", "20207", "7月", "0020", "2020-", "2020年上半年", "本月"] {
            check(input, Err("period_unreadable"));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*|[0-9年月季度第Qq一二.-]{0,12}") {
            let _ = cn_period(&text);
        }
    }
}

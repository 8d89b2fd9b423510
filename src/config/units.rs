//! Bounded scalars with units: `10m`, `0.5%`, `512MiB`, `5000 rows/s`, `200000 records/day`.
//!
//! Each is written as one number and one unit, a blank between them or not; a number without its unit is refused,
//! because nobody can review it.

use std::time::Duration;

/// A scalar is not written as its unit demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct Malformed {
    /// What is expected, with an example: `a size such as 512MiB`.
    pub expected: &'static str,
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// What is written, for messages and schemas.
    pub const EXPECTED: &'static str = "a size above zero such as 512MiB (B, KiB, MiB, GiB)";
    /// The same as a regular expression, for editors.
    pub const PATTERN: &'static str = r"^[0-9]+ *(B|KiB|MiB|GiB)$";

    /// Reads `512MiB`: a whole number above zero and a binary unit.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let malformed = Malformed { expected: Self::EXPECTED };
        let (number, unit) = number_and_unit(text);
        let shift = match unit {
            "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(malformed),
        };
        let count = whole(number).ok_or(malformed)?;
        count.checked_mul(1 << shift).filter(|bytes| *bytes > 0).map(Self).ok_or(malformed)
    }
}

/// A share between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

impl Percent {
    /// What is written, for messages and schemas.
    pub const EXPECTED: &'static str = "a share from 0% to 100% such as 0.5%";
    /// The same as a regular expression, for editors.
    pub const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+)? *%$";

    /// Reads `0.5%` as 0.005.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let malformed = Malformed { expected: Self::EXPECTED };
        let (number, unit) = number_and_unit(text);
        let plain = number.starts_with(|c: char| c.is_ascii_digit()) && number.ends_with(|c: char| c.is_ascii_digit());
        if unit != "%" || !plain {
            return Err(malformed);
        }
        let percent: f64 = number.parse().map_err(|_| malformed)?;
        if percent <= 100.0 { Ok(Self(percent / 100.0)) } else { Err(malformed) }
    }
}

/// Rows per second, above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub u32);

impl Rate {
    /// What is written, for messages and schemas.
    pub const EXPECTED: &'static str = "a rate above zero such as 5000 rows/s";
    /// The same as a regular expression, for editors.
    pub const PATTERN: &'static str = r"^[0-9]+ *rows/s$";

    /// Reads `5000 rows/s`.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        match number_and_unit(text) {
            (number, "rows/s") => whole(number).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).map(Self),
            _ => None,
        }
        .ok_or(Malformed { expected: Self::EXPECTED })
    }
}

/// Records a day, above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota(pub u64);

impl Quota {
    /// What is written, for messages and schemas.
    pub const EXPECTED: &'static str = "a quota above zero such as 200000 records/day";
    /// The same as a regular expression, for editors.
    pub const PATTERN: &'static str = r"^[0-9]+ *records/day$";

    /// Reads `200000 records/day`.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        match number_and_unit(text) {
            (number, "records/day") => whole(number).filter(|n| *n > 0).map(Self),
            _ => None,
        }
        .ok_or(Malformed { expected: Self::EXPECTED })
    }
}

/// Spans of time: `30s`, `10m`, `4h`, `7d`.
pub(super) mod span {
    use super::{Duration, Malformed, number_and_unit, whole};

    /// What is written, for messages and schemas.
    pub const EXPECTED: &str = "a duration above zero such as 30s, 10m, 4h or 7d";
    /// The same as a regular expression, for editors.
    pub const PATTERN: &str = r"^[0-9]+ *(s|m|h|d)$";
    /// The longest duration that is taken seriously: ten years, in seconds.
    const LONGEST: u64 = 10 * 366 * 86_400;

    /// Reads `10m`: a whole number above zero and one of s, m, h, d.
    pub fn parse(text: &str) -> Result<Duration, Malformed> {
        let malformed = Malformed { expected: EXPECTED };
        let (number, unit) = number_and_unit(text);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(malformed),
        };
        let total = whole(number).and_then(|n| n.checked_mul(seconds)).ok_or(malformed)?;
        if (1..=LONGEST).contains(&total) { Ok(Duration::from_secs(total)) } else { Err(malformed) }
    }
}

/// `512 MiB` → (`512`, `MiB`): digits and points first, then, after blanks, everything else.
fn number_and_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start_matches(' '))
}

fn whole(digits: &str) -> Option<u64> {
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_of_binary_units() {
        for (text, expect) in [
            ("512MiB", Some(512 << 20)),
            ("4 MiB", Some(4 << 20)),
            ("1B", Some(1)),
            ("2GiB", Some(2 << 30)),
            ("512", None),
            ("512MB", None),
            ("0B", None),
            ("1.5MiB", None),
            ("-1B", None),
            ("99999999999999999999B", None),
            ("18446744073709551615GiB", None),
            ("五MiB", None),
            ("", None),
        ] {
            assert_eq!(ByteSize::parse(text).ok(), expect.map(ByteSize), "{text:?}");
        }
    }

    #[test]
    fn shares_lie_between_nothing_and_everything() {
        for (text, expect) in [
            ("0.5%", Some(0.005)),
            ("5 %", Some(0.05)),
            ("100%", Some(1.0)),
            ("0%", Some(0.0)),
            ("100.1%", None),
            ("5", None),
            ("0.05", None),
            ("1.2.3%", None),
            (".5%", None),
            ("5.%", None),
            ("-1%", None),
            ("％", None),
        ] {
            assert_eq!(Percent::parse(text).ok(), expect.map(Percent), "{text:?}");
        }
    }

    #[test]
    fn rates_and_quotas_name_what_they_count() {
        assert_eq!(Rate::parse("5000 rows/s"), Ok(Rate(5000)));
        assert_eq!(Rate::parse("5000rows/s"), Ok(Rate(5000)));
        for text in ["5000", "0 rows/s", "5000 records/s", "5000 rows/min", "99999999999 rows/s"] {
            assert_eq!(Rate::parse(text), Err(Malformed { expected: Rate::EXPECTED }), "{text:?}");
        }
        assert_eq!(Quota::parse("200000 records/day"), Ok(Quota(200_000)));
        for text in ["200000", "0 records/day", "1 rows/day", "1 records/hour"] {
            assert_eq!(Quota::parse(text), Err(Malformed { expected: Quota::EXPECTED }), "{text:?}");
        }
    }

    #[test]
    fn durations_carry_one_unit() {
        for (text, expect) in [
            ("30s", Some(30)),
            ("10m", Some(600)),
            ("4h", Some(14_400)),
            ("7d", Some(604_800)),
            ("1 m", Some(60)),
            ("10", None),
            ("0m", None),
            ("1h30m", None),
            ("1.5h", None),
            ("10min", None),
            ("99999999999d", None),
        ] {
            assert_eq!(span::parse(text).ok(), expect.map(Duration::from_secs), "{text:?}");
        }
    }
}

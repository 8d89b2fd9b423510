//! The syntax of dates and times as departments write them, in one pass over the bytes and without judging them.
//!
//! Decides: what is year, month, day, time and zone. Must not know: sentinels, ranges, what an open end is.

/// A date as written; nothing says yet that such a day exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) year: i32,
    pub(super) month: u32,
    pub(super) day: u32,
    /// Eight digits without separators.
    pub(super) compact: bool,
    pub(super) time: Option<Time>,
    /// Seconds east of UTC, when a zone is written.
    pub(super) offset: Option<i32>,
}

/// A time of day as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
    pub(super) nanos: u32,
}

impl Time {
    pub(super) const MIDNIGHT: Self = Self { hour: 0, minute: 0, second: 0, nanos: 0 };
    pub(super) const HOUR_24: Self = Self { hour: 24, minute: 0, second: 0, nanos: 0 };
}

/// Reads a four-digit year, month and day with `-`, `/`, `.`, 年月日 or nothing between them, then optionally a time
/// and a zone. `None` when the text has any other shape.
pub(super) fn scan(text: &str) -> Option<Written> {
    let mut rest = Bytes(text.as_bytes());
    let year = rest.digits(4, 4)?;
    let compact = matches!(rest.0.first(), Some(b'0'..=b'9'));
    let (month, day) = if compact { (rest.digits(2, 2)?, rest.digits(2, 2)?) } else { rest.month_and_day()? };
    if compact && matches!(rest.0.first(), Some(b'0'..=b'9')) {
        let time = Time { hour: rest.digits(2, 2)?, minute: rest.digits(2, 2)?, second: rest.digits(2, 2)?, nanos: 0 };
        return rest.0.is_empty().then(|| written((year, month, day), true, Some(time), None));
    }
    if rest.0.is_empty() {
        return Some(written((year, month, day), compact, None, None));
    }
    let time = rest.time()?;
    let offset = if rest.0.is_empty() { None } else { Some(rest.zone()?) };
    rest.0.is_empty().then(|| written((year, month, day), compact, Some(time), offset))
}

fn written((year, month, day): (u32, u32, u32), compact: bool, time: Option<Time>, offset: Option<i32>) -> Written {
    // At most four digits, so the year fits.
    Written { year: i32::try_from(year).unwrap_or(i32::MAX), month, day, compact, time, offset }
}

/// What has not been read yet.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    /// Between `min` and `max` ASCII digits (at most nine).
    fn digits(&mut self, min: usize, max: usize) -> Option<u32> {
        let count = self.0.iter().take(max).take_while(|b| b.is_ascii_digit()).count();
        if count < min {
            return None;
        }
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(digits.iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0')))
    }

    /// Consumes `prefix` if it is next.
    fn eat(&mut self, prefix: &str) -> bool {
        match self.0.strip_prefix(prefix.as_bytes()) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn month_and_day(&mut self) -> Option<(u32, u32)> {
        for separator in ["-", "/", "."] {
            if self.eat(separator) {
                let month = self.digits(1, 2)?;
                return if self.eat(separator) { Some((month, self.digits(1, 2)?)) } else { None };
            }
        }
        if !self.eat("年") {
            return None;
        }
        let month = self.digits(1, 2)?;
        if !self.eat("月") {
            return None;
        }
        let day = self.digits(1, 2)?;
        (self.eat("日") || self.eat("号")).then_some((month, day))
    }

    /// `T08:30:00.0`, ` 8:30`, `8时30分0秒`.
    fn time(&mut self) -> Option<Time> {
        if !(self.eat("T") || self.eat("t")) {
            while self.eat(" ") {}
        }
        let hour = self.digits(1, 2)?;
        if self.eat("时") {
            let minute = if self.0.is_empty() { 0 } else { self.digits(1, 2).filter(|_| self.eat("分"))? };
            let second = if self.0.is_empty() { 0 } else { self.digits(1, 2).filter(|_| self.eat("秒"))? };
            return Some(Time { hour, minute, second, nanos: 0 });
        }
        if !self.eat(":") {
            return None;
        }
        let minute = self.digits(1, 2)?;
        let second = if self.eat(":") { self.digits(1, 2)? } else { 0 };
        let nanos = if self.eat(".") { self.nanos()? } else { 0 };
        Some(Time { hour, minute, second, nanos })
    }

    /// One to nine digits of a second's fraction; further digits are read and cut.
    fn nanos(&mut self) -> Option<u32> {
        let before = self.0.len();
        let digits = self.digits(1, 9)?;
        let count = u32::try_from(before - self.0.len()).ok()?;
        while self.digits(1, 1).is_some() {}
        Some(digits * 10_u32.pow(9 - count))
    }

    /// `Z`, `+08:00`, `+0800`, `+08`.
    fn zone(&mut self) -> Option<i32> {
        while self.eat(" ") {}
        if self.eat("Z") || self.eat("z") {
            return Some(0);
        }
        let sign = if self.eat("+") {
            1
        } else if self.eat("-") {
            -1
        } else {
            return None;
        };
        let hours = self.digits(2, 2)?;
        let minutes = if self.eat(":") || !self.0.is_empty() { self.digits(2, 2)? } else { 0 };
        let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
        (hours <= 14 && minutes < 60).then_some(sign * seconds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shapes_are_recognised() {
        let time = |hour, minute, second, nanos| Some(Time { hour, minute, second, nanos });
        for (text, time, offset) in [
            ("2020-07-31", None, None),
            ("2020-7-31", None, None),
            ("2020/7/31", None, None),
            ("2020.7.31", None, None),
            ("20200731", None, None),
            ("2020年7月31日", None, None),
            ("2020年07月31号", None, None),
            ("2020-07-31 00:00:00.0", time(0, 0, 0, 0), None),
            ("2020-07-31T08:00:00+08:00", time(8, 0, 0, 0), Some(28_800)),
            ("2020-07-31T08:00:00.123456Z", time(8, 0, 0, 123_456_000), Some(0)),
            ("2020-07-31T08:00:00-0530", time(8, 0, 0, 0), Some(-19_800)),
            ("2020/7/31 8:05", time(8, 5, 0, 0), None),
            ("20200731083001", time(8, 30, 1, 0), None),
            ("2020年7月31日8时30分", time(8, 30, 0, 0), None),
            ("2020-07-31 24:00:00", time(24, 0, 0, 0), None),
        ] {
            let got = scan(text).unwrap_or_else(|| panic!("{text} is a date"));
            assert_eq!((got.year, got.month, got.day), (2020, 7, 31), "{text}");
            assert_eq!((got.time, got.offset), (time, offset), "{text}");
        }
        for text in
            ["", "2020", "202007", "2020-07", "2020-07/31", "2020-07-31x", "2020-07-31 ", "2020年7月31", "31/07/2020"]
        {
            assert_eq!(scan(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*|[0-9:./ TZ+年月日时分秒-]{0,30}") {
            let _ = scan(&text);
        }
    }
}

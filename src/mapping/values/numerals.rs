//! Chinese numerals 中文数字, plain and capital 大写, as dates and amounts write them.
//!
//! Decides: what a run of numeral characters is worth. Look-alikes of 〇 (○ Ο O) count as zero only between numerals.

/// The digit a character stands for: 〇零○ 一壹 二贰两 … 九玖.
pub(super) fn digit(c: char) -> Option<u32> {
    Some(match c {
        '〇' | '零' | '○' | 'Ο' | '◯' => 0,
        '一' | '壹' | '弌' => 1,
        '二' | '贰' | '貳' | '两' | '弍' => 2,
        '三' | '叁' | '參' | '叄' => 3,
        '四' | '肆' => 4,
        '五' | '伍' => 5,
        '六' | '陆' | '陸' => 6,
        '七' | '柒' => 7,
        '八' | '捌' => 8,
        '九' | '玖' => 9,
        _ => return None,
    })
}

/// The power of ten a character multiplies with: 十拾 1, 百佰 2, 千仟 3, 万萬 4, 亿億 8.
pub(super) fn power(c: char) -> Option<u32> {
    Some(match c {
        '十' | '拾' => 1,
        '百' | '佰' => 2,
        '千' | '仟' => 3,
        '万' | '萬' => 4,
        '亿' | '億' => 8,
        _ => return None,
    })
}

/// Whether a character can be part of a Chinese number.
pub(super) fn is_numeral(c: char) -> bool {
    digit(c).is_some() || power(c).is_some() || matches!(c, '廿' | '卅')
}

/// A whole number: `三十一` 31, `廿一` 21, `壹仟零伍拾万` 10,500,000, `一亿二千万` 120,000,000, `零柒` 7, `二〇二〇` 2020.
///
/// `None` when the characters do not make one: an empty text, units out of order, a unit without a digit (except a
/// leading 十), more than 10¹⁶.
pub(super) fn integer(text: &str) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    if text.chars().all(|c| digit(c).is_some()) {
        return positional(text);
    }
    let mut number = Number::default();
    for c in text.chars() {
        number.take(c)?;
    }
    number.finish()
}

/// Digit by digit.
fn positional(text: &str) -> Option<i64> {
    text.chars().try_fold(0_i64, |n, c| (n < 1_000_000_000_000_000).then_some(n * 10 + i64::from(digit(c)?)))
}

/// A number while it is being read: finished myriads, the section below 万 being built, and a digit that waits.
#[derive(Default)]
struct Number {
    total: i64,
    section: i64,
    digit: Option<u32>,
    /// The power of the last unit inside the section; the next must be smaller.
    last_power: Option<u32>,
    /// The power of the last 万 or 亿; the next must be smaller.
    last_myriad: Option<u32>,
}

impl Number {
    fn take(&mut self, c: char) -> Option<()> {
        if let Some(digit) = digit(c) {
            if self.digit.is_some_and(|waiting| waiting != 0) {
                return None;
            }
            self.digit = Some(digit);
            return Some(());
        }
        match c {
            '廿' => self.tens(2),
            '卅' => self.tens(3),
            _ => match power(c)? {
                power @ 1..=3 => self.unit(power),
                power => self.myriad(power),
            },
        }
    }

    fn tens(&mut self, tens: u32) -> Option<()> {
        if self.digit.is_some_and(|waiting| waiting != 0) {
            return None;
        }
        self.digit = Some(tens);
        self.unit(1)
    }

    fn unit(&mut self, power: u32) -> Option<()> {
        if self.last_power.is_some_and(|last| last <= power) {
            return None;
        }
        let digit = match self.digit.take() {
            None | Some(0) if power == 1 => 1, // 十一, 零拾
            None | Some(0) => return None,
            Some(digit) => digit,
        };
        self.section += i64::from(digit) * 10_i64.pow(power);
        self.last_power = Some(power);
        Some(())
    }

    fn myriad(&mut self, power: u32) -> Option<()> {
        if self.last_myriad.is_some_and(|last| last <= power) {
            return None;
        }
        let section = self.section + i64::from(self.digit.take().unwrap_or(0));
        if section == 0 {
            return None;
        }
        self.total += section * 10_i64.pow(power);
        self.section = 0;
        self.last_power = None;
        self.last_myriad = Some(power);
        Some(())
    }

    fn finish(self) -> Option<i64> {
        Some(self.total + self.section + i64::from(self.digit.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read() {
        for (text, expect) in [
            ("十", Some(10)),
            ("十一", Some(11)),
            ("三十一", Some(31)),
            ("廿一", Some(21)),
            ("卅", Some(30)),
            ("零柒", Some(7)),
            ("叁拾壹", Some(31)),
            ("零壹拾", Some(10)),
            ("二〇二〇", Some(2020)),
            ("二○二○", Some(2020)),
            ("贰零贰零", Some(2020)),
            ("壹佰万", Some(1_000_000)),
            ("壹仟零伍拾万", Some(10_500_000)),
            ("一亿二千万", Some(120_000_000)),
            ("一亿零五", Some(100_000_005)),
            ("壹仟贰佰叁拾肆", Some(1234)),
            ("十万", Some(100_000)),
            ("零", Some(0)),
            ("", None),
            ("万", None),
            ("百", None),
            ("一十二百", None),
            ("一万二亿", None),
            ("十十", None),
            ("一二十", None),
        ] {
            assert_eq!(integer(text), expect, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[〇零一二三四五六七八九十廿卅百千万亿]{0,40}") {
            let _ = integer(&text);
        }
    }
}

//! Units of money 金额单位: a power of ten of the base unit 元, and a currency.
//!
//! Decides: what `万元`, `(万元(人民币))`, `万美元`, `人民币元` mean, in one pass without copying.

use super::currency;
use super::numerals;
use super::text::{is_blank, is_dash};

/// A unit as a column declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Power of ten of the base unit: 万元 4, 元 0, 分 −2.
    pub power: i32,
    /// ISO 4217 code.
    pub currency: &'static str,
}

/// Reads a column's unit: `元`, `万元`, `千元`, `亿元`, `分`, `万美元`, … `None` when it is not a unit.
pub fn amount_unit(text: &str) -> Option<Unit> {
    let said = Said::default().read(text).ok()?;
    let power = said.power.or(said.base.then_some(0))?;
    Some(Unit { power, currency: said.currency.unwrap_or("CNY") })
}

/// What a text says about the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Said {
    /// 万, 亿, 千, 角, …
    pub(super) power: Option<i32>,
    /// 元, or a currency whose name is its unit.
    pub(super) base: bool,
    pub(super) currency: Option<&'static str>,
    /// Brackets with or without something in them.
    pub(super) brackets: bool,
}

impl Said {
    /// Adds what a text before or after the number says. The error is a refusal code.
    pub(super) fn read(mut self, text: &str) -> Result<Self, &'static str> {
        let mut depth = 0_u32;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = rest.get(c.len_utf8()..).unwrap_or_default();
            match c {
                '(' | '（' => {
                    self.brackets = true;
                    depth += 1;
                    rest = after;
                }
                ')' | '）' => {
                    depth = depth.checked_sub(1).ok_or("amount_unreadable")?;
                    rest = after;
                }
                '整' | '正' => rest = after,
                _ if is_blank(c) => rest = after,
                _ => rest = self.word(rest)?,
            }
        }
        // A cut-off bracket may have lost the currency.
        if depth == 0 { Ok(self) } else { Err("amount_unreadable") }
    }

    /// One magnitude, 元, or currency; the rest after it.
    fn word<'a>(&mut self, text: &'a str) -> Result<&'a str, &'static str> {
        if let Some((power, rest)) = strip_power(text) {
            if self.power.is_some() {
                return Err("amount_ambiguous");
            }
            self.power = Some(power);
            return Ok(rest);
        }
        if let Some(rest) = text.strip_prefix(['元', '圆']) {
            self.base = true;
            return Ok(rest);
        }
        if let Some((code, names_unit, rest)) = currency::strip(text) {
            if self.currency.is_some_and(|other| other != code) {
                return Err("amount_ambiguous");
            }
            self.currency = Some(code);
            self.base |= names_unit;
            return Ok(rest);
        }
        Err(unknown_word(text))
    }
}

/// 万, 百万, 千亿, 角, … at the start of a text.
pub(super) fn strip_power(text: &str) -> Option<(i32, &str)> {
    if let Some(rest) = text.strip_prefix('角') {
        return Some((-1, rest));
    }
    if let Some(rest) = text.strip_prefix('分') {
        return Some((-2, rest));
    }
    let mut chars = text.chars();
    let first = chars.next().and_then(numerals::power)?;
    let mut rest = chars.as_str();
    let mut power = first;
    // 百万, 千万, 十亿, 万亿: a smaller unit multiplies a larger one.
    if let Some(second) = chars.next().and_then(numerals::power).filter(|&second| second >= 4 && second > first) {
        power += second;
        rest = chars.as_str();
    }
    i32::try_from(power).ok().map(|power| (power, rest))
}

fn unknown_word(text: &str) -> &'static str {
    let word = text.split(['(', ')', '（', '）', ' ']).next().unwrap_or_default();
    if word.contains(['%', '％', '‰']) {
        "amount_is_rate"
    } else if word.starts_with(['/', '／', '、']) {
        "amount_ambiguous"
    } else if word.starts_with(['~', '～', '至', '到']) || word.starts_with(is_dash) {
        "amount_is_range"
    } else if !word.starts_with(|c: char| c.is_ascii_digit() || c == '.') && currency::looks_like_one(word) {
        "amount_currency_unknown"
    } else {
        "amount_unreadable"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_columns() {
        let unit = |power, currency| Some(Unit { power, currency });
        assert_eq!(amount_unit("元"), unit(0, "CNY"));
        assert_eq!(amount_unit("万元"), unit(4, "CNY"));
        assert_eq!(amount_unit("千元"), unit(3, "CNY"));
        assert_eq!(amount_unit("百万元"), unit(6, "CNY"));
        assert_eq!(amount_unit("万亿元"), unit(12, "CNY"));
        assert_eq!(amount_unit("万"), unit(4, "CNY"));
        assert_eq!(amount_unit("分"), unit(-2, "CNY"));
        assert_eq!(amount_unit("万美元"), unit(4, "USD"));
        assert_eq!(amount_unit("人民币（万元）"), unit(4, "CNY"));
        assert_eq!(amount_unit("美元"), unit(0, "USD"));
        for text in ["", "人民币", "万万元", "元/万元", "平方米", "(万元", "万元)"] {
            assert_eq!(amount_unit(text), None, "{text}");
        }
    }
}

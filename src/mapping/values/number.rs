//! The number inside an amount, in digits or in capital numerals, exactly.
//!
//! Decides: signs, thousands separators, fractions, exponents, compound magnitudes (`1亿2000万`), 角 and 分. Must not
//! know: units and currencies. Errors are refusal codes of amounts.

use super::numerals;
use super::text::{half_width, is_blank, is_dash};
use super::unit::strip_power;
use super::{Notes, note};

/// Whether a number can start with this character.
pub(super) fn starts_number(c: char) -> bool {
    is_digit_or_sign(c) || numerals::digit(c).is_some() || c == '十' || c == '拾'
}

/// A digit of either width, a sign, or a decimal point.
pub(super) fn is_digit_or_sign(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '０'..='９' | '+' | '＋' | '.') || is_dash(c)
}

/// A number before its unit: mantissa × 10^exponent.
pub(super) struct Number {
    mantissa: i128,
    exponent: i32,
    /// 万 or 亿 belong to the number already (`1亿2000万`, `壹佰万`).
    pub(super) has_magnitude: bool,
}

impl Number {
    /// In 10⁻⁴ of the base unit, exactly.
    pub(super) fn scaled(&self, power: i32) -> Result<i128, &'static str> {
        let exponent = self.exponent + power + 4;
        let factor = power_of_ten(exponent.unsigned_abs());
        let scaled = match factor {
            _ if self.mantissa == 0 => 0,
            None if exponent > 0 => return Err("amount_out_of_range"),
            None => return Err("amount_precision"),
            Some(factor) if exponent >= 0 => self.mantissa.checked_mul(factor).ok_or("amount_out_of_range")?,
            Some(factor) if self.mantissa % factor == 0 => self.mantissa / factor,
            Some(_) => return Err("amount_precision"),
        };
        if scaled.unsigned_abs() < 10_u128.pow(24) { Ok(scaled) } else { Err("amount_out_of_range") }
    }
}

/// Significant digits that are read; 24 are allowed in the result, and i128 holds 38.
const MAX_DIGITS: u32 = 30;

/// 10^n up to 10³⁰.
fn power_of_ten(n: u32) -> Option<i128> {
    const POWERS: [i128; 31] = {
        let mut powers = [1; 31];
        let mut n = 1;
        while n < powers.len() {
            powers[n] = powers[n - 1] * 10;
            n += 1;
        }
        powers
    };
    POWERS.get(n as usize).copied()
}

/// A number in digits, compound magnitudes included, and the text after it.
pub(super) fn arabic<'a>(text: &'a str, notes: &mut Notes) -> Result<(Number, &'a str), &'static str> {
    let mut digits = Digits { rest: text, full_width: false };
    let negative = digits.sign();
    let (mantissa, exponent) = digits.decimal(notes)?;
    let mut number = Number { mantissa, exponent, has_magnitude: false };
    let mut last = None;
    // 1亿2000万元: a magnitude followed by more digits belongs to the number.
    while let Some((power, rest)) = strip_power(digits.rest) {
        if !rest.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '０'..='９')) {
            break;
        }
        if power < 4 || last.is_some_and(|last| power >= last) {
            return Err("amount_ambiguous");
        }
        digits.rest = rest;
        number = compound(number, power, &mut digits, notes)?;
        last = Some(power);
    }
    if digits.full_width {
        note(notes, "full_width");
    }
    if negative {
        number.mantissa = -number.mantissa;
    }
    Ok((number, digits.rest))
}

/// `head` × 10^power + the digits that follow with their own, smaller magnitude, or in 元 when that is said.
fn compound(head: Number, power: i32, digits: &mut Digits<'_>, notes: &mut Notes) -> Result<Number, &'static str> {
    let (mantissa, exponent) = digits.decimal(notes)?;
    let own = strip_power(digits.rest).filter(|_| head.exponent == 0 || head.has_magnitude);
    let tail_power = match own {
        Some((own, rest)) if own >= 4 && !rest.starts_with(|c: char| c.is_ascii_digit()) => {
            digits.rest = rest;
            own
        }
        Some(_) => return Err("amount_ambiguous"),
        None if digits.rest.starts_with(['元', '圆']) => 0,
        None => return Err("amount_ambiguous"), // 1万5 is fifteen thousand in speech
    };
    let whole = |mantissa: i128, exponent: i32| {
        let factor = u32::try_from(exponent).ok().and_then(power_of_ten).ok_or("amount_ambiguous")?;
        mantissa.checked_mul(factor).ok_or("amount_out_of_range")
    };
    let (head, tail) = (whole(head.mantissa, head.exponent + power)?, whole(mantissa, exponent + tail_power)?);
    if tail >= whole(1, power)? {
        return Err("amount_ambiguous");
    }
    Ok(Number { mantissa: head.checked_add(tail).ok_or("amount_out_of_range")?, exponent: 0, has_magnitude: true })
}

/// Reads digits of either width off the front of a text.
struct Digits<'a> {
    rest: &'a str,
    full_width: bool,
}

impl Digits<'_> {
    /// The next character in half width, if `accept` takes it.
    fn next_if(&mut self, accept: impl Fn(char) -> bool) -> Option<char> {
        let mut chars = self.rest.chars();
        let raw = chars.next()?;
        let c = half_width(raw).unwrap_or(raw);
        if !accept(c) {
            return None;
        }
        self.full_width |= c != raw;
        self.rest = chars.as_str();
        Some(c)
    }

    fn sign(&mut self) -> bool {
        let sign = self.next_if(|c| c == '+' || is_dash(c));
        while self.next_if(is_blank).is_some() {}
        sign.is_some_and(|c| c != '+')
    }

    /// Digits with thousands separators, a fraction and an exponent → mantissa and power of ten.
    fn decimal(&mut self, notes: &mut Notes) -> Result<(i128, i32), &'static str> {
        let (mut mantissa, mut significant) = (0_i128, 0);
        let mut push = |c: char| {
            mantissa = mantissa * 10 + i128::from(c.to_digit(10).unwrap_or(0));
            significant += u32::from(mantissa > 0);
            if significant <= MAX_DIGITS { Ok(()) } else { Err("amount_out_of_range") }
        };
        let mut groups = Groups::default();
        while let Some(c) = self.next_if(|c| c.is_ascii_digit() || c == ',') {
            if c == ',' {
                groups.close()?;
            } else {
                groups.digits += 1;
                push(c)?;
            }
        }
        groups.finish()?;
        let mut fraction = 0;
        if self.next_if(|c| c == '.').is_some() {
            while let Some(c) = self.next_if(|c| c.is_ascii_digit()) {
                fraction += 1;
                push(c)?;
            }
            if fraction == 0 {
                return Err("amount_unreadable");
            }
        }
        if groups.digits == 0 && fraction == 0 {
            return Err("amount_unreadable");
        }
        if groups.digits == 3 && fraction == 0 && !groups.separated && mantissa == 0 {
            return Err("amount_ambiguous"); // 000(万美元): the tail of an unquoted "5,000(万美元)"
        }
        Ok((mantissa, self.exponent(notes)? - fraction))
    }

    /// `E-4`; zero when there is none.
    fn exponent(&mut self, notes: &mut Notes) -> Result<i32, &'static str> {
        let before = self.rest;
        if self.next_if(|c| matches!(c, 'E' | 'e')).is_none() {
            return Ok(0);
        }
        let negative = self.next_if(|c| c == '+' || is_dash(c)).is_some_and(|c| c != '+');
        let mut exponent = None;
        while let Some(c) = self.next_if(|c| c.is_ascii_digit()) {
            let digit = c.to_digit(10).and_then(|digit| i32::try_from(digit).ok()).unwrap_or(0);
            exponent = Some((exponent.unwrap_or(0) * 10 + digit).min(99));
        }
        let Some(exponent) = exponent else {
            self.rest = before; // 9EUR
            return Ok(0);
        };
        note(notes, "scientific");
        Ok(if negative { -exponent } else { exponent })
    }
}

/// Groups of digits between thousands separators: the first of one to three, the others of three.
#[derive(Default)]
struct Groups {
    digits: u32,
    separated: bool,
}

impl Groups {
    fn close(&mut self) -> Result<(), &'static str> {
        let good = if self.separated { self.digits == 3 } else { (1..=3).contains(&self.digits) };
        self.separated = true;
        self.digits = 0;
        if good { Ok(()) } else { Err("amount_ambiguous") }
    }

    fn finish(&self) -> Result<(), &'static str> {
        if self.separated && self.digits != 3 { Err("amount_ambiguous") } else { Ok(()) }
    }
}

/// A number in Chinese numerals, 角 and 分 included, and the text after it.
pub(super) fn capital<'a>(text: &'a str, notes: &mut Notes) -> Result<(Number, &'a str), &'static str> {
    note(notes, "capital_numerals");
    let (value, mut rest) = numeral(text)?;
    let has_magnitude = text.strip_suffix(rest).is_some_and(|read| read.contains(['万', '萬', '亿', '億']));
    let mut fen = value.checked_mul(100).ok_or("amount_out_of_range")?;
    let mut base = false;
    if let Some(after) = rest.strip_prefix('角').or_else(|| rest.strip_prefix('分')) {
        (fen, rest, base) = (if rest.starts_with('角') { value * 10 } else { value }, after, true);
    }
    let yuan = rest.strip_prefix(['元', '圆']).map(|after| after.trim_start_matches('零'));
    if let Some(after) = yuan.or(base.then_some(rest)).filter(|after| after.starts_with(starts_numeral)) {
        (fen, rest, base) = (fen + small_change(after)?.0, small_change(after)?.1, true);
    }
    Ok((Number { mantissa: fen.into(), exponent: -2, has_magnitude: has_magnitude || base }, rest))
}

fn starts_numeral(c: char) -> bool {
    numerals::digit(c).is_some()
}

/// `伍角陆分`, `伍角`, `陆分` after 元 → 分, and the rest.
fn small_change(text: &str) -> Result<(i64, &str), &'static str> {
    let (first, rest) = numeral(text)?;
    if let Some(rest) = rest.strip_prefix('分') {
        return Ok((first, rest));
    }
    let rest = rest.strip_prefix('角').ok_or("amount_unreadable")?;
    if !rest.starts_with(starts_numeral) {
        return Ok((first * 10, rest));
    }
    let (second, rest) = numeral(rest)?;
    let rest = rest.strip_prefix('分').ok_or("amount_unreadable")?;
    Ok((first * 10 + second, rest))
}

/// The longest run of numerals at the start, as a number.
fn numeral(text: &str) -> Result<(i64, &str), &'static str> {
    let end = text.find(|c| !numerals::is_numeral(c)).unwrap_or(text.len());
    let (run, rest) = text.split_at_checked(end).ok_or("amount_unreadable")?;
    numerals::integer(run).map(|value| (value, rest)).ok_or("amount_unreadable")
}

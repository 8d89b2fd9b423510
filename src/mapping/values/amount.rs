//! Amounts of money 金额, such as registered capital 注册资金.
//!
//! Decides: number, unit and currency of one text; the grammar is `[currency] number [magnitude] [元] [currency]` with
//! brackets and blanks anywhere, capital numerals included. Must not know: exchange rates. Guarantees: exact decimals,
//! never binary fractions; a missing unit is never assumed.

use super::number::{arabic, capital, is_digit_or_sign, starts_number};
use super::text::{is_nothing, trim};
use super::unit::Said;
use super::{Notes, Outcome, Unit, amount_unit, note, noted, nothing, refuse};

/// An amount in the base unit of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// Scaled by 10⁴ (the register's decimal): 1 元 is 10,000.
    pub scaled: i128,
    /// ISO 4217 code, extinct ones included (`DEM`).
    pub currency: &'static str,
    /// Who said the unit.
    pub unit_source: UnitSource,
}

/// Who said the unit. There is no "nobody": that is the refusal `amount_unit_missing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitSource {
    /// The text itself.
    Explicit,
    /// The column, by its declared unit.
    ColumnDefault,
}

/// Reads an amount; `default_unit` is the column's declared unit (`万元`), used when the text has none.
///
/// See [`cn_amount_in`], which takes the unit already read. A `default_unit` that is no unit is as none.
pub fn cn_amount(text: &str, default_unit: Option<&str>) -> Outcome<Amount> {
    cn_amount_in(text, default_unit.and_then(amount_unit))
}

/// Reads an amount: `500万元人民币`, `50(万元(人民币))`, `1,286.5000(万)`, `200(万德国马克)`, `壹佰万元整`, `￥1,234.56`,
/// `1E-4万人民币`, `1亿2000万元`, `-12.5`.
///
/// `None` for blank, N/A, 无, `-`. Refusals: `amount_unit_missing` (no unit anywhere, or empty brackets where it
/// should be: `9()`), `amount_ambiguous` (元/万元, two currencies, two magnitudes, thousands separators that do not
/// separate thousands, 人民币 alone in a column of another unit), `amount_currency_unknown` (法郎 alone, `$`),
/// `amount_precision` (finer than 10⁻⁴ of the base unit), `amount_out_of_range` (more than 24 digits),
/// `amount_is_rate` (percentages), `amount_is_range` (50-100万元), `amount_unreadable`.
///
/// Notes: `full_width`, `capital_numerals`, `scientific`, `zero` (suspicious, kept), `unit_implied` (人民币 without 元).
pub fn cn_amount_in(text: &str, default_unit: Option<Unit>) -> Outcome<Amount> {
    let text = trim(text);
    if is_nothing(text) {
        return nothing();
    }
    let mut notes = Notes::new();
    match read(text, default_unit, &mut notes) {
        Ok(amount) => {
            if amount.scaled == 0 {
                note(&mut notes, "zero");
            }
            noted(amount, notes)
        }
        Err(code) => refuse(code),
    }
}

fn read(text: &str, default_unit: Option<Unit>, notes: &mut Notes) -> Result<Amount, &'static str> {
    let start = text.find(starts_number).ok_or("amount_unreadable")?;
    let (before, rest) = text.split_at_checked(start).ok_or("amount_unreadable")?;
    // A bracket may open before the number and close after it, so both sides are judged as one.
    let (number, after) = if rest.starts_with(is_digit_or_sign) { arabic(rest, notes)? } else { capital(rest, notes)? };
    if matches!(before, "(" | "（") && after.starts_with([')', '）']) {
        return Err("amount_ambiguous"); // (1,234.56), (500)元: negative to an accountant, bracketed to others
    }
    let said = Said::default();
    let said = if before.is_empty() { said.read(after)? } else { said.read(&format!("{before} {after}"))? };
    let (power, unit_source) = unit_of(&said, number.has_magnitude, default_unit, notes)?;
    let currency = said.currency.or(default_unit.map(|unit| unit.currency)).unwrap_or("CNY");
    Ok(Amount { scaled: number.scaled(power)?, currency, unit_source })
}

/// The power of ten that the unit stands for.
fn unit_of(
    said: &Said,
    has_magnitude: bool,
    default_unit: Option<Unit>,
    notes: &mut Notes,
) -> Result<(i32, UnitSource), &'static str> {
    match (said.power, default_unit) {
        (Some(_), _) if has_magnitude => Err("amount_ambiguous"),
        (Some(power), _) => Ok((power, UnitSource::Explicit)),
        (None, _) if said.base || has_magnitude => Ok((0, UnitSource::Explicit)),
        (None, Some(unit)) if said.currency.is_some() && unit.power != 0 => Err("amount_ambiguous"),
        (None, _) if said.currency.is_some() => {
            note(notes, "unit_implied");
            Ok((0, UnitSource::Explicit))
        }
        (None, Some(unit)) if !said.brackets => Ok((unit.power, UnitSource::ColumnDefault)),
        (None, _) => Err("amount_unit_missing"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::{Refusal, vectors};
    use crate::record::decimal_text;

    /// The amount as `5000000 CNY`, with `!` when the column said the unit.
    fn shown(text: &str, unit: Option<&str>) -> Result<Option<String>, &'static str> {
        let converted = cn_amount(text, unit).map_err(|Refusal { code }| code)?;
        Ok(converted.value.map(|amount| {
            let mark = if amount.unit_source == UnitSource::ColumnDefault { "!" } else { "" };
            format!("{} {}{mark}", decimal_text(amount.scaled), amount.currency)
        }))
    }

    fn check(input: &str, unit: Option<&str>, expect: Result<&str, &'static str>) {
        assert_eq!(shown(input, unit), expect.map(|text| Some(text.to_owned())), "{input:?} in {unit:?}");
    }

    #[test]
    fn the_text_says_the_unit() {
        for (input, expect) in [
            ("500万元人民币", "5000000 CNY"),
            ("1,286.5000(万)", "12865000 CNY"),
            ("50（万元）", "500000 CNY"),
            ("50(万元(人民币))", "500000 CNY"),
            ("50( 万人民币元)", "500000 CNY"),
            ("200(万德国马克)", "2000000 DEM"),
            ("200((万美元))", "2000000 USD"),
            ("500000(人民币元)", "500000 CNY"),
            ("1E-4万人民币", "1 CNY"),
            ("1.5e2万元", "1500000 CNY"),
            ("0万人民币", "0 CNY"),
            ("-12.5元", "-12.5 CNY"),
            ("￥1,234.56", "1234.56 CNY"),
            ("人民币100万元", "1000000 CNY"),
            ("(人民币)100万元", "1000000 CNY"),
            ("（人民币100万元）", "1000000 CNY"),
            ("US$100", "100 USD"),
            ("USD 100万", "1000000 USD"),
            ("１，２３４．５６元", "1234.56 CNY"),
            ("3百万元", "3000000 CNY"),
            ("1亿2000万元", "120000000 CNY"),
            ("2万5000元", "25000 CNY"),
            ("1.2亿元", "120000000 CNY"),
            ("12345分", "123.45 CNY"),
            ("100英镑", "100 GBP"),
        ] {
            check(input, None, Ok(expect));
            check(input, Some("万元"), Ok(expect));
        }
    }

    #[test]
    fn capital_numerals_are_read() {
        for (input, expect) in [
            ("壹佰万元整", "1000000 CNY"),
            ("人民币壹仟零伍拾万元整", "10500000 CNY"),
            ("壹仟贰佰叁拾肆元伍角陆分", "1234.56 CNY"),
            ("壹佰元零陆分", "100.06 CNY"),
            ("叁角伍分", "0.35 CNY"),
            ("伍角整", "0.5 CNY"),
            ("五十万美元", "500000 USD"),
            ("伍拾(万元)", "500000 CNY"),
            ("十万元", "100000 CNY"),
            ("一亿二千万元", "120000000 CNY"),
            ("壹佰萬圆整", "1000000 CNY"),
        ] {
            check(input, None, Ok(expect));
        }
        check("伍拾", Some("万元"), Ok("500000 CNY!"));
        check("伍拾万(万元)", None, Err("amount_ambiguous"));
    }

    #[test]
    fn the_column_says_the_unit() {
        check("9", Some("万元"), Ok("90000 CNY!"));
        check("9", Some("元"), Ok("9 CNY!"));
        check("1,286.50", Some("千元"), Ok("1286500 CNY!"));
        check("12345", Some("分"), Ok("123.45 CNY!"));
        check("9", Some("万美元"), Ok("90000 USD!"));
        check("9", None, Err("amount_unit_missing"));
        check("9", Some("平方米"), Err("amount_unit_missing"));
        check("9()", None, Err("amount_unit_missing"));
        check("9()", Some("万元"), Err("amount_unit_missing"));
    }

    #[test]
    fn refusals_are_named() {
        for (input, code) in [
            ("9(元/万元)", "amount_ambiguous"),
            ("9万(万元)", "amount_ambiguous"),
            ("9(万美元人民币)", "amount_ambiguous"),
            ("1,28万元", "amount_ambiguous"),
            ("1,2345元", "amount_ambiguous"),
            ("1万5", "amount_ambiguous"),
            ("1万2亿元", "amount_ambiguous"),
            ("(1,234.56)", "amount_ambiguous"),
            ("(500)元", "amount_ambiguous"),
            ("（500）万元", "amount_ambiguous"),
            ("000(万美元)", "amount_ambiguous"),
            ("9(万法郎)", "amount_currency_unknown"),
            ("9$", "amount_currency_unknown"),
            ("0.00001元", "amount_precision"),
            ("1E-9万元", "amount_precision"),
            ("1E30元", "amount_out_of_range"),
            ("99999999999999999999999999元", "amount_out_of_range"),
            ("3.5%", "amount_is_rate"),
            ("Jean", "amount_unreadable"),
            ("万人民币", "amount_unreadable"),
            ("50-100万元", "amount_is_range"),
            ("500(万", "amount_unreadable"),
            ("约500万元", "amount_unreadable"),
            ("1.2.3万元", "amount_unreadable"),
            ("5.万元", "amount_unreadable"),
        ] {
            check(input, None, Err(code));
        }
        check("9人民币", None, Ok("9 CNY"));
        check("9人民币", Some("元"), Ok("9 CNY"));
        check("9人民币", Some("万元"), Err("amount_ambiguous"));
    }

    #[test]
    fn what_was_done_is_noted() {
        for (input, notes) in [
            ("500万元", &[][..]),
            ("0万元", &["zero"]),
            ("０．５万元", &["full_width"]),
            ("1E-4万人民币", &["scientific"]),
            ("壹佰万元整", &["capital_numerals"]),
            ("9人民币", &["unit_implied"]),
        ] {
            assert_eq!(cn_amount(input, None).expect("an amount").notes, notes, "{input}");
        }
        for input in ["", "-", "N/A", "无", "/"] {
            assert_eq!(cn_amount(input, Some("万元")), nothing(), "{input:?}");
        }
    }

    #[test]
    fn vectors_agree() {
        let Some(vectors) = vectors::json("amounts") else { return };
        for row in vectors["vectors"].as_array().expect("a list") {
            let input = row[0].as_str().expect("a text");
            let expect = match (row[1][0].as_str(), row[1][1].as_str()) {
                (Some("?"), _) => Err("amount_unit_missing"),
                (Some(value), Some(currency)) => Ok(Some(format!("{value} {currency}"))),
                _ => Ok(None),
            };
            assert_eq!(shown(input, None), expect, "{input}");
        }
    }

    /// Every shape of the 60 most common ones that has an answer other than "an amount in 元 × 10⁴ or 元".
    #[test]
    fn every_real_pattern_is_parsed_or_refused_by_name() {
        let Some(table) = vectors::text("registry/capital_format_distribution.csv") else { return };
        let mut patterns = 0;
        for line in table.lines().skip(1) {
            let (pattern, _) = line.rsplit_once(',').expect("pattern and count");
            let pattern = pattern.trim_matches('"');
            patterns += 1;
            let expect = match pattern {
                "N/A" | "-" | "" => Ok(None),
                "9()" | "9" => Err("amount_unit_missing"),
                "9(元/万元)" => Err("amount_ambiguous"),
                "万人民币" | "Jean" => Err("amount_unreadable"),
                _ => {
                    let factor = if pattern.contains('万') { 10_000 } else { 1 };
                    Ok(Some(format!("{} {}", 1286 * factor, expected_currency(pattern))))
                }
            };
            assert_eq!(shown(&pattern.replace('9', "1,286"), None), expect, "{pattern}");
        }
        assert_eq!(patterns, 60);
    }

    fn expected_currency(pattern: &str) -> &'static str {
        let known = [
            ("美元", "USD"),
            ("港", "HKD"),
            ("日元", "JPY"),
            ("欧元", "EUR"),
            ("马克", "DEM"),
            ("新加坡", "SGD"),
            ("澳大利亚", "AUD"),
            ("英镑", "GBP"),
            ("加拿大", "CAD"),
            ("瑞士", "CHF"),
            ("法国", "FRF"),
        ];
        known.iter().find(|(word, _)| pattern.contains(word)).map_or("CNY", |(_, code)| code)
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*|[0-9０-９,.Ee+-]{0,40}|[0-9万亿千元美角分(（)） 人民币壹佰零十]{0,20}", unit in "万元|元|.{0,3}") {
            let _ = cn_amount(&text, Some(&unit));
            let _ = cn_amount(&text, None);
        }

        #[test]
        fn whole_yuan_survive_any_spelling(n in 1..1_000_000_000_i128) {
            for text in [format!("{n}元"), format!("{n}(元)"), format!("人民币{n}元整"), format!("{n}.00元"), format!("{n}0E-1元")] {
                let amount = cn_amount(&text, Some("万元")).expect("an amount").value.expect("a value");
                prop_assert_eq!(amount.scaled, n * 10_000, "{}", text);
            }
        }
    }
}

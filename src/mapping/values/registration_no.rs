//! Registration numbers 工商注册号 (GS 15-2006) and the older forms that registers still carry.
//!
//! Decides: the check of 15-digit numbers (ISO 7064 MOD 11,10) and which older shapes are numbers at all.

use std::borrow::Cow;

use super::identifier::{is_one_character, spell};
use super::text::null_token;
use super::{Outcome, note, noted, nothing, refuse};

/// Reads a registration number.
///
/// Fifteen digits with a good check digit pass. Older forms have nothing to check and pass with a note:
/// `legacy_13` (thirteen digits, before 2007), `legacy_cooperative` (`320506NA000043X`, farmers' cooperatives),
/// `legacy_text` (企合苏总字第000063号). `None` for blank, N/A, 无. Refusals: `registration_no_length`,
/// `registration_no_charset`, `registration_no_placeholder`, `registration_no_is_uscc`,
/// `registration_no_check_digit`. Notes also: `full_width`, `lower_case`, `blanks`.
pub fn registration_no(text: &str) -> Outcome<Cow<'_, str>> {
    if null_token(text) {
        return nothing();
    }
    let (number, mut notes) = spell(text);
    match shape(&number) {
        Shape::Good15 => {}
        Shape::Cooperative => note(&mut notes, "legacy_cooperative"),
        Shape::Legacy13 => note(&mut notes, "legacy_13"),
        Shape::LegacyText => note(&mut notes, "legacy_text"),
        Shape::Placeholder => return refuse("registration_no_placeholder"),
        Shape::Bad15 => return refuse("registration_no_check_digit"),
        Shape::Other if super::uscc_valid(&number) => return refuse("registration_no_is_uscc"),
        Shape::Other if matches!(number.chars().count(), 13 | 15) => return refuse("registration_no_charset"),
        Shape::Other => return refuse("registration_no_length"),
    }
    noted(number, notes)
}

/// What a spelled number looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Fifteen digits, check digit right.
    Good15,
    /// Fifteen digits, check digit wrong.
    Bad15,
    /// Region, two letters, six digits and a check character: farmers' cooperatives 农民专业合作社.
    Cooperative,
    /// Thirteen digits.
    Legacy13,
    /// 企…字第…号.
    LegacyText,
    /// Thirteen or fifteen times the same digit.
    Placeholder,
    /// Anything else.
    Other,
}

pub(super) fn shape(number: &str) -> Shape {
    let bytes = number.as_bytes();
    let digits = bytes.iter().all(u8::is_ascii_digit);
    match bytes.len() {
        13 | 15 if digits && is_one_character(number) => Shape::Placeholder,
        15 if digits && check_digit_right(bytes) => Shape::Good15,
        15 if digits => Shape::Bad15,
        15 if is_cooperative(bytes) => Shape::Cooperative,
        13 if digits => Shape::Legacy13,
        _ if number.starts_with('企') && number.contains("字第") => Shape::LegacyText,
        _ => Shape::Other,
    }
}

/// ISO 7064 MOD 11,10 over fifteen digits.
fn check_digit_right(digits: &[u8]) -> bool {
    let Some((last, body)) = digits.split_last() else { return false };
    let product = body.iter().fold(10, |product, &digit| {
        let sum = (product + u32::from(digit - b'0')) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (product + u32::from(last - b'0')) % 10 == 1
}

fn is_cooperative(bytes: &[u8]) -> bool {
    let Some((region, rest)) = bytes.split_at_checked(6) else { return false };
    let Some((letters, rest)) = rest.split_at_checked(2) else { return false };
    let Some((last, serial)) = rest.split_last() else { return false };
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    digits(region)
        && letters.iter().all(u8::is_ascii_uppercase)
        && digits(serial)
        && (last.is_ascii_digit() || *last == b'X')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::{Refusal, vectors};

    fn check(input: &str, expect: Result<(Option<&str>, &[&str]), &'static str>) {
        let got = registration_no(input);
        let got = got.as_ref().map(|c| (c.value.as_deref(), c.notes.as_slice()));
        assert_eq!(got, expect.map_err(|code| Refusal { code }).as_ref().map(|pair| *pair), "{input:?}");
    }

    #[test]
    fn every_shape_has_its_answer() {
        check("110108000000016", Ok((Some("110108000000016"), &[])));
        check("１１０１０８０００００００１６", Ok((Some("110108000000016"), &["full_width"])));
        check("320506NA000043X", Ok((Some("320506NA000043X"), &["legacy_cooperative"])));
        check("320722NB000004X", Ok((Some("320722NB000004X"), &["legacy_cooperative"])));
        check("3209231100626", Ok((Some("3209231100626"), &["legacy_13"])));
        check("企合苏总字第000063号", Ok((Some("企合苏总字第000063号"), &["legacy_text"])));
        check("N/A", Ok((None, &[])));
        check("110108000000017", Err("registration_no_check_digit"));
        check("000000000000000", Err("registration_no_placeholder"));
        check("91350100M000100Y43", Err("registration_no_is_uscc"));
        check("11010800000001", Err("registration_no_length"));
        check("11010800000001A", Err("registration_no_charset"));
    }

    #[test]
    fn real_numbers_are_told_apart() {
        let Some(vectors) = vectors::json("org_code_regno") else { return };
        for key in ["regno15_published", "regno15_valid_real"] {
            for number in vectors::strings(&vectors, key) {
                assert_eq!(shape(number), Shape::Good15, "{number}");
            }
        }
        for number in vectors::strings(&vectors, "regno15_invalid_or_nonstandard_real") {
            assert_ne!(shape(number), Shape::Good15, "{number}");
        }
        for number in vectors::strings(&vectors, "regno13_legacy_real") {
            assert_eq!(shape(number), Shape::Legacy13, "{number}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*|[0-9NAX企字第]{0,16}") {
            let _ = registration_no(&text);
        }
    }
}

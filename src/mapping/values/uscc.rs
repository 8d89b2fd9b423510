//! Unified social credit codes 统一社会信用代码 (GB 32100-2015).
//!
//! Decides: whether a cell holds a valid code and, when it does not, what it holds instead: registers write older
//! numbers into this column. Length, charset and check character refuse; category, region and the embedded
//! organisation code are only noted, because real, valid codes fail them.

use std::borrow::Cow;

use super::identifier::{is_one_character, spell};
use super::registration_no::{Shape, shape};
use super::text::{null_token, trim};
use super::{Notes, Outcome, citizen_id, note, noted, nothing, org_code_valid, refuse, region_codes};

/// Reads a unified social credit code into its 18 canonical characters.
///
/// `None` for blank, N/A, 无.
///
/// Refusals: `uscc_length`, `uscc_charset`, `uscc_check_digit`, `uscc_placeholder`, `uscc_masked`, and what the cell
/// holds instead: `uscc_is_registration_no` (15 digits, good check), `uscc_is_registration_no_bad` (15 characters,
/// bad or no check), `uscc_is_legacy_13`, `uscc_is_legacy_text` (企合苏总字第…), `uscc_is_org_code`,
/// `uscc_is_citizen_id`.
///
/// Notes: `lower_case`, `full_width`, `blanks`, `dash`; of valid codes also `category_unknown` (characters 1–2),
/// `region_unknown` (3–8; never a reason to refuse), `org_part_check` (9–17 fail GB 11714).
pub fn uscc(text: &str) -> Outcome<Cow<'_, str>> {
    let trimmed = trim(text);
    if uscc_valid(trimmed) {
        return noted(Cow::Borrowed(trimmed), doubts(trimmed, Notes::new()));
    }
    if null_token(trimmed) {
        return nothing();
    }
    let (code, notes) = spell(trimmed);
    match fault(&code) {
        Some(fault) => refuse(fault),
        None => {
            let notes = doubts(&code, notes);
            noted(code, notes)
        }
    }
}

/// Whether 18 canonical characters carry the right check character (GB 32100-2015: weights 3^(i−1) mod 31,
/// alphabet of 31 without I O S V Z) and are no placeholder.
pub fn uscc_valid(code: &str) -> bool {
    check_right(code) && !is_placeholder(code)
}

fn check_right(code: &str) -> bool {
    let &[ref body @ .., given] = code.as_bytes() else { return false };
    if body.len() != WEIGHTS.len() {
        return false;
    }
    let mut sum = 0;
    for (&c, weight) in body.iter().zip(WEIGHTS) {
        let Some(value) = value(c) else { return false };
        sum += value * weight;
    }
    value(given) == Some((31 - sum % 31) % 31)
}

const WEIGHTS: [u32; 17] = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
/// Value of each ASCII character; 255 for those outside the alphabet.
const VALUES: [u8; 128] = {
    let mut values = [255; 128];
    let mut i = 0;
    while i < ALPHABET.len() {
        values[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    values
};

fn value(c: u8) -> Option<u32> {
    VALUES.get(usize::from(c)).filter(|&&v| v != 255).map(|&v| v.into())
}

/// Why a spelled code is refused; `None` when it is valid.
fn fault(code: &str) -> Option<&'static str> {
    match shape(code) {
        Shape::Good15 => return Some("uscc_is_registration_no"),
        Shape::Bad15 | Shape::Cooperative => return Some("uscc_is_registration_no_bad"),
        Shape::Legacy13 => return Some("uscc_is_legacy_13"),
        Shape::LegacyText => return Some("uscc_is_legacy_text"),
        Shape::Placeholder => return Some("uscc_placeholder"),
        Shape::Other => {}
    }
    if is_placeholder(code) {
        return Some("uscc_placeholder");
    }
    if code.contains('*') {
        return Some("uscc_masked");
    }
    if is_org_code(code) {
        return Some("uscc_is_org_code");
    }
    if code.chars().count() != 18 {
        return Some("uscc_length");
    }
    if !code.bytes().all(|c| value(c).is_some()) {
        return Some("uscc_charset");
    }
    match uscc_valid(code) {
        true => None,
        false if citizen_id::looks_like_one(code) => Some("uscc_is_citizen_id"),
        false => Some("uscc_check_digit"),
    }
}

/// Codes that people type to get past a mandatory field; some even pass the check.
fn is_placeholder(code: &str) -> bool {
    is_one_character(code) || matches!(code, "911111111111111111" | "123456789012345678")
}

/// `13830295-X` or `13830295X` in a USCC column.
fn is_org_code(code: &str) -> bool {
    match code.split_once('-') {
        Some((body, check)) => body.len() == 8 && org_code_valid(&format!("{body}{check}")),
        None => org_code_valid(code),
    }
}

/// What is odd about a valid code.
fn doubts(code: &str, mut notes: Notes) -> Notes {
    let bytes = code.as_bytes();
    if !category_known(bytes) {
        note(&mut notes, "category_unknown");
    }
    if !code.get(2..8).is_some_and(region_codes::plausible) {
        note(&mut notes, "region_unknown");
    }
    if !code.get(8..17).is_some_and(org_code_valid) {
        note(&mut notes, "org_part_check");
    }
    notes
}

/// Registering authority (1) and kind of body (2), GB 32100-2015 table 1 with the later letters.
fn category_known(code: &[u8]) -> bool {
    let &[authority, kind, ..] = code else { return false };
    let kinds: &[u8] = match authority {
        b'1' => b"1239",
        b'2' | b'4' | b'6' | b'7' | b'8' => b"19",
        b'3' => b"123459",
        b'5' => b"1239",
        b'9' => b"123",
        b'A' => b"19",
        b'N' => b"1239",
        b'Y' => b"1",
        _ => return false,
    };
    kinds.contains(&kind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::{Refusal, vectors};

    fn check(input: &str, expect: Result<(Option<&str>, &[&str]), &'static str>) {
        let got = uscc(input);
        let got = got.as_ref().map(|c| (c.value.as_deref(), c.notes.as_slice()));
        assert_eq!(got, expect.map_err(|code| Refusal { code }).as_ref().map(|pair| *pair), "{input:?}");
    }

    #[test]
    fn valid_codes_pass_and_oddities_are_noted() {
        check("91350100M000100Y43", Ok((Some("91350100M000100Y43"), &[])));
        check(" 91350100M000100Y43\t", Ok((Some("91350100M000100Y43"), &[])));
        check("９１３５０１００Ｍ０００１００Ｙ４３", Ok((Some("91350100M000100Y43"), &["full_width"])));
        check("91350100 M000100Y43", Ok((Some("91350100M000100Y43"), &["blanks"])));
        check("91370200x14351645E", Ok((Some("91370200X14351645E"), &["lower_case"])));
        check("914512817717388902", Ok((Some("914512817717388902"), &["org_part_check"])));
        for text in ["", "N/A", "无", "-", "0", "\u{3000}"] {
            check(text, Ok((None, &[])));
        }
    }

    #[test]
    fn every_fault_has_its_code() {
        for (input, code) in [
            ("91350100M000100Y4", "uscc_length"),
            ("91350100M000100Y443", "uscc_length"),
            ("91350100M000100Y44", "uscc_check_digit"),
            ("91350100I000100Y43", "uscc_charset"),
            ("H-4601043500387-21", "uscc_charset"),
            ("统一社会信用代码统一社会信用代码代码", "uscc_charset"),
            ("000000000000000000", "uscc_placeholder"),
            ("999999999999999999", "uscc_placeholder"),
            ("911111111111111111", "uscc_placeholder"),
            ("91370200********5E", "uscc_masked"),
            ("320404000009558", "uscc_is_registration_no"),
            ("320404000009559", "uscc_is_registration_no_bad"),
            ("320506NA000043X", "uscc_is_registration_no_bad"),
            ("3209231100626", "uscc_is_legacy_13"),
            ("企合苏锡总字第0001", "uscc_is_legacy_text"),
            ("13830295-X", "uscc_is_org_code"),
            ("13830295x", "uscc_is_org_code"),
            ("11010519491231002X", "uscc_is_citizen_id"),
            ("（A）460002300000-", "uscc_length"),
        ] {
            check(input, Err(code));
        }
    }

    #[test]
    fn real_codes_get_the_expected_answer() {
        let Some(vectors) = vectors::json("uscc") else { return };
        for key in ["published_example", "valid_real"] {
            for code in vectors::strings(&vectors, key) {
                check(code, Ok((Some(code), &[])));
            }
        }
        for code in vectors::strings(&vectors, "invalid_check_digit_real") {
            check(code, Err("uscc_check_digit"));
        }
        for code in vectors::strings(&vectors, "lowercase_valid_after_upper_real") {
            let got = uscc(code).expect("valid after upper case");
            assert_eq!((got.value, got.notes[0]), (Some(code.to_uppercase().into()), "lower_case"));
        }
        for code in vectors::strings(&vectors, "valid_uscc_but_org_part_check_fails_real") {
            check(code, Ok((Some(code), &["org_part_check"])));
        }
        for pair in vectors["expected_errors"].as_array().expect("a list") {
            let kind = pair[1].as_str().expect("a kind");
            let code = match kind.split('(').next() {
                Some("LENGTH") => "uscc_length",
                Some("CHECK") => "uscc_check_digit",
                _ => "uscc_charset",
            };
            check(pair[0].as_str().expect("a code"), Err(code));
        }
    }

    #[test]
    fn a_placeholder_is_not_valid_though_its_check_may_be_right() {
        assert!(check_right("000000000000000000") && !uscc_valid("000000000000000000"));
        assert!(!uscc_valid("911111111111111111"));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*|[0-9A-Zx*－-]{0,20}") {
            if let Ok(converted) = uscc(&text) && let Some(code) = converted.value {
                prop_assert!(uscc_valid(&code));
            }
        }

        #[test]
        fn one_wrong_digit_is_always_found(i in 8..17_usize, by in 1..10_u8) {
            let mut code = b"913702027137388731".to_vec();
            code[i] = b'0' + (code[i] - b'0' + by) % 10;
            prop_assert!(!uscc_valid(&String::from_utf8(code).expect("ASCII")));
        }
    }
}

//! Organisation codes 组织机构代码 (GB 11714-1997): eight characters and a check character.
//!
//! Decides: the check and the canonical spelling, `D2143569X` without the hyphen, as it sits in positions 9–17 of a
//! unified social credit code.

use std::borrow::Cow;

use super::identifier::{is_one_character, spell};
use super::text::null_token;
use super::{Notes, Outcome, noted, nothing, refuse};

/// Reads an organisation code, with or without its hyphen.
///
/// Canonical form: nine characters, upper case, no hyphen. `None` for blank, N/A, 无. Refusals: `org_code_length`,
/// `org_code_charset`, `org_code_placeholder`, `org_code_is_uscc`, `org_code_check_digit`. Notes: `full_width`,
/// `lower_case`, `blanks`, `dash`; leaving out the hyphen is not a repair.
pub fn org_code(text: &str) -> Outcome<Cow<'_, str>> {
    if null_token(text) {
        return nothing();
    }
    let (code, notes): (Cow<'_, str>, Notes) = spell(text);
    let code = match code.split_once('-') {
        Some((body, check)) => Cow::Owned(format!("{body}{check}")),
        None => code,
    };
    match code.chars().count() {
        9 => {}
        18 if super::uscc_valid(&code) => return refuse("org_code_is_uscc"),
        _ => return refuse("org_code_length"),
    }
    if !code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) {
        return refuse("org_code_charset");
    }
    if is_one_character(&code) {
        return refuse("org_code_placeholder");
    }
    if org_code_valid(&code) { noted(code, notes) } else { refuse("org_code_check_digit") }
}

/// Whether nine canonical characters carry the right check character (GB 11714-1997): weights 3 7 9 10 5 8 4 2,
/// C9 = 11 − Σ mod 11, ten is `X` and eleven `0`.
pub fn org_code_valid(code: &str) -> bool {
    let &[ref body @ .., given] = code.as_bytes() else { return false };
    if body.len() != WEIGHTS.len() {
        return false;
    }
    let mut sum = 0;
    for (&c, weight) in body.iter().zip(WEIGHTS) {
        let value = match c {
            b'0'..=b'9' => c - b'0',
            b'A'..=b'Z' => c - b'A' + 10,
            _ => return false,
        };
        sum += u32::from(value) * weight;
    }
    let expected = match 11 - sum % 11 {
        10 => b'X',
        11 => b'0',
        digit => b"0123456789"[digit as usize],
    };
    given == expected
}

const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::{Refusal, vectors};

    fn check(input: &str, expect: Result<(Option<&str>, &[&str]), &'static str>) {
        let got = org_code(input);
        let got = got.as_ref().map(|c| (c.value.as_deref(), c.notes.as_slice()));
        assert_eq!(got, expect.map_err(|code| Refusal { code }).as_ref().map(|pair| *pair), "{input:?}");
    }

    #[test]
    fn spellings_and_faults() {
        check("D2143569X", Ok((Some("D2143569X"), &[])));
        check("D2143569-X", Ok((Some("D2143569X"), &[])));
        check("d2143569－x", Ok((Some("D2143569X"), &["lower_case", "full_width"])));
        check("13830295-X", Ok((Some("13830295X"), &[])));
        check("无", Ok((None, &[])));
        check("D21435690", Err("org_code_check_digit"));
        check("D2143569", Err("org_code_length"));
        check("D214356*X", Err("org_code_charset"));
        check("000000000", Err("org_code_placeholder"));
        check("91350100M000100Y43", Err("org_code_is_uscc"));
    }

    #[test]
    fn real_codes_pass() {
        let Some(vectors) = vectors::json("org_code_regno") else { return };
        for key in ["org_code_published", "org_code_valid_from_real_uscc", "orgcode_in_uscc_column_real"] {
            for code in vectors::strings(&vectors, key) {
                assert!(org_code(code).is_ok(), "{code}");
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*|[0-9A-Zx－-]{0,12}") {
            let _ = org_code(&text);
            let _ = org_code_valid(&text);
        }
    }
}

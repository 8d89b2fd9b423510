//! Identifiers of electronic certificates 电子证照标识 (GB/T 36904-2018):
//! `1.2.156.3005.2.<类型代码>.<颁发机构代码>.<流水号>.<版本号>.<校验位>`.
//!
//! Decides: the shape and the check character (ISO 7064 / GB/T 17710 MOD 37,36 over the four parts without root and
//! dots). Around 2020 the Shandong platform issued identifiers with another calculation; they are in circulation and
//! accepted with a note. New ones are never made that way.

use std::borrow::Cow;

use super::identifier::spell;
use super::text::null_token;
use super::{Outcome, note, noted, nothing, refuse};

const ROOT: &str = "1.2.156.3005.2.";

/// Reads a certificate identifier.
///
/// `None` for blank, N/A, 无. Refusals: `cert_id_root` (does not start with 1.2.156.3005.2), `cert_id_shape` (not
/// five parts after the root, or a part of the wrong length), `cert_id_charset`, `cert_id_check`. Notes:
/// `legacy_check` (Shandong's old calculation), `lower_case`, `full_width`, `blanks`.
pub fn cert_id(text: &str) -> Outcome<Cow<'_, str>> {
    if null_token(text) {
        return nothing();
    }
    let (id, mut notes) = spell(text);
    match judge(&id) {
        Ok(Check::Standard) => noted(id, notes),
        Ok(Check::Legacy) => {
            note(&mut notes, "legacy_check");
            noted(id, notes)
        }
        Err(code) => refuse(code),
    }
}

/// Whether a canonical identifier is well formed and carries the check of the standard (not the legacy one).
pub fn cert_id_valid(id: &str) -> bool {
    judge(id) == Ok(Check::Standard)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Standard,
    Legacy,
}

fn judge(id: &str) -> Result<Check, &'static str> {
    let parts = id.strip_prefix(ROOT).ok_or("cert_id_root")?;
    let (body, check) = parts.rsplit_once('.').ok_or("cert_id_shape")?;
    let mut lengths = [0; 4];
    let mut count = 0;
    for part in body.split('.') {
        *lengths.get_mut(count).ok_or("cert_id_shape")? = part.len();
        count += 1;
    }
    let [kind, issuer, serial, version] = lengths;
    if count != 4 || kind != 21 || !(1..=32).contains(&issuer) || !(1..=64).contains(&serial) || version != 3 {
        return Err("cert_id_shape");
    }
    let &[given] = check.as_bytes() else { return Err("cert_id_shape") };
    let values = || body.bytes().filter(|&b| b != b'.').map(value);
    if value(given).is_none() || values().any(|v| v.is_none()) {
        return Err("cert_id_charset");
    }
    let given = value(given);
    if Some(standard_check(values().flatten())) == given {
        Ok(Check::Standard)
    } else if legacy_check(values().flatten()) == given {
        Ok(Check::Legacy)
    } else {
        Err("cert_id_check")
    }
}

/// 0–9, A=10 … Z=35.
fn value(c: u8) -> Option<u32> {
    char::from(c).to_digit(36).filter(|_| !c.is_ascii_lowercase())
}

/// ISO 7064 MOD 37,36.
fn standard_check(values: impl Iterator<Item = u32>) -> u32 {
    let product = values.fold(36, |product, value| nonzero((product + value) % 36, 36) * 2 % 37);
    (37 - product) % 36
}

/// The Shandong calculation: letters count one more (A=11 … Z=36), a letter's sum above 37 wraps at 37 before it
/// wraps at 36, and the result is counted from one. `None` where that calculation has no character.
fn legacy_check(values: impl Iterator<Item = u32>) -> Option<u32> {
    let product = values.fold(36, |product, value| {
        let letter = value >= 10;
        let sum = product + value + u32::from(letter);
        let sum = if letter && sum > 37 { sum % 37 } else { sum };
        nonzero(sum % 36, 36) * 2 % 37
    });
    36_u32.checked_sub(product).filter(|&value| value < 36)
}

fn nonzero(n: u32, instead_of_zero: u32) -> u32 {
    if n == 0 { instead_of_zero } else { n }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::{Refusal, vectors};

    const STANDARD: &str = "1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.001.U";
    const LEGACY: &str =
        "1.2.156.3005.2.11100000000013661B006.113700000045046442.209FA4E88F9E4C878F3E9BED2CE7EA49.001.M";

    fn check(input: &str, expect: Result<(Option<&str>, &[&str]), &'static str>) {
        let got = cert_id(input);
        let got = got.as_ref().map(|c| (c.value.as_deref(), c.notes.as_slice()));
        assert_eq!(got, expect.map_err(|code| Refusal { code }).as_ref().map(|pair| *pair), "{input:?}");
    }

    #[test]
    fn both_calculations_are_known() {
        check(STANDARD, Ok((Some(STANDARD), &[])));
        check(LEGACY, Ok((Some(LEGACY), &["legacy_check"])));
        check(&STANDARD.to_lowercase(), Ok((Some(STANDARD), &["lower_case"])));
        check("N/A", Ok((None, &[])));
        assert!(cert_id_valid(STANDARD) && !cert_id_valid(LEGACY) && !cert_id_valid(""));
    }

    #[test]
    fn every_fault_has_its_code() {
        let without_root = STANDARD.strip_prefix(ROOT).expect("has the root");
        check(without_root, Err("cert_id_root"));
        check(&STANDARD.replace(".001.", "."), Err("cert_id_shape"));
        check(&STANDARD.replace(".001.", ".01."), Err("cert_id_shape"));
        check(&format!("{STANDARD}.1"), Err("cert_id_shape"));
        check(&STANDARD.replace(".001.", ".0_1."), Err("cert_id_charset"));
        check(&STANDARD.replace(".001.U", ".001.V"), Err("cert_id_check"));
        check(&STANDARD.replace(".001.U", ".002.U"), Err("cert_id_check"));
    }

    #[test]
    fn real_identifiers_verify_under_their_calculation() {
        let Some(vectors) = vectors::json("cert_id") else { return };
        for row in vectors["vectors"].as_array().expect("a list") {
            let id = row["id"].as_str().expect("an id");
            assert_eq!(cert_id_valid(id), row["std_ok"] == true, "{id}");
            let body = id.strip_prefix(ROOT).and_then(|rest| rest.rsplit_once('.')).expect("a check character").0;
            let values = || body.bytes().filter_map(value);
            let character =
                |value: Option<u32>| value.and_then(|v| char::from_digit(v, 36)).map(|c| c.to_ascii_uppercase());
            assert_eq!(
                character(Some(standard_check(values()))),
                row["std"].as_str().and_then(|s| s.chars().next()),
                "{id}"
            );
            assert_eq!(
                character(legacy_check(values())),
                row["legacy_sd"].as_str().and_then(|s| s.chars().next()),
                "{id}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*|1\\.2\\.156\\.3005\\.2\\.[0-9A-Z.]{0,60}") {
            let _ = cert_id(&text);
        }
    }
}

//! Citizen identity numbers 公民身份号码 (GB 11643-1999) and the numbers of residents' permits that share their form.
//!
//! Decides: check character, birth date, the upgrade of 15-digit numbers. Must not know: what day it is; the caller
//! says. A region that no longer exists is normal: numbers keep the region of birth for life.

use std::borrow::Cow;

use chrono::{Datelike, NaiveDate};

use super::identifier::{is_one_character, spell};
use super::text::null_token;
use super::{Notes, Outcome, note, noted, nothing, refuse, region_codes};

/// Reads a citizen identity number into its 18 characters; `today` bounds the birth date.
///
/// `None` for blank, N/A, 无.
///
/// Refusals: `citizen_id_length`, `citizen_id_charset`, `citizen_id_check_digit`, `citizen_id_date` (no such day),
/// `citizen_id_future`, `citizen_id_centenarian` (15 digits, sequence 996–999: born in an unknown 18xx, not upgraded),
/// `citizen_id_placeholder`, `citizen_id_masked`.
///
/// Notes: `lower_case`, `full_width`, `blanks`, `upgraded_15`, `region_unknown`, `age_over_130`,
/// `residence_permit` (港澳台居民居住证, 810000, 820000, 830000), `foreigner` (外国人永久居留身份证: 18 digits from 9,
/// or three letters and twelve digits, which have no check we know).
pub fn citizen_id(text: &str, today: NaiveDate) -> Outcome<Cow<'_, str>> {
    if null_token(text) {
        return nothing();
    }
    let (number, mut notes) = spell(text);
    let number = match number.len() {
        15 if number.bytes().all(|b| b.is_ascii_digit()) => match upgrade(&number) {
            Ok(upgraded) => {
                note(&mut notes, "upgraded_15");
                Cow::Owned(upgraded)
            }
            Err(code) => return refuse(code),
        },
        15 if is_old_foreigner_number(&number) => {
            note(&mut notes, "foreigner");
            return noted(number, notes);
        }
        18 => number,
        _ if number.contains('*') => return refuse("citizen_id_masked"),
        _ => return refuse("citizen_id_length"),
    };
    match judge(&number, today, &mut notes) {
        Ok(()) => noted(number, notes),
        Err(code) => refuse(code),
    }
}

/// Whether a text has the form of a citizen's number: check character (ISO 7064 MOD 11-2), a birth day since 1900,
/// a region. One in eleven wrong codes of digits would pass the check character alone.
pub fn looks_like_one(number: &str) -> bool {
    let right = matches!(number.as_bytes(), [body @ .., given] if check_character(body) == Some(*given));
    let birth = number.get(6..14).and_then(|digits| digits.parse::<u32>().ok()).and_then(calendar_day);
    let region = number.get(..6).is_some_and(|region| !region.starts_with('9') && region_codes::plausible(region));
    right && region && birth.is_some_and(|day| (1900..2100).contains(&day.year()))
}

/// The 18 characters of the same citizen's 15 digits; `None` for what cannot be upgraded.
pub fn citizen_id_of_15(digits: &str) -> Option<String> {
    (digits.len() == 15).then(|| upgrade(digits).ok()).flatten()
}

/// The check character of 17 digits; `None` when they are not 17 digits.
fn check_character(body: &[u8]) -> Option<u8> {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    if body.len() != WEIGHTS.len() || !body.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let sum: u32 = body.iter().zip(WEIGHTS).map(|(&digit, weight)| u32::from(digit - b'0') * weight).sum();
    b"10X98765432".get((sum % 11) as usize).copied()
}

/// 15 digits → 18: the century is 19, unless the sequence number marks somebody who was a centenarian in 1984.
fn upgrade(number: &str) -> Result<String, &'static str> {
    if is_one_character(number) {
        return Err("citizen_id_placeholder");
    }
    let (Some(region), Some(rest)) = (number.get(..6), number.get(6..)) else { return Err("citizen_id_length") };
    if rest.ends_with("996") || rest.ends_with("997") || rest.ends_with("998") || rest.ends_with("999") {
        return Err("citizen_id_centenarian");
    }
    let mut full = format!("{region}19{rest}");
    let check = check_character(full.as_bytes()).ok_or("citizen_id_length")?;
    full.push(char::from(check));
    Ok(full)
}

fn judge(number: &str, today: NaiveDate, notes: &mut Notes) -> Result<(), &'static str> {
    if number.contains('*') {
        return Err("citizen_id_masked");
    }
    if is_one_character(number) || number == "123456789012345678" {
        return Err("citizen_id_placeholder");
    }
    let &[ref body @ .., given] = number.as_bytes() else { return Err("citizen_id_length") };
    let Some(expected) = check_character(body) else { return Err("citizen_id_charset") };
    if !(given.is_ascii_digit() || given == b'X') {
        return Err("citizen_id_charset");
    }
    if given != expected {
        return Err("citizen_id_check_digit");
    }
    let birth = number.get(6..14).and_then(|digits| digits.parse::<u32>().ok()).and_then(calendar_day);
    let Some(birth) = birth else { return Err("citizen_id_date") };
    if birth > today {
        return Err("citizen_id_future");
    }
    if today.year() - birth.year() > 130 {
        note(notes, "age_over_130");
    }
    match number.get(..6) {
        Some("810000" | "820000" | "830000") => note(notes, "residence_permit"),
        Some(region) if region.starts_with('9') => note(notes, "foreigner"),
        Some(region) if region_codes::plausible(region) => {}
        _ => note(notes, "region_unknown"),
    }
    Ok(())
}

/// `19491231` → a day, from 1800 on.
fn calendar_day(digits: u32) -> Option<NaiveDate> {
    let year = i32::try_from(digits / 10_000).ok().filter(|&year| year >= 1800)?;
    NaiveDate::from_ymd_opt(year, digits / 100 % 100, digits % 100)
}

/// Three letters of the nationality and twelve digits (before 2023).
fn is_old_foreigner_number(number: &str) -> bool {
    matches!(number.as_bytes().split_at_checked(3), Some((letters, digits))
        if letters.iter().all(u8::is_ascii_uppercase) && digits.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::{Refusal, vectors};

    fn today() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, 21).expect("a day")
    }

    fn check(input: &str, expect: Result<(Option<&str>, &[&str]), &'static str>) {
        let got = citizen_id(input, today());
        let got = got.as_ref().map(|c| (c.value.as_deref(), c.notes.as_slice()));
        assert_eq!(got, expect.map_err(|code| Refusal { code }).as_ref().map(|pair| *pair), "{input:?}");
    }

    #[test]
    fn published_examples_pass() {
        check("11010519491231002X", Ok((Some("11010519491231002X"), &[])));
        check("440524188001010014", Ok((Some("440524188001010014"), &["age_over_130"])));
        check("11010519491231002x", Ok((Some("11010519491231002X"), &["lower_case"])));
        check("１１０１０５１９４９１２３１００２Ｘ", Ok((Some("11010519491231002X"), &["full_width"])));
        check("110105 19491231 002X", Ok((Some("11010519491231002X"), &["blanks"])));
        check("110105491231002", Ok((Some("11010519491231002X"), &["upgraded_15"])));
        check("ABC310012345678", Ok((Some("ABC310012345678"), &["foreigner"])));
        check("无", Ok((None, &[])));
    }

    #[test]
    fn every_fault_has_its_code() {
        for (input, code) in [
            ("110105194912310021", "citizen_id_check_digit"),
            ("1101051949123100", "citizen_id_length"),
            ("A1010519491231002X", "citizen_id_charset"),
            ("1101051949123100２*", "citizen_id_masked"),
            ("1101**********002X", "citizen_id_masked"),
            ("110105881231997", "citizen_id_centenarian"),
            ("111111111111111111", "citizen_id_placeholder"),
            ("111111111111111", "citizen_id_placeholder"),
            ("370202210002290009", "citizen_id_date"),
            ("370202209901010009", "citizen_id_future"),
            ("身份证", "citizen_id_length"),
        ] {
            check(input, Err(code));
        }
    }

    /// Numbers of permits, made here: region, a birth day, a sequence, and the check of the standard.
    #[test]
    fn permits_and_unknown_regions_are_noted() {
        for (body, notes) in [
            ("81000019800101001", &["residence_permit"][..]),
            ("83000019800101001", &["residence_permit"]),
            ("91123419800101001", &["foreigner"]),
            ("00000119800101001", &["region_unknown"]),
        ] {
            let number = format!("{body}{}", char::from(check_character(body.as_bytes()).expect("17 digits")));
            check(&number, Ok((Some(&number), notes)));
        }
    }

    #[test]
    fn vectors_agree() {
        let Some(vectors) = vectors::json("citizen_id") else { return };
        for number in vectors::strings(&vectors, "published") {
            assert!(citizen_id(number, today()).is_ok(), "{number}");
        }
        for row in vectors["synthetic_checksum_ok"].as_array().expect("a list") {
            let code = if row[2] == "BAD_DATE" { "citizen_id_date" } else { "citizen_id_future" };
            check(row[0].as_str().expect("a number"), Err(code));
        }
        for number in vectors::strings(&vectors, "checksum_bad") {
            check(number, Err("citizen_id_check_digit"));
        }
        for row in vectors["upgrade_15_to_18"].as_array().expect("a list") {
            check(row[0].as_str().expect("15 digits"), Ok((row[1].as_str(), &["upgraded_15"])));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*|[0-9Xx*]{0,19}") {
            let _ = citizen_id(&text, today());
        }
    }
}

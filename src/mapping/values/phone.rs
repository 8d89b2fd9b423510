//! Telephone numbers 联系电话: mobile, landline, 400/800.
//!
//! Decides: one canonical spelling each, so that equal numbers compare equal: `13800000000`, `0532-80000000`,
//! `0532-80000000-123` with an extension, `4001234567`.

use std::borrow::Cow;

use super::identifier::spell;
use super::text::{null_token, trim};
use super::{Notes, Outcome, note, noted, nothing, refuse};

/// Reads one telephone number.
///
/// `None` for blank, N/A, 无. Refusals: `phone_several` (more than one number in the cell), `phone_masked`,
/// `phone_unreadable`. Notes: `country_code` (+86, 0086 removed), `trunk_zero` (a 0 before a mobile number removed),
/// `area_code_missing` (kept without one), `full_width`; blanks, brackets and hyphens are spelling, not repairs.
pub fn phone(text: &str) -> Outcome<Cow<'_, str>> {
    let text = trim(text);
    if is_mobile(text) {
        return noted(Cow::Borrowed(text), Notes::new());
    }
    if null_token(text) {
        return nothing();
    }
    if text.contains('*') {
        return refuse("phone_masked");
    }
    let (spelled, all_notes) = spell(text);
    let mut notes: Notes = all_notes.into_iter().filter(|&code| code == "full_width").collect();
    let bare = without_country_code(&spelled);
    if bare.is_some() {
        note(&mut notes, "country_code");
    }
    let number = bare.unwrap_or(&spelled);
    let abroad = || bare.and_then(|bare| canonical(&format!("0{bare}"), &mut Notes::new())); // +86 532 …
    match canonical(number, &mut notes).or_else(abroad) {
        Some(number) if number == text => noted(Cow::Borrowed(text), notes),
        Some(number) => noted(Cow::Owned(number), notes),
        None if has_several(&spelled) => refuse("phone_several"),
        None => refuse("phone_unreadable"),
    }
}

fn is_mobile(number: &str) -> bool {
    matches!(number.as_bytes(), [b'1', b'3'..=b'9', rest @ ..] if rest.len() == 9 && rest.iter().all(u8::is_ascii_digit))
}

fn without_country_code(number: &str) -> Option<&str> {
    let bare = ["+86", "(+86)", "(86)", "0086", "+(86)"].iter().find_map(|prefix| number.strip_prefix(prefix));
    bare.map(|bare| bare.trim_start_matches('-'))
}

/// The canonical spelling of one number without country code; `None` when it is none.
fn canonical(number: &str, notes: &mut Notes) -> Option<String> {
    if let Some(number) = without_extension(number, notes) {
        return Some(number);
    }
    let (main, extension) = split_extension(number)?;
    let number = without_extension(main, notes).filter(|number| !is_mobile(number))?;
    Some(format!("{number}-{extension}"))
}

fn without_extension(number: &str, notes: &mut Notes) -> Option<String> {
    let digits: String = number.chars().filter(|c| !matches!(c, '-' | '(' | ')')).collect();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if is_mobile(&digits) {
        return Some(digits);
    }
    if let Some(mobile) = digits.strip_prefix('0').filter(|rest| is_mobile(rest)) {
        note(notes, "trunk_zero");
        return Some(mobile.to_owned());
    }
    let service = (digits.starts_with("400") || digits.starts_with("800")) && digits.len() == 10;
    if service { Some(digits) } else { landline(&digits, notes) }
}

/// `0532-80000000-123`, `053280000000转123`: the number and its extension (1–6 digits).
fn split_extension(number: &str) -> Option<(&str, &str)> {
    let marked = ["转分机", "分机", "转", "EXT.", "EXT", "#"].iter().find_map(|mark| number.split_once(mark));
    let (main, extension) = marked.or_else(|| number.rsplit_once('-'))?;
    let extension = extension.trim_start_matches(['-', ':']);
    let good = (1..=6).contains(&extension.len()) && extension.bytes().all(|b| b.is_ascii_digit());
    good.then_some((main.trim_end_matches('-'), extension))
}

/// Area code and a number of 7–8 digits from 2 to 8. Areas 010 and 02x have three digits, all others four.
fn landline(digits: &str, notes: &mut Notes) -> Option<String> {
    let local = |number: &str| matches!(number.as_bytes(), [b'2'..=b'8', ..] if matches!(number.len(), 7 | 8));
    if !digits.starts_with('0') {
        if !local(digits) {
            return None;
        }
        note(notes, "area_code_missing");
        return Some(digits.to_owned());
    }
    let area_digits = match digits.as_bytes() {
        [b'0', b'1' | b'2', ..] => 3,
        [b'0', b'3'..=b'9', ..] => 4,
        _ => return None,
    };
    let (area, number) = digits.split_at_checked(area_digits)?;
    local(number).then(|| format!("{area}-{number}"))
}

/// Whether a refused cell holds a list: two runs of at least seven digits with a list separator between them.
fn has_several(spelled: &str) -> bool {
    let separators = [',', '、', ';', '/', '，', '；', '|', '或'];
    spelled.split(separators).filter(|part| part.bytes().filter(u8::is_ascii_digit).count() >= 7).count() > 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::Refusal;

    fn check(input: &str, expect: Result<(Option<&str>, &[&str]), &'static str>) {
        let got = phone(input);
        let got = got.as_ref().map(|c| (c.value.as_deref(), c.notes.as_slice()));
        assert_eq!(got, expect.map_err(|code| Refusal { code }).as_ref().map(|pair| *pair), "{input:?}");
    }

    #[test]
    fn spellings_of_one_number_meet() {
        for input in ["13800000000", "138-0000-0000", "138 0000 0000"] {
            check(input, Ok((Some("13800000000"), &[])));
        }
        for input in ["+8613800000000", "0086 138 0000 0000", "(+86)13800000000", "+86-13800000000"] {
            check(input, Ok((Some("13800000000"), &["country_code"])));
        }
        check("013800000000", Ok((Some("13800000000"), &["trunk_zero"])));
        check("１３８００００００００", Ok((Some("13800000000"), &["full_width"])));
        for input in ["0532-80000000", "053280000000", "(0532)80000000", "0532 8000 0000"] {
            check(input, Ok((Some("0532-80000000"), &[])));
        }
        for input in ["0532-80000000-123", "0532-80000000转123", "053280000000分机:123"] {
            check(input, Ok((Some("0532-80000000-123"), &[])));
        }
        check("+86 532 80000000", Ok((Some("0532-80000000"), &["country_code"])));
        check("010-60000000", Ok((Some("010-60000000"), &[])));
        check("021-6000000", Ok((Some("021-6000000"), &[])));
        check("400-123-4567", Ok((Some("4001234567"), &[])));
        check("80000000", Ok((Some("80000000"), &["area_code_missing"])));
        check("无", Ok((None, &[])));
    }

    #[test]
    fn what_is_no_single_number_is_refused() {
        check("13800000000、0532-80000000", Err("phone_several"));
        check("13800000000/13900000000", Err("phone_several"));
        check("138****0000", Err("phone_masked"));
        for input in ["12345", "0532-90000000", "12800000000", "电话", "1380000000", "13800000000转"] {
            check(input, Err("phone_unreadable"));
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_reads_back_its_own_spelling(text in ".*|[0-9+()转 -]{0,18}") {
            if let Ok(converted) = phone(&text) && let Some(number) = converted.value {
                let again = phone(&number).expect("canonical");
                prop_assert_eq!(again.value.as_deref(), Some(number.as_ref()));
            }
        }
    }
}

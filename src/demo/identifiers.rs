//! Made-up identifiers with right check digits.
//!
//! Pure. Written apart from the validators of `mapping::values` on purpose, so that the demo tests them. Codes of
//! bodies are in a series that is not issued (`MAY…`); citizen numbers are arithmetic, not anybody's.

use chrono::{Datelike, NaiveDate};

const USCC_CHARS: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
/// First possible birthday of a made-up person; all are born before 2000, so that 15-digit forms exist.
const FIRST_BIRTHDAY: (i32, u32, u32) = (1955, 1, 1);
const BIRTHDAYS: u64 = 16_381;

/// 组织机构代码 number `index` (GB 11714-1997), nine characters without hyphen.
pub(super) fn organization_code(index: u64) -> String {
    let mut code = *b"MAY00000";
    let mut rest = index.wrapping_mul(7_368_787).wrapping_add(12_345_678) % 31_u64.pow(5);
    for slot in code.iter_mut().skip(3) {
        *slot = USCC_CHARS[(rest % 31) as usize];
        rest /= 31;
    }
    let mut text: String = code.iter().map(|b| char::from(*b)).collect();
    text.push(organization_check(&code));
    text
}

fn organization_check(code: &[u8; 8]) -> char {
    const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = code.iter().zip(WEIGHTS).map(|(byte, weight)| alphanumeric(*byte) * weight).sum();
    match 11 - sum % 11 {
        10 => 'X',
        11 => '0',
        digit => char::from_digit(digit, 10).unwrap_or('0'),
    }
}

/// 统一社会信用代码 (GB 32100-2015) of class `class` (`91` enterprise, `92` self-employed, `93` cooperative).
pub(super) fn uscc(class: &str, region: &str, organization_code: &str) -> String {
    let mut code = format!("{class}{region}{organization_code}");
    let check = uscc_check(&code);
    code.push(check);
    code
}

/// The eighteenth character for the first seventeen.
pub(super) fn uscc_check(code: &str) -> char {
    let mut weight = 1;
    let mut sum = 0;
    for byte in code.bytes().take(17) {
        sum += USCC_CHARS.iter().position(|c| *c == byte).unwrap_or(0) * weight;
        weight = weight * 3 % 31;
    }
    char::from(USCC_CHARS[(31 - sum % 31) % 31])
}

/// The same code with another, hence wrong, last character.
pub(super) fn spoil_last(code: &str) -> String {
    let mut characters: Vec<char> = code.chars().collect();
    if let Some(last) = characters.last_mut() {
        *last = if *last == '7' { '4' } else { '7' };
    }
    characters.into_iter().collect()
}

/// Birthday of person `index`; with [`citizen_id`]'s sequence it is unique for nine million persons.
pub(super) fn birthday(index: u64) -> NaiveDate {
    let (year, month, day) = FIRST_BIRTHDAY;
    let first = NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
    first + chrono::Days::new(index.wrapping_mul(5_003) % BIRTHDAYS)
}

/// 公民身份号码 (GB 11643-1999) of person `index`.
pub(super) fn citizen_id(region: &str, index: u64, male: bool) -> String {
    let born = birthday(index);
    let (block, day) = (index / BIRTHDAYS, index % BIRTHDAYS);
    let sequence = ((block * 37 + day * 61) % 498) * 2 + u64::from(male);
    let mut code = format!("{region}{:04}{:02}{:02}{sequence:03}", born.year(), born.month(), born.day());
    let check = citizen_check(&code);
    code.push(check);
    code
}

fn citizen_check(code: &str) -> char {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: [char; 11] = ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'];
    let sum: u32 = code.chars().filter_map(|c| c.to_digit(10)).zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum();
    CHECKS[(sum % 11) as usize]
}

/// The 15-digit form in use before 1999: no century, no check character.
pub(super) fn short_citizen_id(id: &str) -> String {
    id.char_indices().filter(|(at, _)| !matches!(at, 6 | 7 | 17)).map(|(_, c)| c).collect()
}

/// 工商注册号 of 15 digits (GS 15-2006, ISO 7064 MOD 11,10).
pub(super) fn registration_no(region: &str, index: u64) -> String {
    let mut code = format!("{region}{:08}", 20_000_000 + index % 10_000_000);
    let mut product = 10;
    for digit in code.chars().filter_map(|c| c.to_digit(10)) {
        let sum = (product + digit) % 10;
        product = (if sum == 0 { 10 } else { sum }) * 2 % 11;
    }
    code.push(char::from_digit((11 - product) % 10, 10).unwrap_or('0'));
    code
}

/// 电子证照标识 (GB/T 36904-2018, check of GB/T 17710 MOD 37,36).
pub(super) fn cert_id(type_code: &str, issuer_code: &str, serial: &str, version: u32) -> String {
    let joined = format!("{type_code}{issuer_code}{serial}{version:03}");
    let product = joined.bytes().fold(36, |product, byte| {
        let sum = (product + alphanumeric(byte)) % 36;
        (if sum == 0 { 36 } else { sum }) * 2 % 37
    });
    let check = char::from_digit((37 - product) % 36, 36).unwrap_or('0').to_ascii_uppercase();
    format!("1.2.156.3005.2.{type_code}.{issuer_code}.{serial}.{version:03}.{check}")
}

/// The same, with the check character that the province's platform calculated around 2020: letters count one more, and
/// a letter's sum above 37 wraps at 37 first.
pub(super) fn legacy_cert_id(type_code: &str, issuer_code: &str, serial: &str, version: u32) -> String {
    let joined = format!("{type_code}{issuer_code}{serial}{version:03}");
    let product = joined.bytes().fold(36, |product, byte| {
        let value = alphanumeric(byte);
        let mut sum = product + value;
        if value >= 10 {
            sum += 1;
            sum = if sum > 37 { sum % 37 } else { sum };
        }
        let sum = sum % 36;
        (if sum == 0 { 36 } else { sum }) * 2 % 37
    });
    let check = char::from_digit(36 - product, 36).unwrap_or('0').to_ascii_uppercase();
    format!("1.2.156.3005.2.{type_code}.{issuer_code}.{serial}.{version:03}.{check}")
}

fn alphanumeric(byte: u8) -> u32 {
    char::from(byte).to_digit(36).unwrap_or(0)
}

/// Half-width text as a careless keyboard wrote it: ９１３７…
pub(super) fn full_width(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '!'..='~' => char::from_u32(u32::from(c) + 0xfee0).unwrap_or(c),
            _ => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples_have_these_check_characters() {
        assert_eq!(uscc_check("91350100M000100Y4"), '3');
        assert_eq!(organization_check(b"D2143569"), 'X');
        assert_eq!(citizen_check("11010519491231002"), 'X');
        assert_eq!(citizen_check("44052418800101001"), '4');
    }

    #[test]
    fn certificate_check_is_the_standard_one() {
        let id = cert_id("11100000000013338W011", "11430000006122244L", "20230000403", 1);
        assert!(id.ends_with(".001.U"), "{id}");
        assert!(cert_id("11100000MB03271699022", "340100", "000000016", 1).ends_with(".9"));
        let serial = "209FA4E88F9E4C878F3E9BED2CE7EA49";
        assert!(legacy_cert_id("11100000000013661B006", "113700000045046442", serial, 1).ends_with(".001.M"));
    }

    #[test]
    fn registration_numbers_follow_mod_11_10() {
        let code = registration_no("110108", 0);
        let product = code.chars().filter_map(|c| c.to_digit(10)).take(14).fold(10, |p, d| {
            let sum = (p + d) % 10;
            (if sum == 0 { 10 } else { sum }) * 2 % 11
        });
        let last = code.chars().last().and_then(|c| c.to_digit(10)).expect("a digit");
        assert_eq!((product + last) % 10, 1);
    }

    #[test]
    fn no_two_persons_or_bodies_share_a_number() {
        let persons: std::collections::HashSet<_> = (0..100_000).map(|i| citizen_id("370202", i, i % 2 == 0)).collect();
        let bodies: std::collections::HashSet<_> = (0..100_000).map(organization_code).collect();
        assert_eq!((persons.len(), bodies.len()), (100_000, 100_000));
    }

    #[test]
    fn a_short_number_is_the_long_one_without_century_and_check() {
        assert_eq!(short_citizen_id("11010519491231002X"), "110105491231002");
    }
}

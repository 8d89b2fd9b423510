//! Masks 脱敏: what remains of a value when a grant allows less than all of it.
//!
//! Decides: which characters stay. Must not know: fields, grants, subscribers. Guarantees: pure and total; a value of
//! an unexpected shape loses more, never less, and an empty value stays empty.

use crate::crypto::DigestAlgorithm;

/// Masks a person's name 姓名: the surname stays, compound surnames whole.
///
/// `张三` → `张*`, `王小明` → `王**`, `欧阳锋` → `欧阳*`; transliterated and Latin names keep their first character and
/// hide their length: `买买提·艾力` → `买***`, `JOHN SMITH` → `J***`.
pub fn name(text: &str) -> String {
    let text = text.trim();
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let rest = chars.count();
    let chinese = text.chars().all(|c| ('\u{3400}'..='\u{9fff}').contains(&c) || c > '\u{ffff}');
    if !chinese || rest > 3 {
        return format!("{first}***");
    }
    if let Some(surname) = COMPOUND_SURNAMES.iter().find(|surname| text.starts_with(**surname)).filter(|_| rest >= 2) {
        return format!("{surname}{}", "*".repeat(rest - 1));
    }
    format!("{first}{}", "*".repeat(rest.max(1)))
}

/// Compound surnames 复姓 that occur today.
const COMPOUND_SURNAMES: [&str; 24] = [
    "欧阳", "上官", "司马", "诸葛", "皇甫", "尉迟", "公孙", "慕容", "司徒", "令狐", "夏侯", "东方", "南宫", "独孤",
    "长孙", "宇文", "端木", "轩辕", "百里", "呼延", "申屠", "太史", "闻人", "淳于",
];

/// Masks an identity number 证件号码: four characters stay at either end, `1101**********002X`. Fifteen-digit and
/// twenty-digit numbers (old tax numbers of the self-employed hold an identity number) likewise; shorter ones than
/// twelve characters keep one at either end, and shorter than six nothing.
pub fn id_number(text: &str) -> String {
    let text = text.trim();
    let keep = match text.chars().count() {
        12.. => 4,
        6.. => 1,
        _ => 0,
    };
    middle(text, keep, keep)
}

/// Masks a telephone number 电话: `138****0000`, `0532-****0000`, `****0000` without area code. An extension goes. Any
/// other shape keeps at most its last two characters.
pub fn phone(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if text.len() == 11 && digits(text) && text.starts_with('1') {
        return middle(text, 3, 4);
    }
    let (area, local) = match text.split_once('-') {
        Some((area, rest)) if area.starts_with('0') && matches!(area.len(), 3 | 4) && digits(area) => (area, rest),
        _ => ("", text),
    };
    let local = local.split('-').next().unwrap_or_default();
    if !matches!(local.len(), 7 | 8) || !digits(local) {
        return middle(text, 0, if text.chars().count() >= 8 { 2 } else { 0 });
    }
    let separator = if area.is_empty() { "" } else { "-" };
    format!("{area}{separator}{}", middle(local, 0, 4))
}

/// Masks an address 住址 down to street or town, else district, else city: `山东省青岛市市南区香港中路街道***`. An address
/// without any of these is hidden whole.
pub fn address(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    // House and estate names come after digits or roads; nothing behind them is an administrative unit.
    let end = text.find(|c: char| c.is_ascii_digit() || ('０'..='９').contains(&c)).unwrap_or(text.len());
    let head = text.get(..end).unwrap_or_default();
    let end = head.find(['路', '号', '村', '栋', '幢', '楼']).unwrap_or(head.len());
    let head = head.get(..end).unwrap_or_default();
    let kept = [street(text, head), district(head), last_unit(head, '市'), last_unit(head, '省')];
    format!("{}***", kept.into_iter().flatten().next().unwrap_or_default())
}

/// Up to the first 街道, 镇 or 乡. 街道 may follow a road's name (香港中路街道), so it is sought further.
fn street<'a>(text: &'a str, head: &'a str) -> Option<&'a str> {
    let through = |text: &'a str, at: usize, unit: &str| text.get(..at + unit.len());
    if let Some(at) = text.find("街道").filter(|&at| !text.get(..at).is_some_and(|before| before.contains(is_house)))
    {
        return through(text, at, "街道");
    }
    let at = head.char_indices().find(|&(at, c)| {
        let after = head.get(at + c.len_utf8()..).unwrap_or_default();
        matches!(c, '镇' | '乡') && !after.starts_with(['市', '县', '区'])
    });
    at.and_then(|(at, c)| text.get(..at + c.len_utf8()))
}

fn is_house(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '０'..='９' | '号' | '村' | '栋' | '幢' | '楼')
}

/// Up to the first 区, 县 or 旗 that ends a district's name: not 小区, 社区, 园区, …, and not in 市辖区's list of zones.
fn district(head: &str) -> Option<&str> {
    const NO_DISTRICT: [char; 12] = ['小', '社', '园', '校', '院', '厂', '库', '矿', '景', '湖', '片', '生'];
    let mut before = None;
    for (at, c) in head.char_indices() {
        let named = before.is_some_and(|b| !NO_DISTRICT.contains(&b) && !matches!(b, '省' | '市'));
        if matches!(c, '区' | '县' | '旗') && named {
            return head.get(..at + c.len_utf8());
        }
        before = Some(c);
    }
    None
}

fn last_unit(head: &str, unit: char) -> Option<&str> {
    let at = head.rfind(unit).filter(|&at| at > 0)?;
    head.get(..at + unit.len_utf8())
}

/// Masks a date or timestamp to its year in China: `1985-03-02` → `1985`, `2025-12-31T16:00:00Z` → `2026`. Anything
/// that is neither, or whose year has not four digits, is hidden whole.
pub fn year(text: &str) -> String {
    use chrono::Datelike;
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    let instant = || chrono::DateTime::parse_from_rfc3339(text).ok();
    let date = text.parse::<chrono::NaiveDate>().ok();
    let date = date.or_else(|| instant().map(|at| at.with_timezone(&chrono_tz::Asia::Shanghai).date_naive()));
    match date.map(|date| date.year()).filter(|year| (1000..=9999).contains(year)) {
        Some(year) => year.to_string(),
        None => "****".to_owned(),
    }
}

/// A keyed pseudonym 假名: the first 16 bytes of HMAC (RFC 2104) by SHA-256 or SM3 in lower-case hex. Equal texts under one
/// key have equal pseudonyms; without the key nothing leads back, not even trying all identity numbers.
pub fn pseudonym(by: DigestAlgorithm, key: &[u8], text: &str) -> String {
    use std::fmt::Write;
    let tag = hmac(by, key, text.as_bytes());
    tag.iter().take(16).fold(String::with_capacity(32), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn hmac(by: DigestAlgorithm, key: &[u8], message: &[u8]) -> [u8; 32] {
    const BLOCK: usize = 64; // of both
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        let digest = by.digest(&[key]);
        block.iter_mut().zip(digest.iter()).for_each(|(slot, byte)| *slot = *byte);
    } else {
        block.iter_mut().zip(key).for_each(|(slot, byte)| *slot = *byte);
    }
    let inner = by.digest(&[&block.map(|b| b ^ 0x36), message]);
    by.digest(&[&block.map(|b| b ^ 0x5c), &inner])
}

/// Keeps some characters at either end and stars the rest.
fn middle(text: &str, head: usize, tail: usize) -> String {
    let count = text.chars().count();
    let shown = |i: usize| i < head || i + tail >= count;
    text.chars().enumerate().map(|(i, c)| if shown(i) { c } else { '*' }).collect()
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;

    fn check(mask: fn(&str) -> String, rows: &[(&str, &str)]) {
        for (input, expect) in rows {
            assert_eq!(mask(input), *expect, "{input:?}");
        }
    }

    #[test]
    fn names_keep_the_surname() {
        check(
            name,
            &[
                ("张三", "张*"),
                ("王小明", "王**"),
                ("欧阳锋", "欧阳*"),
                ("欧阳小锋", "欧阳**"),
                ("东方", "东*"),
                ("买买提·艾力", "买***"),
                ("阿不都热西提", "阿***"),
                ("JOHN SMITH", "J***"),
                ("张", "张*"),
                ("张**", "张***"),
                ("", ""),
            ],
        );
    }

    #[test]
    fn numbers_keep_their_ends() {
        check(
            id_number,
            &[
                ("11010519491231002X", "1101**********002X"),
                ("110105491231002", "1101*******1002"),
                ("E12345678", "E*******8"),
                ("12345", "*****"),
                ("", ""),
            ],
        );
        check(
            phone,
            &[
                ("13800000000", "138****0000"),
                ("0532-80000000", "0532-****0000"),
                ("010-60000000-123", "010-****0000"),
                ("0532-8000000", "0532-***0000"),
                ("80000000", "****0000"),
                ("4001234567", "********67"),
                ("12345", "*****"),
                ("", ""),
            ],
        );
    }

    #[test]
    fn addresses_end_at_street_or_district() {
        check(
            address,
            &[
                ("山东省青岛市市南区香港中路街道东海西路15号", "山东省青岛市市南区香港中路街道***"),
                ("青岛市市南区香港中路10号", "青岛市市南区***"),
                ("青岛市平度市蓼兰镇驻地", "青岛市平度市蓼兰镇***"),
                ("青岛市城阳区夏庄街道秦家小水社区西", "青岛市城阳区夏庄街道***"),
                ("青岛胶州市海尔路2号", "青岛胶州市***"),
                ("青岛市崂山区某某小区3号楼1单元", "青岛市崂山区***"),
                ("景德镇市珠山区一号", "景德镇市珠山区***"),
                ("阳光小区3号楼", "***"),
                ("海尔路1号", "***"),
                ("", ""),
            ],
        );
    }

    #[test]
    fn dates_keep_their_year_in_china() {
        check(
            year,
            &[
                ("1985-03-02", "1985"),
                ("2025-12-31T16:00:00Z", "2026"),
                ("2025-12-31T15:59:59Z", "2025"),
                ("三月", "****"),
                ("0-1-1", "****"),
                ("-44-3-15", "****"),
                ("+12026-01-01", "****"),
                ("", ""),
            ],
        );
    }

    #[test]
    fn pseudonyms_are_hmac_sha256() {
        // RFC 4231, test cases 1, 2 and 6.
        let tag = |key: &[u8], text: &str| pseudonym(DigestAlgorithm::Sha256, key, text);
        assert_eq!(tag(&[0x0b; 20], "Hi There"), "b0344c61d8db38535ca8afceaf0bf12b");
        assert_eq!(tag(b"Jefe", "what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c7");
        assert_eq!(
            tag(&[0xaa; 131], "Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f"
        );
        assert_ne!(tag(b"one feed", "张三"), tag(b"another feed", "张三"));
    }

    #[test]
    fn pseudonyms_by_sm3_are_hmac_sm3() {
        // The same keys and texts; the tags are OpenSSL's: openssl dgst -sm3 -mac hmac -macopt hexkey:…
        let tag = |key: &[u8], text: &str| pseudonym(DigestAlgorithm::Sm3, key, text);
        assert_eq!(tag(&[0x0b; 20], "Hi There"), "51b00d1fb49832bfb01c3ce27848e59f");
        assert_eq!(tag(b"Jefe", "what do ya want for nothing?"), "2e87f1d16862e6d964b50a5200bf2b10");
        assert_eq!(
            tag(&[0xaa; 131], "Test Using Larger Than Block-Size Key - Hash Key First"),
            "b4fd844e13342002f0b2e0690ea7741f"
        );
    }

    #[test]
    fn vectors_agree() {
        let Some(vectors) = crate::testing::shared("data/vectors") else { return };
        let load = |name: &str| -> serde_json::Value {
            let text = std::fs::read_to_string(vectors.join(name)).expect("vectors");
            serde_json::from_str(&text).expect("JSON")
        };
        let vectors = load("mask_normalise.json");
        for row in vectors["name_mask_prefix"].as_array().expect("a list") {
            let (input, expect) = (row[0].as_str().expect("a name"), row[1].as_str().expect("a mask"));
            // The vectors allow to cap the stars at three, which hides the length.
            let capped = if expect.matches('*').count() > 3 {
                format!("{}***", expect.trim_end_matches('*'))
            } else {
                expect.to_owned()
            };
            assert_eq!(name(input), capped, "{input}");
        }
        for row in vectors["phone_mask"].as_array().expect("a list") {
            assert_eq!(Some(phone(row[0].as_str().expect("a number")).as_str()), row[1].as_str());
        }
        let citizen = load("citizen_id.json");
        let row = &citizen["mask"][0];
        assert_eq!(Some(id_number(row[0].as_str().expect("a number")).as_str()), row[1].as_str());
    }

    proptest! {
        #[test]
        fn masks_never_panic_and_always_hide(text in ".{0,30}|[0-9X-]{0,20}|[山东省青岛市南区街道镇0-9号]{0,20}") {
            let empty = text.trim().is_empty();
            for mask in [name, id_number, phone, address] {
                let masked = mask(&text);
                prop_assert!(empty || masked.contains('*'), "{} → {}", text, masked);
            }
            // What a year keeps is a year, and nothing else of what was there.
            let kept = year(&text);
            let is_year = kept.len() == 4 && kept.bytes().all(|b| b.is_ascii_digit());
            prop_assert!(empty || kept == "****" || is_year, "{} → {}", text, kept);
            prop_assert_eq!(pseudonym(DigestAlgorithm::Sm3, text.as_bytes(), &text).len(), 32);
        }
    }
}

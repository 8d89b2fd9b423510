//! The region of an entity 行政区划 as a GB/T 2260 code, from a registering authority, an address, or a code.
//!
//! Decides: which part of a text names the region, and which of two texts counts. Never refuses: a region that we
//! cannot read is no region, noted.

use std::borrow::Cow;

use super::identifier::spell;
use super::region_codes::{DISTRICTS, Kind, Named, PREFECTURES, SHORT, ZONES, kind};
use super::text::{null_token, trim};
use super::{Notes, Outcome, note, noted, nothing};

/// The region of an entity: six digits of GB/T 2260 as in force today.
///
/// Both texts may be a code (6, 9 or 12 digits, the rest being township and village), an authority's name or an
/// address. The authority 登记机关 counts as far as it goes; an address 住所 in the same prefecture refines it.
/// `None` without a note when there is nothing to read.
///
/// Notes: `region_historic` (replaced by its successor), `region_zone` (370220, 370222, 370271: kept), `region_unknown`
/// (six digits nobody knows: kept; or text without a known name: `None`), `region_conflict` (the authority's district
/// is not the address's; the authority's is kept).
pub fn region<'a>(authority: &'a str, address: Option<&'a str>) -> Outcome<Cow<'a, str>> {
    let address = address.unwrap_or_default();
    if null_token(authority) && null_token(address) {
        return nothing();
    }
    let mut notes = Notes::new();
    let in_qingdao = says_qingdao(authority) || says_qingdao(address);
    let found = match (read(authority, in_qingdao), read(address, in_qingdao)) {
        (Some(first), Some(second)) => Some(settle(first, second, &mut notes)),
        (first, second) => first.or(second),
    };
    let Some(code) = found else {
        note(&mut notes, "region_unknown");
        return Ok(super::Converted { value: None, notes });
    };
    match kind(&code) {
        Kind::Historic(successor) => {
            note(&mut notes, "region_historic");
            return noted(Cow::Borrowed(successor), notes);
        }
        Kind::Zone => note(&mut notes, "region_zone"),
        Kind::Unknown => note(&mut notes, "region_unknown"),
        Kind::District | Kind::Above | Kind::Elsewhere => {}
    }
    noted(code, notes)
}

/// The more precise of two codes; the first when both are.
fn settle<'a>(first: Cow<'a, str>, second: Cow<'a, str>, notes: &mut Notes) -> Cow<'a, str> {
    let stem = first.trim_end_matches("00");
    if is_above(&first) && second.starts_with(stem) {
        return second;
    }
    if !is_above(&first) && !is_above(&second) && in_force(&first) != in_force(&second) {
        note(notes, "region_conflict");
    }
    first
}

fn is_above(code: &str) -> bool {
    kind(code) == Kind::Above
}

fn in_force(code: &str) -> &str {
    match kind(code) {
        Kind::Historic(successor) => successor,
        _ => code,
    }
}

fn says_qingdao(text: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), "青岛".as_bytes()).is_some() || trim(text).starts_with("3702")
}

/// The code that a text is or names.
fn read(text: &str, in_qingdao: bool) -> Option<Cow<'_, str>> {
    if null_token(text) {
        return None;
    }
    if let Some(code) = code(text) {
        return Some(code);
    }
    let start = trim(text);
    let start = start.strip_prefix("山东省").or_else(|| start.strip_prefix("山东")).unwrap_or(start);
    let prefecture = place(start, &PREFECTURES);
    if prefecture.is_none_or(|code| code == "370200") {
        let inside = start.strip_prefix("青岛市").or_else(|| start.strip_prefix("青岛")).unwrap_or(start);
        let zone = || if in_qingdao { earliest(text, &ZONES) } else { None };
        if let Some(code) = earliest(text, &DISTRICTS).or_else(|| place(inside, &SHORT)).or_else(zone) {
            return Some(Cow::Borrowed(code));
        }
    }
    match prefecture {
        Some(code) => Some(Cow::Borrowed(code)),
        None => text.contains("山东").then_some(Cow::Borrowed("370000")),
    }
}

/// Six, nine or twelve digits → the first six.
fn code(text: &str) -> Option<Cow<'_, str>> {
    let text = trim(text);
    if matches!(text.len(), 6 | 9 | 12) && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.get(..6).map(Cow::Borrowed);
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || ('０'..='９').contains(&c)) || text.len() > 48 {
        return None;
    }
    let (spelled, _) = spell(text);
    let digits = matches!(spelled.len(), 6 | 9 | 12) && spelled.bytes().all(|b| b.is_ascii_digit());
    spelled.get(..6).filter(|_| digits).map(|six| Cow::Owned(six.to_owned()))
}

/// The place a text starts with. Elsewhere, and before 路 or 街, it is a street: they are full of cities (烟台路).
fn place(text: &str, names: &[Named]) -> Option<&'static str> {
    let text = trim(text);
    names.iter().find_map(|(name, code)| {
        let rest = text.strip_prefix(name)?;
        let mut chars = rest.chars();
        let street = |c: Option<char>| matches!(c, Some('路' | '街' | '支'));
        let (first, second) = (chars.next(), chars.next());
        let numbered = matches!(first, Some('东' | '西' | '南' | '北' | '一' | '二' | '三' | '四')) && street(second);
        (!street(first) && !numbered).then_some(*code)
    })
}

/// The code of the name that ends first in the text; all names end in 区, 市, 县 or 园.
fn earliest(text: &str, names: &[Named]) -> Option<&'static str> {
    let mut ends = text.char_indices().filter(|(_, c)| matches!(c, '区' | '市' | '县' | '园'));
    ends.find_map(|(at, c)| {
        let head = text.get(..at + c.len_utf8()).unwrap_or_default();
        let two = head.as_bytes().last_chunk::<6>()?; // the last two characters of a name tell most of them apart
        let ends = |name: &str| name.as_bytes().last_chunk() == Some(two) && head.ends_with(name);
        names.iter().find(|(name, _)| ends(name)).map(|(_, code)| *code)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::vectors;

    fn check(authority: &str, address: Option<&str>, code: Option<&str>, notes: &[&str]) {
        let got = region(authority, address).expect("never refuses");
        assert_eq!((got.value.as_deref(), got.notes.as_slice()), (code, notes), "{authority:?} {address:?}");
    }

    #[test]
    fn codes_are_taken_as_they_are_or_succeeded() {
        check("370202", None, Some("370202"), &[]);
        check("370202001000", None, Some("370202"), &[]);
        check("３７０２０２", None, Some("370202"), &[]);
        check("370282", None, Some("370215"), &["region_historic"]);
        check("370222", None, Some("370222"), &["region_zone"]);
        check("370299", None, Some("370299"), &["region_unknown"]);
        check("999999", None, Some("999999"), &["region_unknown"]);
        check("370303", None, Some("370303"), &[]);
        check("", None, None, &[]);
        check("N/A", Some("无"), None, &[]);
    }

    #[test]
    fn names_are_read_and_the_address_refines_the_authority() {
        check("青岛市市南区市场监督管理局", None, Some("370202"), &[]);
        check("青岛市市场监督管理局", None, Some("370200"), &[]);
        check("青岛市市场监督管理局", Some("山东省青岛市市南区香港中路68号"), Some("370202"), &[]);
        check("370200", Some("市北区辽宁路1号"), Some("370203"), &[]);
        check("山东省市场监督管理局", Some("青岛市崂山区香山路12号"), Some("370212"), &[]);
        check("青岛市黄岛区市场监督管理局", Some("青岛市市南区山东路27号"), Some("370211"), &["region_conflict"]);
        check("370282", Some("青岛市即墨区鹤山路1号"), Some("370215"), &["region_historic"]);
        check("无", Some("青岛市即墨市普东镇"), Some("370215"), &["region_historic"]);
        check("青岛胶州市海尔路2号", None, Some("370281"), &[]);
        check("青岛市四方区四流南路22号", None, Some("370203"), &["region_historic"]);
        check("青岛市市北区台东八路43号", None, Some("370203"), &[]);
        check("青岛保税区市场监督管理局", None, Some("370220"), &["region_zone"]);
        check("青岛市红岛经济区河套镇上疃村", None, Some("370222"), &["region_zone"]);
        check("青岛西海岸新区行政审批服务局", None, Some("370211"), &[]);
        check("市南区德州路2号", None, Some("370202"), &[]);
        check("潍坊市高密市高新区1号", None, Some("370700"), &[]);
        check("烟台市芝罘区", None, Some("370600"), &[]);
        check("济南市市中区市北区路", None, Some("370100"), &[]);
        check("莱芜市市场监督管理局", None, Some("370100"), &["region_historic"]);
        check("青岛市即墨天山二路6号", None, Some("370215"), &[]);
        check("青岛市即墨路6号", None, Some("370200"), &[]);
        check("莱西省级经济技术开发区", None, Some("370285"), &[]);
        check("青岛高科技工业园海尔路2号", None, Some("370212"), &[]);
        check("高新区火炬路", None, None, &["region_unknown"]);
        check("湖北省十堰市红卫", None, None, &["region_unknown"]);
    }

    #[test]
    fn vectors_agree() {
        let Some(vectors) = vectors::json("mask_normalise") else { return };
        for row in vectors["regions"].as_array().expect("a list") {
            let code = row[0].as_str().expect("a code");
            let got = region(code, None).expect("never refuses");
            assert_eq!(got.value.as_deref(), row[1].as_str().or(Some(code)), "{row}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_nor_refuses(authority in ".*|[0-9]{0,12}", address in ".*|[山东青岛市南北区路0-9]{0,20}") {
            prop_assert!(region(&authority, Some(&address)).is_ok());
            prop_assert!(region(&authority, None).is_ok());
        }
    }
}

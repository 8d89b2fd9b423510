//! Region codes 行政区划代码 (GB/T 2260) as far as this city needs them: Qingdao in full with its history, Shandong's
//! prefectures, and the provinces' first two digits.
//!
//! Decides: what a six-digit code is. Counties of other prefectures are not listed; they are plausible when their
//! prefecture is. A code is never wrong enough to refuse a row: registers hold a quarter of historic codes, and
//! registration authorities use codes that GB/T 2260 does not know.

/// What a six-digit code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A district or county of Qingdao, in force.
    District,
    /// No longer in force; the code that took its place.
    Historic(&'static str),
    /// A zone with its own registration authority, outside GB/T 2260: 370220 前湾保税港区, 370222 高新区 (in GB/T 2260
    /// 即墨县 until 1988, never in use for that since), 370271 高新技术产业开发区 (statistics).
    Zone,
    /// A prefecture or province.
    Above,
    /// Not listed here, but its province (and, in Shandong, its prefecture) exists.
    Elsewhere,
    /// No such province, prefecture or, in Qingdao, district.
    Unknown,
}

/// A name that can occur in an authority's name or an address, and its code.
pub(super) type Named = (&'static str, &'static str);

/// Qingdao's districts and county-level cities, past ones included; their names are unique in Shandong.
pub(super) const DISTRICTS: [Named; 18] = [
    ("西海岸新区", "370211"),
    ("市南区", "370202"),
    ("市北区", "370203"),
    ("黄岛区", "370211"),
    ("崂山区", "370212"),
    ("李沧区", "370213"),
    ("城阳区", "370214"),
    ("即墨区", "370215"),
    ("胶州市", "370281"),
    ("平度市", "370283"),
    ("莱西市", "370285"),
    ("即墨市", "370282"),
    ("胶南市", "370284"),
    ("四方区", "370205"),
    ("台东区", "370204"),
    ("沧口区", "370206"),
    ("崂山县", "370221"),
    ("即墨县", "370282"), // not 370222: that code means the high-tech zone today
];

/// Counties and cities that people name without 区 or 市; only at the start of an address, where no street stands.
pub(super) const SHORT: [Named; 5] =
    [("即墨", "370215"), ("胶州", "370281"), ("平度", "370283"), ("莱西", "370285"), ("胶南", "370284")];

/// Zones by name; every city has zones called so, they count only where the text or its companion says Qingdao.
pub(super) const ZONES: [Named; 9] = [
    ("高科技工业园", "370212"), // 青岛高科技工业园 lies in 崂山区
    ("高科园", "370212"),
    ("保税港区", "370220"),
    ("保税区", "370220"),
    ("自贸片区", "370211"),
    ("红岛经济区", "370222"),
    ("高新技术产业开发区", "370222"),
    ("高新区", "370222"),
    ("经济技术开发区", "370211"),
];

/// Shandong's prefectures 地级市, without 市.
pub(super) const PREFECTURES: [Named; 17] = [
    ("济南", "370100"),
    ("青岛", "370200"),
    ("淄博", "370300"),
    ("枣庄", "370400"),
    ("东营", "370500"),
    ("烟台", "370600"),
    ("潍坊", "370700"),
    ("济宁", "370800"),
    ("泰安", "370900"),
    ("威海", "371000"),
    ("日照", "371100"),
    ("莱芜", "371200"),
    ("临沂", "371300"),
    ("德州", "371400"),
    ("聊城", "371500"),
    ("滨州", "371600"),
    ("菏泽", "371700"),
];

/// Qingdao's codes that are no longer in force, with the one in force. 370204 and 370206 were dissolved in 1994,
/// 370205 and 370284 in 2012, 370282 in 2017, the counties between 1986 and 1989; 371200 joined 济南 in 2019.
const HISTORIC: [(&str, &str); 11] = [
    ("370201", "370200"),
    ("370204", "370203"),
    ("370205", "370203"),
    ("370206", "370213"),
    ("370221", "370212"),
    ("370223", "370211"),
    ("370224", "370281"),
    ("370225", "370285"),
    ("370226", "370283"),
    ("370282", "370215"),
    ("370284", "370211"),
];

/// First two digits in use (GB/T 2260), and 10 for national authorities.
const PROVINCES: [&str; 35] = [
    "10", "11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43",
    "44", "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82",
];

/// Classifies six digits.
pub(super) fn kind(code: &str) -> Kind {
    let (Some(province), Some(prefecture)) = (code.get(..2), code.get(..4)) else { return Kind::Unknown };
    let digits = code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit());
    if !digits || !PROVINCES.contains(&province) {
        return Kind::Unknown;
    }
    if code.ends_with("0000") {
        return Kind::Above;
    }
    if province != "37" {
        return if code.ends_with("00") { Kind::Above } else { Kind::Elsewhere };
    }
    match code {
        "370220" | "370222" | "370271" => Kind::Zone,
        "371200" => Kind::Historic("370100"),
        _ if PREFECTURES.iter().any(|(_, known)| *known == code) => Kind::Above,
        _ if prefecture == "3702" => kind_in_qingdao(code),
        _ if PREFECTURES.iter().any(|(_, known)| known.starts_with(prefecture)) => Kind::Elsewhere,
        _ => Kind::Unknown,
    }
}

fn kind_in_qingdao(code: &str) -> Kind {
    if let Some((_, successor)) = HISTORIC.iter().find(|(old, _)| *old == code) {
        Kind::Historic(successor)
    } else if DISTRICTS.iter().any(|(_, known)| *known == code) {
        Kind::District
    } else {
        Kind::Unknown
    }
}

/// Whether the code, as part of a longer identifier, raises no doubt.
pub(super) fn plausible(code: &str) -> bool {
    kind(code) != Kind::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::values::vectors;

    #[test]
    fn codes_are_classified() {
        for (code, expect) in [
            ("370202", Kind::District),
            ("370215", Kind::District),
            ("370282", Kind::Historic("370215")),
            ("370205", Kind::Historic("370203")),
            ("370220", Kind::Zone),
            ("370222", Kind::Zone),
            ("370200", Kind::Above),
            ("370000", Kind::Above),
            ("371200", Kind::Historic("370100")),
            ("370303", Kind::Elsewhere),
            ("110105", Kind::Elsewhere),
            ("370299", Kind::Unknown),
            ("371900", Kind::Unknown),
            ("371802", Kind::Unknown),
            ("990000", Kind::Unknown),
            ("37020", Kind::Unknown),
            ("37020X", Kind::Unknown),
            ("三七〇二", Kind::Unknown),
        ] {
            assert_eq!(kind(code), expect, "{code}");
        }
    }

    #[test]
    fn names_end_as_the_search_expects() {
        for (name, code) in DISTRICTS.iter().chain(&ZONES) {
            assert!(name.ends_with(['区', '市', '县', '园']), "{name}");
            assert_ne!(kind(code), Kind::Unknown, "{name}");
        }
    }

    #[test]
    fn every_historic_code_leads_to_one_in_force() {
        for (old, new) in HISTORIC {
            assert_eq!(kind(old), Kind::Historic(new));
            assert!(matches!(kind(new), Kind::District | Kind::Above), "{old} → {new}");
        }
    }

    #[test]
    fn qingdaos_history_is_complete() {
        let Some(history) = vectors::text("codes/qingdao_region_history.csv") else { return };
        for line in history.lines().skip(1) {
            let code = line.split(',').next().expect("a code");
            assert_ne!(kind(code), Kind::Unknown, "{line}");
        }
    }

    #[test]
    fn all_codes_of_the_standard_are_plausible() {
        for file in ["codes/gb2260/200212.tsv", "codes/gb2260/200712.tsv"] {
            let Some(table) = vectors::text(file) else { return };
            for line in table.lines().skip(1) {
                let code = line.split('\t').nth(2).expect("a code");
                assert!(plausible(code), "{line}");
            }
        }
    }
}

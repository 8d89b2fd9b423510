//! Factor codes of HJ/T 212-2005 and what HJ 212-2017 (appendix B) calls the same factors.
//!
//! Three characters are water (and S01–S08, B02: flue gas), two are air.

/// 2005 → 2017, sorted. 011 化学需氧量, 060 氨氮, 101 总磷, 02 二氧化硫, 03 氮氧化物, 01 烟尘 …
const CODES: &[(&str, &str)] = &[
    ("001", "w01001"),
    ("002", "w01002"),
    ("003", "w01012"),
    ("01", "a34013"),
    ("010", "w01017"),
    ("011", "w01018"),
    ("015", "w01020"),
    ("02", "a21026"),
    ("020", "w20111"),
    ("021", "w20113"),
    ("022", "w20115"),
    ("023", "w20116"),
    ("024", "w20117"),
    ("026", "w20119"),
    ("027", "w20120"),
    ("028", "w20121"),
    ("029", "w20122"),
    ("03", "a21002"),
    ("030", "w20123"),
    ("031", "w20124"),
    ("032", "w20125"),
    ("033", "w20126"),
    ("034", "w20127"),
    ("035", "w20128"),
    ("036", "w20092"),
    ("037", "w20023"),
    ("038", "w20061"),
    ("039", "w20012"),
    ("04", "a21005"),
    ("040", "w20038"),
    ("041", "w20089"),
    ("05", "a21028"),
    ("06", "a21018"),
    ("060", "w21003"),
    ("061", "w99001"),
    ("062", "w21004"),
    ("063", "w21006"),
    ("064", "w21007"),
    ("065", "w21001"),
    ("07", "a21017"),
    ("070", "w21016"),
    ("071", "w21019"),
    ("072", "w21017"),
    ("08", "a21024"),
    ("080", "w22001"),
    ("09", "a34038"),
    ("090", "w21022"),
    ("10", "a21001"),
    ("101", "w21011"),
    ("11", "a21022"),
    ("110", "w23002"),
    ("12", "a99051"),
    ("13", "a30022"),
    ("14", "a34039"),
    ("15", "a34040"),
    ("17", "a25003"),
    ("18", "a25005"),
    ("19", "a31001"),
    ("20", "a25044"),
    ("21", "a26001"),
    ("22", "a25023"),
    ("23", "a25010"),
    ("24", "a99049"),
    ("25", "a24087"),
    ("26", "a31002"),
    ("27", "a23001"),
    ("28", "a30001"),
    ("29", "a24046"),
    ("30", "a05001"),
    ("31", "a20057"),
    ("32", "a20043"),
    ("33", "a20025"),
    ("34", "a20091"),
    ("35", "a20063"),
    ("350", "w33001"),
    ("351", "w33007"),
    ("36", "a20016"),
    ("37", "a01010"),
    ("520", "w19002"),
    ("540", "w25043"),
    ("550", "w02003"),
    ("570", "w03001"),
    ("571", "w03002"),
    ("B01", "w00000"),
    ("B02", "a00000"),
    ("S01", "a19001"),
    ("S02", "a01011"),
    ("S03", "a01012"),
    ("S04", "a01017"),
    ("S05", "a01014"),
    ("S06", "a01015"),
    ("S07", "a01016"),
    ("S08", "a01013"),
];

/// The code of 2017 for one of either standard; `None` for one that neither table has.
pub(super) fn of_2017(code: &str) -> Option<&str> {
    if is_2017(code) {
        return Some(code);
    }
    CODES.binary_search_by_key(&code, |(old, _)| *old).ok().and_then(|at| CODES.get(at)).map(|(_, new)| *new)
}

/// A letter for the medium (a air, w water, l noise, e and g facilities) and five digits, or three and a facility.
fn is_2017(code: &str) -> bool {
    let mut characters = code.chars();
    characters.next().is_some_and(|c| matches!(c, 'a' | 'w' | 'l' | 'e' | 'g'))
        && code.len() == 6
        && characters.all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_either_standard_name_the_same_factor() {
        assert!(CODES.is_sorted_by(|a, b| a.0 < b.0));
        let check = |code: &str, expect: Option<&str>| assert_eq!(of_2017(code), expect, "{code}");
        check("011", Some("w01018"));
        check("060", Some("w21003"));
        check("B01", Some("w00000"));
        check("02", Some("a21026"));
        check("a21026", Some("a21026"));
        check("999", None);
        check("", None);
    }
}

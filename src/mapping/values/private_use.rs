//! Private-use characters 用户自定义区 left behind by old GBK converters.
//!
//! Decides: which private-use code points have a known Unicode character (the 80 of rows FE50–FEA0 and the 10 of
//! row A6xx that GBK mapped to U+E815–U+E864 and U+E78D–U+E796, as GB 18030-2022 assigns them today). Must not
//! know: encodings, files. Guarantees: a vendor's own character (EUDC) is kept as it is and counted, never dropped.

use std::borrow::Cow;

/// A text after repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair<'a> {
    /// The text; borrowed when nothing was repaired.
    pub text: Cow<'a, str>,
    /// Characters replaced by their assigned one.
    pub repaired: usize,
    /// Private-use characters that no table explains; still in the text.
    pub unresolved: usize,
}

/// Replaces private-use characters whose meaning GB 18030-2022 settles. One scan over the bytes when there are none.
pub fn repair(text: &str) -> Repair<'_> {
    if !may_hold_private_use(text.as_bytes()) {
        return Repair { text: Cow::Borrowed(text), repaired: 0, unresolved: 0 };
    }
    let (mut repaired, mut unresolved) = (0, 0);
    for c in text.chars().filter(|&c| is_private_use(c)) {
        if assigned(c).is_some() {
            repaired += 1;
        } else {
            unresolved += 1;
        }
    }
    let text = match repaired {
        0 => Cow::Borrowed(text),
        _ => text.chars().map(|c| assigned(c).unwrap_or(c)).collect(),
    };
    Repair { text, repaired, unresolved }
}

/// Whether a character lies in one of Unicode's three private-use areas.
pub fn is_private_use(c: char) -> bool {
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}')
}

/// Whether any byte can start a private-use character: EE, EF before 80–A3 (U+E000–U+F8FF), F3 and F4 (planes 12 to 16).
/// Full-width forms start with EF BC–BF and do not count. No early exit, so that this compiles to vector compares.
fn may_hold_private_use(bytes: &[u8]) -> bool {
    let next = bytes.get(1..).unwrap_or_default();
    let suspicious = bytes.iter().zip(next).fold(0, |found, (&b, &next)| {
        found | u8::from(b == 0xee) | u8::from(b >= 0xf3) | (u8::from(b == 0xef) & u8::from(next < 0xa4))
    });
    suspicious != 0
}

/// The assigned character of a private-use one.
fn assigned(c: char) -> Option<char> {
    let code = u32::from(c);
    let from = |table: &[char], first: u32| code.checked_sub(first).and_then(|i| table.get(i as usize).copied());
    match c {
        '\u{e78d}'..='\u{e796}' => from(&VERTICAL_FORMS, 0xe78d),
        '\u{e815}'..='\u{e864}' => from(&IDEOGRAPHS, 0xe815),
        _ => None,
    }
}

/// U+E78D–U+E796 (GBK A6D9–A6DF, A6EC–A6ED, A6F3): punctuation for vertical text.
const VERTICAL_FORMS: [char; 10] = [
    '\u{fe10}', '\u{fe12}', '\u{fe11}', '\u{fe13}', '\u{fe14}', '\u{fe15}', '\u{fe16}', '\u{fe17}', '\u{fe18}',
    '\u{fe19}',
];

/// U+E815–U+E864 (GBK FE50–FEA0): radicals and rare ideographs, in code order.
const IDEOGRAPHS: [char; 80] = [
    '\u{2e81}',
    '\u{20087}',
    '\u{20089}',
    '\u{200cc}',
    '\u{2e84}',
    '\u{3473}',
    '\u{3447}',
    '\u{2e88}',
    '\u{2e8b}',
    '\u{9fb4}',
    '\u{359e}',
    '\u{361a}',
    '\u{360e}',
    '\u{2e8c}',
    '\u{2e97}',
    '\u{396e}',
    '\u{3918}',
    '\u{9fb5}',
    '\u{39cf}',
    '\u{39df}',
    '\u{3a73}',
    '\u{39d0}',
    '\u{9fb6}',
    '\u{9fb7}',
    '\u{3b4e}',
    '\u{3c6e}',
    '\u{3ce0}',
    '\u{2ea7}',
    '\u{215d7}',
    '\u{9fb8}',
    '\u{2eaa}',
    '\u{4056}',
    '\u{415f}',
    '\u{2eae}',
    '\u{4337}',
    '\u{2eb3}',
    '\u{2eb6}',
    '\u{2eb7}',
    '\u{2298f}',
    '\u{43b1}',
    '\u{43ac}',
    '\u{2ebb}',
    '\u{43dd}',
    '\u{44d6}',
    '\u{4661}',
    '\u{464c}',
    '\u{9fb9}',
    '\u{4723}',
    '\u{4729}',
    '\u{477c}',
    '\u{478d}',
    '\u{2eca}',
    '\u{4947}',
    '\u{497a}',
    '\u{497d}',
    '\u{4982}',
    '\u{4983}',
    '\u{4985}',
    '\u{4986}',
    '\u{499f}',
    '\u{499b}',
    '\u{49b7}',
    '\u{49b6}',
    '\u{9fba}',
    '\u{241fe}',
    '\u{4ca3}',
    '\u{4c9f}',
    '\u{4ca0}',
    '\u{4ca1}',
    '\u{4c77}',
    '\u{4ca2}',
    '\u{4d13}',
    '\u{4d14}',
    '\u{4d15}',
    '\u{4d16}',
    '\u{4d17}',
    '\u{4d18}',
    '\u{4d19}',
    '\u{4dae}',
    '\u{9fbb}',
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::values::vectors;

    fn check(input: &str, text: &str, repaired: usize, unresolved: usize) {
        assert_eq!(repair(input), Repair { text: text.into(), repaired, unresolved }, "{input:?}");
    }

    #[test]
    fn known_characters_are_repaired_and_unknown_ones_kept() {
        check("青岛示例有限公司", "青岛示例有限公司", 0, 0);
        check("", "", 0, 0);
        check("\u{e863}示例", "䶮示例", 1, 0);
        check("\u{e815}\u{e864}\u{e816}", "\u{2e81}\u{9fbb}\u{20087}", 3, 0);
        check("\u{e78d}\u{e796}", "\u{fe10}\u{fe19}", 2, 0);
        check("长沙\u{e7d9}村", "长沙\u{e7d9}村", 0, 1);
        check("\u{e863}和\u{e000}\u{f0001}", "䶮和\u{e000}\u{f0001}", 1, 2);
        check("（全角）ｆｕｌｌ", "（全角）ｆｕｌｌ", 0, 0);
    }

    #[test]
    fn a_text_without_private_use_is_not_copied() {
        assert!(matches!(repair("青岛（集团）").text, Cow::Borrowed(_)));
        assert!(matches!(repair(&"长".repeat(100)).text, Cow::Borrowed(_)));
        assert_eq!(repair(&format!("{}\u{e863}", "长".repeat(100))).repaired, 1);
    }

    #[test]
    fn the_table_is_that_of_gb18030_2022() {
        let Some(table) = vectors::text("codes/gbk_pua_to_unicode.csv") else { return };
        let code = |cell: &str| {
            let hex = cell.strip_prefix("U+").expect("U+ notation");
            char::from_u32(u32::from_str_radix(hex, 16).expect("hex")).expect("a character")
        };
        let rows: Vec<_> = table.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()).collect();
        assert_eq!(rows.len(), 90);
        for row in rows {
            assert_eq!(assigned(code(row[1])), Some(code(row[2])), "{row:?}");
        }
    }
}

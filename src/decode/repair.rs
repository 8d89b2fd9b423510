//! Characters that old Chinese fonts kept in Unicode's private-use area, put back where Unicode has them now.
//!
//! Decides: which private-use code points have a known meaning. GBK had no Unicode counterpart for 80 rare radicals and
//! hanzi (bytes FE50–FEA0) and 10 vertical punctuation marks (A6D9–A6F3), so systems stored them at U+E815–U+E864 and
//! U+E78D–U+E796; GB 18030-2022 gives each its real code point. Must not know: rows, files. Guarantees: text without
//! such a character comes back borrowed; vendor characters (U+E000–U+E765 and others) are kept as they are.

use std::borrow::Cow;

/// Note code of a cell in which a private-use character was repaired.
pub(super) const REPAIRED: &str = "private_use";
/// Note code of a cell that still holds a private-use character nobody knows.
pub(super) const UNRESOLVED: &str = "private_use_unresolved";

/// U+E78D–U+E796, bytes A6D9–A6DF, A6EC, A6ED, A6F3: vertical punctuation.
const FROM_E78D: [char; 10] = [
    '\u{FE10}', '\u{FE12}', '\u{FE11}', '\u{FE13}', '\u{FE14}', '\u{FE15}', '\u{FE16}', '\u{FE17}',
    '\u{FE18}', '\u{FE19}',
];

/// U+E815–U+E864, bytes FE50–FEA0: radicals and hanzi.
const FROM_E815: [char; 80] = [
    '\u{2E81}', '\u{20087}', '\u{20089}', '\u{200CC}', '\u{2E84}', '\u{3473}', '\u{3447}', '\u{2E88}',
    '\u{2E8B}', '\u{9FB4}', '\u{359E}', '\u{361A}', '\u{360E}', '\u{2E8C}', '\u{2E97}', '\u{396E}',
    '\u{3918}', '\u{9FB5}', '\u{39CF}', '\u{39DF}', '\u{3A73}', '\u{39D0}', '\u{9FB6}', '\u{9FB7}',
    '\u{3B4E}', '\u{3C6E}', '\u{3CE0}', '\u{2EA7}', '\u{215D7}', '\u{9FB8}', '\u{2EAA}', '\u{4056}',
    '\u{415F}', '\u{2EAE}', '\u{4337}', '\u{2EB3}', '\u{2EB6}', '\u{2EB7}', '\u{2298F}', '\u{43B1}',
    '\u{43AC}', '\u{2EBB}', '\u{43DD}', '\u{44D6}', '\u{4661}', '\u{464C}', '\u{9FB9}', '\u{4723}',
    '\u{4729}', '\u{477C}', '\u{478D}', '\u{2ECA}', '\u{4947}', '\u{497A}', '\u{497D}', '\u{4982}',
    '\u{4983}', '\u{4985}', '\u{4986}', '\u{499F}', '\u{499B}', '\u{49B7}', '\u{49B6}', '\u{9FBA}',
    '\u{241FE}', '\u{4CA3}', '\u{4C9F}', '\u{4CA0}', '\u{4CA1}', '\u{4C77}', '\u{4CA2}', '\u{4D13}',
    '\u{4D14}', '\u{4D15}', '\u{4D16}', '\u{4D17}', '\u{4D18}', '\u{4D19}', '\u{4DAE}', '\u{9FBB}',
];

/// The real character for a private-use one, if it is known.
fn known(c: char) -> Option<char> {
    let code = c as usize;
    let index = |first: usize| code.checked_sub(first);
    index(0xE815)
        .and_then(|i| FROM_E815.get(i))
        .or_else(|| index(0xE78D).and_then(|i| FROM_E78D.get(i)))
        .copied()
}

/// Whether `c` is in the private-use area of the basic plane.
fn is_private_use(c: char) -> bool {
    ('\u{E000}'..='\u{F8FF}').contains(&c)
}

/// Whether `text` could hold a private-use character; a quick look that is right when it says no.
pub(super) fn may_need(text: &str) -> bool {
    // U+E000–U+EFFF all begin with byte EE in UTF-8, and nothing else does; GB 18030 has no others.
    memchr::memchr(0xEE, text.as_bytes()).is_some()
}

/// `text` with every private-use character of known meaning replaced; borrowed when there is none.
pub(super) fn repair(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| known(c).is_some()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| known(c).unwrap_or(c)).collect())
}

/// What to note about a cell whose repaired form is `repaired`.
pub(super) fn note(repaired: &Cow<'_, str>) -> Option<&'static str> {
    match repaired {
        Cow::Owned(_) => Some(REPAIRED),
        Cow::Borrowed(text) => text.chars().any(is_private_use).then_some(UNRESOLVED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::shared;

    #[test]
    fn the_whole_published_table_is_repaired() {
        let Some(path) = shared("data/codes/gbk_pua_to_unicode.csv") else { return };
        let table = std::fs::read_to_string(path).unwrap();
        let mut seen = 0;
        for line in table.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let private = u32::from_str_radix(cells[1].trim_start_matches("U+"), 16).unwrap();
            let private = char::from_u32(private).unwrap().to_string();
            assert_eq!(repair(&private), cells[3].trim(), "{}", cells[1]);
            seen += 1;
        }
        assert_eq!(seen, 90);
    }

    #[test]
    fn what_is_repaired_or_left_is_noted() {
        let check = |text: &str, expect: &str, code: Option<&str>| {
            let repaired = repair(text);
            assert_eq!((repaired.as_ref(), note(&repaired)), (expect, code), "{text}");
        };
        check("青岛海蓝", "青岛海蓝", None);
        check("刘\u{E863}", "刘䶮", Some(REPAIRED));
        check("\u{E001}店", "\u{E001}店", Some(UNRESOLVED));
        check("\u{FEFF}（）", "\u{FEFF}（）", None);
    }
}

//! Private-use characters in cells: repaired where their meaning is known, noted in any case.
//!
//! The tables are [`private_use`]'s; this is the quick look that spares the other cells.

use std::borrow::Cow;

use crate::mapping::values::private_use;

/// Note code of a cell in which private-use characters were repaired.
const REPAIRED: &str = "private_use";
/// Note code of a cell that still holds private-use characters that nobody can explain.
const UNRESOLVED: &str = "private_use_unresolved";

/// Whether `text` could hold a private-use character that old GBK converters left behind (U+E000–U+EFFF, first byte EE)
/// or one of planes 15 and 16 (F3, F4). No other characters begin with EE; few with the others.
pub(super) fn may_need(text: &str) -> bool {
    memchr::memchr3(0xEE, 0xF3, 0xF4, text.as_bytes()).is_some()
}

/// The repaired text, and the notes to make.
pub(super) fn repair(text: &str) -> (Cow<'_, str>, impl Iterator<Item = &'static str>) {
    let done = private_use::repair(text);
    let repaired = (done.repaired > 0).then_some(REPAIRED);
    let unresolved = (done.unresolved > 0).then_some(UNRESOLVED);
    (done.text, repaired.into_iter().chain(unresolved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repaired_or_left_is_noted() {
        let check = |text: &str, expect: &str, codes: &[&str]| {
            let (repaired, notes) = repair(text);
            assert_eq!((repaired.as_ref(), notes.collect::<Vec<_>>().as_slice()), (expect, codes), "{text}");
            assert!(may_need(text) || codes.is_empty());
        };
        check("青岛海蓝（集团）", "青岛海蓝（集团）", &[]);
        check("刘\u{E863}", "刘䶮", &[REPAIRED]);
        check("\u{E001}店", "\u{E001}店", &[UNRESOLVED]);
        check("\u{E001}\u{E863}", "\u{E001}䶮", &[REPAIRED, UNRESOLVED]);
    }
}

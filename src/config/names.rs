//! How names are spelt, and which names a person would confuse.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;

use super::shape::Naming;
use crate::error::{Place, Problem};

/// Longest name in bytes: PostgreSQL cuts identifiers there.
const LONGEST: usize = 63;

/// What is wrong with a name, if anything.
pub(super) fn check(naming: Naming, name: &str, place: &Place) -> Option<Problem> {
    let expected = match naming {
        Naming::Plain => "letters, digits, - and _, beginning with a letter or digit, at most 63 bytes",
        Naming::Identifier => "letters, digits and _, beginning with a letter, at most 63 bytes",
        Naming::Foreign => "what the department calls it, on one line",
    };
    if is_valid(naming, name) {
        return None;
    }
    let shown: String = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(LONGEST).collect();
    Some(
        Problem::error("HL0114", format!("\"{shown}\" cannot be a name here"))
            .at(place.clone())
            .detail(format!("expected {expected}")),
    )
}

/// Whether `name` is spelt as `naming` demands.
pub(super) fn is_valid(naming: Naming, name: &str) -> bool {
    let first = |rule: fn(char) -> bool| name.chars().next().is_some_and(rule);
    match naming {
        Naming::Plain => {
            first(char::is_alphanumeric)
                && name.len() <= LONGEST
                && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        }
        Naming::Identifier => {
            first(char::is_alphabetic) && name.len() <= LONGEST && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        }
        Naming::Foreign => !name.trim().is_empty() && !name.chars().any(char::is_control),
    }
}

/// What two names have in common that differ only in case, width or composition: `ＩＤ` and `id`.
pub(super) fn folded(name: &str) -> String {
    name.nfkc().flat_map(char::to_lowercase).collect()
}

/// A problem for each name that folds to an earlier one's spelling. `kind` says what they name: `field`.
pub(super) fn confusable<'a>(
    kind: &str,
    named: impl IntoIterator<Item = (&'a str, Place)>,
    make: fn(&'static str, String) -> Problem,
) -> Vec<Problem> {
    let mut first: BTreeMap<String, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, place) in named {
        match first.get(&folded(name)) {
            Some(earlier) => {
                let message = format!("{kind} \"{name}\" and {kind} \"{earlier}\" differ only in case or width");
                problems.push(make("HL0115", message).at(place).hint("rename one of them, or keep only one"));
            }
            None => {
                first.insert(folded(name), name);
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelt_by_what_they_name() {
        for (naming, name, valid) in [
            (Naming::Plain, "market-regulation", true),
            (Naming::Plain, "企业登记", true),
            (Naming::Plain, "2010", true),
            (Naming::Plain, "a.b", false),
            (Naming::Plain, "../etc", false),
            (Naming::Plain, "-x", false),
            (Naming::Plain, "", false),
            (Naming::Identifier, "uscc", true),
            (Naming::Identifier, "统一社会信用代码", true),
            (Naming::Identifier, "_op", false),
            (Naming::Identifier, "1st", false),
            (Naming::Identifier, "a-b", false),
            (Naming::Identifier, "一二三四五六七八九十一二三四五六七八九十一", true),
            (Naming::Identifier, "一二三四五六七八九十一二三四五六七八九十一二", false),
            (Naming::Foreign, "注册资本(万元)", true),
            (Naming::Foreign, "a b", true),
            (Naming::Foreign, " ", false),
            (Naming::Foreign, "a\nb", false),
        ] {
            assert_eq!(is_valid(naming, name), valid, "{naming:?} {name:?}");
        }
    }

    #[test]
    fn names_that_differ_in_case_or_width_are_confusable() {
        let at = |line| Place::new("x.yaml", line, 1);
        let named = [("id", at(1)), ("ID", at(2)), ("ｉｄ", at(3)), ("id2", at(4))];
        let found = confusable("field", named, Problem::error);
        assert_eq!(found.iter().filter_map(|p| p.place.as_ref().map(|at| at.line)).collect::<Vec<_>>(), [2, 3]);
    }
}

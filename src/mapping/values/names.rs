//! Names of organisations and of persons as they are stored.
//!
//! Decides: which differences of writing are no differences of name: width, brackets, blanks beside Chinese
//! characters, the separating dot of transliterated names. Must not know: who is meant; matching by name is not
//! done here. Guarantees: a name in canonical writing comes back borrowed.

use std::borrow::Cow;

use super::text::{Style, null_token, tidy, trim};
use super::{Notes, Outcome, note, noted, nothing, refuse};

/// Reads an organisation's name 名称: `青岛海蓝科技（集团）有限公司` → `青岛海蓝科技(集团)有限公司`.
///
/// `None` for blank, N/A, 无. Refusal: `name_is_number` (an account number in the name column). Notes: `brackets`,
/// `full_width`, `blanks`, `html_entity`, `private_use`, `private_use_unresolved`, `nfc`, `control`,
/// `invisible`, `lost_char` (`?` where a character was lost), and, kept in the name: `status_suffix` (…(已注销)),
/// `former_name` (…(原…)).
pub fn org_name(text: &str) -> Outcome<Cow<'_, str>> {
    let text = trim(text);
    if null_token(text) {
        return nothing();
    }
    let (name, mut notes) = tidy(text, Style::Name);
    if is_number(&name) {
        return refuse("name_is_number");
    }
    if let Some(inside) = last_bracket(&name) {
        if ["已", "注销", "吊销"].iter().any(|word| inside.starts_with(word)) {
            note(&mut notes, "status_suffix");
        } else if ["原", "曾用名", "更名前"].iter().any(|word| inside.starts_with(word)) {
            note(&mut notes, "former_name");
        }
    }
    present(name, notes)
}

/// Reads a person's name 姓名. The dot of transliterated names becomes `·` (U+00B7), blanks inside Chinese names go.
///
/// `None` for blank, N/A, 无. Refusal: `name_is_number`. Notes: as [`org_name`] without the suffixes, and `separator`
/// (another dot was written), `masked` (`陈**`: the source hides the name).
pub fn person_name(text: &str) -> Outcome<Cow<'_, str>> {
    let text = trim(text);
    if null_token(text) {
        return nothing();
    }
    let (name, mut notes) = tidy(text, Style::Name);
    if is_number(&name) {
        return refuse("name_is_number");
    }
    if name.contains('*') {
        note(&mut notes, "masked");
    }
    let name = separators(name, &mut notes);
    present(name, notes)
}

fn present(name: Cow<'_, str>, notes: Notes) -> Outcome<Cow<'_, str>> {
    if null_token(&name) { nothing() } else { noted(name, notes) }
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_digit())
}

/// What stands in the bracket that ends the name.
fn last_bracket(name: &str) -> Option<&str> {
    name.strip_suffix(')')?.rsplit_once('(').map(|(_, inside)| inside)
}

/// Dots between Chinese characters → `·`. A full stop after a Latin initial stays (`John A. Smith`).
fn separators<'a>(name: Cow<'a, str>, notes: &mut Notes) -> Cow<'a, str> {
    const DOTS: [char; 7] = ['•', '・', '‧', '∙', '･', '⋅', '.'];
    if !name.contains(DOTS) {
        return name;
    }
    let chars: Vec<char> = name.chars().collect();
    let han = |i: Option<usize>| i.and_then(|i| chars.get(i)).is_some_and(|c| !c.is_ascii());
    let fold = |(i, &c): (usize, &char)| {
        let between = han(i.checked_sub(1)) && han(Some(i + 1));
        if DOTS.contains(&c) && (c != '.' || between) { '·' } else { c }
    };
    let folded: String = chars.iter().enumerate().map(fold).collect();
    if folded == name {
        return name;
    }
    note(notes, "separator");
    Cow::Owned(folded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::{Refusal, vectors};

    type Reader = fn(&str) -> Outcome<Cow<'_, str>>;

    fn check(read: Reader, input: &str, expect: Result<(Option<&str>, &[&str]), &'static str>) {
        let got = read(input);
        let got = got.as_ref().map(|c| (c.value.as_deref(), c.notes.as_slice()));
        assert_eq!(got, expect.map_err(|code| Refusal { code }).as_ref().map(|pair| *pair), "{input:?}");
    }

    #[test]
    fn writings_of_one_organisation_meet() {
        for (input, name, notes) in [
            ("青岛示例(集团)有限公司", "青岛示例(集团)有限公司", &[][..]),
            ("青岛示例（集团）有限公司 ", "青岛示例(集团)有限公司", &["brackets"]),
            ("青岛示例 ( 集团 ) 有限公司", "青岛示例(集团)有限公司", &["blanks"]),
            ("青岛　示例有限公司", "青岛示例有限公司", &["blanks"]),
            ("青岛ＡＢＣ有限公司", "青岛ABC有限公司", &["full_width"]),
            ("ABC  Trading Ltd", "ABC Trading Ltd", &["blanks"]),
            ("青岛【示例】公司", "青岛[示例]公司", &["brackets"]),
            ("\u{e863}示例", "䶮示例", &["private_use"]),
            ("长沙\u{e7d9}村农业咨询站", "长沙\u{e7d9}村农业咨询站", &["private_use_unresolved"]),
            ("环宇房地产开发有限公司朋友茶?", "环宇房地产开发有限公司朋友茶?", &["lost_char"]),
            ("青岛示例有限公司(已注销)", "青岛示例有限公司(已注销)", &["status_suffix"]),
            (
                "青岛示例有限公司（原青岛旧名有限公司）",
                "青岛示例有限公司(原青岛旧名有限公司)",
                &["brackets", "former_name"],
            ),
            ("迈克.威力(烟台)机械有限公司", "迈克.威力(烟台)机械有限公司", &[]),
        ] {
            check(org_name, input, Ok((Some(name), notes)));
        }
        check(org_name, "N/A", Ok((None, &[])));
        check(org_name, "3702001234567", Err("name_is_number"));
    }

    #[test]
    fn writings_of_one_person_meet() {
        for (input, name, notes) in [
            ("王小明", "王小明", &[][..]),
            ("王　小明", "王小明", &["blanks"]),
            ("张 三", "张三", &["blanks"]),
            ("买买提·艾力", "买买提·艾力", &[]),
            ("买买提.艾力", "买买提·艾力", &["separator"]),
            ("买买提．艾力", "买买提·艾力", &["full_width", "separator"]),
            ("买买提•艾力", "买买提·艾力", &["separator"]),
            ("买买提&middot;艾力", "买买提·艾力", &["html_entity"]),
            ("JOHN A. SMITH", "JOHN A. SMITH", &[]),
            ("陈**", "陈**", &["masked"]),
            ("?**", "?**", &["lost_char", "masked"]),
        ] {
            check(person_name, input, Ok((Some(name), notes)));
        }
        check(person_name, "无", Ok((None, &[])));
        check(person_name, "0", Ok((None, &[])));
        check(person_name, "３８０３０２", Err("name_is_number"));
    }

    #[test]
    fn vectors_agree() {
        let Some(vectors) = vectors::json("mask_normalise") else { return };
        for row in vectors["company_name_key"].as_array().expect("a list") {
            let (input, expect) = (row[0].as_str().expect("a name"), row[1].as_str().expect("a key"));
            let got = org_name(input).expect("a name");
            let value = got.value.expect("a name");
            if expect.contains("status hint") {
                assert!(got.notes.contains(&"status_suffix"), "{input}");
            } else if expect.contains("former name") {
                assert!(got.notes.contains(&"former_name"), "{input}");
            } else if expect == "unchanged" {
                assert_eq!(value, input);
            } else {
                assert_eq!(Some(value.as_ref()), expect.split(' ').next(), "{input}");
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_is_idempotent(text in ".*|[?*.·•（） a中文\u{e863}]{0,20}") {
            for read in [org_name as Reader, person_name] {
                if let Ok(once) = read(&text) && let Some(name) = once.value && !name.contains('&') {
                    let twice = read(&name).expect("a name stays a name");
                    prop_assert_eq!(twice.value.as_deref(), Some(name.as_ref()));
                }
            }
        }
    }
}

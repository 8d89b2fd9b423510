//! A value as a person at a terminal may see it (脱敏样例): enough to tell that it changed, not enough to know it.
//!
//! Guarantees: what the catalogue does not share with everybody is hidden whole, unless a grant says how it may look.

use super::masks;
use crate::config::{Feed, Field, MaskRule, ShareClass};
use crate::record::Value;

/// Characters of a code or a state (在营, 110): what everybody may have and nobody is named by stands as it is.
const CODE: usize = 4;

/// One value of a field, masked; `feeds` are the grants of its register.
pub fn glimpse<'a>(field: &Field, feeds: impl IntoIterator<Item = &'a Feed>, value: &Value) -> String {
    let text = value.to_text();
    if matches!(value, Value::Boolean(_)) {
        return text;
    }
    let mut masked_as = feeds.into_iter().filter_map(|feed| feed.mask.get(&field.name)).map(|mask| &mask.value);
    if let Some(mask) = masked_as.next() {
        return match mask {
            MaskRule::Name => masks::name(&text),
            MaskRule::IdNumber => masks::id_number(&text),
            MaskRule::Phone => masks::phone(&text),
            MaskRule::Address => masks::address(&text),
            MaskRule::Year => masks::year(&text),
            MaskRule::Null | MaskRule::Pseudonym(_) | MaskRule::Sql(_) => HIDDEN.to_owned(),
        };
    }
    let open = field.share == ShareClass::Unconditional && field.level == 1;
    match value {
        _ if !open => HIDDEN.to_owned(),
        Value::Date(_) | Value::Timestamp(_) => masks::year(&text),
        _ if text.chars().count() <= CODE => text,
        _ => masks::id_number(&text),
    }
}

const HIDDEN: &str = "***";

//! Why somebody looks (查询事由): without a reason, values of level 3 and above stay hidden; with one they are shown, and the
//! audit log has it.

use super::Context;
use crate::config::{Field, Register};

/// What stands in the place of a hidden value.
pub(super) const HIDDEN: &str = "***";

/// Whether values of this field are shown; of a field that the register does not have, only to whoever says why.
pub(super) fn opens(why: Option<&str>, field: Option<&Field>) -> bool {
    why.is_some() || field.is_some_and(|field| !field.is_sensitive())
}

/// Hides, among these values by field, those that are not shown. Says whether there was one.
pub(super) fn hide<'v>(
    register: &Register,
    why: Option<&str>,
    values: impl IntoIterator<Item = (&'v str, &'v mut Option<String>)>,
) -> bool {
    let mut hidden = false;
    for (name, value) in values {
        if value.is_some() && !opens(why, register.field(name)) {
            *value = Some(HIDDEN.to_owned());
            hidden = true;
        }
    }
    hidden
}

/// Tells whoever saw less than there is how to see it.
pub(super) fn hint(hidden: bool, context: &Context) -> anyhow::Result<()> {
    if hidden {
        let told =
            "敏感内容未显示 hidden: levels 3 and 4 are shown to whoever says --why TEXT, which the audit log keeps";
        context.note(told)?;
    }
    Ok(())
}

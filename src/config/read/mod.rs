//! One file per kind of definition: its table, and the reading of a conforming tree into the checked type.
//!
//! Guarantees: readers are total. What [`super::conform`] reported reads as the table's default or, where there is
//! none, as the closed answer: not shared, not yet in force, nothing there.

pub(super) mod calendar;
pub(super) mod cases;
pub(super) mod connector;
pub(super) mod dataset;
pub(super) mod feed;
mod format;
pub(super) mod installation;
pub(super) mod pipeline;
pub(super) mod register;

use super::shape::{Key, Kind, Word};
use super::view::View;
use crate::record::FieldType;

/// `version: 1`, which every kind begins with.
pub(super) const VERSION: Key = Key::required("version", "格式版本 format version", Kind::Version, "Always 1.");

/// The types of columns and fields.
pub(super) const FIELD_TYPES: &[Word] = &[
    Word::now("text", "文本 Unicode text."),
    Word::now("integer", "整数 64-bit integer."),
    Word::now("decimal", "小数 Exact decimal, four fraction digits; money in 元."),
    Word::now("date", "日期 Calendar date without zone."),
    Word::now("timestamp", "时间 Instant."),
    Word::now("boolean", "真假 True or false."),
];

/// The field type of this name.
pub(super) fn field_type(name: &str) -> Option<FieldType> {
    FieldType::ALL.into_iter().find(|kind| kind.name() == name)
}

/// `true` or `false`, or the table's default.
pub(super) fn flag(view: View<'_>) -> bool {
    view.parsed(super::scalar::boolean).unwrap_or_default()
}

/// A whole number, or the table's default.
pub(super) fn number<N: TryFrom<u64> + Default>(view: View<'_>) -> N {
    view.parsed(super::scalar::integer).and_then(|n| N::try_from(n).ok()).unwrap_or_default()
}

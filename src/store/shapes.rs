//! What sources offer, as it was when they were read: one snapshot (结构快照) a dataset and version.

use serde::{Deserialize, Serialize};

use super::{Result, StoreError};

/// A column as the source has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedColumn {
    /// Its name there.
    pub name: String,
    /// The source's own word for its type, where it has one: `VARCHAR`, `C(60)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// One version of what a dataset offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShapeView {
    /// `system.dataset`.
    pub dataset: String,
    /// From 1, without gaps.
    pub version: i64,
    /// In the source's order.
    pub columns: Vec<OfferedColumn>,
    /// First seen, microseconds.
    pub since: i64,
    /// Last seen, microseconds.
    pub last: i64,
    /// Whether rows of this shape were taken.
    pub used: bool,
    /// When a person approved of it, microseconds.
    pub approved: Option<i64>,
    /// Why.
    pub why: Option<String>,
}

/// Whoever keeps snapshots: what the rules below need of a store.
pub(super) enum Kept {
    /// This version is there again.
    Again(ShapeView),
    /// A new version, to be inserted.
    New(ShapeView),
}

/// What is to be kept when `columns` are seen at an instant, given all known versions, newest first. A shape that comes
/// back is approved if it was.
pub(super) fn seen(dataset: &str, known: &[ShapeView], columns: &[OfferedColumn], at: i64) -> Kept {
    if let Some(newest) = known.first().filter(|shape| same_shape(&shape.columns, columns)) {
        return Kept::Again(ShapeView { last: newest.last.max(at), ..newest.clone() });
    }
    let before = known.iter().find(|shape| same_shape(&shape.columns, columns) && shape.approved.is_some());
    Kept::New(ShapeView {
        dataset: dataset.to_owned(),
        version: known.first().map_or(1, |newest| newest.version + 1),
        columns: columns.to_vec(),
        since: at,
        last: at,
        used: false,
        approved: before.and_then(|shape| shape.approved),
        why: before.and_then(|shape| shape.why.clone()),
    })
}

/// Whether a source offers the same; a log names no types, and says nothing against those that its table had.
pub fn same_shape(a: &[OfferedColumn], b: &[OfferedColumn]) -> bool {
    let alike = |(a, b): (&OfferedColumn, &OfferedColumn)| {
        a.name == b.name && (a.kind == b.kind || a.kind.is_none() || b.kind.is_none())
    };
    a.len() == b.len() && a.iter().zip(b).all(alike)
}

/// Columns as stored.
pub(super) fn written(columns: &[OfferedColumn]) -> Result<String> {
    serde_json::to_string(columns).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// Reads [`written`] back.
pub(super) fn read(text: &str) -> Result<Vec<OfferedColumn>> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged("a stored shape does not read".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<OfferedColumn> {
        names.iter().map(|name| OfferedColumn { name: (*name).to_owned(), kind: None }).collect()
    }

    #[test]
    fn a_shape_that_comes_back_is_a_new_version_and_keeps_its_approval() {
        let Kept::New(first) = seen("tax.levy", &[], &columns(&["a"]), 10) else { panic!("new") };
        assert_eq!((first.version, first.approved), (1, None));
        let first = ShapeView { approved: Some(11), why: Some("asked".into()), ..first };
        let Kept::Again(again) = seen("tax.levy", std::slice::from_ref(&first), &columns(&["a"]), 20) else {
            panic!("again")
        };
        assert_eq!((again.since, again.last), (10, 20));
        let Kept::New(second) = seen("tax.levy", std::slice::from_ref(&first), &columns(&["a", "b"]), 30) else {
            panic!("new")
        };
        assert_eq!((second.version, second.approved), (2, None));
        let Kept::New(third) = seen("tax.levy", &[second, first], &columns(&["a"]), 40) else { panic!("new") };
        assert_eq!((third.version, third.approved, third.why.as_deref()), (3, Some(11), Some("asked")));
    }
}

//! Rows of a chunk as the engine sees them: the source's key, a digest to recognise what has not changed, cells.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, StringArray};
use arrow::record_batch::RecordBatch;
use xxhash_rust::xxh3::xxh3_64;

use crate::linking::{Row, SourceKey};
use crate::mapping::Mapped;
use crate::store::Cells;

/// Key and digest of every row of a chunk.
#[derive(Debug, Clone)]
pub(super) struct Identified {
    /// The contracted key cells, joined by U+001F; the digest of the row where they are blank or not contracted.
    pub(super) keys: Vec<SourceKey>,
    /// XXH3 over all cells: it recognises what did not change, it proves nothing.
    pub(super) digests: Vec<i64>,
}

impl Identified {
    /// The first `rows`, and the others.
    pub(super) fn split_at(mut self, rows: usize) -> (Self, Self) {
        let rest = Self { keys: self.keys.split_off(rows), digests: self.digests.split_off(rows) };
        (self, rest)
    }
}

/// Names every row; `key` holds column indexes.
pub(super) fn identify(rows: &RecordBatch, key: &[usize]) -> Identified {
    let columns: Vec<&StringArray> = rows.columns().iter().map(|column| column.as_string::<i32>()).collect();
    let mut keys = Vec::with_capacity(rows.num_rows());
    let mut digests = Vec::with_capacity(rows.num_rows());
    let mut packed = Vec::new();
    for row in 0..rows.num_rows() {
        packed.clear();
        for column in &columns {
            let cell = (!column.is_null(row)).then(|| column.value(row));
            packed.extend_from_slice(&cell.map_or(u32::MAX, |text| text.len() as u32).to_le_bytes());
            packed.extend_from_slice(cell.unwrap_or("").as_bytes());
        }
        let digest = digest_of(&packed);
        digests.push(digest);
        keys.push(source_key(&columns, key, row).unwrap_or_else(|| format!("row:{digest:016x}").into()));
    }
    Identified { keys, digests }
}

/// The same digest under another mapping is another digest, so that a changed mapping looks at every row again.
pub(super) fn under_mapping(version: &str) -> impl Fn(i64) -> i64 + Copy + use<> {
    let mark = digest_of(version.as_bytes());
    move |digest| digest ^ mark
}

/// XXH3, 64 bits.
pub(super) fn digest_of(bytes: &[u8]) -> i64 {
    xxh3_64(bytes).cast_signed()
}

fn source_key(columns: &[&StringArray], key: &[usize], row: usize) -> Option<SourceKey> {
    let cells = key.iter().map(|&i| {
        let column = columns.get(i)?;
        let cell = if column.is_null(row) { "" } else { column.value(row).trim() };
        Some(cell)
    });
    let cells: Vec<&str> = cells.collect::<Option<_>>()?;
    if cells.iter().all(|cell| cell.is_empty()) {
        return None;
    }
    if let [only] = cells.as_slice() {
        return Some(Arc::from(*only));
    }
    Some(cells.join("\u{1f}").into())
}

/// One row's cells as a JSON object, for quarantine.
pub(super) fn cells_json(rows: &RecordBatch, row: usize) -> String {
    let mut cells = serde_json::Map::new();
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let column = column.as_string::<i32>();
        let cell = (!column.is_null(row)).then(|| column.value(row).to_owned());
        cells.insert(field.name().clone(), cell.map_or(serde_json::Value::Null, serde_json::Value::String));
    }
    serde_json::Value::Object(cells).to_string()
}

/// Mapped columns → rows of `width` register fields; `fields` says which field each column is.
pub(super) fn register_rows(mapped: &Mapped, fields: &[usize], width: usize) -> Vec<Row> {
    let columns: Vec<(Cells, usize)> = mapped
        .claims
        .columns()
        .iter()
        .zip(fields)
        .map(|(column, &field)| (Cells::of(column.as_ref()), field))
        .collect();
    let row = |i| {
        let mut row = Row::new();
        row.resize_with(width, || None);
        columns.iter().for_each(|(cells, field)| row[*field] = cells.get(i));
        row
    };
    (0..mapped.claims.num_rows()).map(row).collect()
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string cannot fail");
        out
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::ArrayRef;

    use super::*;

    fn rows(cells: &[(&str, Option<&str>)]) -> RecordBatch {
        let column = |pick: fn(&(&str, Option<&str>)) -> Option<String>| -> ArrayRef {
            Arc::new(StringArray::from(cells.iter().map(pick).collect::<Vec<_>>()))
        };
        RecordBatch::try_from_iter([
            ("代码", column(|c| Some(c.0.to_owned()))),
            ("名称", column(|c| c.1.map(str::to_owned))),
        ])
        .unwrap()
    }

    #[test]
    fn a_row_is_named_by_its_key_cells_or_by_itself() {
        let named = identify(&rows(&[(" A ", Some("x")), ("", Some("x")), ("A", None)]), &[0]);
        assert_eq!(&*named.keys[0], "A");
        assert!(named.keys[1].starts_with("row:"));
        assert_ne!(named.digests[0], named.digests[2], "null is not blank");
    }

    #[test]
    fn cells_that_run_together_do_not_look_alike() {
        let named = identify(&rows(&[("ab", Some("c")), ("a", Some("bc"))]), &[]);
        assert_ne!(named.digests[0], named.digests[1]);
    }
}

//! Runs a planned expression on a batch so that one impossible row costs only that row.
//!
//! DataFusion answers for a whole batch: one cell that cannot be cast, one division by zero, one panic in a function
//! and there is no answer at all. [`evaluate`] then halves the batch until the rows are found; they get null and a
//! code. The error's text is dropped on purpose: it can quote the cell.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::concat;
use arrow::record_batch::RecordBatch;

use super::plan::Planned;

/// A row for which there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Row of the batch.
    pub(crate) row: usize,
    /// `sql_error` or `mapping_panic`.
    pub(crate) code: &'static str,
}

/// A standard function or cast refused the row's values.
pub(crate) const SQL_ERROR: &str = "sql_error";
/// A function broke down on the row's values.
pub(crate) const PANIC: &str = "mapping_panic";

/// One value per row of the batch, and the rows that failed.
pub(crate) fn evaluate(planned: &Planned, batch: &RecordBatch) -> (ArrayRef, Vec<Failed>) {
    let mut failed = Vec::new();
    let mut parts = Vec::new();
    halve(planned, batch, 0, &mut parts, &mut failed);
    let whole = match parts.as_slice() {
        [one] => one.clone(),
        many => {
            let many: Vec<&dyn Array> = many.iter().map(AsRef::as_ref).collect();
            concat(&many).unwrap_or_else(|_| new_null_array(&planned.kind.arrow(), batch.num_rows()))
        }
    };
    (whole, failed)
}

fn halve(planned: &Planned, batch: &RecordBatch, first: usize, parts: &mut Vec<ArrayRef>, failed: &mut Vec<Failed>) {
    let rows = batch.num_rows();
    match attempt(planned, batch) {
        Ok(array) => parts.push(array),
        Err(code) if rows <= 1 => {
            failed.extend((rows == 1).then_some(Failed { row: first, code }));
            parts.push(new_null_array(&planned.kind.arrow(), rows));
        }
        Err(_) => {
            let half = rows / 2;
            halve(planned, &batch.slice(0, half), first, parts, failed);
            halve(planned, &batch.slice(half, rows - half), first + half, parts, failed);
        }
    }
}

fn attempt(planned: &Planned, batch: &RecordBatch) -> Result<ArrayRef, &'static str> {
    let rows = batch.num_rows();
    // Expressions hold no state between calls, and the log they write to recovers from poisoning.
    let result = catch_unwind(AssertUnwindSafe(|| planned.physical.evaluate(batch)?.into_array(rows)));
    match result {
        Ok(Ok(array)) if array.len() == rows && *array.data_type() == planned.kind.arrow() => Ok(array),
        Ok(_) => Err(SQL_ERROR),
        Err(_) => Err(PANIC),
    }
}

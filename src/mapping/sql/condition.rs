//! A single expression that stands by itself in a YAML file: a rule, a check, a row filter, a mask.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::evaluate::{Failed, SQL_ERROR, evaluate};
use super::parse::expression;
use super::plan::{Planned, Wanted, plan, schema};
use super::resolve::{Calls, Scope, resolve};
use super::sites::{Log, ROW, row_ids};
use super::syntax::carried;
use crate::error::Problem;

/// A compiled expression with the columns it reads.
#[derive(Debug, Clone)]
pub(crate) struct Single {
    /// To evaluate on batches made by [`batch`].
    pub(crate) planned: Planned,
    /// Columns it reads.
    pub(crate) reads: BTreeSet<String>,
    /// Those of them whose values can appear in the result.
    pub(crate) carries: BTreeSet<String>,
    /// Exactly those columns, and the hidden one.
    pub(crate) schema: SchemaRef,
    /// Where its conversions report.
    pub(crate) log: Arc<Log>,
}

impl Single {
    /// One value per row; columns are found by name. What its conversions report is dropped: where an expression
    /// stands alone, they have been told to yield null or a default.
    pub(crate) fn evaluate(&self, rows: &RecordBatch) -> (ArrayRef, Vec<Failed>) {
        let chunk = self.log.open();
        let Some(batch) = batch(&self.schema, rows, chunk) else {
            let failed = (0..rows.num_rows()).map(|row| Failed { row, code: SQL_ERROR });
            return (new_null_array(&self.planned.kind.arrow(), rows.num_rows()), failed.collect());
        };
        let result = evaluate(&self.planned, &batch);
        self.log.take(chunk);
        result
    }
}

/// Compiles one condition.
pub(crate) fn condition(scope: &Scope<'_>, sql: &str) -> Result<Single, Vec<Problem>> {
    single(scope, sql, Wanted::Truth)
}

/// Compiles one expression.
pub(crate) fn single(scope: &Scope<'_>, sql: &str, wanted: Wanted<'_>) -> Result<Single, Vec<Problem>> {
    let parsed = expression(sql, &scope.origin).map_err(|p| vec![*p])?;
    let mut carries = BTreeSet::new();
    carried(&parsed, &mut carries);
    let (mut calls, mut problems) = (Calls::default(), Vec::new());
    let resolved = resolve(scope, &mut calls, "", parsed, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let schema = schema(scope.columns.iter().filter(|(name, _)| resolved.columns.contains(*name)).copied());
    let planned = plan(scope, &calls, &schema, &resolved, wanted).map_err(|p| vec![*p])?;
    Ok(Single { planned, reads: resolved.columns, carries, schema, log: calls.log })
}

/// The columns of `schema`, taken from `rows` by name, and the hidden column for `chunk`; `None` when one is missing or
/// has another type.
pub(crate) fn batch(schema: &SchemaRef, rows: &RecordBatch, chunk: u32) -> Option<RecordBatch> {
    let column = |name: &str| -> Option<ArrayRef> {
        if name == ROW { Some(Arc::new(row_ids(chunk, rows.num_rows()))) } else { rows.column_by_name(name).cloned() }
    };
    let columns: Option<Vec<ArrayRef>> = schema.fields().iter().map(|f| column(f.name())).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &options).ok()
}

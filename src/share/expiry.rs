//! 过期: a state that follows from a date, and that no department reports.
//!
//! Decides: what a status field says on a day. The register keeps what was claimed; what leaves says what is so. 暂扣, 吊销,
//! 撤销 and 注销 stand, as the register's file says.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray as _, StringBuilder};
use arrow::datatypes::Date32Type;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use chrono::{Datelike as _, NaiveDate};

use crate::config::Register;

/// Days between the first of January of the year 1 and that of 1970.
const EPOCH: i32 = 719_163;

/// One status field that a date overtakes.
#[derive(Debug)]
pub(super) struct Expiry {
    field: String,
    /// States that expire.
    from: Vec<String>,
    to: String,
    /// The date field with the last day.
    pub(super) after: String,
    /// The day for which this is asked, since 1970.
    today: i32,
}

/// Those of a register that this grant reads.
pub(super) fn of(register: &Register, reads: &BTreeSet<&str>, today: NaiveDate) -> Vec<Expiry> {
    let read = register.fields.iter().filter(|field| reads.contains(field.name.as_str()));
    let expiry = |field: &crate::config::Field| {
        let rule = field.states.as_ref()?.expired.as_ref()?;
        Some(Expiry {
            field: field.name.clone(),
            from: rule.from.iter().map(|state| state.value.clone()).collect(),
            to: rule.to.value.clone(),
            after: rule.after.value.clone(),
            today: today.num_days_from_ce() - EPOCH,
        })
    };
    read.filter_map(expiry).collect()
}

/// Register rows as they are on that day.
pub(super) fn apply(expiries: &[Expiry], rows: &RecordBatch) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    for expiry in expiries {
        let (Ok(status), Ok(end)) = (rows.schema().index_of(&expiry.field), rows.schema().index_of(&expiry.after))
        else {
            continue;
        };
        let (Some(states), Some(ends)) =
            (rows.column(status).as_string_opt::<i32>(), rows.column(end).as_primitive_opt::<Date32Type>())
        else {
            continue;
        };
        let over = |row: usize| ends.is_valid(row) && ends.value(row) < expiry.today;
        let expired = |row: usize, state: &str| over(row) && expiry.from.iter().any(|from| from == state);
        let mut out = StringBuilder::with_capacity(states.len(), states.value_data().len());
        for (row, state) in states.iter().enumerate() {
            out.append_option(state.map(|state| if expired(row, state) { expiry.to.as_str() } else { state }));
        }
        if let Some(place) = columns.get_mut(status) {
            *place = Arc::new(out.finish());
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(rows.schema(), columns, &options)
        .expect("only texts were put in the place of texts")
}

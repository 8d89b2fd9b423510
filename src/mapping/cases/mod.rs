//! Runs the examples beside a mapping: rows in, and a comparison of what came out with what was expected.
//!
//! Decides: when an example holds. Must not know: the disk — files of raw bytes are handed in by the caller and go
//! through the real decoder. Guarantees: an example that asserts nothing does not hold, nor does one that expects a
//! field the mapping does not set, nor one with a refused row that it does not list.

mod bless;
mod compare;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Field, Int64Type, Schema, TimestampMicrosecondType};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use chrono::NaiveDate;
use chrono_tz::Tz;

use super::{CompiledMapping, MappingSource, Reason};
use crate::clock::Clock;
use crate::config::{Case, Dataset, Given};
use crate::decode::{self, Limits, Memory, Wanted};
use crate::error::{Place, Problem};
use crate::record::Value;

pub use bless::bless;

/// What one example came to.
#[derive(Debug, Clone)]
pub struct CaseOutcome {
    /// What the example shows, in its own words.
    pub case: String,
    /// Where it stands.
    pub place: Place,
    /// What differs; empty when the example holds.
    pub differences: Vec<Difference>,
    /// What came out.
    pub got: Got,
}

impl CaseOutcome {
    /// Whether the example holds.
    pub fn holds(&self) -> bool {
        self.differences.is_empty()
    }
}

/// One difference between what was expected and what came out. Shows values: they are the example's own.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Where the expectation stands; the example itself when something came out that nobody expected.
    pub place: Place,
    /// One line.
    pub message: String,
}

/// What came out of an example.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Got {
    /// Mapped rows in order: every field the mapping sets, in its order, in canonical text.
    pub rows: Vec<Vec<(String, Option<String>)>>,
    /// Refused rows by row number from 1, with their reasons. A row that could not be decoded has a reason without
    /// column.
    pub refused: Vec<(u64, Vec<Reason>)>,
    /// Rows the `where` clause left out.
    pub filtered: u64,
}

/// Where examples run.
pub struct Stage<'a> {
    /// Days count in this zone.
    pub zone: Tz,
    /// The present of examples that do not freeze it.
    pub clock: Clock,
    /// Bytes of a `given_file`, by its path relative to the cases file.
    pub read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
}

/// Runs all examples of one mapping. `source.today` is replaced by each example's own day.
///
/// # Errors
/// The problems of a mapping that does not compile.
pub fn run_cases(
    source: &MappingSource<'_>,
    cases: &[Case],
    stage: &Stage<'_>,
) -> Result<Vec<CaseOutcome>, Vec<Problem>> {
    let mut by_day: BTreeMap<NaiveDate, CompiledMapping> = BTreeMap::new();
    let mut outcomes = Vec::new();
    for case in cases {
        let today = case.clock.map_or(stage.clock, Clock::Frozen).today(stage.zone);
        if let std::collections::btree_map::Entry::Vacant(free) = by_day.entry(today) {
            free.insert(CompiledMapping::compile(&MappingSource { today, ..*source })?);
        }
        if let Some(mapping) = by_day.get(&today) {
            outcomes.push(run_case(source.dataset, mapping, case, stage));
        }
    }
    Ok(outcomes)
}

fn run_case(dataset: &Dataset, mapping: &CompiledMapping, case: &Case, stage: &Stage<'_>) -> CaseOutcome {
    let (case_name, place) = (case.name.value.clone(), case.name.place.clone());
    let mut got = Got::default();
    let read = match &case.given {
        Given::Rows(rows) => {
            got.add(mapping, &given_rows(dataset, rows), |row| u64::from(row) + 1);
            Ok(())
        }
        Given::File(path) => given_file(dataset, mapping, (&path.value, stage), &mut got)
            .map_err(|message| Difference { place: path.place.clone(), message }),
    };
    let differences = match read {
        Ok(()) => compare::differences(mapping, case, &got),
        Err(unreadable) => vec![unreadable],
    };
    CaseOutcome { case: case_name, place, differences, got }
}

/// Rows as the decoder would yield them: one text column per contracted column, null where nothing is said.
fn given_rows(dataset: &Dataset, rows: &[Vec<crate::config::Cell>]) -> RecordBatch {
    let cell = |row: &Vec<crate::config::Cell>, name: &str| {
        row.iter().find(|cell| cell.name.value == name).and_then(|cell| cell.value.clone())
    };
    let column = |name: &str| Arc::new(rows.iter().map(|row| cell(row, name)).collect::<StringArray>()) as ArrayRef;
    let fields = dataset.columns.iter().map(|c| Field::new(&c.name, DataType::Utf8, true)).collect::<Vec<_>>();
    let columns = dataset.columns.iter().map(|c| column(&c.name)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .expect("each column has one cell per given row")
}

fn given_file(
    dataset: &Dataset,
    mapping: &CompiledMapping,
    (path, stage): (&str, &Stage<'_>),
    got: &mut Got,
) -> Result<(), String> {
    let bytes = (stage.read)(path).map_err(|e| format!("{path} cannot be read: {}", e.kind()))?;
    let wanted: Vec<Wanted> =
        dataset.columns.iter().map(|c| Wanted { name: c.name.clone(), path: c.path.clone() }).collect();
    let input = Arc::new(Memory::new(path, bytes));
    let format =
        dataset.format().ok_or_else(|| format!("{path}: this dataset hands over rows; write them under given"))?;
    let mut decoder = decode::open(input, format, &wanted, Limits::default(), None).map_err(|e| e.to_string())?;
    while let Some(chunk) = decoder.next(1024).map_err(|e| e.to_string())? {
        for bad in &chunk.undecodable {
            let reason = Reason { column: String::new(), code: bad.code.to_owned(), line: 0 };
            got.refused.push((bad.place.row, vec![reason]));
        }
        got.filtered += chunk.dropped;
        let number = |row: u32| chunk.places.get(row as usize).map_or(u64::from(row) + 1, |place| place.row);
        got.add(mapping, &chunk.rows, number);
    }
    got.refused.sort_by_key(|(row, _)| *row);
    Ok(())
}

impl Got {
    fn add(&mut self, mapping: &CompiledMapping, rows: &RecordBatch, number: impl Fn(u32) -> u64) {
        let mapped = mapping.apply(rows);
        let names: Vec<&str> = mapping.fields().map(|(name, _)| name).collect();
        for row in 0..mapped.claims.num_rows() {
            let cells = names.iter().zip(mapped.claims.columns());
            self.rows.push(cells.map(|(name, column)| ((*name).to_owned(), text_at(column, row))).collect());
        }
        self.refused.extend(mapped.refused.into_iter().map(|(row, reasons)| (number(row), reasons)));
        self.filtered += mapped.filtered;
    }
}

/// The canonical text of one cell of a claim.
fn text_at(column: &ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    let value = match column.data_type() {
        DataType::Int64 => Value::Integer(column.as_primitive::<Int64Type>().value(row)),
        DataType::Decimal128(..) => Value::Decimal(column.as_primitive::<Decimal128Type>().value(row)),
        DataType::Date32 => Value::Date(column.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(..) => Value::Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Boolean => Value::Boolean(column.as_boolean().value(row)),
        _ => Value::Text(column.as_string::<i32>().value(row).to_owned()),
    };
    Some(value.to_text())
}

#[cfg(test)]
mod tests;

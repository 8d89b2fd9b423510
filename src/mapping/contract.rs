//! What the department promised about its columns, checked row by row.
//!
//! Cells arrive as text. A column contracted with another type is converted before the mapping sees it; a cell that
//! is not of the type refuses the row with `contract_type`, a blank cell of a required column with `required`. Blank
//! means null or nothing but white space. Knows no register.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Int64Array, StringArray};
use arrow::array::{TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

use crate::config::{Column, Dataset};
use crate::mapping::values;
use crate::record::{DECIMAL_PRECISION, DECIMAL_SCALE, FieldType, decimal_from_text};

/// A cell that breaks the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Breach {
    /// Row of the chunk.
    pub(crate) row: u32,
    /// Column of the contract, by position.
    pub(crate) column: usize,
    /// `contract_type` or `required`.
    pub(crate) code: &'static str,
}

/// One dataset's contract.
#[derive(Debug, Clone)]
pub(crate) struct Contract {
    columns: Vec<Column>,
}

/// A chunk's columns as the contract types them.
pub(crate) struct Typed {
    /// By position in the contract.
    pub(crate) columns: Vec<ArrayRef>,
    /// Cells of the wrong type.
    pub(crate) mistyped: Vec<Breach>,
}

impl Contract {
    /// The contract of this dataset.
    pub(crate) fn of(dataset: &Dataset) -> Self {
        Self { columns: dataset.columns.clone() }
    }

    /// The name of a column by position.
    pub(crate) fn name(&self, column: usize) -> &str {
        self.columns.get(column).map_or("", |c| c.name.as_str())
    }

    /// Position of a column.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Converts a chunk. A contracted column that the chunk lacks is null throughout.
    pub(crate) fn convert(&self, rows: &RecordBatch) -> Typed {
        let mut mistyped = Vec::new();
        let columns = self.columns.iter().enumerate().map(|(at, column)| {
            let cells = text_column(rows, &column.name);
            let bad = |row: u32| mistyped.push(Breach { row, column: at, code: "contract_type" });
            typed(cells, column.kind, bad)
        });
        let columns = columns.collect();
        Typed { columns, mistyped }
    }

    /// Blank cells of required columns.
    pub(crate) fn blanks(&self, rows: &RecordBatch) -> Vec<Breach> {
        let required = self.columns.iter().enumerate().filter(|(_, column)| column.required);
        required
            .flat_map(|(at, column)| {
                let cells = text_column(rows, &column.name);
                let blank = |row: &usize| is_blank(cell(&cells, *row));
                let blank: Vec<usize> = (0..rows.num_rows()).filter(blank).collect();
                blank.into_iter().map(move |row| Breach { row: row as u32, column: at, code: "required" })
            })
            .collect()
    }
}

/// A chunk's column as text; null throughout when it is not there or not text.
fn text_column(rows: &RecordBatch, name: &str) -> ArrayRef {
    match rows.column_by_name(name) {
        Some(column) if *column.data_type() == DataType::Utf8 => Arc::clone(column),
        Some(column) => arrow::compute::cast(column, &DataType::Utf8)
            .unwrap_or_else(|_| new_null_array(&DataType::Utf8, rows.num_rows())),
        None => new_null_array(&DataType::Utf8, rows.num_rows()),
    }
}

fn cell(cells: &ArrayRef, row: usize) -> Option<&str> {
    let cells: &StringArray = cells.as_string();
    (!cells.is_null(row)).then(|| cells.value(row))
}

fn is_blank(cell: Option<&str>) -> bool {
    cell.is_none_or(|c| c.trim().is_empty())
}

fn typed(cells: ArrayRef, kind: FieldType, bad: impl FnMut(u32)) -> ArrayRef {
    let texts: &StringArray = cells.as_string();
    match kind {
        FieldType::Text => cells,
        FieldType::Integer => Arc::new(each(texts, bad, |c| c.parse().ok()).collect::<Int64Array>()),
        FieldType::Decimal => {
            let scaled = each(texts, bad, decimal_from_text).collect::<Decimal128Array>();
            match scaled.with_precision_and_scale(DECIMAL_PRECISION, DECIMAL_SCALE) {
                Ok(scaled) => Arc::new(scaled),
                Err(_) => new_null_array(&kind.arrow(), texts.len()),
            }
        }
        FieldType::Date => {
            let read = |c: &str| values::cn_date(c).ok()?.value.map(|day| day.to_epoch_days());
            Arc::new(each(texts, bad, read).collect::<Date32Array>())
        }
        FieldType::Timestamp => {
            let read = |c: &str| values::cn_timestamp(c).ok()?.value.map(|at| at.timestamp_micros());
            let micros = each(texts, bad, read).collect::<TimestampMicrosecondArray>();
            Arc::new(micros.with_timezone("+00:00"))
        }
        FieldType::Boolean => Arc::new(each(texts, bad, boolean).collect::<BooleanArray>()),
    }
}

/// Every cell read by `read`; blank is null, unreadable is null and told to `bad`.
fn each<T>(
    texts: &StringArray,
    mut bad: impl FnMut(u32),
    read: impl Fn(&str) -> Option<T>,
) -> impl Iterator<Item = Option<T>> {
    (0u32..).zip(texts).map(move |(row, cell)| {
        let cell = cell.map(str::trim).filter(|c| !c.is_empty())?;
        let value = read(cell);
        if value.is_none() {
            bad(row);
        }
        value
    })
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "true" | "TRUE" | "True" | "是" | "Y" | "y" => Some(true),
        "0" | "false" | "FALSE" | "False" | "否" | "N" | "n" => Some(false),
        _ => None,
    }
}

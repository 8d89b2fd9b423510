//! Pages of register rows, as columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, BooleanBuilder, Date32Array, Date32Builder, Decimal128Array,
    Decimal128Builder, Int64Array, Int64Builder, StringArray, StringBuilder, TimestampMicrosecondArray,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::table::RegisterTable;
use super::{Result, Snapshot, StoreError};
use crate::linking::EntityId;
use crate::record::{DECIMAL_PRECISION, DECIMAL_SCALE, FieldType, Value, decimal_from_text};

/// Register rows → typed columns.
pub(super) struct PageBuilder {
    pub(super) ids: Vec<EntityId>,
    pub(super) versions: Vec<i64>,
    pub(super) schema: Arc<Schema>,
    pub(super) columns: Vec<ColumnBuilder>,
}

/// One column.
pub(super) enum ColumnBuilder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Decimal(Decimal128Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Boolean(BooleanBuilder),
}

impl PageBuilder {
    /// For these fields of the register.
    pub(super) fn new(table: &RegisterTable, fields: &[&str]) -> Self {
        let wanted: Vec<&(String, FieldType)> =
            table.fields.iter().filter(|(name, _)| wanted_and_stored(table, fields, name)).collect();
        let columns = wanted.iter().map(|(_, kind)| ColumnBuilder::new(*kind)).collect();
        let fields: Vec<Field> = wanted.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect();
        Self { ids: Vec::new(), versions: Vec::new(), schema: Arc::new(Schema::new(fields)), columns }
    }

    /// The page, with entities that are no more and the last one looked at.
    pub(super) fn finish(self, gone: Vec<EntityId>, last: Option<EntityId>) -> Result<Snapshot> {
        let columns = self.columns.into_iter().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.ids.len()));
        let rows = RecordBatch::try_new_with_options(self.schema, columns, &options)
            .map_err(|error| StoreError::Damaged(error.to_string()))?;
        Ok(Snapshot { ids: self.ids, versions: self.versions, rows, gone, last })
    }
}

fn wanted_and_stored(table: &RegisterTable, fields: &[&str], name: &str) -> bool {
    fields.contains(&name) && !table.absent.contains(name)
}

impl ColumnBuilder {
    pub(super) fn new(kind: FieldType) -> Self {
        match kind {
            FieldType::Text => Self::Text(StringBuilder::new()),
            FieldType::Integer => Self::Integer(Int64Builder::new()),
            FieldType::Decimal => Self::Decimal(
                Decimal128Builder::new().with_data_type(DataType::Decimal128(DECIMAL_PRECISION, DECIMAL_SCALE)),
            ),
            FieldType::Date => Self::Date(Date32Builder::new()),
            FieldType::Timestamp => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(FieldType::Timestamp.arrow()))
            }
            FieldType::Boolean => Self::Boolean(BooleanBuilder::new()),
        }
    }

    pub(super) fn null(&mut self) {
        match self {
            Self::Text(builder) => builder.append_null(),
            Self::Integer(builder) => builder.append_null(),
            Self::Decimal(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Boolean(builder) => builder.append_null(),
        }
    }

    /// Appends a text; false when the column's type has no such text.
    pub(super) fn text(&mut self, text: &str) -> bool {
        match self {
            Self::Text(builder) => builder.append_value(text),
            Self::Decimal(builder) => match decimal_from_text(text.strip_suffix(".0").unwrap_or(text)) {
                Some(scaled) => builder.append_value(scaled),
                None => return false,
            },
            Self::Date(builder) => match Value::from_text(FieldType::Date, text) {
                Some(Value::Date(days)) => builder.append_value(days),
                _ => return false,
            },
            Self::Integer(_) | Self::Timestamp(_) | Self::Boolean(_) => return false,
        }
        true
    }

    /// Appends a number; false when the column's type has no numbers.
    pub(super) fn number(&mut self, n: i64) -> bool {
        match self {
            Self::Integer(builder) => builder.append_value(n),
            Self::Timestamp(builder) => builder.append_value(n),
            Self::Boolean(builder) => builder.append_value(n != 0),
            Self::Text(_) | Self::Decimal(_) | Self::Date(_) => return false,
        }
        true
    }

    /// Appends a value of the column's type, or null; false when it is of another type.
    pub(super) fn value(&mut self, value: Option<Value>) -> bool {
        match (self, value) {
            (Self::Text(builder), Some(Value::Text(text))) => builder.append_value(text),
            (Self::Integer(builder), Some(Value::Integer(n))) => builder.append_value(n),
            (Self::Decimal(builder), Some(Value::Decimal(n))) => builder.append_value(n),
            (Self::Date(builder), Some(Value::Date(n))) => builder.append_value(n),
            (Self::Timestamp(builder), Some(Value::Timestamp(n))) => builder.append_value(n),
            (Self::Boolean(builder), Some(Value::Boolean(b))) => builder.append_value(b),
            (column, None) => column.null(),
            _ => return false,
        }
        true
    }

    pub(super) fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Integer(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) => Arc::new(builder.finish()),
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
        }
    }
}

/// A typed column, one value at a time.
pub enum Cells<'a> {
    /// 文本.
    Text(&'a StringArray),
    /// 整数.
    Integer(&'a Int64Array),
    /// 定点数.
    Decimal(&'a Decimal128Array),
    /// 日期.
    Date(&'a Date32Array),
    /// 时刻.
    Timestamp(&'a TimestampMicrosecondArray),
    /// 真假.
    Boolean(&'a BooleanArray),
}

impl<'a> Cells<'a> {
    /// Over a column of register rows.
    pub fn of(column: &'a dyn Array) -> Self {
        use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type, TimestampMicrosecondType};
        match column.data_type() {
            DataType::Int64 => Self::Integer(column.as_primitive::<Int64Type>()),
            DataType::Decimal128(..) => Self::Decimal(column.as_primitive::<Decimal128Type>()),
            DataType::Date32 => Self::Date(column.as_primitive::<Date32Type>()),
            DataType::Timestamp(..) => Self::Timestamp(column.as_primitive::<TimestampMicrosecondType>()),
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            _ => Self::Text(column.as_string::<i32>()),
        }
    }

    /// The value in a row.
    pub fn get(&self, row: usize) -> Option<Value> {
        match self {
            Self::Text(c) => (!c.is_null(row)).then(|| Value::Text(c.value(row).to_owned())),
            Self::Integer(c) => (!c.is_null(row)).then(|| Value::Integer(c.value(row))),
            Self::Decimal(c) => (!c.is_null(row)).then(|| Value::Decimal(c.value(row))),
            Self::Date(c) => (!c.is_null(row)).then(|| Value::Date(c.value(row))),
            Self::Timestamp(c) => (!c.is_null(row)).then(|| Value::Timestamp(c.value(row))),
            Self::Boolean(c) => (!c.is_null(row)).then(|| Value::Boolean(c.value(row))),
        }
    }
}

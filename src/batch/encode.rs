//! Arrow columns → Avro records, each with its digest. The hot path of a release.
//!
//! Decides: the encoding of each value (Avro 1.11 binary encoding). Must not know: batches. Guarantees: one encoding per
//! value, so that equal records have equal digests; rows that do not fit the schema are refused, not bent.

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, PrimitiveArray, StringArray};
use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use super::{BatchError, FeedSchema, Record};
use crate::crypto::Digest;
use crate::record::{DECIMAL_PRECISION, FieldType, Value};

/// What a record asks the subscriber to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Hold this version of the entity in place of any earlier one.
    Upsert,
    /// 撤回: no longer hold the entity.
    Withdraw,
}

/// Encoded records, all of one [`Op`], with their digests.
#[derive(Debug, Clone)]
pub struct EncodedRows {
    op: Op,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    digests: Vec<Digest>,
    /// `_digest` of each where that is another than what a holding remembers; else empty.
    sealed: Vec<Digest>,
}

impl EncodedRows {
    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What they ask.
    pub const fn op(&self) -> Op {
        self.op
    }

    /// Digests, in row order: what a holding remembers.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// What stands in a record's `_digest` and leads to the root of a batch; `None` when there is no such row.
    pub fn sealed(&self, row: usize) -> Option<Digest> {
        self.sealed.get(row).or_else(|| self.digests.get(row)).copied()
    }

    /// Bytes of one record with its digest; `None` when there is no such row.
    pub fn record(&self, row: usize) -> Option<&[u8]> {
        let start = match row.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(start..*self.ends.get(row)?)
    }
}

impl FeedSchema {
    /// Encodes upserts: row `n` of `rows` is entity `ids[n]` in version `versions[n]`. The columns of `rows` are the
    /// released fields in schema order, of the types [`FieldType::arrow`] gives.
    ///
    /// # Errors
    /// [`BatchError::Rows`] when columns or lengths differ from that, or the schema commits to fields
    /// ([`FeedSchema::encode_committed`]).
    pub fn encode_upserts(&self, ids: &[i64], versions: &[i64], rows: &RecordBatch) -> Result<EncodedRows, BatchError> {
        if !self.committed().is_empty() {
            return Err(BatchError::Rows { what: "the schema commits to fields".into() });
        }
        self.encode_shown(ids, versions, rows)
    }

    /// The digests that a holding would remember of these rows: to see whether an entity changed in the fields of this
    /// feed, ask under the version the subscriber holds and compare.
    ///
    /// # Errors
    /// [`BatchError::Rows`] when columns or lengths differ from what [`FeedSchema::encode_upserts`] takes.
    pub fn digests(&self, ids: &[i64], versions: &[i64], rows: &RecordBatch) -> Result<Vec<Digest>, BatchError> {
        Ok(self.encode_shown(ids, versions, rows)?.digests)
    }

    fn encode_shown(&self, ids: &[i64], versions: &[i64], rows: &RecordBatch) -> Result<EncodedRows, BatchError> {
        self.check_lengths(ids, versions, rows)?;
        let columns = self.columns(rows)?;
        // Rows of registers take 100 to 300 bytes; growing once or twice is cheaper than measuring.
        let mut out = Encoder::new(self, Op::Upsert, ids.len(), 200);
        for (row, (id, version)) in ids.iter().zip(versions).enumerate() {
            out.begin(*id, *version);
            for column in &columns {
                column.write(row, &mut out.rows.bytes);
            }
            out.end();
        }
        Ok(out.rows)
    }

    /// Encodes withdrawals of entities, each with the version it is withdrawn at; all fields are null.
    pub fn encode_withdrawals(&self, entities: &[(i64, i64)]) -> EncodedRows {
        let mut out = Encoder::new(self, Op::Withdraw, entities.len(), 44 + self.fields().len());
        for (id, version) in entities {
            out.begin(*id, *version);
            out.rows.bytes.resize(out.rows.bytes.len() + self.fields().len(), NULL);
            let shown = out.shown();
            if !self.committed().is_empty() {
                out.rows.bytes.push(NULL);
            }
            out.close(shown, shown);
        }
        out.rows
    }

    pub(super) fn check_lengths(&self, ids: &[i64], versions: &[i64], rows: &RecordBatch) -> Result<(), BatchError> {
        if ids.len() == rows.num_rows() && versions.len() == rows.num_rows() {
            return Ok(());
        }
        let what = format!("{} rows, {} ids and {} versions", rows.num_rows(), ids.len(), versions.len());
        Err(BatchError::Rows { what })
    }

    pub(super) fn columns<'a>(&self, rows: &'a RecordBatch) -> Result<Vec<Column<'a>>, BatchError> {
        if rows.num_columns() != self.fields().len() {
            let what = format!("{} columns for {} fields", rows.num_columns(), self.fields().len());
            return Err(BatchError::Rows { what });
        }
        let mut columns = Vec::with_capacity(rows.num_columns());
        for (field, array) in self.fields().iter().zip(rows.columns()) {
            columns.push(Column::checked((&field.name, field.kind), array)?);
        }
        Ok(columns)
    }
}

pub(super) struct Encoder<'a> {
    schema: &'a FeedSchema,
    rows: EncodedRows,
    start: usize,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(schema: &'a FeedSchema, op: Op, count: usize, size: usize) -> Self {
        let rows = EncodedRows {
            op,
            bytes: Vec::with_capacity(count * size),
            ends: Vec::with_capacity(count),
            digests: Vec::with_capacity(count),
            sealed: Vec::new(),
        };
        Self { schema, rows, start: 0 }
    }

    pub(super) fn begin(&mut self, id: i64, version: i64) {
        self.start = self.rows.bytes.len();
        begin(&mut self.rows.bytes, self.rows.op, id, version);
    }

    /// Where a record's fields are written.
    pub(super) const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.rows.bytes
    }

    /// Everything written so far.
    pub(super) fn written(&self) -> &[u8] {
        &self.rows.bytes
    }

    /// Digest of what was written of this record.
    pub(super) fn shown(&self) -> Digest {
        self.schema.algorithm().digest(&[self.rows.bytes.get(self.start..).unwrap_or_default()])
    }

    fn end(&mut self) {
        let shown = self.shown();
        self.close(shown, shown);
    }

    /// Ends a record of which a holding remembers `held`, and `sealed` is its `_digest`.
    pub(super) fn close(&mut self, held: Digest, sealed: Digest) {
        self.rows.bytes.extend_from_slice(&sealed);
        self.rows.ends.push(self.rows.bytes.len());
        self.rows.digests.push(held);
        if held != sealed {
            self.rows.sealed.push(sealed);
        }
    }

    pub(super) fn finish(self) -> EncodedRows {
        self.rows
    }
}

/// One record, written value by value as [`FeedSchema::encode_upserts`] writes rows.
#[derive(Debug, Default)]
pub struct RecordWriter {
    bytes: Vec<u8>,
}

impl RecordWriter {
    /// Begins a record; what was written before is forgotten.
    pub fn begin(&mut self, op: Op, id: i64, version: i64) {
        self.bytes.clear();
        begin(&mut self.bytes, op, id, version);
    }

    /// The next field is null.
    pub fn null(&mut self) {
        self.bytes.push(NULL);
    }

    /// The next field is this text.
    pub fn text(&mut self, text: &str) {
        self.bytes.push(PRESENT);
        write_bytes(&mut self.bytes, text.as_bytes());
    }

    /// The next field is this value.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.text(text),
            Value::Integer(n) | Value::Timestamp(n) => {
                self.bytes.push(PRESENT);
                write_long(&mut self.bytes, *n);
            }
            Value::Decimal(scaled) => {
                self.bytes.push(PRESENT);
                write_decimal(&mut self.bytes, *scaled);
            }
            Value::Date(days) => {
                self.bytes.push(PRESENT);
                write_long(&mut self.bytes, (*days).into());
            }
            Value::Boolean(truth) => self.bytes.extend([PRESENT, (*truth).into()]),
        }
    }

    /// A whole record under its schema, but for `_digest`.
    pub fn record(&mut self, record: &Record, schema: &FeedSchema) -> &[u8] {
        self.begin(record.op, record.id, record.version);
        for value in &record.values {
            match value {
                Some(value) => self.value(value),
                None => self.null(),
            }
        }
        match &record.evidence {
            Some(evidence) => evidence.write(&mut self.bytes),
            None if !schema.committed().is_empty() => self.null(),
            None => {}
        }
        self.bytes()
    }

    /// One value, or null, alone: what a commitment covers.
    pub fn cell(&mut self, value: Option<&Value>) -> &[u8] {
        self.bytes.clear();
        match value {
            Some(value) => self.value(value),
            None => self.null(),
        }
        self.bytes()
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What every record begins with.
fn begin(out: &mut Vec<u8>, op: Op, id: i64, version: i64) {
    out.push(match op {
        Op::Upsert => 0,
        Op::Withdraw => 2,
    });
    write_long(out, id);
    write_long(out, version);
}

/// Branch 0 of `["null", T]`.
pub(super) const NULL: u8 = 0;
/// Branch 1 of `["null", T]`.
pub(super) const PRESENT: u8 = 2;

pub(super) enum Column<'a> {
    Text(&'a StringArray),
    Integer(&'a PrimitiveArray<Int64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>),
    Date(&'a PrimitiveArray<Date32Type>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Boolean(&'a BooleanArray),
}

impl<'a> Column<'a> {
    fn new(kind: FieldType, array: &'a ArrayRef) -> Option<Self> {
        if *array.data_type() != kind.arrow() {
            return None;
        }
        match kind {
            FieldType::Text => array.as_string_opt().map(Self::Text),
            FieldType::Integer => array.as_primitive_opt().map(Self::Integer),
            FieldType::Decimal => array.as_primitive_opt().map(Self::Decimal),
            FieldType::Date => array.as_primitive_opt().map(Self::Date),
            FieldType::Timestamp => array.as_primitive_opt().map(Self::Timestamp),
            FieldType::Boolean => array.as_boolean_opt().map(Self::Boolean),
        }
    }

    /// As [`Self::new`], told why not.
    pub(super) fn checked((name, kind): (&str, FieldType), array: &'a ArrayRef) -> Result<Self, BatchError> {
        let column = Self::new(kind, array).ok_or_else(|| BatchError::Rows {
            what: format!("field {name} is {kind}, its column {}", array.data_type()),
        })?;
        if !column.fits() {
            return Err(BatchError::Rows { what: format!("field {name} has a decimal of too many digits") });
        }
        Ok(column)
    }

    /// Whether every value can be carried: decimals within their precision.
    fn fits(&self) -> bool {
        let limit = 10_u128.pow(DECIMAL_PRECISION.into());
        match self {
            Self::Decimal(array) => array.iter().flatten().all(|scaled| scaled.unsigned_abs() < limit),
            Self::Text(_) | Self::Integer(_) | Self::Date(_) | Self::Timestamp(_) | Self::Boolean(_) => true,
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Text(array) => array.is_null(row),
            Self::Integer(array) => array.is_null(row),
            Self::Decimal(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Timestamp(array) => array.is_null(row),
            Self::Boolean(array) => array.is_null(row),
        }
    }

    /// Writes one cell; `row` is below the length all columns of a record batch share.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.push(NULL);
            return;
        }
        out.push(PRESENT);
        match self {
            Self::Text(array) => write_bytes(out, array.value(row).as_bytes()),
            Self::Integer(array) => write_long(out, array.value(row)),
            Self::Decimal(array) => write_decimal(out, array.value(row)),
            Self::Date(array) => write_long(out, array.value(row).into()),
            Self::Timestamp(array) => write_long(out, array.value(row)),
            Self::Boolean(array) => out.push(array.value(row).into()),
        }
    }
}

/// int and long: zigzag, then base 128, low groups first.
pub(super) fn write_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// bytes and string: length, then bytes.
pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_long(out, i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(bytes);
}

/// decimal: two's complement, big-endian. Avro leaves the length open; ours is that of the magnitude plus a sign bit, in
/// whole bytes, which is what fastavro writes too and differs from the shortest form only for −2^(8k−1).
fn write_decimal(out: &mut Vec<u8>, scaled: i128) {
    let bits = 128 - scaled.unsigned_abs().leading_zeros();
    let length = usize::try_from(bits / 8 + 1).unwrap_or(16).min(16);
    let bytes = scaled.to_be_bytes();
    write_bytes(out, bytes.get(16 - length..).unwrap_or(&bytes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::schema::tests::every_type;

    #[test]
    fn numbers_are_written_as_avro_says() {
        let long = |n| {
            let mut out = Vec::new();
            write_long(&mut out, n);
            out
        };
        assert_eq!(long(0), [0]);
        assert_eq!(long(-1), [1]);
        assert_eq!(long(-64), [0x7f]);
        assert_eq!(long(64), [0x80, 0x01]);
        assert_eq!(long(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        let decimal = |n| {
            let mut out = Vec::new();
            write_decimal(&mut out, n);
            out
        };
        assert_eq!(decimal(0), [2, 0]);
        assert_eq!(decimal(127), [2, 0x7f]);
        assert_eq!(decimal(128), [4, 0, 0x80]);
        assert_eq!(decimal(-1), [2, 0xff]);
        assert_eq!(decimal(-128), [4, 0xff, 0x80]);
        assert_eq!(decimal(-129), [4, 0xff, 0x7f]);
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let schema = every_type();
        let empty = RecordBatch::new_empty(std::sync::Arc::new(arrow::datatypes::Schema::empty()));
        assert_eq!(schema.encode_upserts(&[], &[], &empty).unwrap_err().code(), "HL0721");
        let rows = crate::batch::body::tests::rows(2);
        assert_eq!(schema.encode_upserts(&[1], &[1, 1], &rows).unwrap_err().code(), "HL0721");
        let swapped = rows.project(&[1, 0, 2, 3, 4, 5]).unwrap();
        assert_eq!(schema.encode_upserts(&[1, 2], &[1, 1], &swapped).unwrap_err().code(), "HL0721");
    }

    #[test]
    fn digests_tell_content_version_and_kind_apart() {
        let schema = every_type();
        let rows = crate::batch::body::tests::rows(2);
        let digests = |version| schema.encode_upserts(&[1, 2], &[version, version], &rows).unwrap().digests().to_vec();
        assert_eq!(digests(1), digests(1));
        assert_ne!(digests(1), digests(2));
        let encoded = schema.encode_upserts(&[1, 2], &[1, 1], &rows).unwrap();
        let (record, digest) = encoded.record(1).unwrap().split_last_chunk::<32>().unwrap();
        assert_eq!(schema.algorithm().digest(&[record]), *digest);
        assert_eq!(encoded.record(2), None);
    }
}

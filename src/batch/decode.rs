//! Reads a body: Avro object container file → records, each checked against its digest.
//!
//! Decides: what is a readable body. Must not know: manifests, sinks. Guarantees: digests are computed over the bytes as
//! received, not over a re-encoding; memory is bounded by the body's size; no bytes make it panic. It reads only the
//! record form of [`FeedSchema`]; that other Avro libraries read the same records is a test.

use serde_json::{Map, Value as Json};

use super::encode::{NULL, PRESENT};
use super::redaction::{self, CLOSED, Evidence, FieldEvidence, OPENED};
use super::{BatchError, FeedField, FeedSchema, Op};
use crate::crypto::{Digest, DigestAlgorithm};
use crate::record::{DECIMAL_PRECISION, FieldType, Value};

/// One record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it asks.
    pub op: Op,
    /// The entity.
    pub id: i64,
    /// Its version.
    pub version: i64,
    /// Released fields in schema order; `None` is null.
    pub values: Vec<Option<Value>>,
    /// Digest of everything above as encoded: what a holding remembers.
    pub digest: Digest,
    /// What stands behind the values, in registers whose evidence is by field; `None` in withdrawals.
    pub evidence: Option<Evidence>,
    /// Its root, which is the same for everybody who gets this version, where there is evidence.
    pub root: Option<Digest>,
    /// What leads to the batch's root: `_digest`. The same as `digest` where there is no evidence.
    pub sealed: Digest,
}

impl Record {
    /// It with its values named, as JSON: text, dates, timestamps and decimals as strings (decimals exact), integers and
    /// booleans as such, null as null.
    pub fn named(&self, fields: &[FeedField]) -> Map<String, Json> {
        let mut all = Map::new();
        all.insert("_op".into(), serde_json::to_value(self.op).unwrap_or_default());
        all.insert("_id".into(), self.id.into());
        all.insert("_version".into(), self.version.into());
        for (field, value) in fields.iter().zip(&self.values) {
            let value = match value {
                None => Json::Null,
                Some(Value::Integer(n)) => (*n).into(),
                Some(Value::Boolean(truth)) => (*truth).into(),
                Some(other) => other.to_text().into(),
            };
            all.insert(field.name.clone(), value);
        }
        all
    }
}

/// Reads a whole body and checks every record's digest.
///
/// # Errors
/// [`BatchError::Body`], [`BatchError::RecordDigest`], [`BatchError::Commitments`].
pub fn read_body(bytes: &[u8], algorithm: DigestAlgorithm) -> Result<(FeedSchema, Vec<Record>), BatchError> {
    let mut input = Input { rest: bytes };
    let (schema, sync) = read_header(&mut input, algorithm)?;
    let mut records = Vec::new();
    while !input.rest.is_empty() {
        let count = input.long().filter(|count| *count >= 0).ok_or_else(|| bad("a block's record count"))?;
        let mut block = Input { rest: input.bytes().ok_or_else(|| bad("a block's length"))? };
        for _ in 0..count {
            let number = records.len() + 1;
            let unreadable = || BatchError::Body { what: format!("record {number}") };
            let record = read_record(&mut block, &schema).ok_or_else(unreadable)?;
            let digest = block.take::<32>().ok_or_else(unreadable)?;
            if record.sealed != digest {
                return Err(match record.evidence {
                    Some(_) => BatchError::Commitments { record: number },
                    None => BatchError::RecordDigest { record: number },
                });
            }
            records.push(record);
        }
        if !block.rest.is_empty() || input.take::<16>() != Some(sync) {
            return Err(bad("the end of a block"));
        }
    }
    Ok((schema, records))
}

/// Reads one record as its digest covers it: without the digest, and nothing behind it.
///
/// # Errors
/// [`BatchError::Body`].
pub fn read_record_alone(bytes: &[u8], schema: &FeedSchema) -> Result<Record, BatchError> {
    let mut input = Input { rest: bytes };
    read_record(&mut input, schema).filter(|_| input.rest.is_empty()).ok_or_else(|| bad("the record"))
}

/// Reads the value that a commitment covers, and nothing behind it.
pub(super) fn read_cell(bytes: &[u8], kind: FieldType) -> Option<Option<Value>> {
    let mut input = Input { rest: bytes };
    let value = input.cell(kind)?;
    input.rest.is_empty().then_some(value)
}

fn bad(what: &str) -> BatchError {
    BatchError::Body { what: what.to_owned() }
}

fn read_header(input: &mut Input<'_>, algorithm: DigestAlgorithm) -> Result<(FeedSchema, [u8; 16]), BatchError> {
    if input.take::<4>() != Some(*b"Obj\x01") {
        return Err(bad("it is not an Avro object container file"));
    }
    let mut schema = None;
    loop {
        let count = match input.long() {
            Some(0) => break,
            // A negative count is followed by the size of the block in bytes.
            Some(count) if count < 0 && input.long().is_some() => count.unsigned_abs(),
            Some(count) if count > 0 => count.unsigned_abs(),
            _ => return Err(bad("its metadata")),
        };
        for _ in 0..count {
            let (Some(key), Some(value)) = (input.bytes(), input.bytes()) else { return Err(bad("its metadata")) };
            match key {
                b"avro.schema" => schema = Some(value),
                b"avro.codec" if value != b"null" => return Err(bad("it is compressed")),
                _ => {}
            }
        }
    }
    let text = schema.and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or_else(|| bad("it carries no schema"))?;
    let sync = input.take::<16>().ok_or_else(|| bad("its sync marker"))?;
    Ok((FeedSchema::from_json(text, algorithm)?, sync))
}

fn read_record(input: &mut Input<'_>, schema: &FeedSchema) -> Option<Record> {
    let (start, algorithm) = (input.rest, schema.algorithm());
    let op = match input.long()? {
        0 => Op::Upsert,
        1 => Op::Withdraw,
        _ => return None,
    };
    let (id, version) = (input.long()?, input.long()?);
    let mut values = Vec::with_capacity(schema.fields().len());
    let mut cells = Vec::new();
    for field in schema.fields() {
        let from = input.rest;
        values.push(input.cell(field.kind)?);
        if !schema.committed().is_empty() {
            cells.push(from.get(..from.len() - input.rest.len())?);
        }
    }
    if op == Op::Withdraw && values.iter().any(Option::is_some) {
        return None;
    }
    let digest = algorithm.digest(&[start.get(..start.len() - input.rest.len())?]);
    let evidence = if schema.committed().is_empty() { None } else { read_evidence(input, schema)? };
    let (root, sealed) = match &evidence {
        None => (None, digest),
        Some(evidence) => {
            let root = redaction::record_root(algorithm, (id, version), &evidence.commitments(schema, &cells)?);
            let view = redaction::view(algorithm, &evidence.view, &digest);
            (Some(root), redaction::sealed(algorithm, &root, &view))
        }
    };
    if !schema.committed().is_empty() && evidence.is_some() != (op == Op::Upsert) {
        return None;
    }
    Some(Record { op, id, version, values, digest, evidence, root, sealed })
}

/// `_evidence`; the inner `None` is null.
fn read_evidence(input: &mut Input<'_>, schema: &FeedSchema) -> Option<Option<Evidence>> {
    match input.take::<1>()? {
        [NULL] => return Some(None),
        [PRESENT] => {}
        _ => return None,
    }
    let view = input.take::<32>()?;
    let mut fields = Vec::with_capacity(schema.committed().len());
    for _ in schema.committed() {
        fields.push(match input.take::<1>()? {
            [OPENED] => FieldEvidence::Opened(input.take::<32>()?),
            [CLOSED] => FieldEvidence::Closed(input.take::<32>()?),
            _ => return None,
        });
    }
    Some(Some(Evidence { view, fields }))
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn long(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.take::<1>()?;
            let group = u64::from(byte & 0x7F);
            // The tenth group holds the last bit.
            if shift == 63 && group > 1 {
                return None;
            }
            value |= group << shift;
            if byte < 0x80 {
                return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// A value, or null.
    fn cell(&mut self, kind: FieldType) -> Option<Option<Value>> {
        match self.take::<1>()? {
            [NULL] => Some(None),
            [PRESENT] => self.value(kind).map(Some),
            _ => None,
        }
    }

    fn value(&mut self, kind: FieldType) -> Option<Value> {
        Some(match kind {
            FieldType::Text => Value::Text(std::str::from_utf8(self.bytes()?).ok()?.to_owned()),
            FieldType::Integer => Value::Integer(self.long()?),
            FieldType::Decimal => Value::Decimal(decimal(self.bytes()?)?),
            FieldType::Date => Value::Date(self.long()?.try_into().ok()?),
            FieldType::Timestamp => Value::Timestamp(self.long()?),
            FieldType::Boolean => match self.take::<1>()? {
                [0] => Value::Boolean(false),
                [1] => Value::Boolean(true),
                _ => return None,
            },
        })
    }
}

fn decimal(bytes: &[u8]) -> Option<i128> {
    let negative = *bytes.first()? >= 0x80;
    let mut wide = if negative { [0xFF; 16] } else { [0; 16] };
    wide.get_mut(16_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    let scaled = i128::from_be_bytes(wide);
    (scaled.unsigned_abs() < 10_u128.pow(DECIMAL_PRECISION.into())).then_some(scaled)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use apache_avro::types::Value as Avro;
    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::batch::BodyBuilder;
    use crate::batch::body::tests::body;
    use crate::batch::schema::tests::every_type;

    const SHA256: DigestAlgorithm = DigestAlgorithm::Sha256;

    #[test]
    fn what_was_encoded_reads_back() {
        let (schema, records) = read_body(&body(3_000, 1).bytes, SHA256).unwrap();
        assert_eq!((schema, records.len()), (every_type(), 3_001));
        assert_eq!(records[4].values[0], Some(Value::Text("企业 4".into())));
        assert_eq!(records[0].values[0], None);
        assert_eq!(records[0].values[2], Some(Value::Decimal(-65_536)));
        assert_eq!((records[3_000].op, records[3_000].id, records[3_000].version), (Op::Withdraw, 900_000, 7));
    }

    #[test]
    fn apache_avro_reads_the_same_records() {
        let bytes = body(200, 1).bytes;
        let (_, ours) = read_body(&bytes, SHA256).unwrap();
        let theirs: Vec<Avro> = apache_avro::Reader::new(&bytes[..]).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let Avro::Record(fields) = theirs else { panic!("not a record") };
            assert_eq!(fields[1].1, Avro::Long(ours.id));
            for (value, (_, avro)) in ours.values.iter().zip(&fields[3..]) {
                let Avro::Union(_, avro) = avro else { panic!("not a union") };
                let same = match (value, avro.as_ref()) {
                    (None, Avro::Null) => true,
                    (Some(Value::Text(a)), Avro::String(b)) => a == b,
                    (Some(Value::Integer(a)), Avro::Long(b))
                    | (Some(Value::Timestamp(a)), Avro::TimestampMicros(b)) => a == b,
                    (Some(Value::Decimal(a)), Avro::Decimal(b)) => {
                        decimal(&Vec::<u8>::try_from(b).unwrap()) == Some(*a)
                    }
                    (Some(Value::Date(a)), Avro::Date(b)) => a == b,
                    (Some(Value::Boolean(a)), Avro::Boolean(b)) => a == b,
                    _ => false,
                };
                assert!(same, "{value:?} {avro:?}");
            }
            assert_eq!(fields.last().unwrap().1, Avro::Fixed(32, ours.digest.to_vec()));
        }
    }

    #[test]
    fn a_record_that_was_altered_is_pointed_at() {
        let mut bytes = body(10, 1).bytes;
        let at = bytes.windows(3).rposition(|w| w == "企".as_bytes()).unwrap();
        bytes[at..at + 3].copy_from_slice("起".as_bytes());
        assert_eq!(read_body(&bytes, SHA256).unwrap_err(), BatchError::RecordDigest { record: 9 });
    }

    #[test]
    fn cut_bodies_are_refused_except_between_blocks() {
        let bytes = body(10, 1).bytes;
        for end in 0..bytes.len() {
            // After the header lies a complete file without records: counts and digest catch that one.
            if let Ok((_, records)) = read_body(&bytes[..end], SHA256) {
                assert!(records.is_empty());
            }
        }
    }

    type Cells = (Option<String>, Option<i64>, Option<i128>, Option<i32>, Option<i64>, Option<bool>);

    /// Rows of [`every_type`].
    fn batch_of(rows: &[Cells]) -> RecordBatch {
        let decimal: Decimal128Array = rows.iter().map(|row| row.2).collect();
        let timestamp: TimestampMicrosecondArray = rows.iter().map(|row| row.4).collect();
        let columns: [ArrayRef; 6] = [
            Arc::new(rows.iter().map(|row| row.0.clone()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
            Arc::new(decimal.with_data_type(FieldType::Decimal.arrow())),
            Arc::new(rows.iter().map(|row| row.3).collect::<Date32Array>()),
            Arc::new(timestamp.with_timezone("+00:00")),
            Arc::new(rows.iter().map(|row| row.5).collect::<BooleanArray>()),
        ];
        RecordBatch::try_from_iter(["a", "b", "c", "d", "e", "f"].into_iter().zip(columns)).unwrap()
    }

    fn values((text, integer, decimal, date, timestamp, boolean): &Cells) -> Vec<Option<Value>> {
        vec![
            text.clone().map(Value::Text),
            integer.map(Value::Integer),
            decimal.map(Value::Decimal),
            date.map(Value::Date),
            timestamp.map(Value::Timestamp),
            boolean.map(Value::Boolean),
        ]
    }

    fn cells() -> impl Strategy<Value = Cells> {
        let largest = 10_i128.pow(24) - 1;
        let decimal = proptest::option::of(-largest..=largest);
        (
            any::<Option<String>>(),
            any::<Option<i64>>(),
            decimal,
            any::<Option<i32>>(),
            any::<Option<i64>>(),
            any::<Option<bool>>(),
        )
    }

    proptest! {
        #[test]
        fn any_rows_read_back(rows in proptest::collection::vec(cells(), 0..8), id in any::<i64>()) {
            let schema = every_type();
            let (ids, versions) = (vec![id; rows.len()], vec![1; rows.len()]);
            let encoded = schema.encode_upserts(&ids, &versions, &batch_of(&rows)).unwrap();
            let mut body = BodyBuilder::new(&schema, 1);
            for row in 0..rows.len() {
                body.push(&encoded, row).unwrap();
            }
            let (read_schema, records) = read_body(&body.finish().bytes, SHA256).unwrap();
            prop_assert_eq!(read_schema, schema);
            let read: Vec<_> = records.iter().map(|record| record.values.clone()).collect();
            prop_assert_eq!(read, rows.iter().map(values).collect::<Vec<_>>());
            prop_assert!(records.iter().all(|record| record.id == id));
        }

        #[test]
        fn no_flip_panics(at in 0_usize..2_000, mask in 1_u8..) {
            let mut bytes = body(10, 1).bytes;
            let at = at % bytes.len();
            bytes[at] ^= mask;
            let _ = read_body(&bytes, SHA256);
        }

        #[test]
        fn longs_read_back(n in any::<i64>()) {
            let mut out = Vec::new();
            super::super::encode::write_long(&mut out, n);
            prop_assert_eq!(Input { rest: &out }.long(), Some(n));
        }
    }
}

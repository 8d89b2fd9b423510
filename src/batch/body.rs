//! Builds the body of one batch: an Avro object container file, codec null.
//!
//! Decides: blocks, sync marker, when a batch is full. Must not know: where records come from. Guarantees: the same
//! records in the same order under the same schema and sequence number give the same bytes.

use super::encode::{write_bytes, write_long};
use super::{BatchError, EncodedRows, Encryption, FeedSchema, Op, merkle};
use crate::config::BatchLimit;
use crate::crypto::{Digest, DigestAlgorithm, Recipient};

/// A block is closed at this size: readers hold one block at a time.
const BLOCK_BYTES: usize = 64 << 10;
/// Room for a block's two counts and its sync marker.
const BLOCK_OVERHEAD: usize = 36;

/// A body under construction.
#[derive(Debug)]
pub struct BodyBuilder {
    algorithm: DigestAlgorithm,
    fingerprint: Digest,
    schema_digest: Digest,
    sync: [u8; 16],
    bytes: Vec<u8>,
    block: Vec<u8>,
    block_records: i64,
    digests: Vec<Digest>,
    upserts: u64,
    withdrawals: u64,
}

/// A finished body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The Avro object container file; or its encryption.
    pub bytes: Vec<u8>,
    /// To whom it is encrypted, and how.
    pub encryption: Option<Encryption>,
    /// Digest of `bytes`.
    pub digest: Digest,
    /// Which digest.
    pub algorithm: DigestAlgorithm,
    /// Fingerprint of the schema inside.
    pub fingerprint: Digest,
    /// Digest of its text.
    pub schema_digest: Digest,
    /// Records that upsert.
    pub upserts: u64,
    /// Records that withdraw.
    pub withdrawals: u64,
    /// Merkle root over the record digests, in body order.
    pub records_root: Digest,
}

impl Body {
    /// The same, so that only the owner of a certificate can read it. Not the same bytes twice.
    ///
    /// # Errors
    /// [`BatchError::Crypto`].
    pub fn encrypted_to(self, recipient: &Recipient) -> Result<Self, BatchError> {
        let bytes = recipient.encrypt(&self.bytes)?;
        let certificate = recipient.certificate();
        let encryption = Encryption {
            to: certificate.subject(),
            issuer: certificate.issuer(),
            serial: certificate.serial(),
            algorithm: recipient.algorithm().to_owned(),
        };
        Ok(Self { digest: self.algorithm.digest(&[&bytes]), bytes, encryption: Some(encryption), ..self })
    }
}

impl BodyBuilder {
    /// An empty body of the feed's batch `seq`.
    pub fn new(schema: &FeedSchema, seq: u64) -> Self {
        let algorithm = schema.algorithm();
        let marker = algorithm.digest(&[b"huiliu.sync", &seq.to_be_bytes(), schema.json().as_bytes()]);
        let sync = *marker.first_chunk::<16>().expect("a digest has 32 bytes");
        let mut bytes = b"Obj\x01".to_vec();
        write_long(&mut bytes, 2);
        write_bytes(&mut bytes, b"avro.codec");
        write_bytes(&mut bytes, b"null");
        write_bytes(&mut bytes, b"avro.schema");
        write_bytes(&mut bytes, schema.json().as_bytes());
        write_long(&mut bytes, 0);
        bytes.extend_from_slice(&sync);
        Self {
            algorithm,
            fingerprint: schema.fingerprint(),
            schema_digest: algorithm.digest(&[schema.json().as_bytes()]),
            sync,
            bytes,
            block: Vec::with_capacity(BLOCK_BYTES + 4096),
            block_records: 0,
            digests: Vec::new(),
            upserts: 0,
            withdrawals: 0,
        }
    }

    /// Records so far.
    pub fn records(&self) -> usize {
        self.digests.len()
    }

    /// Bytes the body would have if it were finished now, give or take a block's overhead.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + if self.block_records == 0 { 0 } else { self.block.len() + BLOCK_OVERHEAD }
    }

    /// Whether row `row` of `rows` still goes into this batch. The first record always does: a record larger than the
    /// limit travels alone.
    pub fn has_room_for(&self, rows: &EncodedRows, row: usize, limit: &BatchLimit) -> bool {
        let record = rows.record(row).map_or(0, <[u8]>::len);
        let bytes = u64::try_from(self.bytes() + record).unwrap_or(u64::MAX);
        self.records() == 0 || (self.records() < limit.records && bytes <= limit.bytes.0)
    }

    /// Appends row `row` of `rows`.
    ///
    /// # Errors
    /// [`BatchError::Rows`] when there is no such row.
    pub fn push(&mut self, rows: &EncodedRows, row: usize) -> Result<(), BatchError> {
        let (Some(record), Some(digest)) = (rows.record(row), rows.sealed(row)) else {
            return Err(BatchError::Rows { what: format!("there is no row {row} among {}", rows.len()) });
        };
        self.block.extend_from_slice(record);
        self.block_records += 1;
        self.digests.push(digest);
        match rows.op() {
            Op::Upsert => self.upserts += 1,
            Op::Withdraw => self.withdrawals += 1,
        }
        if self.block.len() >= BLOCK_BYTES {
            self.close_block();
        }
        Ok(())
    }

    fn close_block(&mut self) {
        if self.block_records == 0 {
            return;
        }
        write_long(&mut self.bytes, self.block_records);
        write_bytes(&mut self.bytes, &self.block);
        self.bytes.extend_from_slice(&self.sync);
        self.block.clear();
        self.block_records = 0;
    }

    /// The finished body.
    pub fn finish(mut self) -> Body {
        self.close_block();
        Body {
            digest: self.algorithm.digest(&[&self.bytes]),
            algorithm: self.algorithm,
            fingerprint: self.fingerprint,
            schema_digest: self.schema_digest,
            upserts: self.upserts,
            withdrawals: self.withdrawals,
            records_root: merkle::root(self.algorithm, &self.digests),
            bytes: self.bytes,
            encryption: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    };

    use super::*;
    use crate::batch::schema::tests::every_type_by;
    use crate::config::ByteSize;
    use crate::record::FieldType;

    /// `count` rows of every type; every third cell of a column is null.
    pub(crate) fn rows(count: i64) -> RecordBatch {
        let some = |n: i64| n % 3 != 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new((0..count).map(|n| some(n).then(|| format!("企业 {n}"))).collect::<StringArray>()),
            Arc::new((0..count).map(|n| some(n + 1).then_some(n - 1)).collect::<Int64Array>()),
            Arc::new(
                (0..count)
                    .map(|n| some(n + 2).then(|| i128::from(n - 2) * 32_768))
                    .collect::<Decimal128Array>()
                    .with_data_type(FieldType::Decimal.arrow()),
            ),
            Arc::new((0..count).map(|n| some(n).then(|| i32::try_from(n).unwrap() - 700)).collect::<Date32Array>()),
            Arc::new(
                (0..count)
                    .map(|n| some(n).then_some(n * 1_000_001))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("+00:00"),
            ),
            Arc::new((0..count).map(|n| some(n).then_some(n % 2 == 0)).collect::<BooleanArray>()),
        ];
        let named = FieldType::ALL.iter().map(|kind| format!("a_{kind}")).zip(columns);
        RecordBatch::try_from_iter_with_nullable(named.map(|(name, array)| (name, array, true))).unwrap()
    }

    /// A body with `upserts` rows and one withdrawal.
    pub(crate) fn body(upserts: i64, seq: u64) -> Body {
        body_of(DigestAlgorithm::Sha256, upserts, seq)
    }

    /// The same, with records digested by `algorithm`.
    pub(crate) fn body_of(algorithm: DigestAlgorithm, upserts: i64, seq: u64) -> Body {
        let schema = every_type_by(algorithm);
        let ids: Vec<i64> = (1..=upserts).collect();
        let encoded = schema.encode_upserts(&ids, &vec![1; ids.len()], &rows(upserts)).unwrap();
        let mut builder = BodyBuilder::new(&schema, seq);
        for row in 0..encoded.len() {
            builder.push(&encoded, row).unwrap();
        }
        builder.push(&schema.encode_withdrawals(&[(900_000, 7)]), 0).unwrap();
        builder.finish()
    }

    #[test]
    fn the_same_records_give_the_same_bytes() {
        assert_eq!(body(50, 1), body(50, 1));
        assert_ne!(body(50, 1).bytes, body(50, 2).bytes, "the marker differs from batch to batch");
    }

    #[test]
    fn a_batch_closes_at_its_limits_but_takes_one_record_always() {
        let schema = every_type_by(DigestAlgorithm::Sha256);
        let encoded = schema.encode_upserts(&[1, 2, 3], &[1, 1, 1], &rows(3)).unwrap();
        let taken = |records, bytes| {
            let limit = BatchLimit { records, bytes: ByteSize(bytes) };
            let mut builder = BodyBuilder::new(&schema, 1);
            (0..encoded.len())
                .take_while(|row| {
                    let room = builder.has_room_for(&encoded, *row, &limit);
                    if room {
                        builder.push(&encoded, *row).unwrap();
                    }
                    room
                })
                .count()
        };
        assert_eq!(taken(2, 1 << 20), 2);
        assert_eq!(taken(10, 1 << 20), 3);
        assert_eq!(taken(10, 1), 1);
        let mut builder = BodyBuilder::new(&schema, 1);
        assert_eq!(builder.push(&encoded, 3).unwrap_err().code(), "HL0721");
    }

    #[test]
    fn the_announced_size_is_near_the_real_one() {
        let schema = every_type_by(DigestAlgorithm::Sha256);
        let encoded = schema.encode_upserts(&[1], &[1], &rows(1)).unwrap();
        let mut builder = BodyBuilder::new(&schema, 1);
        for _ in 0..5_000 {
            builder.push(&encoded, 0).unwrap();
        }
        let said = builder.bytes();
        assert!(said.abs_diff(builder.finish().bytes.len()) < BLOCK_OVERHEAD);
    }
}

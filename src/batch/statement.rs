//! The statement (对账单): what the subscriber should hold as of one batch, signed.
//!
//! Decides: its fields, and what contradicts itself. Must not know: how it is signed or travels; what a subscriber has.
//! Guarantees: its size does not grow with the records: at most [`super::ranges::MOST`] ranges are named; unknown fields
//! of later versions are tolerated, an unknown format is not; nothing is quoted from what does not read.

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ranges::{self, Entry, Range};
use super::{BatchError, FeedSchema, HexDigest, batch_id};
use crate::crypto::{Digest, DigestAlgorithm};

/// The format this build writes and reads.
pub const STATEMENT_FORMAT: &str = "huiliu.statement/1";

/// What the subscriber should hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// [`STATEMENT_FORMAT`].
    pub format: String,
    /// Feed.
    pub feed: String,
    /// The batch after which this is held; 0 when there is none yet.
    pub as_of: u64,
    /// Digest of that batch's manifest; `null` when there is none.
    pub manifest_digest: Option<HexDigest>,
    /// Who says so.
    pub issuer: String,
    /// To whom.
    pub subscriber: String,
    /// Register the records are from: the subscriber's table.
    pub register: String,
    /// When, in milliseconds.
    #[serde(serialize_with = "milliseconds")]
    pub at: DateTime<Utc>,
    /// How roots are made.
    #[serde(serialize_with = "name_of", deserialize_with = "algorithm")]
    pub algorithm: DigestAlgorithm,
    /// Avro schema that the held records were encoded with; empty when nothing is held.
    pub schema: String,
    /// Records held.
    pub records: u64,
    /// Root over `ranges`.
    pub root: HexDigest,
    /// How wide the ranges are, as a power of two.
    pub range_bits: u32,
    /// The ranges that are not empty: first entity number, records, root.
    pub ranges: Vec<Entry>,
}

/// What the caller knows besides the holdings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Feed.
    pub feed: String,
    /// Batch.
    pub as_of: u64,
    /// Digest of its manifest.
    pub manifest_digest: Option<Digest>,
    /// Who says so.
    pub issuer: String,
    /// To whom.
    pub subscriber: String,
    /// Register.
    pub register: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Avro schema of the records.
    pub schema: String,
}

impl Statement {
    /// Over these holdings, which ascend by entity.
    pub fn over(standing: Standing, algorithm: DigestAlgorithm, records: &[Entry]) -> Self {
        let bits = ranges::width(records);
        let summed = ranges::summed(algorithm, records, bits);
        let Standing { feed, as_of, manifest_digest, issuer, subscriber, register, at, schema } = standing;
        Self {
            format: STATEMENT_FORMAT.into(),
            feed,
            as_of,
            manifest_digest: manifest_digest.map(HexDigest),
            issuer,
            subscriber,
            register,
            at: at.trunc_subsecs(3),
            algorithm,
            schema,
            records: u64::try_from(records.len()).unwrap_or(u64::MAX),
            root: HexDigest(ranges::root_of(algorithm, &summed)),
            range_bits: bits,
            ranges: summed,
        }
    }

    /// Reads a statement and checks that it does not contradict itself.
    ///
    /// # Errors
    /// [`BatchError::Statement`], with a position and no content.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BatchError> {
        let bad = |what: &str| BatchError::Statement { what: what.to_owned() };
        let statement: Self = serde_json::from_slice(bytes).map_err(|error| BatchError::Statement {
            what: format!("line {}, column {}", error.line(), error.column()),
        })?;
        let Self { format, range_bits: bits, ranges: named, records, algorithm, root, .. } = &statement;
        if format != STATEMENT_FORMAT {
            return Err(bad(&format!("its format is not {STATEMENT_FORMAT}")));
        }
        if *bits == 0 || bits % ranges::STEP != 0 || *bits > 60 || named.len() > ranges::MOST {
            return Err(bad("its ranges are of another kind"));
        }
        let ordered = named.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        if !ordered || named.iter().any(|entry| Range::around(entry.0, *bits).from != entry.0 || entry.1 <= 0) {
            return Err(bad("its ranges are not in order"));
        }
        let sum = named.iter().try_fold(0_u64, |sum, entry| sum.checked_add(entry.1.unsigned_abs()));
        if sum != Some(*records) {
            return Err(bad("its ranges do not add up to its records"));
        }
        if ranges::root_of(*algorithm, named) != root.0 {
            return Err(bad("its ranges do not give its root"));
        }
        Ok(statement)
    }

    /// The bytes to be signed and sent.
    ///
    /// # Errors
    /// [`BatchError::Statement`], which does not happen for values of these types.
    pub fn to_json(&self) -> Result<Vec<u8>, BatchError> {
        serde_json::to_vec(self).map_err(|_| BatchError::Statement { what: "it cannot be written".into() })
    }

    /// `feed/seq` of the batch it is as of.
    pub fn id(&self) -> String {
        batch_id(&self.feed, self.as_of)
    }

    /// The schema of the records held; `None` when nothing is.
    ///
    /// # Errors
    /// [`BatchError::Body`] when it is no schema of ours.
    pub fn schema(&self, algorithm: DigestAlgorithm) -> Result<Option<FeedSchema>, BatchError> {
        (!self.schema.is_empty()).then(|| FeedSchema::from_json(&self.schema, algorithm)).transpose()
    }
}

fn milliseconds<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn name_of<S: Serializer>(algorithm: &DigestAlgorithm, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(algorithm.name())
}

fn algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DigestAlgorithm, D::Error> {
    let name = String::deserialize(deserializer)?;
    let known = DigestAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
    known.ok_or_else(|| serde::de::Error::custom("an unknown digest algorithm"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::batch::ranges::tests::records;
    use crate::crypto::tests::{CaAndSigner, noon};
    use crate::crypto::{Moment, verify_detached};

    pub(crate) fn standing() -> Standing {
        Standing {
            feed: "housing.enterprise".into(),
            as_of: 42,
            manifest_digest: Some([4; 32]),
            issuer: "青岛市电政办".into(),
            subscriber: "housing".into(),
            register: "enterprise".into(),
            at: noon(),
            schema: crate::batch::schema::tests::every_type().json().to_owned(),
        }
    }

    #[test]
    fn a_statement_reads_back_and_stays_small() {
        for algorithm in DigestAlgorithm::ALL {
            for count in [0, 1, 300, 40_000] {
                let statement = Statement::over(standing(), algorithm, &records(0..count));
                let written = statement.to_json().unwrap();
                assert!(written.len() < 64 << 10, "{count} records: {} bytes", written.len());
                assert_eq!(Statement::from_json(&written), Ok(statement));
            }
        }
    }

    #[test]
    fn a_statement_that_contradicts_itself_is_refused() {
        let honest = Statement::over(standing(), DigestAlgorithm::Sha256, &records(0..300));
        let lies: [fn(&mut Statement); 8] = [
            |s| s.format = "huiliu.statement/2".into(),
            |s| s.records += 1,
            |s| s.root = HexDigest([0; 32]),
            |s| s.range_bits = 7,
            |s| s.range_bits = 0,
            |s| s.ranges.swap(0, 1),
            |s| s.ranges[0].0 = 1,
            |s| s.ranges.truncate(4),
        ];
        for (n, lie) in lies.into_iter().enumerate() {
            let mut statement = honest.clone();
            lie(&mut statement);
            let refused = Statement::from_json(&statement.to_json().unwrap()).unwrap_err();
            assert_eq!(refused.code(), "HL0751", "lie {n}");
        }
        assert!(!Statement::from_json("{\"feed\":\"张\"}".as_bytes()).unwrap_err().to_string().contains('张'));
    }

    #[test]
    fn no_bit_of_a_statement_can_change() {
        let ca = CaAndSigner::new();
        let written = Statement::over(standing(), DigestAlgorithm::Sha256, &records(0..70)).to_json().unwrap();
        let signature = ca.signer.sign_detached(&written, noon()).unwrap();
        let holds = |bytes: &[u8]| verify_detached(&signature, bytes, &ca.trust, Moment::Signing { now: noon() });
        holds(&written).unwrap();
        for at in 0..written.len() {
            for bit in 0..8 {
                let mut bytes = written.clone();
                bytes[at] ^= 1 << bit;
                assert!(holds(&bytes).is_err(), "byte {at} bit {bit}");
            }
        }
    }
}

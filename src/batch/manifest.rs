//! The manifest (清单): the signed JSON that says what a batch is, what it proves and why it was allowed.
//!
//! Decides: the fields and their order. Must not know: how it is signed or sent. Guarantees: what is signed is these
//! bytes as sent, without canonicalisation; unknown fields of later versions are tolerated, an unknown format is not.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{BatchError, FeedSchema};
use crate::crypto::{Digest, DigestAlgorithm, digest_from_hex, hex};

/// The format this build writes and reads.
pub const FORMAT: &str = "huiliu.batch/1";

/// `feed/seq`, as messages and reports name a batch.
pub fn batch_id(feed: &str, seq: u64) -> String {
    format!("{feed}/{seq}")
}

/// A digest as manifests write it: 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HexDigest(pub Digest);

impl Serialize for HexDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        digest_from_hex(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("a digest is 64 lower-case hexadecimal digits"))
    }
}

impl std::fmt::Display for HexDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Why a batch was sent. It does not change what a receiver does: records say that themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The first filling of a feed, in parts.
    Snapshot,
    /// What changed since the batch before.
    Delta,
    /// 补数: history sent again.
    Backfill,
    /// A value sent before was wrong.
    Correction,
    /// 撤回: something should never have been sent.
    Recall,
}

impl Kind {
    /// As manifests write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Delta => "delta",
            Self::Backfill => "backfill",
            Self::Correction => "correction",
            Self::Recall => "recall",
        }
    }
}

/// Which part of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// From 1.
    pub n: u64,
    /// Whether the snapshot ends with it.
    pub last: bool,
}

/// A batch, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// Feed.
    pub feed: String,
    /// Number of the batch in the feed, from 1, without holes.
    pub seq: u64,
    /// Why it was sent.
    pub kind: Kind,
    /// Which part, for snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Why, for corrections and recalls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// Who sends.
    pub issuer: String,
    /// Who receives.
    pub subscriber: String,
    /// When it was sealed, in milliseconds.
    #[serde(serialize_with = "milliseconds")]
    pub created_at: DateTime<Utc>,
    /// Register the records are from.
    pub register: String,
    /// The records' schema.
    pub schema: SchemaFacts,
    /// The body.
    pub body: BodyFacts,
    /// Merkle root over the record digests, in body order.
    pub records_root: HexDigest,
    /// Digest of the manifest before, by the algorithm of that one; `null` for the first.
    pub previous: Option<HexDigest>,
    /// Which part of the register's change log it carries.
    pub changes: Changes,
    /// Under which decision it was released.
    pub decision: Decision,
}

/// The records' schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaFacts {
    /// SHA-256 over the Avro schema's parsing canonical form.
    pub fingerprint: HexDigest,
    /// Counts up when the schema changes, from 1.
    pub version: u32,
    /// Digest of the schema's text as the body carries it, titles and all, by the body's algorithm; manifests of earlier
    /// versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<HexDigest>,
}

impl SchemaFacts {
    /// Whether this is the schema of a body digested by `algorithm`.
    pub fn describe(&self, schema: &FeedSchema, algorithm: DigestAlgorithm) -> bool {
        let text = || algorithm.digest(&[schema.json().as_bytes()]);
        schema.fingerprint() == self.fingerprint.0 && self.digest.is_none_or(|digest| digest.0 == text())
    }
}

/// The body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenBody", into = "WrittenBody")]
pub struct BodyFacts {
    /// [`AVRO`], or [`CMS`] when it is encrypted.
    pub media_type: String,
    /// Length.
    pub bytes: u64,
    /// How the body, its records and this manifest are digested: that of the signer's suite.
    pub algorithm: DigestAlgorithm,
    /// Digest of the bytes.
    pub digest: HexDigest,
    /// Records in it.
    pub records: u64,
    /// Of which upserts.
    pub upserts: u64,
    /// Of which withdrawals.
    pub withdrawals: u64,
    /// To whom it is encrypted, and how; `None` when everybody can read it.
    pub encryption: Option<Encryption>,
}

/// Media type of a body that everybody can read.
pub const AVRO: &str = "application/avro";
/// Media type of an encrypted body (RFC 7193).
pub const CMS: &str = "application/cms";

/// To whom a body is encrypted: the certificate whose private key opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The certificate's owner.
    pub to: String,
    /// Who issued the certificate.
    pub issuer: String,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// How the content is encrypted: `aes-256-gcm`, `sm4-cbc`.
    pub algorithm: String,
}

/// The body as JSON says it: the key of the digest names the algorithm, and exactly one is there.
#[derive(Serialize, Deserialize)]
struct WrittenBody {
    media_type: String,
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<HexDigest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sm3: Option<HexDigest>,
    records: u64,
    upserts: u64,
    withdrawals: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encryption: Option<Encryption>,
}

impl TryFrom<WrittenBody> for BodyFacts {
    type Error = &'static str;

    fn try_from(written: WrittenBody) -> Result<Self, Self::Error> {
        let WrittenBody { media_type, bytes, sha256, sm3, records, upserts, withdrawals, encryption } = written;
        let (algorithm, digest) = one_digest(sha256, sm3)?;
        Ok(Self { media_type, bytes, algorithm, digest, records, upserts, withdrawals, encryption })
    }
}

impl From<BodyFacts> for WrittenBody {
    fn from(facts: BodyFacts) -> Self {
        let BodyFacts { media_type, bytes, algorithm, digest, records, upserts, withdrawals, encryption } = facts;
        let [sha256, sm3] = named_digest(algorithm, digest);
        Self { media_type, bytes, sha256, sm3, records, upserts, withdrawals, encryption }
    }
}

/// Of digests under the names of their algorithms, the one that is there.
pub(super) fn one_digest(
    sha256: Option<HexDigest>,
    sm3: Option<HexDigest>,
) -> Result<(DigestAlgorithm, HexDigest), &'static str> {
    match (sha256, sm3) {
        (Some(digest), None) => Ok((DigestAlgorithm::Sha256, digest)),
        (None, Some(digest)) => Ok((DigestAlgorithm::Sm3, digest)),
        (None, None) | (Some(_), Some(_)) => Err("one digest is needed, as sha256 or as sm3"),
    }
}

/// A digest under the name of its algorithm: `[sha256, sm3]`.
pub(super) const fn named_digest(algorithm: DigestAlgorithm, digest: HexDigest) -> [Option<HexDigest>; 2] {
    match algorithm {
        DigestAlgorithm::Sha256 => [Some(digest), None],
        DigestAlgorithm::Sm3 => [None, Some(digest)],
    }
}

/// A stretch of the register's change log, `after` exclusive, `through` inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The last change before it.
    pub after: i64,
    /// The last change in it.
    pub through: i64,
}

/// The decision under which records were released: grant, purpose, legal basis, and what became of every field and row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Grant, named as its feed.
    pub grant: String,
    /// Digest of the grant's definition file.
    pub grant_digest: HexDigest,
    /// 使用目的.
    pub purpose: String,
    /// 法律依据; unconditional sharing needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// 文号 of the approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<String>,
    /// Fields released as they are.
    pub released: Vec<String>,
    /// Fields released masked, and how.
    pub masked: BTreeMap<String, String>,
    /// Fields of the register not released, and why.
    pub withheld: BTreeMap<String, String>,
    /// Numbers of persons found in free text, by field, and what became of them; fields without any are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub free_text: BTreeMap<String, FoundInText>,
    /// What became of the rows considered.
    pub rows: RowCounts,
}

/// Numbers of persons that the grant does not cover, found in the text of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundInText {
    /// `mask`, `withhold`, `flag`.
    pub policy: String,
    /// 公民身份号码.
    pub citizen_ids: u64,
    /// 手机号.
    pub mobiles: u64,
}

/// Why a correction or recall was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// 事由.
    pub reason: String,
    /// 文号 of whoever demands it.
    pub reference: String,
}

/// `considered = released + unaffected + the withheld ones`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Entities looked at.
    pub considered: u64,
    /// Records in the batch.
    pub released: u64,
    /// Entities that the subscriber already holds as they are.
    pub unaffected: u64,
    /// Entities not released, by rule.
    pub withheld: BTreeMap<String, u64>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`BatchError::Manifest`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, BatchError> {
        #[derive(Deserialize)]
        struct Format {
            format: String,
        }
        // serde's messages can quote values: positions only.
        let place = |error: serde_json::Error| BatchError::Manifest {
            what: format!("line {}, column {}", error.line(), error.column()),
        };
        let Format { format } = serde_json::from_slice(bytes).map_err(place)?;
        if format != FORMAT {
            return Err(BatchError::Manifest { what: format!("its format is not {FORMAT}") });
        }
        serde_json::from_slice(bytes).map_err(place)
    }

    /// The digest of a manifest's bytes, by the algorithm that the manifest itself names: what the next one's `previous` is.
    ///
    /// # Errors
    /// [`BatchError::Manifest`].
    pub fn digest_of(bytes: &[u8]) -> Result<Digest, BatchError> {
        Ok(Self::from_json(bytes)?.body.algorithm.digest(&[bytes]))
    }

    /// The bytes to be signed and sent.
    ///
    /// # Errors
    /// [`BatchError::Manifest`], which does not happen for values of these types.
    pub fn to_json(&self) -> Result<Vec<u8>, BatchError> {
        serde_json::to_vec(self).map_err(|_| BatchError::Manifest { what: "it cannot be written".into() })
    }
}

fn milliseconds<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_and_broken_json_are_refused_without_quoting() {
        for (bytes, what) in [
            (&b"{\"format\":\"huiliu.batch/2\"}"[..], "its format is not huiliu.batch/1"),
            (b"{\"format\":\"huiliu.batch/1\",\"feed\":[\"\xE5\xBC\xA0\"]}", "line 1, column 34"),
            (b"", "line 1, column 0"),
        ] {
            assert_eq!(Manifest::from_json(bytes).unwrap_err(), BatchError::Manifest { what: what.into() });
        }
    }
}

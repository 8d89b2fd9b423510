//! The proof of one record (单条凭证): the record and what leads from it to a signed manifest, in one file, without any
//! other record of the batch.
//!
//! Decides: the file's form and what must hold. Must not know: where batches lie. Guarantees: nothing of it can change
//! unnoticed, not one bit: the file is JSON in one form only, and everything in it is covered by the signature, but the
//! token of time, which came after it and proves itself to whoever believes its authority.
//!
//! `schema` is the Avro schema as the body carried it, `record` the record's Avro encoding without `_digest`, `position`
//! its place in the body from 0, `path` the siblings from the leaf upwards (RFC 6962 §2.1.1), `crls` revocation lists,
//! DER, `stamp` the time-stamp response (RFC 3161) over the signature's value, where there is one. Bytes are Base64. The
//! signature carries the signer's chain. A presentation (出示) has `presented` in place of `record`: some fields with what
//! opens them, of the others the commitments.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::presentation::{Bytes, Presented, Shown};
use super::{
    BatchError, FeedField, FeedSchema, FieldEvidence, HexDigest, Manifest, Opened, Record, RecordWriter, merkle,
    read_record_alone,
};
use crate::crypto::{Crl, Digest, Moment, SignedBy, Trust, verify_carrying};

/// The format this build writes and reads.
pub const PROOF_FORMAT: &str = "huiliu.proof/1";
/// The same, of some of its fields.
pub const PRESENTATION_FORMAT: &str = "huiliu.presentation/1";

/// A proof that one record is in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordProof {
    format: String,
    manifest: Bytes,
    signature: Bytes,
    schema: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    presented: Option<Presented>,
    position: usize,
    path: Vec<HexDigest>,
    crls: Vec<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stamp: Option<Bytes>,
}

/// A record for which everything holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenRecord {
    /// Who signed the batch, when, under which root.
    pub signed: SignedBy,
    /// What the manifest says.
    pub manifest: Manifest,
    /// The digest of its bytes.
    pub manifest_digest: Digest,
    /// The record.
    pub record: Record,
    /// What its values are called.
    pub fields: Vec<FeedField>,
    /// Fields that it only commits to, where evidence is by field.
    pub hidden: Vec<String>,
    /// Its place in the body, from 0.
    pub position: usize,
    /// Digests on its way to the root.
    pub steps: usize,
    /// When the newest revocation list that came along was made.
    pub revocation_as_of: Option<DateTime<Utc>>,
}

impl RecordProof {
    /// Of the last record about `entity` in an opened batch, whose manifest and signature these are; with revocation lists
    /// to be carried along, each in DER. With `only`, these fields and of the others nothing that could be guessed at.
    ///
    /// # Errors
    /// [`BatchError::NoRecord`], [`BatchError::Unprovable`], [`BatchError::Unpresentable`]; [`BatchError::RecordDigest`]
    /// when another program encoded the record in a form of its own.
    pub fn of(
        (manifest, signature): (&[u8], &[u8]),
        opened: &Opened,
        (entity, only): (i64, Option<&[String]>),
        crls: Vec<Vec<u8>>,
    ) -> Result<Self, BatchError> {
        if opened.manifest.schema.digest.is_none() {
            return Err(BatchError::Unprovable);
        }
        let algorithm = opened.manifest.body.algorithm;
        let position = opened.records.iter().rposition(|record| record.id == entity);
        let found = position.and_then(|position| Some((position, opened.records.get(position)?)));
        let (position, record) = found.ok_or(BatchError::NoRecord { entity })?;
        let encoded = RecordWriter::default().record(record, &opened.schema).to_vec();
        if read_record_alone(&encoded, &opened.schema)?.sealed != record.sealed {
            return Err(BatchError::RecordDigest { record: position + 1 });
        }
        let presented = only.map(|only| Presented::of(record, &opened.schema, only)).transpose()?;
        let digests: Vec<Digest> = opened.records.iter().map(|record| record.sealed).collect();
        let path = merkle::prove(algorithm, &digests, position).unwrap_or_default();
        Ok(Self {
            format: if presented.is_some() { PRESENTATION_FORMAT } else { PROOF_FORMAT }.into(),
            manifest: Bytes(manifest.to_vec()),
            signature: Bytes(signature.to_vec()),
            schema: opened.schema.json().to_owned(),
            record: presented.is_none().then_some(Bytes(encoded)),
            presented,
            position,
            path: path.into_iter().map(HexDigest).collect(),
            crls: crls.into_iter().map(Bytes).collect(),
            stamp: None,
        })
    }

    /// With the token of time (时间戳) of its batch, as it came, where there is one.
    #[must_use]
    pub fn with_stamp(self, stamp: Option<Vec<u8>>) -> Self {
        Self { stamp: stamp.map(Bytes), ..self }
    }

    /// The token of time that it carries.
    pub fn stamp(&self) -> Option<&[u8]> {
        self.stamp.as_ref().map(|Bytes(stamp)| stamp.as_slice())
    }

    /// Reads a proof; only what [`Self::to_json`] writes is one.
    ///
    /// # Errors
    /// [`BatchError::Proof`], with a position and no content.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BatchError> {
        let proof: Self = serde_json::from_slice(bytes)
            .map_err(|error| BatchError::Proof { what: format!("line {}, column {}", error.line(), error.column()) })?;
        match (proof.format.as_str(), &proof.record, &proof.presented) {
            (PROOF_FORMAT, Some(_), None) | (PRESENTATION_FORMAT, None, Some(_)) => {}
            _ => {
                let what = format!("its format is not {PROOF_FORMAT}, nor {PRESENTATION_FORMAT}");
                return Err(BatchError::Proof { what });
            }
        }
        if proof.to_json()? != bytes {
            return Err(BatchError::Proof { what: "it is written otherwise than it was made".into() });
        }
        Ok(proof)
    }

    /// The file.
    ///
    /// # Errors
    /// [`BatchError::Proof`], which does not happen for values of these types.
    pub fn to_json(&self) -> Result<Vec<u8>, BatchError> {
        let written = serde_json::to_vec(self).map_err(|_| BatchError::Proof { what: "it cannot be written".into() });
        written.map(|mut bytes| {
            bytes.push(b'\n');
            bytes
        })
    }

    /// The manifest's bytes and the signature over them.
    pub fn manifest(&self) -> (&[u8], &[u8]) {
        (&self.manifest.0, &self.signature.0)
    }

    /// Whether everything holds: revocation lists, certificates, signature, schema, record, path. Not the token of time: with
    /// one that holds, `moment` is [`Moment::Stamped`].
    ///
    /// # Errors
    /// [`BatchError::Crypto`], [`BatchError::Manifest`], [`BatchError::Unprovable`], [`BatchError::Schema`],
    /// [`BatchError::Body`], [`BatchError::NotInBatch`].
    pub fn verify(&self, trust: &Trust, moment: Moment) -> Result<ProvenRecord, BatchError> {
        let mut lists = Vec::with_capacity(self.crls.len());
        for Bytes(crl) in &self.crls {
            lists.push(Crl::from_der(crl)?);
        }
        let signed = verify_carrying(&self.signature.0, &self.manifest.0, trust, &lists, moment)?;
        let manifest = Manifest::from_json(&self.manifest.0)?;
        if manifest.schema.digest.is_none() {
            return Err(BatchError::Unprovable);
        }
        let algorithm = manifest.body.algorithm;
        let schema = FeedSchema::from_json(&self.schema, algorithm)?;
        if !manifest.schema.describe(&schema, algorithm) {
            return Err(BatchError::Schema);
        }
        let Shown { record, fields, hidden } = self.shown(&schema)?;
        let path: Vec<Digest> = self.path.iter().map(|digest| digest.0).collect();
        let place = (self.position, usize::try_from(manifest.body.records).unwrap_or(usize::MAX));
        if !merkle::verify_proof(algorithm, &record.sealed, place, &path, &manifest.records_root.0) {
            return Err(BatchError::NotInBatch);
        }
        Ok(ProvenRecord {
            signed,
            manifest_digest: algorithm.digest(&[&self.manifest.0]),
            manifest,
            record,
            fields,
            hidden,
            position: self.position,
            steps: path.len(),
            revocation_as_of: lists.iter().map(Crl::this_update).max(),
        })
    }

    /// What it shows of the record, under the schema of its batch.
    fn shown(&self, schema: &FeedSchema) -> Result<Shown, BatchError> {
        let nothing = || BatchError::Proof { what: "it shows no record".into() };
        let bytes = match (&self.presented, &self.record) {
            (Some(presented), _) => return presented.read(schema),
            (None, bytes) => bytes.as_ref().ok_or_else(nothing)?,
        };
        let record = read_record_alone(&bytes.0, schema)?;
        let evidence = record.evidence.iter().flat_map(|evidence| &evidence.fields);
        let closed = schema.committed().iter().zip(evidence);
        let closed = closed.filter(|(_, evidence)| matches!(evidence, FieldEvidence::Closed(_)));
        let hidden = closed.map(|(name, _)| name.clone()).collect();
        Ok(Shown { record, fields: schema.fields().to_vec(), hidden })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::batch::body::tests::body_of;
    use crate::batch::seal::tests::heading;
    use crate::batch::{Op, open, seal};
    use crate::crypto::Suite;
    use crate::crypto::tests::{CaAndSigner, noon};

    const NOW: fn() -> Moment = || Moment::Signing { now: noon() };

    /// Of the third record of a small batch.
    pub(crate) fn proof(ca: &CaAndSigner, crls: Vec<Vec<u8>>) -> RecordProof {
        let batch = seal(heading(1, None), body_of(ca.signer.suite().digest(), 4, 1), &ca.signer).unwrap();
        let opened = open(&batch.manifest, &batch.signature, &batch.body, &ca.trust, NOW()).unwrap();
        RecordProof::of((&batch.manifest, &batch.signature), &opened, (3, None), crls).unwrap()
    }

    #[test]
    fn every_record_of_a_batch_is_proven_alone_in_every_suite() {
        for suite in Suite::ALL {
            let ca = CaAndSigner::of(suite);
            let batch = seal(heading(1, None), body_of(suite.digest(), 6, 1), &ca.signer).unwrap();
            let opened = open(&batch.manifest, &batch.signature, &batch.body, &ca.trust, NOW()).unwrap();
            for (position, record) in opened.records.iter().enumerate() {
                let made =
                    RecordProof::of((&batch.manifest, &batch.signature), &opened, (record.id, None), vec![]).unwrap();
                let read = RecordProof::from_json(&made.to_json().unwrap()).unwrap();
                let proven = read.verify(&ca.trust, NOW()).unwrap();
                assert_eq!((&proven.record, proven.position), (record, position), "{suite:?}");
            }
            assert_eq!(opened.records.last().map(|record| record.op), Some(Op::Withdraw));
            let none = RecordProof::of((&batch.manifest, &batch.signature), &opened, (77, None), vec![]);
            assert_eq!(none.unwrap_err().code(), "HL0760");
        }
    }

    #[test]
    fn each_lie_of_a_proof_has_its_own_code() {
        let ca = CaAndSigner::new();
        let code = |lie: fn(&mut RecordProof)| {
            let mut proof = proof(&ca, vec![]);
            lie(&mut proof);
            proof.verify(&ca.trust, NOW()).map(|_| ()).map_err(|error| error.code())
        };
        assert_eq!(code(|_| {}), Ok(()));
        assert_eq!(code(|p| p.position = 1), Err("HL0763"), "another place");
        assert_eq!(code(|p| p.path.truncate(1)), Err("HL0763"));
        assert_eq!(code(|p| p.record.as_mut().unwrap().0[2] ^= 2), Err("HL0763"), "another version");
        assert_eq!(code(|p| p.record.as_mut().unwrap().0.push(0)), Err("HL0727"));
        assert_eq!(code(|p| p.schema = p.schema.replace("字段", "栏目")), Err("HL0728"), "another title");
        assert_eq!(code(|p| p.manifest.0[40] ^= 1), Err("HL0703"));
        assert_eq!(proof(&ca, vec![]).verify(&CaAndSigner::new().trust, NOW()).unwrap_err().code(), "HL0706");
    }

    #[test]
    fn no_bit_of_a_proof_can_change() {
        let ca = CaAndSigner::new();
        let list = crate::crypto::tests::revocation_list(&ca, noon() + TimeDelta::minutes(-5));
        let file = proof(&ca, vec![list]).to_json().unwrap();
        let proven = RecordProof::from_json(&file).unwrap().verify(&ca.trust, NOW()).unwrap();
        assert_eq!(proven.revocation_as_of, Some(noon() + TimeDelta::minutes(-5)));
        let whole = RecordProof::from_json(&file).unwrap();
        // Each bit: what still reads is another proof. What reads with a byte changed does not hold, by one bit of each byte:
        // all bits of a signature are tried in `crypto::verify`, and no digest fits by halves.
        let try_byte = |at: usize| {
            let changed = |bit: usize| {
                let mut bytes = file.clone();
                bytes[at] ^= 1 << bit;
                RecordProof::from_json(&bytes).ok()
            };
            let read: Vec<RecordProof> = (at..at + 8).filter_map(|turn| changed(turn % 8)).collect();
            assert!(!read.contains(&whole), "byte {at}");
            let held = read.first().is_some_and(|proof| proof.verify(&ca.trust, NOW()).is_ok());
            assert!(!held, "byte {at}");
            !read.is_empty()
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let verified: usize = std::thread::scope(|scope| {
            let mine = |first: usize| (first..file.len()).step_by(threads).filter(|at| try_byte(*at)).count();
            let parts: Vec<_> = (0..threads).map(|first| scope.spawn(move || mine(first))).collect();
            parts.into_iter().map(|part| part.join().unwrap()).sum()
        });
        assert!(verified > file.len() * 9 / 10, "nearly all of it is Base64, hexadecimal or text: {verified}");
    }
}

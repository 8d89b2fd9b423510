//! One record of a batch, proven without the others: from a batch's files, and from a proof that stands alone.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::ReceiveError;
use super::proof::{Judging, Timestamp};
use super::spool::{Envelope, read_body, read_envelope, read_stamp};
use crate::batch::{HexDigest, Manifest, ProvenRecord, Reader, RecordProof, container, open_manifest};
use crate::crypto::{SignedBy, lists_for};
use crate::outlet::BatchFiles;

/// No proof is longer.
const MOST_BYTES: u64 = 256 << 20;

/// What a proof of one record proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordProven {
    /// Who signed the batch, when, under which root.
    pub signed: SignedBy,
    /// Who signed the container, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<SignedBy>,
    /// The digest of the manifest.
    pub manifest_digest: HexDigest,
    /// What the manifest says.
    pub manifest: Manifest,
    /// The record, its values named.
    pub record: Map<String, Json>,
    /// Its digest: what leads to the root of the batch.
    pub digest: HexDigest,
    /// Its own root over all fields of the register, the same for everybody, where evidence is by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_root: Option<HexDigest>,
    /// Fields that it only commits to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
    /// Its place in the body, from 1.
    pub position: usize,
    /// Digests on its way to the root.
    pub steps: usize,
    /// Whether somebody else has proven the time of the batch.
    pub timestamp: Timestamp,
    /// When the newest revocation list that came along was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_as_of: Option<chrono::DateTime<chrono::Utc>>,
}

impl RecordProven {
    fn new(proven: ProvenRecord, container: Option<SignedBy>, timestamp: Timestamp) -> Self {
        Self {
            record: proven.record.named(&proven.fields),
            digest: HexDigest(proven.record.sealed),
            record_root: proven.record.root.map(HexDigest),
            hidden: proven.hidden,
            signed: proven.signed,
            container,
            manifest_digest: HexDigest(proven.manifest_digest),
            manifest: proven.manifest,
            position: proven.position + 1,
            steps: proven.steps,
            timestamp,
            revocation_as_of: proven.revocation_as_of,
        }
    }
}

/// Makes the proof of the last record about `entity` in the batch of this manifest file, or of some of its fields only,
/// after everything about the batch was checked; its token of time, and those of `crls` that say something about its
/// certificates, are carried along.
///
/// # Errors
/// [`ReceiveError::Usage`], [`ReceiveError::Incomplete`], [`ReceiveError::Batch`], [`ReceiveError::Stamp`].
pub fn record_proof(
    file: &Path,
    what: (i64, Option<&[String]>),
    (reader, judging): (&Reader, &Judging),
    crls: Vec<Vec<u8>>,
) -> Result<RecordProof, ReceiveError> {
    let name = file.display().to_string();
    let files = BatchFiles::beside(file).ok_or_else(|| ReceiveError::Usage {
        what: format!("{name} is not a manifest"),
        hint: "name the batch by its .manifest.json; .avro and .p7s lie beside it".into(),
    })?;
    let Envelope { manifest, signature } = read_envelope(&files, &name)?;
    let stamp = read_stamp(&files, &name)?;
    let (_, moment) = judging.of(stamp.as_deref(), &signature, &name)?;
    let made = || {
        let opened = open_manifest(&manifest, &signature, &reader.trust, moment)?;
        let crls = lists_for(&signature, &reader.trust, crls)?;
        let body = read_body(&files.body, opened.manifest.body.bytes, &name);
        let made = body.map(|body| {
            let opened = opened.open_body(&body, &reader.keys)?;
            Ok(RecordProof::of((&manifest, &signature), &opened, what, crls)?.with_stamp(stamp))
        });
        Ok(made)
    };
    let failed = |error| ReceiveError::Batch { batch: name.clone(), error };
    made().map_err(failed)??.map_err(failed)
}

/// What a proof in memory proves.
///
/// # Errors
/// [`ReceiveError::Batch`], [`ReceiveError::Stamp`].
pub fn proven_record(proof: &RecordProof, reader: &Reader, judging: &Judging) -> Result<RecordProven, ReceiveError> {
    proven(proof, None, (reader, judging), "the proof")
}

/// What the proof in this file proves: a file of our own form, or an ASiC-E container.
///
/// # Errors
/// [`ReceiveError::Incomplete`], [`ReceiveError::Batch`], [`ReceiveError::Stamp`].
pub fn verify_proof_file(file: &Path, reader: &Reader, judging: &Judging) -> Result<RecordProven, ReceiveError> {
    let name = file.display().to_string();
    let bytes = super::spool::read(file, MOST_BYTES, &name)?;
    let failed = |error| ReceiveError::Batch { batch: name.clone(), error };
    if container::is_container(&bytes) {
        // Whoever made the container signed later than the batch's token says: at their own time.
        let (signed, proof) = container::open(&bytes, &reader.trust, judging.moment).map_err(failed)?;
        return proven(&proof, Some(signed), (reader, judging), &name);
    }
    let proof = RecordProof::from_json(&bytes).map_err(failed)?;
    proven(&proof, None, (reader, judging), &name)
}

fn proven(
    proof: &RecordProof,
    container: Option<SignedBy>,
    (reader, judging): (&Reader, &Judging),
    name: &str,
) -> Result<RecordProven, ReceiveError> {
    let (timestamp, moment) = judging.of(proof.stamp(), proof.manifest().1, name)?;
    let failed = |error| ReceiveError::Batch { batch: name.to_owned(), error };
    Ok(RecordProven::new(proof.verify(&reader.trust, moment).map_err(failed)?, container, timestamp))
}

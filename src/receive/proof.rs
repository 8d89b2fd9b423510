//! What a batch proves, by itself and next to others: `huiliu verify`.
//!
//! Decides: how batches given together are linked. Must not know: cursors, targets. Guarantees: every file given gets an
//! answer; nothing is said to be proven that was not checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::ReceiveError;
use super::spool::{Envelope, read_body, read_envelope, read_stamp};
use crate::batch::{HexDigest, Manifest, Opened, OpenedManifest, Reader, batch_id, open_manifest};
use crate::crypto::{Moment, SignedBy, StampedBy, Trust, verify_kept_stamp};
use crate::error::Problem;
use crate::outlet::BatchFiles;

/// The answer for one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The manifest file as given.
    pub file: String,
    /// What is proven; `None` when something does not hold.
    pub proven: Option<Box<Proven>>,
    /// What does not hold.
    pub problem: Option<Problem>,
}

/// A batch for which everything holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proven {
    /// Who signed it, when, under which root.
    pub signed: SignedBy,
    /// The digest of the manifest.
    pub manifest_digest: HexDigest,
    /// What the manifest says; the body was checked against it, and records and root where they could be read.
    pub manifest: Manifest,
    /// Whether the records were looked at: not when they are encrypted and no key is given.
    pub read: bool,
    /// Whether somebody else has proven its time.
    pub timestamp: Timestamp,
    /// Its place in the chain.
    pub link: Link,
}

/// The token of time (时间戳) beside a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Timestamp {
    /// There is none: the time is the signer's word.
    None,
    /// There is one, and nobody is believed for it.
    NotChecked,
    /// The signature was there by then, and the signer's certificate was good then.
    Proven(StampedBy),
}

/// By what batches are judged, besides whom to believe and with which keys to read.
#[derive(Debug)]
pub struct Judging {
    /// At which moment certificates must be good; a token of time overrules the signer's word.
    pub moment: Moment,
    /// The present.
    pub now: DateTime<Utc>,
    /// Whose tokens of time are believed.
    pub timestamps: Option<Trust>,
}

/// How a batch is linked to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// It is the feed's first.
    First,
    /// The one before was given too, and this one names its digest.
    Follows,
    /// The one before was not given.
    NotGiven,
}

/// Checks each manifest file with the files beside it, and the chain among all that were given.
pub fn prove_all(files: &[PathBuf], reader: &Reader, judging: &Judging) -> Vec<Proof> {
    let opened: Vec<Result<Proven, ReceiveError>> = files.iter().map(|file| prove(file, reader, judging)).collect();
    let mut digests: BTreeMap<(String, u64), Vec<HexDigest>> = BTreeMap::new();
    for proven in opened.iter().flatten() {
        let key = (proven.manifest.feed.clone(), proven.manifest.seq);
        let given = digests.entry(key).or_default();
        if !given.contains(&proven.manifest_digest) {
            given.push(proven.manifest_digest);
        }
    }
    let linked = opened.into_iter().map(|proven| proven.and_then(|proven| link(proven, &digests)));
    files
        .iter()
        .zip(linked)
        .map(|(file, outcome)| {
            let file = file.display().to_string();
            match outcome {
                Ok(proven) => Proof { file, proven: Some(Box::new(proven)), problem: None },
                Err(error) => Proof { file, proven: None, problem: Some(Problem::from(&error)) },
            }
        })
        .collect()
}

impl Judging {
    /// At the moment given by the user, or each batch's own signing time.
    pub fn new(at: Option<DateTime<Utc>>, now: DateTime<Utc>, timestamps: Option<Trust>) -> Self {
        Self { moment: at.map_or(Moment::Signing { now }, Moment::At), now, timestamps }
    }

    /// What the token that came with a signature proves, and at which moment its signer is judged. `name`: of the batch.
    ///
    /// # Errors
    /// [`ReceiveError::Stamp`].
    pub fn of(&self, token: Option<&[u8]>, signature: &[u8], name: &str) -> Result<(Timestamp, Moment), ReceiveError> {
        let Some(token) = token else { return Ok((Timestamp::None, self.moment)) };
        let Some(trust) = &self.timestamps else { return Ok((Timestamp::NotChecked, self.moment)) };
        let by = verify_kept_stamp(token, signature, trust, self.now)
            .map_err(|error| ReceiveError::Stamp { batch: name.to_owned(), error })?;
        let moment = match self.moment {
            Moment::Signing { now } => Moment::Stamped { at: by.at, now },
            given => given,
        };
        Ok((Timestamp::Proven(by), moment))
    }
}

fn prove(file: &Path, reader: &Reader, judging: &Judging) -> Result<Proven, ReceiveError> {
    let name = file.display().to_string();
    let files = BatchFiles::beside(file).ok_or_else(|| ReceiveError::Usage {
        what: format!("{name} is not a manifest"),
        hint: "manifests end in .manifest.json; .avro and .p7s lie beside them".into(),
    })?;
    let failed = |error| ReceiveError::Batch { batch: name.clone(), error };
    let Envelope { manifest, signature } = read_envelope(&files, &name)?;
    let (timestamp, moment) = judging.of(read_stamp(&files, &name)?.as_deref(), &signature, &name)?;
    let opened = open_manifest(&manifest, &signature, &reader.trust, moment).map_err(failed)?;
    let body = read_body(&files.body, opened.manifest.body.bytes, &name)?;
    if opened.manifest.body.encryption.is_some() && reader.keys.is_empty() {
        opened.check_body(&body).map_err(failed)?;
        let OpenedManifest { manifest, digest, signed } = opened;
        let (manifest_digest, link) = (HexDigest(digest), Link::NotGiven);
        return Ok(Proven { signed, manifest_digest, manifest, read: false, timestamp, link });
    }
    let Opened { manifest, manifest_digest, signed, .. } = opened.open_body(&body, &reader.keys).map_err(failed)?;
    let manifest_digest = HexDigest(manifest_digest);
    Ok(Proven { signed, manifest_digest, manifest, read: true, timestamp, link: Link::NotGiven })
}

fn link(proven: Proven, given: &BTreeMap<(String, u64), Vec<HexDigest>>) -> Result<Proven, ReceiveError> {
    let Manifest { feed, seq, previous, .. } = &proven.manifest;
    let at = |seq: u64| given.get(&(feed.clone(), seq)).map(Vec::as_slice).unwrap_or_default();
    let fork = |what| Err(ReceiveError::Fork { batch: batch_id(feed, *seq), what });
    if at(*seq).len() > 1 {
        return fork("several batches with this number were given");
    }
    let link = match (previous, at(seq.saturating_sub(1))) {
        (None, _) if *seq == 1 => Link::First,
        (None, _) => return fork("it says it is the first"),
        (Some(_), []) => Link::NotGiven,
        (Some(previous), before) if before.contains(previous) => Link::Follows,
        (Some(_), _) => return fork("it follows another batch than the one given"),
    };
    Ok(Proven { link, ..proven })
}

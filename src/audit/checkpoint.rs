//! Checkpoints (检查点): a signed word on how the log stood, so that it cannot be made anew behind our back.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::crypto::{CryptoError, DigestAlgorithm, Moment, SignedBy, Signer, Trust, hex, verify_detached};

/// What every checkpoint calls itself.
const FORMAT: &str = "huiliu.audit-checkpoint/1";

/// How the log stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// `huiliu.audit-checkpoint/1`.
    pub format: String,
    /// Whose log.
    pub issuer: String,
    /// Entries from the beginning.
    pub entries: u64,
    /// Number of the last of them.
    pub last: i64,
    /// Its digest.
    pub digest: String,
    /// Digest of the checkpoint before this one; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous: Option<String>,
    /// RFC 3339, UTC.
    pub at: String,
}

/// The same as it is kept: exactly the bytes that were signed, and the signature over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// JSON, UTF-8.
    pub body: Vec<u8>,
    /// CMS, detached, with the signer's chain.
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// Of a log that has so many entries, the last with this number and digest.
    pub fn new(
        issuer: &str,
        (entries, last, digest): (u64, i64, &str),
        previous: Option<String>,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            issuer: issuer.to_owned(),
            entries,
            last,
            digest: digest.to_owned(),
            previous,
            at: at.to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }

    /// Signs it.
    ///
    /// # Errors
    /// As [`Signer::sign_detached`].
    pub fn sign(&self, signer: &Signer, at: DateTime<Utc>) -> Result<SignedCheckpoint, CryptoError> {
        let body = serde_json::to_vec(self).expect("a checkpoint is plain data");
        let signature = signer.sign_detached(&body, at)?;
        Ok(SignedCheckpoint { body, signature })
    }
}

impl SignedCheckpoint {
    /// What it says, whoever signed it; `None` when it does not read.
    pub fn read(&self) -> Option<Checkpoint> {
        serde_json::from_slice(&self.body).ok().filter(|checkpoint: &Checkpoint| checkpoint.format == FORMAT)
    }

    /// Who signed it.
    ///
    /// # Errors
    /// As [`verify_detached`].
    pub fn signed_by(&self, trust: &Trust, now: DateTime<Utc>) -> Result<SignedBy, CryptoError> {
        verify_detached(&self.signature, &self.body, trust, Moment::Signing { now })
    }

    /// What the next one names it by.
    pub fn digest(&self) -> String {
        hex(&DigestAlgorithm::Sha256.digest(&[&self.body]))
    }
}

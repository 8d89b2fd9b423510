//! The receipt (回执): what a subscriber answers after it has loaded a batch.
//!
//! Decides: its fields, and what contradicts a manifest. Must not know: how it travels, how it is signed. Guarantees:
//! unknown fields of later versions are tolerated, an unknown format is not; nothing is quoted from what does not read.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::manifest::{named_digest, one_digest};
use super::{BatchError, HexDigest, Manifest, batch_id};
use crate::crypto::DigestAlgorithm;

/// The format this build writes and reads.
pub const RECEIPT_FORMAT: &str = "huiliu.receipt/1";

/// What loading the batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It was loaded now.
    Applied,
    /// It had been loaded before and came again; nothing changed.
    AlreadyLoaded,
}

/// How many records were loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// All.
    pub records: u64,
    /// Of which upserts.
    pub upserts: u64,
    /// Of which withdrawals.
    pub withdrawals: u64,
}

/// A subscriber's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenReceipt", into = "WrittenReceipt")]
pub struct Receipt {
    /// [`RECEIPT_FORMAT`].
    pub format: String,
    /// Feed.
    pub feed: String,
    /// Number.
    pub seq: u64,
    /// How the two digests were made: as the manifest says.
    pub algorithm: DigestAlgorithm,
    /// Digest of the manifest as received.
    pub manifest_digest: HexDigest,
    /// Digest of the body as received.
    pub body_digest: HexDigest,
    /// What happened.
    pub effect: Effect,
    /// Records of the batch, as loaded.
    pub applied: Applied,
    /// Rows that the subscriber holds after it; `null` when its target cannot tell.
    pub held: Option<u64>,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether a signature comes with it.
    pub signed: bool,
}

/// A receipt as JSON says it: keys of digests name the algorithm.
#[derive(Serialize, Deserialize)]
struct WrittenReceipt {
    format: String,
    feed: String,
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest_sha256: Option<HexDigest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_sha256: Option<HexDigest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest_sm3: Option<HexDigest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_sm3: Option<HexDigest>,
    effect: Effect,
    applied: Applied,
    held: Option<u64>,
    at: DateTime<Utc>,
    signed: bool,
}

impl TryFrom<WrittenReceipt> for Receipt {
    type Error = &'static str;

    fn try_from(written: WrittenReceipt) -> Result<Self, Self::Error> {
        let (algorithm, manifest_digest) = one_digest(written.manifest_sha256, written.manifest_sm3)?;
        let (of_body, body_digest) = one_digest(written.body_sha256, written.body_sm3)?;
        if of_body != algorithm {
            return Err("manifest and body have digests of two kinds");
        }
        let WrittenReceipt { format, feed, seq, effect, applied, held, at, signed, .. } = written;
        Ok(Self { format, feed, seq, algorithm, manifest_digest, body_digest, effect, applied, held, at, signed })
    }
}

impl From<Receipt> for WrittenReceipt {
    fn from(receipt: Receipt) -> Self {
        let [manifest_sha256, manifest_sm3] = named_digest(receipt.algorithm, receipt.manifest_digest);
        let [body_sha256, body_sm3] = named_digest(receipt.algorithm, receipt.body_digest);
        let Receipt { format, feed, seq, effect, applied, held, at, signed, .. } = receipt;
        Self {
            format,
            feed,
            seq,
            manifest_sha256,
            body_sha256,
            manifest_sm3,
            body_sm3,
            effect,
            applied,
            held,
            at,
            signed,
        }
    }
}

impl Receipt {
    /// Of a batch with this manifest.
    pub fn new(manifest: &Manifest, digest: HexDigest, effect: Effect, at: DateTime<Utc>) -> Self {
        let body = &manifest.body;
        Self {
            format: RECEIPT_FORMAT.to_owned(),
            feed: manifest.feed.clone(),
            seq: manifest.seq,
            algorithm: body.algorithm,
            manifest_digest: digest,
            body_digest: body.digest,
            effect,
            applied: Applied { records: body.records, upserts: body.upserts, withdrawals: body.withdrawals },
            held: None,
            at,
            signed: false,
        }
    }

    /// `feed/seq`.
    pub fn id(&self) -> String {
        batch_id(&self.feed, self.seq)
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// [`BatchError::Manifest`], with a position and no content.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BatchError> {
        let receipt: Self = serde_json::from_slice(bytes).map_err(|error| BatchError::Manifest {
            what: format!("the receipt, line {}, column {}", error.line(), error.column()),
        })?;
        if receipt.format != RECEIPT_FORMAT {
            return Err(BatchError::Manifest { what: format!("the receipt's format is not {RECEIPT_FORMAT}") });
        }
        Ok(receipt)
    }

    /// The bytes to be signed and sent.
    ///
    /// # Errors
    /// [`BatchError::Manifest`], which does not happen for values of these types.
    pub fn to_json(&self) -> Result<Vec<u8>, BatchError> {
        serde_json::to_vec(self).map_err(|_| BatchError::Manifest { what: "the receipt cannot be written".into() })
    }

    /// What it says otherwise than the manifest that was sent, whose bytes have this digest; `None` when it fits.
    pub fn contradicts(&self, sent: &Manifest, digest: HexDigest) -> Option<&'static str> {
        let body = &sent.body;
        let told = Applied { records: body.records, upserts: body.upserts, withdrawals: body.withdrawals };
        if (self.algorithm, self.manifest_digest) != (body.algorithm, digest) {
            Some("its manifest is not the one that was sent")
        } else if self.body_digest != body.digest {
            Some("its body is not the one that was sent")
        } else if self.applied != told {
            Some("it counts other records than were sent")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::chain;
    use crate::crypto::tests::{CaAndSigner, noon};
    use crate::crypto::{Moment, verify_detached};

    #[test]
    fn a_receipt_fits_its_batch_and_each_lie_shows() {
        let batch = chain(&CaAndSigner::new(), 1).remove(0);
        let manifest = Manifest::from_json(&batch.manifest).unwrap();
        let digest = HexDigest(batch.manifest_digest);
        let honest = Receipt::new(&manifest, digest, Effect::Applied, noon());
        for algorithm in DigestAlgorithm::ALL {
            let written = Receipt { algorithm, ..honest.clone() }.to_json().unwrap();
            assert_eq!(Receipt::from_json(&written).unwrap().algorithm, algorithm);
            assert!(String::from_utf8(written).unwrap().contains(&format!("\"body_{}\"", algorithm.name())));
        }
        assert_eq!(Receipt::from_json(&honest.to_json().unwrap()).unwrap(), honest);
        assert_eq!(honest.contradicts(&manifest, digest), None);
        let lies: [fn(&mut Receipt); 3] = [
            |r| r.manifest_digest = HexDigest([0; 32]),
            |r| r.body_digest = HexDigest([0; 32]),
            |r| r.applied.withdrawals += 1,
        ];
        let told: Vec<_> = lies
            .into_iter()
            .map(|lie| {
                let mut receipt = honest.clone();
                lie(&mut receipt);
                receipt.contradicts(&manifest, digest).unwrap()
            })
            .collect();
        assert_eq!(told.len(), std::collections::BTreeSet::from_iter(&told).len());
    }

    #[test]
    fn no_bit_of_a_signed_receipt_or_of_its_signature_can_change() {
        let ca = CaAndSigner::new();
        let batch = chain(&ca, 1).remove(0);
        let manifest = Manifest::from_json(&batch.manifest).unwrap();
        let receipt = Receipt::new(&manifest, HexDigest(batch.manifest_digest), Effect::Applied, noon());
        let body = Receipt { signed: true, ..receipt }.to_json().unwrap();
        let signature = ca.signer.sign_detached(&body, noon()).unwrap();
        let holds = |body: &[u8], signature: &[u8]| {
            verify_detached(signature, body, &ca.trust, Moment::Signing { now: noon() }).is_ok()
        };
        assert!(holds(&body, &signature));
        for (at, bit) in (0..body.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut altered = body.clone();
            altered[at] ^= 1 << bit;
            assert!(!holds(&altered, &signature), "receipt, byte {at} bit {bit}");
        }
        for (at, bit) in (0..signature.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut altered = signature.clone();
            altered[at] ^= 1 << bit;
            assert!(!holds(&body, &altered), "signature, byte {at} bit {bit}");
        }
    }

    #[test]
    fn what_is_no_receipt_is_refused_without_quoting() {
        for bytes in [&b""[..], b"{\"format\":\"x\"}", b"{\"feed\":\"\xE5\xBC\xA0\"}"] {
            assert!(!Receipt::from_json(bytes).unwrap_err().to_string().contains('张'));
        }
    }
}

//! Opening: the checks that a batch must pass before anything of it is believed, in this order: signature and
//! certificate, manifest, body digest, records and their digests, schema, counts, Merkle root.
//!
//! Must not know: sequences and chains, which need the batch before (`receive`). Guarantees: nothing of an unsigned or
//! altered batch is parsed beyond the signature; each failure has its own code.

use super::decode::{Record, read_body};
use super::{BatchError, FeedSchema, Manifest, Op, merkle};
use crate::crypto::{Digest, Moment, SignedBy, Trust, verify_detached};

/// A manifest whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedManifest {
    /// What it says.
    pub manifest: Manifest,
    /// Digest of its bytes: what the next manifest's `previous` must be.
    pub digest: Digest,
    /// Who signed it.
    pub signed: SignedBy,
}

/// A batch for which everything holds.
#[derive(Debug, Clone)]
pub struct Opened {
    /// What it says.
    pub manifest: Manifest,
    /// Digest of the manifest's bytes.
    pub manifest_digest: Digest,
    /// Who signed it.
    pub signed: SignedBy,
    /// The records' schema.
    pub schema: FeedSchema,
    /// The records, in body order.
    pub records: Vec<Record>,
}

/// Checks signature, certificate and form of a manifest.
///
/// # Errors
/// [`BatchError::Crypto`], [`BatchError::Manifest`].
pub fn open_manifest(
    manifest: &[u8],
    signature: &[u8],
    trust: &Trust,
    moment: Moment,
) -> Result<OpenedManifest, BatchError> {
    let signed = verify_detached(signature, manifest, trust, moment)?;
    let parsed = Manifest::from_json(manifest)?;
    let (algorithm, _) = parsed.body.digest();
    Ok(OpenedManifest { digest: algorithm.digest(&[manifest]), manifest: parsed, signed })
}

impl OpenedManifest {
    /// Checks the body against the manifest and reads its records.
    ///
    /// # Errors
    /// [`BatchError::BodyDigest`], [`BatchError::Body`], [`BatchError::RecordDigest`], [`BatchError::Schema`],
    /// [`BatchError::Count`], [`BatchError::RecordsRoot`].
    pub fn open_body(self, body: &[u8]) -> Result<Opened, BatchError> {
        let facts = &self.manifest.body;
        let (algorithm, digest) = facts.digest();
        if u64::try_from(body.len()) != Ok(facts.bytes) {
            return Err(BatchError::BodyDigest { what: "its length differs" });
        }
        if algorithm.digest(&[body]) != digest {
            return Err(BatchError::BodyDigest { what: "its digest differs" });
        }
        if facts.media_type != "application/avro" {
            return Err(BatchError::Body { what: "its media type is not application/avro".into() });
        }
        let (schema, records) = read_body(body, algorithm)?;
        if schema.fingerprint() != self.manifest.schema.fingerprint.0 {
            return Err(BatchError::Schema);
        }
        let withdrawals = count(records.iter().filter(|record| record.op == Op::Withdraw).count());
        let found = count(records.len());
        for (what, said, found) in [
            ("records", facts.records, found),
            ("upserts", facts.upserts, found - withdrawals),
            ("withdrawals", facts.withdrawals, withdrawals),
        ] {
            if said != found {
                return Err(BatchError::Count { what, said, found });
            }
        }
        let digests: Vec<Digest> = records.iter().map(|record| record.digest).collect();
        if merkle::root(algorithm, &digests) != self.manifest.records_root.0 {
            return Err(BatchError::RecordsRoot);
        }
        Ok(Opened { manifest: self.manifest, manifest_digest: self.digest, signed: self.signed, schema, records })
    }
}

/// Checks a whole batch.
///
/// # Errors
/// Those of [`open_manifest`] and [`OpenedManifest::open_body`].
pub fn open(
    manifest: &[u8],
    signature: &[u8],
    body: &[u8],
    trust: &Trust,
    moment: Moment,
) -> Result<Opened, BatchError> {
    open_manifest(manifest, signature, trust, moment)?.open_body(body)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::batch::body::tests::body;
    use crate::batch::manifest::HexDigest;
    use crate::batch::seal::tests::{chain, heading};
    use crate::batch::{SealedBatch, seal};
    use crate::crypto::tests::{CaAndSigner, noon};

    fn opened(batch: &SealedBatch, trust: &Trust) -> Result<Opened, BatchError> {
        open(&batch.manifest, &batch.signature, &batch.body, trust, Moment::Signing { now: noon() })
    }

    #[test]
    fn opening_what_was_sealed_gives_it_back() {
        let ca = CaAndSigner::new();
        for batch in chain(&ca, 3) {
            let found = opened(&batch, &ca.trust).unwrap();
            assert_eq!((found.manifest.seq, found.manifest_digest), (batch.seq, batch.manifest_digest));
            assert_eq!(found.manifest.to_json().unwrap(), batch.manifest);
            assert_eq!(found.records.len(), 5);
            assert_eq!(found.signed.signed_at, noon());
        }
    }

    /// A batch whose manifest lies about its body in one way, properly signed.
    fn lying(ca: &CaAndSigner, lie: impl FnOnce(&mut Manifest)) -> SealedBatch {
        let mut batch = seal(heading(1, None), body(4, 1), &ca.signer).unwrap();
        let mut manifest = Manifest::from_json(&batch.manifest).unwrap();
        lie(&mut manifest);
        batch.manifest = manifest.to_json().unwrap();
        batch.signature = ca.signer.sign_detached(&batch.manifest, noon()).unwrap();
        batch
    }

    #[test]
    fn each_lie_of_a_signed_manifest_has_its_own_code() {
        let ca = CaAndSigner::new();
        let code = |lie: fn(&mut Manifest)| opened(&lying(&ca, lie), &ca.trust).map(|_| ()).map_err(|e| e.code());
        assert_eq!(code(|_| {}), Ok(()));
        assert_eq!(code(|m| m.format = "other/1".into()), Err("HL0722"));
        assert_eq!(code(|m| m.body.bytes += 1), Err("HL0723"));
        assert_eq!(code(|m| m.body.sha256 = HexDigest([0; 32])), Err("HL0723"));
        assert_eq!(code(|m| m.body.records += 1), Err("HL0724"));
        assert_eq!(code(|m| m.body.withdrawals += 1), Err("HL0724"));
        assert_eq!(code(|m| m.records_root = HexDigest([0; 32])), Err("HL0726"));
        assert_eq!(code(|m| m.body.media_type = "text/csv".into()), Err("HL0727"));
        assert_eq!(code(|m| m.schema.fingerprint = HexDigest([0; 32])), Err("HL0728"));
    }

    static SEALED: LazyLock<(CaAndSigner, SealedBatch)> = LazyLock::new(|| {
        let ca = CaAndSigner::new();
        let batch = chain(&ca, 1).remove(0);
        (ca, batch)
    });

    proptest! {
        #[test]
        fn any_altered_byte_of_any_part_is_refused(part in 0..3, at in any::<prop::sample::Index>(), mask in 1_u8..) {
            let (ca, sealed) = &*SEALED;
            let mut batch = sealed.clone();
            let bytes = match part {
                0 => &mut batch.manifest,
                1 => &mut batch.signature,
                _ => &mut batch.body,
            };
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
            prop_assert!(opened(&batch, &ca.trust).is_err());
        }
    }
}

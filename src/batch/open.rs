//! Opening: the checks that a batch must pass before anything of it is believed, in this order: signature and
//! certificate, manifest, body digest, decryption if need be, records and their digests, schema, counts, Merkle root.
//!
//! Must not know: sequences and chains, which need the batch before (`receive`). Guarantees: nothing of an unsigned or
//! altered batch is parsed beyond the signature; each failure has its own code.

use std::borrow::Cow;

use super::decode::{Record, read_body};
use super::manifest::{AVRO, CMS, Encryption};
use super::{BatchError, FeedSchema, Manifest, Op, merkle};
use crate::crypto::{CryptoError, Digest, Moment, Opener, SignedBy, Trust, verify_detached};

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
    Ok(OpenedManifest { digest: parsed.body.algorithm.digest(&[manifest]), manifest: parsed, signed })
}

impl OpenedManifest {
    /// Whether these are the body's bytes, encrypted or not.
    ///
    /// # Errors
    /// [`BatchError::BodyDigest`].
    pub fn check_body(&self, body: &[u8]) -> Result<(), BatchError> {
        let facts = &self.manifest.body;
        if u64::try_from(body.len()) != Ok(facts.bytes) {
            return Err(BatchError::BodyDigest { what: "its length differs" });
        }
        if facts.algorithm.digest(&[body]) != facts.digest.0 {
            return Err(BatchError::BodyDigest { what: "its digest differs" });
        }
        Ok(())
    }

    /// The Avro inside a checked body, by the one of `keys` to which it is encrypted, if it is.
    fn avro<'b>(&self, body: &'b [u8], keys: &[Opener]) -> Result<Cow<'b, [u8]>, BatchError> {
        let facts = &self.manifest.body;
        match (facts.media_type.as_str(), &facts.encryption) {
            (AVRO, None) => Ok(Cow::Borrowed(body)),
            (CMS, Some(Encryption { to, issuer, serial, .. })) => {
                let fits =
                    |key: &&Opener| key.certificate().serial() == *serial && key.certificate().issuer() == *issuer;
                let key = keys.iter().find(fits).ok_or_else(|| CryptoError::Sealed {
                    what: format!("it is encrypted to {to}, certificate {serial}, whose key is not given"),
                })?;
                Ok(Cow::Owned(key.decrypt(body)?))
            }
            _ => Err(BatchError::Body { what: format!("its media type is not {AVRO}, nor {CMS} with encryption") }),
        }
    }

    /// Checks the body against the manifest, decrypts it if need be, and reads its records.
    ///
    /// # Errors
    /// [`BatchError::BodyDigest`], [`BatchError::Crypto`] when none of `keys` opens it, [`BatchError::Body`],
    /// [`BatchError::RecordDigest`], [`BatchError::Commitments`], [`BatchError::Schema`], [`BatchError::Count`],
    /// [`BatchError::RecordsRoot`].
    pub fn open_body(self, body: &[u8], keys: &[Opener]) -> Result<Opened, BatchError> {
        self.check_body(body)?;
        let avro = self.avro(body, keys)?;
        let facts = &self.manifest.body;
        let algorithm = facts.algorithm;
        let (schema, records) = read_body(&avro, algorithm)?;
        if !self.manifest.schema.describe(&schema, algorithm) {
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
        let digests: Vec<Digest> = records.iter().map(|record| record.sealed).collect();
        if merkle::root(algorithm, &digests) != self.manifest.records_root.0 {
            return Err(BatchError::RecordsRoot);
        }
        Ok(Opened { manifest: self.manifest, manifest_digest: self.digest, signed: self.signed, schema, records })
    }
}

/// What a reader of batches brings along: whom it believes, and its own keys for what is encrypted to it.
#[derive(Debug)]
pub struct Reader {
    /// Whom it believes.
    pub trust: Trust,
    /// Keys of the present certificate and of earlier ones.
    pub keys: Vec<Opener>,
}

impl From<Trust> for Reader {
    /// Without keys.
    fn from(trust: Trust) -> Self {
        Self { trust, keys: Vec::new() }
    }
}

/// Checks a whole batch that everybody can read.
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
    open_manifest(manifest, signature, trust, moment)?.open_body(body, &[])
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::batch::body::tests::{body, body_of};
    use crate::batch::manifest::HexDigest;
    use crate::batch::seal::tests::{chain, heading};
    use crate::batch::{SealedBatch, seal};
    use crate::crypto::tests::{CaAndSigner, encryption, noon};
    use crate::crypto::{DigestAlgorithm, Suite};

    fn opened(batch: &SealedBatch, trust: &Trust) -> Result<Opened, BatchError> {
        open(&batch.manifest, &batch.signature, &batch.body, trust, Moment::Signing { now: noon() })
    }

    #[test]
    fn opening_what_was_sealed_gives_it_back() {
        for suite in Suite::ALL {
            let ca = CaAndSigner::of(suite);
            for batch in chain(&ca, 3) {
                let found = opened(&batch, &ca.trust).unwrap();
                assert_eq!((found.manifest.seq, found.manifest_digest), (batch.seq, batch.manifest_digest));
                assert_eq!(Manifest::digest_of(&batch.manifest), Ok(batch.manifest_digest));
                assert_eq!(found.manifest.to_json().unwrap(), batch.manifest);
                assert_eq!((found.manifest.body.algorithm, found.signed.suite), (suite.digest(), suite.name()));
                assert_eq!(found.records.len(), 5);
                assert_eq!(found.signed.signed_at, noon());
            }
        }
    }

    #[test]
    fn a_feed_goes_on_under_the_key_of_another_suite() {
        let (before, after) = (CaAndSigner::new(), CaAndSigner::of(Suite::Sm2Sm3));
        let first = chain(&before, 1).remove(0);
        let body = body_of(after.signer.suite().digest(), 4, 2);
        let second = seal(heading(2, Some(first.manifest_digest)), body, &after.signer).unwrap();
        let opened = opened(&second, &after.trust).unwrap();
        let previous = opened.manifest.previous.map(|digest| digest.0);
        assert_eq!(previous, Some(Manifest::digest_of(&first.manifest).unwrap()));
    }

    #[test]
    fn an_encrypted_body_opens_for_its_owner_and_its_manifest_for_everybody() {
        for suite in Suite::ALL {
            let (ca, recipient, key, other) = encryption(suite);
            let body = body_of(suite.digest(), 4, 1).encrypted_to(&recipient).unwrap();
            let batch = seal(heading(1, None), body, &ca.signer).unwrap();
            let manifest = || {
                let moment = Moment::Signing { now: noon() };
                open_manifest(&batch.manifest, &batch.signature, &ca.trust, moment).unwrap()
            };
            let facts = manifest().manifest.body;
            assert_eq!((facts.media_type.as_str(), facts.records), (CMS, 5));
            let algorithm = facts.encryption.map(|encryption| encryption.algorithm);
            assert_eq!(algorithm.as_deref(), Some(if suite.is_national() { "sm4-cbc" } else { "aes-256-gcm" }));
            manifest().check_body(&batch.body).unwrap();
            let code = |keys: &[Opener]| {
                manifest().open_body(&batch.body, keys).map(|opened| opened.records.len()).map_err(|e| e.code())
            };
            assert_eq!(code(std::slice::from_ref(&key)), Ok(5), "{suite:?}");
            assert_eq!(code(&[]), Err("HL0718"));
            assert_eq!(code(&[other]), Err("HL0718"));
            for at in 0..batch.body.len() {
                let mut altered = batch.body.clone();
                altered[at] ^= 1;
                assert_eq!(manifest().check_body(&altered).unwrap_err().code(), "HL0723");
            }
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
        assert_eq!(code(|m| m.body.digest = HexDigest([0; 32])), Err("HL0723"));
        assert_eq!(code(|m| m.body.algorithm = DigestAlgorithm::Sm3), Err("HL0723"));
        assert_eq!(code(|m| m.body.records += 1), Err("HL0724"));
        assert_eq!(code(|m| m.body.withdrawals += 1), Err("HL0724"));
        assert_eq!(code(|m| m.records_root = HexDigest([0; 32])), Err("HL0726"));
        assert_eq!(code(|m| m.body.media_type = "text/csv".into()), Err("HL0727"));
        assert_eq!(code(|m| m.schema.fingerprint = HexDigest([0; 32])), Err("HL0728"));
        assert_eq!(code(|m| m.schema.digest = Some(HexDigest([0; 32]))), Err("HL0728"));
        assert_eq!(code(|m| m.schema.digest = None), Ok(()), "of an earlier version");
    }

    static SEALED: LazyLock<(CaAndSigner, SealedBatch)> = LazyLock::new(|| {
        let ca = CaAndSigner::new();
        let batch = chain(&ca, 1).remove(0);
        (ca, batch)
    });

    /// The same bytes with one bit the other way, for every bit.
    fn flips(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
        (0..bytes.len() * 8).map(|bit| {
            let mut altered = bytes.to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            (format!("byte {} bit {}", bit / 8, bit % 8), altered)
        })
    }

    #[test]
    fn no_bit_of_any_part_of_a_small_batch_can_change() {
        let (ca, sealed) = &*SEALED;
        let moment = Moment::Signing { now: noon() };
        for (place, manifest) in flips(&sealed.manifest) {
            assert!(open_manifest(&manifest, &sealed.signature, &ca.trust, moment).is_err(), "manifest, {place}");
        }
        for (place, signature) in flips(&sealed.signature) {
            assert!(open_manifest(&sealed.manifest, &signature, &ca.trust, moment).is_err(), "signature, {place}");
        }
        let opened = open_manifest(&sealed.manifest, &sealed.signature, &ca.trust, moment).unwrap();
        for (place, body) in flips(&sealed.body) {
            assert!(opened.clone().open_body(&body, &[]).is_err(), "body, {place}");
        }
    }

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

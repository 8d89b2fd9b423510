//! Verifying a detached signature: the bytes are those that were signed, by a certificate we trust, at a credible time.
//!
//! Decides: the order of checks and what each failure is called. Must not know: what the content means. Guarantees:
//! nothing about the signer is reported unless everything held.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::certificate::Certificate;
use super::cms::{SignedData, SignerInfo};
use super::{Crl, CryptoError, Digest, DigestAlgorithm, Purpose, Suite, Trust, When, ess};

/// At which moment certificates must be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When it was signed, by its own word, which must not lie in the future of `now`. This is what evidence needs:
    /// a batch signed by a certificate in force stays good after the certificate's end.
    Signing {
        /// The present, against which the signing time is checked.
        now: DateTime<Utc>,
    },
    /// At this moment, whatever the signature says.
    At(DateTime<Utc>),
    /// At a moment by which somebody else has proven that the signature was there (时间戳): a certificate that was good
    /// then stays good, whatever became of it or its key afterwards. The signing time must not lie after it.
    Stamped {
        /// The proven moment.
        at: DateTime<Utc>,
        /// The present.
        now: DateTime<Utc>,
    },
}

/// Clocks of sender and receiver may differ by this much.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// A signature that holds: who, when, under which root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignedBy {
    /// The signer's name.
    pub subject: String,
    /// Who issued the signer's certificate.
    pub issuer: String,
    /// The certificate's serial number, hexadecimal.
    pub serial: String,
    /// The trusted root it leads to.
    pub root: String,
    /// When, by the signer's word.
    pub signed_at: DateTime<Utc>,
    /// The suite.
    pub suite: &'static str,
    /// What could not be checked and is accepted all the same, by the installation's rules: code and sentence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Checks that `signature` (CMS, DER, detached) is by one trusted signer over exactly `content`.
///
/// Signed attributes are required: without them an attribute set could be passed off as content (RFC 5652 §11).
///
/// # Errors
/// Each reason its own: see [`CryptoError`].
pub fn verify_detached(
    signature: &[u8],
    content: &[u8],
    trust: &Trust,
    moment: Moment,
) -> Result<SignedBy, CryptoError> {
    verify_carrying(signature, content, trust, &[], moment)
}

/// The same for a signature that carries revocation lists along, as evidence does that must still be verified when its
/// authority is gone. Each must be by an authority of the signature's certificates. They count where the verifier brings
/// none: as of the moment when the newest was made, or the signing time if that is later.
///
/// # Errors
/// As [`verify_detached`]; [`CryptoError::BadCrl`].
pub fn verify_carrying(
    signature: &[u8],
    content: &[u8],
    trust: &Trust,
    carried: &[Crl],
    moment: Moment,
) -> Result<SignedBy, CryptoError> {
    let data = SignedData::parse(signature)?;
    let signer = only_signer(&data)?;
    let (leaf, others) = brought(&data, signer)?;
    let (suite, signed_at) = check_signature(&data, signer, &leaf, |algorithm, _| Ok(algorithm.digest(&[content])))?;
    carried.iter().try_for_each(|list| trust.check_list(list, &others))?;
    let alone = !carried.is_empty() && trust.crls().is_empty();
    let carrying = alone.then(|| trust.clone().with_crls(carried.to_vec()));
    let trust = carrying.as_ref().unwrap_or(trust);
    let made = carried.iter().map(Crl::this_update).max().filter(|_| alone);
    let as_of = |at: DateTime<Utc>, now: DateTime<Utc>| made.map_or(now, |made| made.max(at));
    let when = match moment {
        Moment::At(at) => When::then(at),
        Moment::Signing { now } => {
            for at in [signed_at].into_iter().chain(made) {
                not_from_the_future(at, now)?;
            }
            When::said(signed_at, as_of(signed_at, now))
        }
        Moment::Stamped { at, now } => {
            not_from_the_future(signed_at, at)?;
            made.map_or(Ok(()), |made| not_from_the_future(made, now))?;
            When { at, now: as_of(at, now), proven: true }
        }
    };
    let believed = trust.check(&leaf, &others, Purpose::SignData, when)?;
    Ok(SignedBy {
        subject: leaf.subject(),
        issuer: leaf.issuer(),
        serial: leaf.serial(),
        root: believed.root.subject(),
        signed_at,
        suite: suite.name(),
        warnings: believed.told(),
    })
}

/// The same for a CAdES signature (ETSI EN 319 122-1): its signed attributes must name the very certificate that it is
/// believed by (RFC 5035).
///
/// # Errors
/// As [`verify_detached`]; [`CryptoError::SignerNotNamed`].
pub fn verify_cades(signature: &[u8], content: &[u8], trust: &Trust, moment: Moment) -> Result<SignedBy, CryptoError> {
    let signed = verify_detached(signature, content, trust, moment)?;
    let data = SignedData::parse(signature)?;
    let signer = only_signer(&data)?;
    let (leaf, _) = brought(&data, signer)?;
    let attributes = signer.attributes.as_ref();
    ess::names(attributes.ok_or(CryptoError::MalformedSignature { what: "it has no signed attributes" })?, &leaf)?;
    Ok(signed)
}

/// Of these revocation lists, each in DER, those that say something about a signature's certificates: what it should carry.
///
/// # Errors
/// [`CryptoError::MalformedSignature`], [`CryptoError::BadCertificate`], [`CryptoError::BadCrl`].
pub fn lists_for(signature: &[u8], trust: &Trust, lists: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, CryptoError> {
    let data = SignedData::parse(signature)?;
    let brought = data.certificates.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>()?;
    let mut kept = Vec::new();
    for der in lists {
        if trust.authorities(&Crl::from_der(&der)?, &brought).next().is_some() {
            kept.push(der);
        }
    }
    Ok(kept)
}

/// The one signer.
pub(super) fn one_signer<'d, 'b>(data: &'d SignedData<'b>) -> Result<&'d SignerInfo<'b>, CryptoError> {
    match data.signers.as_slice() {
        [signer] => Ok(signer),
        _ => Err(CryptoError::MalformedSignature { what: "there is not exactly one signer" }),
    }
}

/// The one signer of a detached signature.
pub(super) fn only_signer<'d, 'b>(data: &'d SignedData<'b>) -> Result<&'d SignerInfo<'b>, CryptoError> {
    let signer = one_signer(data)?;
    if data.content.is_some() {
        return Err(CryptoError::MalformedSignature { what: "it is not detached" });
    }
    Ok(signer)
}

/// The signer's certificate and the others that a signature brings along.
pub(super) fn brought(
    data: &SignedData<'_>,
    signer: &SignerInfo<'_>,
) -> Result<(Certificate, Vec<Certificate>), CryptoError> {
    let mut leaf = None;
    let mut others = Vec::new();
    for der in &data.certificates {
        let certificate = Certificate::from_der(der)?;
        if leaf.is_none() && signer.id.names(&certificate) {
            leaf = Some(certificate);
        } else {
            others.push(certificate);
        }
    }
    let leaf = leaf.ok_or(CryptoError::MalformedSignature { what: "the signer's certificate is not in it" })?;
    Ok((leaf, others))
}

/// Signature → attributes → digest of the content, over the bytes as received. Gives the suite and the signing time.
/// `digest` is asked last, with the signing time: it may read a long file.
pub(super) fn check_signature(
    data: &SignedData<'_>,
    signer: &SignerInfo<'_>,
    leaf: &Certificate,
    digest: impl FnOnce(DigestAlgorithm, DateTime<Utc>) -> Result<Digest, CryptoError>,
) -> Result<(Suite, DateTime<Utc>), CryptoError> {
    let signed_at = signer.attributes.as_ref().and_then(|attributes| attributes.signing_time);
    let signed_at = signed_at.ok_or(CryptoError::MalformedSignature { what: "it has no signing time" });
    let suite = check_attributes(data, signer, leaf, |algorithm| digest(algorithm, signed_at.clone()?))?;
    Ok((suite, signed_at?))
}

/// Signature → attributes → digest of the content, as [`check_signature`], of a signer who need not say when.
pub(super) fn check_attributes(
    data: &SignedData<'_>,
    signer: &SignerInfo<'_>,
    leaf: &Certificate,
    digest: impl FnOnce(DigestAlgorithm) -> Result<Digest, CryptoError>,
) -> Result<Suite, CryptoError> {
    let suite = Suite::of_signer(signer.digest_algorithm, signer.signature_algorithm)?;
    let attributes =
        signer.attributes.as_ref().ok_or(CryptoError::MalformedSignature { what: "it has no signed attributes" })?;
    if !leaf.verify(suite, &attributes.signed_bytes(), signer.signature) {
        return Err(CryptoError::Tampered { what: "the signature is not by the certificate's key" });
    }
    if attributes.content_type != data.content_type {
        return Err(CryptoError::Tampered { what: "the content type is not the one signed" });
    }
    if attributes.message_digest != digest(suite.digest())? {
        return Err(CryptoError::Tampered { what: "the content is not the one signed" });
    }
    Ok(suite)
}

/// A signing time must not lie in the future, within what clocks differ.
pub(super) fn not_from_the_future(signed_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), CryptoError> {
    if signed_at.signed_duration_since(now) > CLOCK_SKEW {
        return Err(CryptoError::FromTheFuture { signed_at });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::issue::tests::{authority, authority_of, leaf, noon, pem};
    use crate::crypto::{PrivateKey, cms, issue};
    use proptest::prelude::*;

    const SIGNING: Moment = Moment::Signing { now: DateTime::<Utc>::MAX_UTC };

    fn signed() -> (Trust, Vec<u8>) {
        signed_by(Suite::EcdsaP256Sha256)
    }

    fn signed_by(suite: Suite) -> (Trust, Vec<u8>) {
        let (root, key) = authority_of(suite, "root");
        let signature = leaf(&key, &root, |_| {}).signer.sign_detached(b"manifest", noon()).unwrap();
        (Trust::from_pem(pem(&root).as_bytes()).unwrap(), signature)
    }

    #[test]
    fn a_signature_says_who_and_when() {
        let (trust, signature) = signed();
        let by = verify_detached(&signature, b"manifest", &trust, Moment::Signing { now: noon() }).unwrap();
        assert_eq!((by.subject.as_str(), by.root.as_str(), by.signed_at), ("CN=signer", "CN=root", noon()));
    }

    #[test]
    fn a_proven_time_decides_about_the_certificate() {
        let (trust, signature) = signed();
        let code = |at: DateTime<Utc>| {
            let moment = Moment::Stamped { at, now: noon() + TimeDelta::days(400) };
            verify_detached(&signature, b"manifest", &trust, moment).map(|by| by.signed_at).map_err(|e| e.code())
        };
        assert_eq!(code(noon()), Ok(noon()), "long past the certificate's end");
        assert_eq!(code(noon() + TimeDelta::days(31)), Err("HL0704"), "it had ended when the token came");
        assert_eq!(code(noon() - TimeDelta::minutes(6)), Err("HL0709"), "it says it was signed after the token");
        assert_eq!(code(noon() - TimeDelta::minutes(4)), Ok(noon()), "within what clocks differ");
    }

    #[test]
    fn signing_again_gives_the_same_bytes_in_every_suite() {
        for suite in Suite::ALL {
            let (root, key) = authority_of(suite, "root");
            let signer = leaf(&key, &root, |_| {}).signer;
            let signature = signer.sign_detached(b"m", noon()).unwrap();
            assert_eq!(signer.sign_detached(b"m", noon()).unwrap(), signature);
            let trust = Trust::from_pem(pem(&root).as_bytes()).unwrap();
            assert_eq!(verify_detached(&signature, b"m", &trust, SIGNING).unwrap().suite, suite.name());
        }
    }

    #[test]
    fn other_content_another_moment_and_the_future_are_refused() {
        let (trust, signature) = signed();
        let code = |content: &[u8], moment| {
            verify_detached(&signature, content, &trust, moment).map(|_| ()).map_err(|e| e.code())
        };
        assert_eq!(code(b"manifesT", SIGNING), Err("HL0703"));
        assert_eq!(code(b"manifest", Moment::At(noon() + TimeDelta::days(31))), Err("HL0704"));
        assert_eq!(code(b"manifest", Moment::At(noon() - TimeDelta::days(31))), Err("HL0705"));
        assert_eq!(code(b"manifest", Moment::Signing { now: noon() - TimeDelta::hours(1) }), Err("HL0709"));
        // Clocks may differ by five minutes, and not by a second more.
        let behind = |seconds| Moment::Signing { now: noon() - TimeDelta::seconds(seconds) };
        assert!(code(b"manifest", behind(300)).is_ok());
        assert_eq!(code(b"manifest", behind(301)), Err("HL0709"));
        assert_eq!(code(b"manifest", Moment::Signing { now: noon() - TimeDelta::minutes(1) }), Ok(()));
        assert_eq!(code(b"manifest", Moment::Signing { now: noon() + TimeDelta::days(9999) }), Ok(()));
    }

    #[test]
    fn an_expired_or_wrong_certificate_does_not_sign() {
        let (root, key) = authority("root");
        let good = leaf(&key, &root, |_| {}).signer;
        assert_eq!(good.sign_detached(b"m", noon() + TimeDelta::days(31)).unwrap_err().code(), "HL0704");
        assert_eq!(good.sign_detached(b"m", noon() - TimeDelta::days(31)).unwrap_err().code(), "HL0705");
        let wrong = leaf(&key, &root, |r| r.key_usage = issue::ISSUES).signer;
        assert_eq!(wrong.sign_detached(b"m", noon()).unwrap_err().code(), "HL0707");
    }

    #[test]
    fn a_signature_as_raw_r_and_s_is_accepted() {
        for suite in [Suite::EcdsaP256Sha256, Suite::Sm2Sm3] {
            let (root, key) = authority_of(suite, "root");
            let own = PrivateKey::generate(suite).unwrap();
            let request = issue::Request {
                subject: issue::common_name("raw"),
                not_before: noon(),
                not_after: noon(),
                authority: false,
                key_usage: issue::SIGNS_DATA,
                purposes: Vec::new(),
            };
            let issuer = issue::Issuer { certificate: Some(&root), key: &key };
            let certificate = issue::issue(&request, &own, issuer).unwrap();
            let attributes = cms::attributes_to_sign(&suite.digest().digest(&[b"m"]), noon());
            let der = own.sign(&attributes).unwrap();
            let raw = match suite {
                Suite::Sm2Sm3 => ::sm2::dsa::Signature::from_der(&der).unwrap().to_bytes().to_vec(),
                _ => p256::ecdsa::Signature::from_der(&der).unwrap().to_bytes().to_vec(),
            };
            let signature = cms::write(suite, &[certificate], &attributes, &raw).unwrap();
            let trust = Trust::from_pem(pem(&root).as_bytes()).unwrap();
            assert!(verify_detached(&signature, b"m", &trust, SIGNING).is_ok(), "{suite:?}");
        }
    }

    #[test]
    fn lists_that_came_along_count_where_the_verifier_brings_none() {
        let ((root, key), (other, other_key)) = (authority("root"), authority("other"));
        let own = leaf(&key, &root, |_| {});
        let signature = own.signer.sign_detached(b"m", noon()).unwrap();
        let trust = Trust::from_pem(pem(&root).as_bytes()).unwrap();
        let list = |hours: i64, revoked: bool| {
            let times = (noon() + TimeDelta::hours(hours), noon() + TimeDelta::hours(hours + 1));
            let entry = (&own.certificate, noon() - TimeDelta::minutes(1), None);
            let revoked: Vec<_> = revoked.then_some(entry).into_iter().collect();
            Crl::from_der(&issue::revocation_list(&root, &key, times, &revoked).unwrap()).unwrap()
        };
        let years = noon() + TimeDelta::days(3650);
        let code = |lists: &[Crl], now| {
            let found = verify_carrying(&signature, b"m", &trust, lists, Moment::Signing { now });
            found.map(|_| ()).map_err(|error| error.code())
        };
        assert_eq!(code(&[], years), Ok(()));
        assert_eq!(code(&[list(2, false)], years), Ok(()), "years later, as of when it was made");
        assert_eq!(code(&[list(0, false)], years), Ok(()));
        assert_eq!(code(&[list(2, true)], years), Err("HL0712"));
        assert_eq!(code(&[list(-5, false)], years), Err("HL0714"), "the next one was due before it was signed");
        assert_eq!(code(&[list(2, false)], noon()), Err("HL0709"), "from the future");
        let times = (noon(), noon() + TimeDelta::hours(1));
        let foreign = issue::revocation_list(&other, &other_key, times, &[]).unwrap();
        assert_eq!(code(&[Crl::from_der(&foreign).unwrap()], years), Err("HL0713"), "of another authority");
        let own_lists = vec![issue::revocation_list(&root, &key, times, &[]).unwrap(), foreign];
        assert_eq!(lists_for(&signature, &trust, own_lists).unwrap().len(), 1);
    }

    #[test]
    fn no_bit_of_a_signature_can_change_in_any_suite() {
        for suite in Suite::ALL {
            let (trust, signature) = signed_by(suite);
            for at in 0..signature.len() {
                for bit in 0..8 {
                    let mut bytes = signature.clone();
                    bytes[at] ^= 1 << bit;
                    let found = verify_detached(&bytes, b"manifest", &trust, SIGNING);
                    assert!(found.is_err(), "{suite:?}: byte {at} bit {bit}");
                }
            }
        }
        let (trust, signature) = signed();
        for end in 0..signature.len() {
            let cut = signature.get(..end).unwrap();
            assert_eq!(verify_detached(cut, b"manifest", &trust, SIGNING).unwrap_err().code(), "HL0701");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = SignedData::parse(&bytes);
            let _ = Certificate::from_der(&bytes);
        }
    }

    /// CFCA's toolkit signs the content itself, without attributes: the arithmetic holds, and as evidence it is refused.
    #[test]
    fn files_of_cfca_hold_and_are_no_evidence_without_signed_attributes() {
        let Some(dir) = crate::testing::shared("data/gm/emmansun_gmsm") else { return };
        let (root, _) = authority("root");
        let trust = Trust::from_pem(pem(&root).as_bytes()).unwrap();
        let text = b"Hello Secret World!";
        for (file, content) in [("cfca_sadkSignedData.p7s", Some(&text[..])), ("cfca_sadkSignedDataDetach.p7s", None)] {
            let bytes = std::fs::read(dir.join(file)).unwrap();
            let data = SignedData::parse(&bytes).unwrap();
            assert_eq!(data.kind.to_string(), "1.2.156.10197.6.1.4.2.2", "{file}");
            assert_eq!(data.content_type.to_string(), "1.2.156.10197.6.1.4.2.1", "{file}");
            assert_eq!(data.content, content, "{file}");
            let certificate = Certificate::from_der(data.certificates[0]).unwrap();
            assert_eq!(certificate.subject(), "O=Acme Co, CN=Jon Snow");
            let signer = &data.signers[0];
            assert!(signer.id.names(&certificate) && signer.attributes.is_none());
            let suite = Suite::of_signer(signer.digest_algorithm, signer.signature_algorithm).unwrap();
            assert_eq!((suite, certificate.suite()), (Suite::Sm2Sm3, Ok(Suite::Sm2Sm3)));
            assert!(certificate.verify(suite, text, signer.signature), "{file}");
            assert!(!certificate.verify(suite, b"Hello Secret World?", signer.signature), "{file}");
            let refused = verify_detached(&bytes, text, &trust, SIGNING).unwrap_err();
            assert_eq!(refused.code(), "HL0701", "{file}");
        }
    }
}

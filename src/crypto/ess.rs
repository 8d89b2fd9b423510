//! The certificate that a signature names as its signer's (ESS signing-certificate, RFC 2634 §5.4 and RFC 5035): without
//! that, another certificate with the same key could be put in its place.
//!
//! Decides: whether the name fits. Must not know: whether the certificate is to be believed. Guarantees: the digest is of
//! the whole certificate; issuer and serial number, which the attribute may repeat, add nothing to it and are passed over.

use der::Tag;
use der::asn1::ObjectIdentifier;

use super::asn1::{Element, NotDer};
use super::certificate::Certificate;
use super::cms::SignedAttributes;
use super::{CryptoError, DigestAlgorithm, suite};

/// signingCertificate (RFC 2634 §5.4), by SHA-1, as older programs write it.
const FIRST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
/// signingCertificateV2 (RFC 5035 §3).
pub(super) const SECOND: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// Whether the signed attributes name this certificate as the signer's. Where both forms are there, the second counts.
///
/// # Errors
/// [`CryptoError::SignerNotNamed`]: there is no such attribute, it cannot be read, or it names another certificate.
pub(super) fn names(attributes: &SignedAttributes<'_>, leaf: &Certificate) -> Result<(), CryptoError> {
    let refused = |what| Err(CryptoError::SignerNotNamed { what });
    let second = attributes.value(SECOND).map(|value| digest_fits(value, true, leaf));
    let found = second.or_else(|| attributes.value(FIRST).map(|value| digest_fits(value, false, leaf)));
    match found {
        None => refused("it has no signing-certificate attribute"),
        Some(Err(NotDer)) => refused("its signing-certificate attribute cannot be read"),
        Some(Ok(false)) => refused("it names another certificate as its signer's"),
        Some(Ok(true)) => Ok(()),
    }
}

/// Whether the first ESSCertID or, in the second form, ESSCertIDv2 has the digest of this certificate.
fn digest_fits(value: Element<'_>, second: bool, leaf: &Certificate) -> Result<bool, NotDer> {
    let mut ids = value.inside()?.expect(Tag::Sequence)?.inside()?;
    let mut first = ids.expect(Tag::Sequence)?.inside()?;
    let algorithm = match first.optional(Tag::Sequence)? {
        Some(algorithm) if second => Some(algorithm.inside()?.expect(Tag::ObjectIdentifier)?.oid()?),
        Some(_) => return Err(NotDer),
        None => None,
    };
    let said = first.expect(Tag::OctetString)?.value;
    let algorithm = match (second, algorithm) {
        (false, _) => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        (true, None | Some(suite::SHA256)) => &ring::digest::SHA256,
        (true, Some(SHA384)) => &ring::digest::SHA384,
        (true, Some(SHA512)) => &ring::digest::SHA512,
        (true, Some(suite::SM3)) => return Ok(said == DigestAlgorithm::Sm3.digest(&[leaf.der()])),
        (true, Some(_)) => return Ok(false),
    };
    Ok(said == ring::digest::digest(algorithm, leaf.der()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::super::asn1::{self, octet};
    use super::super::issue::tests::{authority_of, leaf, noon, pem};
    use super::super::{Moment, Signer, Suite, Trust, cms, verify_cades};
    use super::*;

    /// What is found of a signature whose attributes, made for its signer, are changed before they are signed.
    fn found(
        suite: Suite,
        change: impl FnOnce(&Signer, Vec<Vec<u8>>) -> Vec<Vec<u8>>,
    ) -> Result<(), (String, &'static str)> {
        let (root, key) = authority_of(suite, "root");
        let signer = leaf(&key, &root, |_| {}).signer;
        let trust = Trust::from_pem(pem(&root).as_bytes()).unwrap();
        let digest = suite.digest().digest(&[b"listing"]);
        let attributes = asn1::set_of(octet::SET, change(&signer, cms::basic(&digest, noon())));
        let signature = signer.signed(&attributes).unwrap();
        let found = verify_cades(&signature, b"listing", &trust, Moment::Signing { now: noon() });
        found.map(|_| ()).map_err(|error| (error.to_string(), error.code()))
    }

    /// An attribute that names a certificate by this algorithm, or by the form's own, and this digest.
    fn naming(form: ObjectIdentifier, algorithm: Option<ObjectIdentifier>, digest: &[u8]) -> Vec<u8> {
        let algorithm = algorithm.map(|oid| asn1::sequence(&[&asn1::oid(oid)])).unwrap_or_default();
        let id = asn1::sequence(&[&algorithm, &asn1::element(octet::OCTET_STRING, &[digest])]);
        cms::attribute(form, asn1::sequence(&[&asn1::sequence(&[&id])]))
    }

    fn sha256(bytes: &[u8]) -> Vec<u8> {
        DigestAlgorithm::Sha256.digest(&[bytes]).to_vec()
    }

    fn by(algorithm: &'static ring::digest::Algorithm, bytes: &[u8]) -> Vec<u8> {
        ring::digest::digest(algorithm, bytes).as_ref().to_vec()
    }

    const NONE: &str = "it has no signing-certificate attribute";
    const UNREAD: &str = "its signing-certificate attribute cannot be read";
    const OTHER: &str = "it names another certificate as its signer's";

    #[test]
    fn a_signature_must_name_its_own_signers_certificate() {
        let check = |what: &str, expected: Option<&str>, made: &dyn Fn(&[u8]) -> Vec<Vec<u8>>| {
            let found = found(Suite::EcdsaP256Sha256, |signer, basic| {
                basic.into_iter().chain(made(signer.certificate().der())).collect()
            });
            let refused = |said| (format!("the signature does not say whose it is: {said}"), "HL0779");
            assert_eq!(found, expected.map_or(Ok(()), |said| Err(refused(said))), "{what}");
        };
        let sha1 = &ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
        check("the default digest", None, &|der| vec![naming(SECOND, None, &sha256(der))]);
        check("SHA-512", None, &|der| vec![naming(SECOND, Some(SHA512), &by(&ring::digest::SHA512, der))]);
        check("SHA-384", None, &|der| vec![naming(SECOND, Some(SHA384), &by(&ring::digest::SHA384, der))]);
        check("the older form", None, &|der| vec![naming(FIRST, None, &by(sha1, der))]);
        check("no attribute", Some(NONE), &|_| vec![]);
        check("an empty one", Some(UNREAD), &|_| vec![cms::attribute(SECOND, asn1::sequence(&[]))]);
        check("another certificate", Some(OTHER), &|_| vec![naming(SECOND, None, &sha256(b"another"))]);
        check("of another kind than it says", Some(OTHER), &|der| vec![naming(SECOND, Some(SHA512), &sha256(der))]);
        check("of a kind unknown", Some(OTHER), &|der| vec![naming(SECOND, Some(SECOND), &sha256(der))]);
        check("the second form counts", Some(OTHER), &|der| {
            vec![naming(FIRST, None, &by(sha1, der)), naming(SECOND, None, &[0; 32])]
        });
        for at in 0..32 {
            check("one bit", Some(OTHER), &|der| {
                let mut digest = sha256(der);
                digest[at] ^= 1 << (at % 8);
                vec![naming(SECOND, None, &digest)]
            });
        }
    }

    #[test]
    fn our_own_signatures_name_their_signer_in_every_suite() {
        for suite in Suite::ALL {
            let (root, key) = authority_of(suite, "root");
            let signer = leaf(&key, &root, |_| {}).signer;
            let trust = Trust::from_pem(pem(&root).as_bytes()).unwrap();
            let now = Moment::Signing { now: noon() };
            let signature = signer.sign_cades(b"listing", noon()).unwrap();
            assert_eq!(verify_cades(&signature, b"listing", &trust, now).unwrap().suite, suite.name());
            let plain = signer.sign_detached(b"listing", noon()).unwrap();
            assert_eq!(verify_cades(&plain, b"listing", &trust, now).unwrap_err().code(), "HL0779", "{suite:?}");
            assert_eq!(verify_cades(&signature, b"listinG", &trust, now).unwrap_err().code(), "HL0703");
        }
    }
}

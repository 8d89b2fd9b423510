//! Making certificates: the development CA and its signing certificate, and the odd ones that tests need.
//!
//! Decides: what goes into a certificate (RFC 5280 §4.1). Must not know: files. Guarantees: version 3, P-256,
//! ecdsa-with-SHA256, subject and authority key identifiers; OpenSSL and webpki accept what comes out.

use chrono::{DateTime, Utc};
use der::asn1::ObjectIdentifier;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::Generate as _;

use super::asn1::{self, octet};
use super::certificate::Certificate;
use super::{CryptoError, suite};

/// keyUsage: digitalSignature and contentCommitment.
pub(super) const SIGNS_DATA: u8 = 0b1100_0000;
/// keyUsage: keyCertSign and cRLSign.
pub(super) const ISSUES: u8 = 0b0000_0110;

/// What a certificate will say.
pub(super) struct Request {
    pub common_name: String,
    pub not_before: DateTime<Utc>,
    pub not_after: DateTime<Utc>,
    pub authority: bool,
    pub key_usage: u8,
    /// Extended key usages; none means no such extension.
    pub purposes: Vec<ObjectIdentifier>,
}

/// A new P-256 key from the system's randomness.
pub(super) fn new_key() -> Result<SigningKey, CryptoError> {
    SigningKey::try_generate_from_rng(&mut getrandom::SysRng)
        .map_err(|error| CryptoError::BadKey { what: format!("no randomness from the system: {error}") })
}

/// A certificate for `subject_key` by `issuer`'s key; `issuer` is `None` for a root, which signs itself.
pub(super) fn issue(
    request: &Request,
    subject_key: &SigningKey,
    issuer: Option<&Certificate>,
    issuer_key: &SigningKey,
) -> Result<Certificate, CryptoError> {
    let mut serial = [0_u8; 16];
    getrandom::fill(&mut serial)
        .map_err(|error| CryptoError::BadKey { what: format!("no randomness from the system: {error}") })?;
    // Positive and of full length, whatever was drawn.
    serial[0] = (serial[0] & 0x7F) | 0x40;

    let subject = name(&request.common_name);
    let issuer_name = issuer.map_or_else(|| subject.clone(), |certificate| certificate.subject_der().to_vec());
    let algorithm = asn1::sequence(&[&asn1::oid(suite::ECDSA_WITH_SHA256)]);
    let tbs = asn1::sequence(&[
        &asn1::element(octet::CONTEXT_0, &[&asn1::unsigned(&[2])]),
        &asn1::unsigned(&serial),
        &algorithm,
        &issuer_name,
        &asn1::sequence(&[&asn1::time(request.not_before), &asn1::time(request.not_after)]),
        &subject,
        &key_info(subject_key),
        &asn1::element(octet::CONTEXT_3, &[&extensions(request, subject_key, issuer_key)]),
    ]);
    let signature: DerSignature = issuer_key.sign(&tbs);
    Certificate::from_der(&asn1::sequence(&[&tbs, &algorithm, &asn1::bits(signature.as_bytes())]))
}

fn name(common_name: &str) -> Vec<u8> {
    let attribute = asn1::sequence(&[
        &asn1::oid(ObjectIdentifier::new_unwrap("2.5.4.3")),
        &asn1::element(octet::UTF8_STRING, &[common_name.as_bytes()]),
    ]);
    asn1::sequence(&[&asn1::element(octet::SET, &[&attribute])])
}

fn point(key: &SigningKey) -> Vec<u8> {
    key.verifying_key().to_sec1_point(false).as_bytes().to_vec()
}

fn key_info(key: &SigningKey) -> Vec<u8> {
    let algorithm = asn1::sequence(&[&asn1::oid(suite::EC_PUBLIC_KEY), &asn1::oid(suite::P256)]);
    asn1::sequence(&[&algorithm, &asn1::bits(&point(key))])
}

/// Key identifier: the first 20 bytes of SHA-256 over the key's bits (RFC 7093 §2, method 1).
fn key_id(key: &SigningKey) -> Vec<u8> {
    let digest = suite::DigestAlgorithm::Sha256.digest(&[&point(key)]);
    digest.iter().copied().take(20).collect()
}

fn extensions(request: &Request, subject_key: &SigningKey, issuer_key: &SigningKey) -> Vec<u8> {
    let critical = asn1::element(octet::BOOLEAN, &[&[0xFF]]);
    let one = |oid: &str, critical: &[u8], value: Vec<u8>| {
        let oid = asn1::oid(ObjectIdentifier::new_unwrap(oid));
        asn1::sequence(&[&oid, critical, &asn1::element(octet::OCTET_STRING, &[&value])])
    };
    let authority = if request.authority { critical.clone() } else { Vec::new() };
    let unused = request.key_usage.trailing_zeros().min(7).to_le_bytes()[0];
    let mut all = vec![
        one("2.5.29.19", &critical, asn1::sequence(&[&authority])),
        one("2.5.29.15", &critical, asn1::element(octet::BIT_STRING, &[&[unused, request.key_usage]])),
        one("2.5.29.14", &[], asn1::element(octet::OCTET_STRING, &[&key_id(subject_key)])),
        one("2.5.29.35", &[], asn1::sequence(&[&asn1::element(octet::CONTEXT_0_PRIMITIVE, &[&key_id(issuer_key)])])),
    ];
    if !request.purposes.is_empty() {
        let purposes: Vec<Vec<u8>> = request.purposes.iter().map(|p| asn1::oid(*p)).collect();
        let parts: Vec<&[u8]> = purposes.iter().map(Vec::as_slice).collect();
        all.push(one("2.5.29.37", &[], asn1::sequence(&parts)));
    }
    let parts: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    asn1::sequence(&parts)
}

#[cfg(test)]
pub(crate) mod tests {
    //! Certificates for the tests of this module and its neighbours.

    use super::*;
    use crate::crypto::Signer;

    /// A signing certificate and its key, as tests want them.
    pub(crate) struct Leaf {
        pub certificate: Certificate,
        pub signer: Signer,
    }

    /// The moment at which tests sign.
    pub(crate) fn noon() -> DateTime<Utc> {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn request(common_name: &str) -> Request {
        Request {
            common_name: common_name.into(),
            not_before: noon() - chrono::TimeDelta::days(30),
            not_after: noon() + chrono::TimeDelta::days(30),
            authority: false,
            key_usage: SIGNS_DATA,
            purposes: Vec::new(),
        }
    }

    pub(crate) fn authority(common_name: &str) -> (Certificate, SigningKey) {
        let key = new_key().unwrap();
        let root = Request { authority: true, key_usage: ISSUES, ..request(common_name) };
        (issue(&root, &key, None, &key).unwrap(), key)
    }

    pub(in crate::crypto) fn leaf(key: &SigningKey, root: &Certificate, change: impl FnOnce(&mut Request)) -> Leaf {
        let own = new_key().unwrap();
        let mut asked = request("signer");
        change(&mut asked);
        let certificate = issue(&asked, &own, Some(root), key).unwrap();
        let signer = Signer::new(own, vec![certificate.clone()]).unwrap();
        Leaf { certificate, signer }
    }

    /// PEM of a certificate.
    pub(crate) fn pem(certificate: &Certificate) -> String {
        crate::crypto::dev_ca::certificate_pem(certificate).unwrap()
    }
}

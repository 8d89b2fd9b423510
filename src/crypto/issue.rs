//! Making certificates, requests for them and revocation lists: the development CA and what hangs below it, and the odd
//! ones that tests need.
//!
//! Decides: what goes into them (RFC 5280 §4.1, §5.1; RFC 2986). Must not know: files. Guarantees: version 3, the suite
//! of the issuer's key, subject and authority key identifiers; OpenSSL and webpki accept what comes out.

use chrono::{DateTime, Utc};
use der::asn1::ObjectIdentifier;

use super::asn1::{self, octet};
use super::certificate::{Certificate, NAME_PARTS};
use super::{CryptoError, PrivateKey, suite};

/// keyUsage: digitalSignature and contentCommitment.
pub(super) const SIGNS_DATA: u8 = 0b1100_0000;
/// keyUsage: keyCertSign and cRLSign.
pub(super) const ISSUES: u8 = 0b0000_0110;
/// keyUsage: keyEncipherment, dataEncipherment and keyAgreement.
pub(super) const RECEIVES_DATA: u8 = 0b0011_1000;

/// What a certificate will say.
pub(super) struct Request {
    /// DER of the name; [`common_name`] or [`parse_name`] make one.
    pub subject: Vec<u8>,
    pub not_before: DateTime<Utc>,
    pub not_after: DateTime<Utc>,
    pub authority: bool,
    pub key_usage: u8,
    /// Extended key usages; none means no such extension. Time stamping is written as critical (RFC 3161 §2.3).
    pub purposes: Vec<ObjectIdentifier>,
}

/// Who issues: an authority's certificate and key.
#[derive(Clone, Copy)]
pub(super) struct Issuer<'a> {
    /// `None` for a root, which signs itself.
    pub certificate: Option<&'a Certificate>,
    pub key: &'a PrivateKey,
}

/// A certificate for `subject_key`.
pub(super) fn issue(
    request: &Request,
    subject_key: &PrivateKey,
    issuer: Issuer<'_>,
) -> Result<Certificate, CryptoError> {
    let mut serial = [0_u8; 16];
    getrandom::fill(&mut serial)
        .map_err(|error| CryptoError::BadKey { what: format!("no randomness from the system: {error}") })?;
    // Positive and of full length, whatever was drawn.
    serial[0] = (serial[0] & 0x7F) | 0x40;
    numbered(request, subject_key, (issuer, &serial))
}

/// The same with this serial number.
pub(super) fn numbered(
    request: &Request,
    subject_key: &PrivateKey,
    (issuer, serial): (Issuer<'_>, &[u8]),
) -> Result<Certificate, CryptoError> {
    let issuer_name = issuer.certificate.map_or(request.subject.as_slice(), Certificate::subject_der);
    let algorithm = issuer.key.suite().signature_algorithm();
    let tbs = asn1::sequence(&[
        &asn1::element(octet::CONTEXT_0, &[&asn1::unsigned(&[2])]),
        &asn1::unsigned(serial),
        &algorithm,
        issuer_name,
        &asn1::sequence(&[&asn1::time(request.not_before), &asn1::time(request.not_after)]),
        &request.subject,
        &subject_key.public_info(),
        &asn1::element(octet::CONTEXT_3, &[&extensions(request, subject_key, issuer.key)]),
    ]);
    Certificate::from_der(&signed(&tbs, issuer.key)?)
}

/// `SEQUENCE { what, algorithm, signature }`, as certificates, requests and revocation lists all are.
fn signed(what: &[u8], key: &PrivateKey) -> Result<Vec<u8>, CryptoError> {
    Ok(asn1::sequence(&[what, &key.suite().signature_algorithm(), &asn1::bits(&key.sign(what)?)]))
}

/// A certification request (RFC 2986) for this key under this name, DER.
pub(super) fn certification_request(subject: &[u8], key: &PrivateKey) -> Result<Vec<u8>, CryptoError> {
    let none = asn1::element(octet::CONTEXT_0, &[]);
    signed(&asn1::sequence(&[&asn1::unsigned(&[0]), subject, &key.public_info(), &none]), key)
}

/// An authority's revocation list: serial numbers, since when, and a reason (RFC 5280 §5.3.1) where there is one.
pub(super) fn revocation_list(
    issuer: &Certificate,
    key: &PrivateKey,
    (this_update, next_update): (DateTime<Utc>, DateTime<Utc>),
    revoked: &[(&Certificate, DateTime<Utc>, Option<u8>)],
) -> Result<Vec<u8>, CryptoError> {
    let entries: Vec<Vec<u8>> =
        revoked.iter().map(|(certificate, at, reason)| entry(certificate, *at, *reason)).collect();
    let parts: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    // An empty list of entries must be absent (RFC 5280 §5.1.2.6).
    let entries = if parts.is_empty() { Vec::new() } else { asn1::sequence(&parts) };
    let number = u64::try_from(this_update.timestamp()).unwrap_or_default();
    let number = extension("2.5.29.20", false, &asn1::unsigned(&number.to_be_bytes()));
    let authority = extension("2.5.29.35", false, &authority_key_id(key));
    let tbs = asn1::sequence(&[
        &asn1::unsigned(&[1]),
        &key.suite().signature_algorithm(),
        issuer.subject_der(),
        &asn1::time(this_update),
        &asn1::time(next_update),
        &entries,
        &asn1::element(octet::CONTEXT_0, &[&asn1::sequence(&[&authority, &number])]),
    ]);
    signed(&tbs, key)
}

fn entry(certificate: &Certificate, at: DateTime<Utc>, reason: Option<u8>) -> Vec<u8> {
    let serial = asn1::element(octet::INTEGER, &[certificate.serial_bytes()]);
    let reason = reason.map(|reason| {
        asn1::sequence(&[&extension("2.5.29.21", false, &asn1::element(octet::ENUMERATED, &[&[reason]]))])
    });
    asn1::sequence(&[&serial, &asn1::time(at), &reason.unwrap_or_default()])
}

/// A name of a common name only.
pub(super) fn common_name(text: &str) -> Vec<u8> {
    name(&[(NAME_PARTS[0].1, text)])
}

/// A name as people write it, `C=CN, O=青岛市电政办, CN=签名`, in that order. `None` when a part has no `=`, an unknown key or
/// nothing behind it.
pub(super) fn parse_name(text: &str) -> Option<Vec<u8>> {
    let mut parts = Vec::new();
    for part in text.split(',') {
        let (key, value) = part.split_once('=')?;
        let (_, oid) = NAME_PARTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(key.trim()))?;
        let value = value.trim();
        let country = *oid == ObjectIdentifier::new_unwrap("2.5.4.6");
        if value.is_empty() || (country && !(value.len() == 2 && value.bytes().all(|b| b.is_ascii_uppercase()))) {
            return None;
        }
        parts.push((*oid, value));
    }
    Some(name(&parts))
}

fn name(parts: &[(ObjectIdentifier, &str)]) -> Vec<u8> {
    let sets: Vec<Vec<u8>> = parts
        .iter()
        .map(|(oid, value)| {
            // Countries are PrintableString (RFC 5280, appendix A.1), everything else UTF-8.
            let country = *oid == ObjectIdentifier::new_unwrap("2.5.4.6");
            let kind = if country { octet::PRINTABLE_STRING } else { octet::UTF8_STRING };
            let attribute = asn1::sequence(&[&asn1::oid(*oid), &asn1::element(kind, &[value.as_bytes()])]);
            asn1::element(octet::SET, &[&attribute])
        })
        .collect();
    let parts: Vec<&[u8]> = sets.iter().map(Vec::as_slice).collect();
    asn1::sequence(&parts)
}

/// Key identifier: the first 20 bytes of SHA-256 over the key's bits (RFC 7093 §2, method 1).
fn key_id(key: &PrivateKey) -> Vec<u8> {
    let digest = suite::DigestAlgorithm::Sha256.digest(&[&key.public_bits()]);
    digest.iter().copied().take(20).collect()
}

fn authority_key_id(key: &PrivateKey) -> Vec<u8> {
    asn1::sequence(&[&asn1::element(octet::CONTEXT_0_PRIMITIVE, &[&key_id(key)])])
}

fn extension(oid: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { asn1::element(octet::BOOLEAN, &[&[0xFF]]) } else { Vec::new() };
    let oid = asn1::oid(ObjectIdentifier::new_unwrap(oid));
    asn1::sequence(&[&oid, &critical, &asn1::element(octet::OCTET_STRING, &[value])])
}

fn extensions(request: &Request, subject_key: &PrivateKey, issuer_key: &PrivateKey) -> Vec<u8> {
    let authority = if request.authority { asn1::element(octet::BOOLEAN, &[&[0xFF]]) } else { Vec::new() };
    let unused = request.key_usage.trailing_zeros().min(7).to_le_bytes()[0];
    let usage = asn1::element(octet::BIT_STRING, &[&[unused, request.key_usage]]);
    let mut all = vec![
        extension("2.5.29.19", true, &asn1::sequence(&[&authority])),
        extension("2.5.29.15", true, &usage),
        extension("2.5.29.14", false, &asn1::element(octet::OCTET_STRING, &[&key_id(subject_key)])),
        extension("2.5.29.35", false, &authority_key_id(issuer_key)),
    ];
    if !request.purposes.is_empty() {
        let purposes: Vec<Vec<u8>> = request.purposes.iter().map(|p| asn1::oid(*p)).collect();
        let parts: Vec<&[u8]> = purposes.iter().map(Vec::as_slice).collect();
        let critical = request.purposes.contains(&super::purpose::STAMPING);
        all.push(extension("2.5.29.37", critical, &asn1::sequence(&parts)));
    }
    let parts: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    asn1::sequence(&parts)
}

#[cfg(test)]
pub(crate) mod tests {
    //! Certificates for the tests of this module and its neighbours.

    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::crypto::{Signer, Suite};

    /// A signing certificate and its key, as tests want them.
    pub(crate) struct Leaf {
        pub certificate: Certificate,
        pub signer: Signer,
    }

    /// The moment at which tests sign.
    pub(crate) fn noon() -> DateTime<Utc> {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn request(name: &str) -> Request {
        Request {
            subject: common_name(name),
            not_before: noon() - chrono::TimeDelta::days(30),
            not_after: noon() + chrono::TimeDelta::days(30),
            authority: false,
            key_usage: SIGNS_DATA,
            purposes: Vec::new(),
        }
    }

    /// A key of this suite; RSA keys, slow to make, are taken in turn from a few.
    pub(crate) fn fresh(suite: Suite) -> PrivateKey {
        static RSA: LazyLock<[String; 3]> = LazyLock::new(|| {
            let one = || PrivateKey::generate(Suite::RsaSha256).unwrap().to_pem(None).unwrap().to_string();
            [one(), one(), one()]
        });
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        match suite {
            Suite::RsaSha256 => {
                let next = NEXT.fetch_add(1, Ordering::Relaxed) % 3;
                PrivateKey::from_pem(&RSA[next], None).unwrap()
            }
            Suite::EcdsaP256Sha256 | Suite::Sm2Sm3 => PrivateKey::generate(suite).unwrap(),
        }
    }

    pub(crate) fn authority(name: &str) -> (Certificate, PrivateKey) {
        authority_of(Suite::EcdsaP256Sha256, name)
    }

    pub(crate) fn authority_of(suite: Suite, name: &str) -> (Certificate, PrivateKey) {
        let key = fresh(suite);
        let root = Request { authority: true, key_usage: ISSUES, ..request(name) };
        (issue(&root, &key, Issuer { certificate: None, key: &key }).unwrap(), key)
    }

    /// A leaf below this authority, of the same suite.
    pub(in crate::crypto) fn leaf(key: &PrivateKey, root: &Certificate, change: impl FnOnce(&mut Request)) -> Leaf {
        let own = fresh(key.suite());
        let mut asked = request("signer");
        change(&mut asked);
        let certificate = issue(&asked, &own, Issuer { certificate: Some(root), key }).unwrap();
        let signer = Signer::new(own, vec![certificate.clone()]).unwrap();
        Leaf { certificate, signer }
    }

    /// PEM of a certificate.
    pub(crate) fn pem(certificate: &Certificate) -> String {
        certificate.to_pem().unwrap()
    }

    #[test]
    fn names_are_read_as_they_are_shown() {
        let certificate = |subject: Vec<u8>| {
            let (root, key) = authority("root");
            leaf(&key, &root, |request| request.subject = subject).certificate
        };
        let shown = "C=CN, O=青岛市电政办, CN=签名 1";
        assert_eq!(certificate(parse_name(shown).unwrap()).subject(), shown);
        for bad in ["", "签名", "CN=", "X=1", "C=China", "CN=a,,O=b"] {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
    }
}

//! Detached signatures (.p7s) of files that departments deliver, by certificates that we were given beforehand.
//!
//! Decides: the signer is one of the given certificates, byte for byte, whatever authority issued it: another
//! department's certificate under the same authority does not count. Must not know: what the file means. Guarantees:
//! content of any size in bounded memory; signed attributes are required (RFC 5652 §11); the certificate must be in force
//! at the signing time, which must not lie in the future.

use std::io::Read;

use chrono::{DateTime, TimeDelta, Utc};
use der::asn1::ObjectIdentifier;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use sha2::{Digest as _, Sha256};
use webpki::EndEntityCert;

use super::certificate::Certificate;
use super::cms::{SignedData, SignerInfo};
use super::suite::{EC_PUBLIC_KEY, ECDSA_WITH_SHA256, SHA256, known};
use super::{CryptoError, asn1};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
/// Clocks of sender and receiver may differ by this much.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// Checks that `signature` (CMS, DER or PEM, detached) is by one of `pinned` over exactly what `content` gives. Gives the
/// signer's name.
///
/// # Errors
/// Each reason its own: see [`CryptoError`]; [`CryptoError::File`] when the content cannot be read.
pub fn verify_pinned(
    signature: &[u8],
    content: &mut dyn Read,
    pinned: &[Certificate],
    now: DateTime<Utc>,
) -> Result<String, CryptoError> {
    let der = binary(signature)?;
    let data = SignedData::parse(&der)?;
    let [signer] = data.signers.as_slice() else {
        return Err(CryptoError::MalformedSignature { what: "there is not exactly one signer" });
    };
    if data.content.is_some() {
        return Err(CryptoError::MalformedSignature { what: "it is not detached" });
    }
    let algorithm = algorithm(signer)?;
    let leaf = pinned.iter().find(|certificate| signer.id.names(certificate));
    let leaf = leaf.ok_or_else(|| stranger(&data, signer))?;
    let attributes =
        signer.attributes.as_ref().ok_or(CryptoError::MalformedSignature { what: "it has no signed attributes" })?;
    let signed_at =
        attributes.signing_time.ok_or(CryptoError::MalformedSignature { what: "it has no signing time" })?;
    let certificate = CertificateDer::from(leaf.der());
    let key = EndEntityCert::try_from(&certificate)
        .map_err(|error| CryptoError::BadCertificate { what: format!("{}: {error}", leaf.subject()) })?;
    let value =
        if is_rsa(signer.signature_algorithm) { signer.signature.to_vec() } else { asn1::ecdsa_der(signer.signature) };
    key.verify_signature(algorithm, &attributes.signed_bytes(), &value)
        .map_err(|_| CryptoError::Tampered { what: "the signature is not by the certificate's key" })?;
    if attributes.content_type != data.content_type {
        return Err(CryptoError::Tampered { what: "the content type is not the one signed" });
    }
    if signed_at.signed_duration_since(now) > CLOCK_SKEW {
        return Err(CryptoError::FromTheFuture { signed_at });
    }
    leaf.check_validity(signed_at)?;
    leaf.check_signs_data()?;
    if attributes.message_digest != digest(content)? {
        return Err(CryptoError::Tampered { what: "the content is not the one signed" });
    }
    Ok(leaf.subject())
}

/// The bytes of a signature file that may be PEM.
fn binary(signature: &[u8]) -> Result<Vec<u8>, CryptoError> {
    if !signature.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Ok(signature.to_vec());
    }
    let text = signature.trim_ascii();
    let (_, der) = der::pem::decode_vec(text).map_err(|_| CryptoError::MalformedSignature { what: "the PEM" })?;
    Ok(der)
}

fn is_rsa(oid: ObjectIdentifier) -> bool {
    matches!(oid, RSA | RSA_WITH_SHA256)
}

fn algorithm(signer: &SignerInfo<'_>) -> Result<&'static dyn SignatureVerificationAlgorithm, CryptoError> {
    match (signer.digest_algorithm, signer.signature_algorithm) {
        (SHA256, ECDSA_WITH_SHA256 | EC_PUBLIC_KEY) => Ok(webpki::ring::ECDSA_P256_SHA256),
        (SHA256, RSA | RSA_WITH_SHA256) => Ok(webpki::ring::RSA_PKCS1_2048_8192_SHA256),
        (digest, signature) => {
            Err(CryptoError::UnsupportedSuite { suite: format!("{} with {}", known(signature), known(digest)) })
        }
    }
}

/// The refusal of a signer whose certificate was not given, named by the certificate that the signature brings.
fn stranger(data: &SignedData<'_>, signer: &SignerInfo<'_>) -> CryptoError {
    let brought = data.certificates.iter().filter_map(|der| Certificate::from_der(der).ok());
    match brought.into_iter().find(|certificate| signer.id.names(certificate)) {
        Some(certificate) => CryptoError::OtherRoot { subject: certificate.subject(), issuer: certificate.issuer() },
        None => CryptoError::OtherRoot { subject: "a signer who is not named".into(), issuer: "nobody named".into() },
    }
}

fn digest(content: &mut dyn Read) -> Result<[u8; 32], CryptoError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 256 << 10];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(read) => hash.update(buffer.get(..read).unwrap_or_default()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => {
                return Err(CryptoError::File { act: "read", path: "the signed file".into(), why: e.to_string() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::issue::tests::{authority, leaf, noon};

    /// Two departments under one authority.
    fn departments() -> [(Certificate, crate::crypto::Signer); 2] {
        let (root, key) = authority("root");
        ["工商", "税务"].map(|name| {
            let made = leaf(&key, &root, |request| request.common_name = name.into());
            (made.certificate, made.signer)
        })
    }

    #[test]
    fn only_the_departments_own_certificate_counts() {
        let [(own, own_signer), (other, other_signer)] = departments();
        let check = |signature: &[u8], content: &[u8], pinned: &[&Certificate]| {
            let pinned: Vec<Certificate> = pinned.iter().map(|c| (*c).clone()).collect();
            verify_pinned(signature, &mut &content[..], &pinned, noon()).map_err(|e| e.code())
        };
        let signature = own_signer.sign_detached(b"file", noon()).unwrap();
        assert_eq!(check(&signature, b"file", &[&own]), Ok("CN=工商".to_owned()));
        assert_eq!(check(&signature, b"file", &[&other, &own]), Ok("CN=工商".to_owned()));
        assert_eq!(check(&signature, b"filE", &[&own]), Err("HL0703"));
        assert_eq!(check(&signature, b"file", &[&other]), Err("HL0706"));
        let foreign = other_signer.sign_detached(b"file", noon()).unwrap();
        assert_eq!(check(&foreign, b"file", &[&own]), Err("HL0706"));
        assert_eq!(check(b"x", b"file", &[&own]), Err("HL0701"));
        let early = verify_pinned(&signature, &mut &b"file"[..], &[own], noon() - TimeDelta::hours(1));
        assert_eq!(early.unwrap_err().code(), "HL0709");
    }

    #[test]
    fn no_byte_of_a_signature_can_change() {
        let [(own, signer), _] = departments();
        let signature = signer.sign_detached(b"file", noon()).unwrap();
        let pinned = [own];
        for at in 0..signature.len() {
            let mut bytes = signature.clone();
            bytes[at] ^= 1;
            let found = verify_pinned(&bytes, &mut &b"file"[..], &pinned, noon());
            // The certificate that a signature brings along is not looked at; the one we were given is.
            let brought = der_position(&signature, pinned[0].der());
            assert!(found.is_err() || brought.contains(&at), "byte {at}");
        }
    }

    fn der_position(haystack: &[u8], needle: &[u8]) -> std::ops::Range<usize> {
        let at = haystack.windows(needle.len()).position(|w| w == needle).unwrap();
        // With the tag and length of the set that it stands in.
        at - 4..at + needle.len()
    }
}

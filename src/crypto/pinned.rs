//! Detached signatures (.p7s) of files that departments deliver, by certificates that we were given beforehand.
//!
//! Decides: the signer is one of the given certificates, byte for byte: another department's certificate under the same
//! authority does not count. Must not know: what the file means. Guarantees:
//! content of any size in bounded memory; signed attributes are required (RFC 5652 §11); the certificate must be in force
//! at the signing time, which must not lie in the future.

use std::io::Read;

use chrono::{DateTime, Utc};

use super::certificate::Certificate;
use super::cms::{SignedData, SignerInfo};
use super::verify::{check_signature, not_from_the_future, only_signer};
use super::{CryptoError, Purpose, Trust, When};

/// Whose signatures count.
#[derive(Debug, Clone, Default)]
pub struct Signers {
    /// The signer's certificate is one of these.
    pub pinned: Vec<Certificate>,
    /// Where given, it must besides lead to one of these roots, and not be revoked.
    pub trust: Option<Trust>,
}

/// Checks that `signature` (CMS, DER or PEM, detached) is by one of `signers` over exactly what `content` gives. Gives the
/// signer's name.
///
/// # Errors
/// Each reason its own: see [`CryptoError`]; [`CryptoError::File`] when the content cannot be read.
pub fn verify_pinned(
    signature: &[u8],
    content: &mut dyn Read,
    signers: &Signers,
    now: DateTime<Utc>,
) -> Result<String, CryptoError> {
    let der = binary(signature)?;
    let data = SignedData::parse(&der)?;
    let signer = only_signer(&data)?;
    let leaf = signers.pinned.iter().find(|certificate| signer.id.names(certificate));
    let leaf = leaf.ok_or_else(|| stranger(&data, signer))?;
    check_signature(&data, signer, leaf, |algorithm, at| {
        // Before a long file is read.
        not_from_the_future(at, now)?;
        leaf.check_validity(at)?;
        leaf.check_use(Purpose::SignData)?;
        if let Some(trust) = &signers.trust {
            let brought =
                data.certificates.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>()?;
            for doubt in trust.check(leaf, &brought, Purpose::SignData, When::said(at, now))?.warnings {
                tracing::error!(code = doubt.code(), why = %doubt, "a department's signature counts though its revocation is in doubt");
            }
        }
        algorithm.digest_of(content).map_err(|error| CryptoError::File {
            act: "read",
            path: "the signed file".into(),
            why: error.to_string(),
        })
    })?;
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

/// The refusal of a signer whose certificate was not given, named by the certificate that the signature brings.
fn stranger(data: &SignedData<'_>, signer: &SignerInfo<'_>) -> CryptoError {
    let brought = data.certificates.iter().filter_map(|der| Certificate::from_der(der).ok());
    match brought.into_iter().find(|certificate| signer.id.names(certificate)) {
        Some(certificate) => CryptoError::OtherRoot { subject: certificate.subject(), issuer: certificate.issuer() },
        None => CryptoError::OtherRoot { subject: "a signer who is not named".into(), issuer: "nobody named".into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::issue::tests::{authority, leaf, noon};
    use chrono::TimeDelta;

    /// Two departments under one authority.
    fn departments() -> [(Certificate, crate::crypto::Signer); 2] {
        let (root, key) = authority("root");
        ["工商", "税务"].map(|name| {
            let made = leaf(&key, &root, |request| request.subject = crate::crypto::issue::common_name(name));
            (made.certificate, made.signer)
        })
    }

    #[test]
    fn only_the_departments_own_certificate_counts() {
        let [(own, own_signer), (other, other_signer)] = departments();
        let check = |signature: &[u8], content: &[u8], pinned: &[&Certificate]| {
            let pinned: Vec<Certificate> = pinned.iter().map(|c| (*c).clone()).collect();
            let signers = Signers { pinned, trust: None };
            verify_pinned(signature, &mut &content[..], &signers, noon()).map_err(|e| e.code())
        };
        let signature = own_signer.sign_detached(b"file", noon()).unwrap();
        assert_eq!(check(&signature, b"file", &[&own]), Ok("CN=工商".to_owned()));
        assert_eq!(check(&signature, b"file", &[&other, &own]), Ok("CN=工商".to_owned()));
        assert_eq!(check(&signature, b"filE", &[&own]), Err("HL0703"));
        assert_eq!(check(&signature, b"file", &[&other]), Err("HL0706"));
        let foreign = other_signer.sign_detached(b"file", noon()).unwrap();
        assert_eq!(check(&foreign, b"file", &[&own]), Err("HL0706"));
        assert_eq!(check(b"x", b"file", &[&own]), Err("HL0701"));
        let early = verify_pinned(
            &signature,
            &mut &b"file"[..],
            &Signers { pinned: vec![own], trust: None },
            noon() - TimeDelta::hours(1),
        );
        assert_eq!(early.unwrap_err().code(), "HL0709");
    }

    #[test]
    fn a_department_must_lead_to_the_departments_authority_and_not_be_revoked() {
        let (root, key) = authority("root");
        let (stranger, _) = authority("stranger");
        let own = leaf(&key, &root, |_| {});
        let signature = own.signer.sign_detached(b"file", noon()).unwrap();
        let code = |root: &Certificate, revoked: Option<chrono::TimeDelta>| {
            let times = (noon() - TimeDelta::hours(1), noon() + TimeDelta::hours(1));
            let revoked: Vec<_> = revoked.map(|ago| (&own.certificate, noon() - ago, None)).into_iter().collect();
            let list = crate::crypto::issue::revocation_list(root, &key, times, &revoked).unwrap();
            let trust = Trust::from_pem(crate::crypto::issue::tests::pem(root).as_bytes()).unwrap();
            let trust = trust.with_crls(crate::crypto::Crl::all_from(&list).unwrap());
            let signers = Signers { pinned: vec![own.certificate.clone()], trust: Some(trust) };
            verify_pinned(&signature, &mut &b"file"[..], &signers, noon()).map(|_| ()).map_err(|e| e.code())
        };
        assert_eq!(code(&root, None), Ok(()));
        assert_eq!(code(&stranger, None), Err("HL0706"));
        assert_eq!(code(&root, Some(TimeDelta::minutes(1))), Err("HL0712"));
        assert_eq!(code(&root, Some(TimeDelta::minutes(-1))), Ok(()), "revoked afterwards");
    }

    #[test]
    fn no_byte_of_a_signature_can_change() {
        let [(own, signer), _] = departments();
        let signature = signer.sign_detached(b"file", noon()).unwrap();
        let signers = Signers { pinned: vec![own], trust: None };
        for at in 0..signature.len() {
            let mut bytes = signature.clone();
            bytes[at] ^= 1;
            let found = verify_pinned(&bytes, &mut &b"file"[..], &signers, noon());
            // The certificate that a signature brings along is not looked at; the one we were given is.
            let brought = der_position(&signature, signers.pinned[0].der());
            assert!(found.is_err() || brought.contains(&at), "byte {at}");
        }
    }

    fn der_position(haystack: &[u8], needle: &[u8]) -> std::ops::Range<usize> {
        let at = haystack.windows(needle.len()).position(|w| w == needle).unwrap();
        // With the tag and length of the set that it stands in.
        at - 4..at + needle.len()
    }
}

//! Which algorithms sign and digest, and by what names and numbers (OIDs) they go.
//!
//! Decides: what belongs together. Must not know: keys, files. Every `match` here is exhaustive, so that SM2/SM3 (国密)
//! and RSA join by adding a variant and following the compiler.

use der::asn1::ObjectIdentifier;
use sha2::{Digest as _, Sha256};

use super::CryptoError;

/// A digest of 32 bytes; which algorithm made it is said beside it, never assumed.
pub type Digest = [u8; 32];

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// SHA-256 (FIPS 180-4).
    Sha256,
}

impl DigestAlgorithm {
    /// The name that data carries: `sha256`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
        }
    }

    /// Its object identifier.
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha256 => SHA256,
        }
    }

    /// The digest of the concatenation of `parts`.
    pub fn digest(self, parts: &[&[u8]]) -> Digest {
        match self {
            Self::Sha256 => {
                let mut hasher = Sha256::new();
                for part in parts {
                    hasher.update(part);
                }
                hasher.finalize().into()
            }
        }
    }
}

/// A signature algorithm with the digest that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// ECDSA over P-256 with SHA-256 (RFC 5753, RFC 5480).
    EcdsaP256Sha256,
}

impl Suite {
    /// The name that reports carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
        }
    }

    /// The digest that goes with it, for signatures and for everything the signature covers.
    pub const fn digest(self) -> DigestAlgorithm {
        match self {
            Self::EcdsaP256Sha256 => DigestAlgorithm::Sha256,
        }
    }

    /// The object identifier of its signatures.
    pub const fn signature_oid(self) -> ObjectIdentifier {
        match self {
            Self::EcdsaP256Sha256 => ECDSA_WITH_SHA256,
        }
    }

    /// The suite that a CMS signer names by its digest and signature algorithms.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedSuite`], naming what it is as far as we know it.
    pub fn of_signer(digest: ObjectIdentifier, signature: ObjectIdentifier) -> Result<Self, CryptoError> {
        match (digest, signature) {
            (SHA256, ECDSA_WITH_SHA256 | EC_PUBLIC_KEY) => Ok(Self::EcdsaP256Sha256),
            _ => Err(CryptoError::UnsupportedSuite { suite: format!("{} with {}", known(signature), known(digest)) }),
        }
    }
}

/// SHA-256.
pub(super) const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// ecdsa-with-SHA256.
pub(super) const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// id-ecPublicKey.
pub(super) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// The curve P-256.
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// What an operator calls an algorithm; the number itself when we have no name for it.
pub(super) fn known(oid: ObjectIdentifier) -> String {
    let text = oid.to_string();
    let name = match text.as_str() {
        "1.2.156.10197.1.501" => "SM2 with SM3 (国密)",
        "1.2.156.10197.1.301" | "1.2.156.10197.1.301.1" => "SM2 (国密)",
        "1.2.156.10197.1.401" => "SM3 (国密)",
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.11" => "RSA with SHA-256",
        "2.16.840.1.101.3.4.2.1" => "SHA-256",
        "1.2.840.10045.2.1" => "elliptic curve",
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.3.132.0.34" => "P-384",
        "1.3.14.3.2.26" => "SHA-1",
        _ => return text,
    };
    name.to_owned()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Reads a digest from 64 lower-case hexadecimal digits.
pub fn digest_from_hex(text: &str) -> Option<Digest> {
    let digits: Vec<u8> = text
        .bytes()
        .map(|c| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    if rest.is_empty() { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_strict_and_reads_back() {
        let digest = DigestAlgorithm::Sha256.digest(&[b"a", b"bc"]);
        assert_eq!(hex(&digest), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest_from_hex(&hex(&digest)), Some(digest));
        let upper = hex(&digest).to_uppercase();
        for bad in [upper.as_str(), "", "00", "zz"] {
            assert_eq!(digest_from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_foreign_suite_is_named() {
        let sm3 = ObjectIdentifier::new_unwrap("1.2.156.10197.1.401");
        let sm2 = ObjectIdentifier::new_unwrap("1.2.156.10197.1.301.1");
        let refused = Suite::of_signer(sm3, sm2).unwrap_err();
        assert_eq!(refused, CryptoError::UnsupportedSuite { suite: "SM2 (国密) with SM3 (国密)".into() });
    }
}

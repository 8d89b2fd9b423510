//! Which algorithms sign and digest, and by what names and numbers (OIDs) they go.
//!
//! Decides: what belongs together. Must not know: private keys, files. Every `match` on a suite is exhaustive, so that
//! another one joins by adding a variant and following the compiler.

use std::io::{self, Read};
use std::sync::LazyLock;

use der::asn1::ObjectIdentifier;
use rustls_pki_types::SignatureVerificationAlgorithm;
use sm3::{Digest as _, Sm3};

use super::asn1::{self, octet};
use super::certificate::Certificate;
use super::{CryptoError, sm2};

/// Every algorithm by which certificates and revocation lists may be signed.
pub(super) static ALGORITHMS: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> = LazyLock::new(|| {
    let ours = [sm2::WITH_SM3, sm2::WITH_SM3_AND_NULL];
    webpki::ALL_VERIFICATION_ALGS.iter().copied().chain(ours).collect()
});

/// A digest of 32 bytes; which algorithm made it is said beside it, never assumed.
pub type Digest = [u8; 32];

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SM3 (GB/T 32905-2016, 国密).
    Sm3,
}

impl DigestAlgorithm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sm3];

    /// The name that data carries: `sha256`, `sm3`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sm3 => "sm3",
        }
    }

    /// Its object identifier.
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha256 => SHA256,
            Self::Sm3 => SM3,
        }
    }

    /// The algorithm with this object identifier.
    pub fn of(oid: ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.oid() == oid)
    }

    /// The digest of the concatenation of `parts`.
    pub fn digest(self, parts: &[&[u8]]) -> Digest {
        let mut hasher = Hasher::of(self);
        parts.iter().for_each(|part| hasher.update(part));
        hasher.finish()
    }

    /// The digest of all that `content` gives, in bounded memory.
    ///
    /// # Errors
    /// Those of reading.
    pub fn digest_of(self, content: &mut dyn Read) -> io::Result<Digest> {
        let mut hasher = Hasher::of(self);
        let mut buffer = vec![0; 256 << 10];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(read) => hasher.update(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A digest under way. SHA-256 is ring's, which takes half the time of the `sha2` crate's on processors without
/// instructions for it.
enum Hasher {
    Sha256(ring::digest::Context),
    Sm3(Sm3),
}

impl Hasher {
    fn of(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Self::Sha256(ring::digest::Context::new(&ring::digest::SHA256)),
            DigestAlgorithm::Sm3 => Self::Sm3(Sm3::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(context) => context.update(bytes),
            Self::Sm3(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Sha256(context) => context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes"),
            Self::Sm3(hasher) => hasher.finalize().into(),
        }
    }
}

/// A signature algorithm with the digest that goes with it. The key decides which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// ECDSA over P-256 with SHA-256 (RFC 5753, RFC 5480).
    EcdsaP256Sha256,
    /// RSA PKCS#1 v1.5 with SHA-256 (RFC 8017 §8.2, RFC 5754); at least 2048 bits.
    RsaSha256,
    /// SM2 with SM3 (国密; GB/T 32918.2, GB/T 35276), identity 1234567812345678.
    Sm2Sm3,
}

impl Suite {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::EcdsaP256Sha256, Self::RsaSha256, Self::Sm2Sm3];

    /// The name that reports carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::RsaSha256 => "rsa-sha256",
            Self::Sm2Sm3 => "sm2-sm3",
        }
    }

    /// What people call its keys, and type: `p256`, `rsa`, `sm2`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "p256",
            Self::RsaSha256 => "rsa",
            Self::Sm2Sm3 => "sm2",
        }
    }

    /// The suite of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.word() == word)
    }

    /// The digest that goes with it, for signatures and for everything the signature covers.
    pub const fn digest(self) -> DigestAlgorithm {
        match self {
            Self::EcdsaP256Sha256 | Self::RsaSha256 => DigestAlgorithm::Sha256,
            Self::Sm2Sm3 => DigestAlgorithm::Sm3,
        }
    }

    /// Whether it is of the national suite (国密).
    pub const fn is_national(self) -> bool {
        match self {
            Self::EcdsaP256Sha256 | Self::RsaSha256 => false,
            Self::Sm2Sm3 => true,
        }
    }

    /// AlgorithmIdentifier of its signatures, DER: RSA has parameters NULL (RFC 5754 §3.2), the others none.
    pub(super) fn signature_algorithm(self) -> Vec<u8> {
        match self {
            Self::EcdsaP256Sha256 => asn1::sequence(&[&asn1::oid(ECDSA_WITH_SHA256)]),
            Self::RsaSha256 => asn1::sequence(&[&asn1::oid(RSA_WITH_SHA256), &asn1::element(octet::NULL, &[])]),
            Self::Sm2Sm3 => asn1::sequence(&[&asn1::oid(SM2_WITH_SM3)]),
        }
    }

    /// The suite that a CMS signer names by its digest and signature algorithms: by the algorithm of the signature or, as
    /// some do, of the key; GM/T 0010 has a number of its own for SM2 signatures.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedSuite`], naming what it is as far as we know it.
    pub fn of_signer(digest: ObjectIdentifier, signature: ObjectIdentifier) -> Result<Self, CryptoError> {
        match (digest, signature) {
            (SHA256, ECDSA_WITH_SHA256 | EC_PUBLIC_KEY) => Ok(Self::EcdsaP256Sha256),
            (SHA256, RSA_WITH_SHA256 | RSA) => Ok(Self::RsaSha256),
            (SM3, SM2_WITH_SM3 | SM2_SIGNING | SM2) => Ok(Self::Sm2Sm3),
            _ => Err(CryptoError::UnsupportedSuite { suite: format!("{} with {}", known(signature), known(digest)) }),
        }
    }

    /// The suite of a key with this algorithm and, for elliptic curves, this curve.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedSuite`].
    pub fn of_key(algorithm: ObjectIdentifier, curve: Option<ObjectIdentifier>) -> Result<Self, CryptoError> {
        match (algorithm, curve) {
            (EC_PUBLIC_KEY, Some(P256)) => Ok(Self::EcdsaP256Sha256),
            (EC_PUBLIC_KEY, Some(SM2)) => Ok(Self::Sm2Sm3),
            (RSA, None) => Ok(Self::RsaSha256),
            (algorithm, curve) => Err(CryptoError::UnsupportedSuite { suite: known(curve.unwrap_or(algorithm)) }),
        }
    }

    /// Whether `signature` over `message` is by the key with these bits (`subjectPublicKey`). Elliptic curve signatures
    /// may be DER or raw r‖s.
    pub(super) fn verifies(self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn SignatureVerificationAlgorithm = match self {
            Self::EcdsaP256Sha256 => webpki::ring::ECDSA_P256_SHA256,
            Self::RsaSha256 => webpki::ring::RSA_PKCS1_2048_8192_SHA256,
            Self::Sm2Sm3 => sm2::WITH_SM3,
        };
        let der;
        let signature = match self {
            Self::EcdsaP256Sha256 => {
                der = ecdsa_der(signature);
                der.as_slice()
            }
            Self::RsaSha256 | Self::Sm2Sm3 => signature,
        };
        algorithm.verify_signature(key, message, signature).is_ok()
    }
}

/// Whether `signature` over `message` is by this certificate's key, by the algorithm whose AlgorithmIdentifier holds these
/// bytes: any that certificates may be signed with.
pub(super) fn verifies_by_id(by: &Certificate, algorithm_id: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
        algorithm.signature_alg_id().as_ref() == algorithm_id
            && algorithm.public_key_alg_id().as_ref() == by.key_algorithm_id()
    };
    let verifies = |algorithm: &&dyn SignatureVerificationAlgorithm| {
        algorithm.verify_signature(by.key_bits(), message, signature).is_ok()
    };
    ALGORITHMS.iter().filter(fits).any(verifies)
}

/// ECDSA signatures as DER `SEQUENCE { r, s }`: raw r‖s of 64 bytes is turned into it, anything else is left alone.
fn ecdsa_der(signature: &[u8]) -> Vec<u8> {
    match p256::ecdsa::Signature::from_slice(signature) {
        Ok(raw) if signature.len() == 64 => raw.to_der().as_bytes().to_vec(),
        _ => signature.to_vec(),
    }
}

/// SHA-256.
pub(super) const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// SM3.
pub(super) const SM3: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.401");
/// ecdsa-with-SHA256.
pub(super) const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// sha256WithRSAEncryption.
pub(super) const RSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
/// SM2 with SM3 (GM/T 0006).
pub(super) const SM2_WITH_SM3: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.501");
/// The SM2 signature algorithm (GM/T 0006), as GM/T 0010 names it in signatures.
pub(super) const SM2_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.301.1");
/// id-ecPublicKey.
pub(super) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// rsaEncryption.
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// The curve P-256.
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// The curve of SM2 (GM/T 0006).
pub(super) const SM2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.301");

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
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.10045.2.1" => "elliptic curve",
        "1.3.101.112" => "Ed25519",
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.3.132.0.34" => "P-384",
        "1.3.14.3.2.26" => "SHA-1",
        _ => return text,
    };
    name.to_owned()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 })).collect()
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
    fn sm3_is_that_of_the_standard_whole_and_streamed() {
        // GB/T 32905-2016, A.1 and A.2.
        let long = b"abcd".repeat(16);
        for (text, expect) in [
            (&b"abc"[..], "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
            (&long, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
        ] {
            assert_eq!(hex(&DigestAlgorithm::Sm3.digest(&[text])), expect);
            assert_eq!(hex(&DigestAlgorithm::Sm3.digest_of(&mut &text[..]).unwrap()), expect);
        }
    }

    #[test]
    fn a_foreign_suite_is_named() {
        let sha1 = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
        let refused = Suite::of_signer(sha1, RSA).unwrap_err();
        assert_eq!(refused, CryptoError::UnsupportedSuite { suite: "RSA with SHA-1".into() });
        let p384 = Suite::of_key(EC_PUBLIC_KEY, Some(ObjectIdentifier::new_unwrap("1.3.132.0.34"))).unwrap_err();
        assert_eq!(p384, CryptoError::UnsupportedSuite { suite: "P-384".into() });
        assert!(Suite::of_signer(SM3, ECDSA_WITH_SHA256).is_err(), "parts of two suites");
    }
}

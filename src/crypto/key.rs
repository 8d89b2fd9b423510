//! Private keys of every suite: made, read from PKCS#8 (encrypted or not), written, and used to sign; or on a token.
//!
//! Decides: which keys are good enough (RSA: 2048 bits and more). Must not know: certificates, files. Guarantees: a key
//! is never printed and its PKCS#8 form is wiped from memory; signing is deterministic (RFC 6979, PKCS#1 v1.5): same
//! bytes, same key, same signature, but for elliptic curves on a token.

use std::fmt;
use std::path::Path;

use ::sm2::dsa::signature::Signer as _;
use ::sm2::elliptic_curve::Generate as _;
use der::asn1::ObjectIdentifier;
use der::pem::LineEnding;
use der::{Decode as _, SecretDocument, Tag};
use p256::ecdsa::DerSignature;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use ring::signature::KeyPair as _;
use zeroize::Zeroizing;

use super::asn1::{self, NotDer, octet};
use super::files::failed;
use super::token::TokenKey;
use super::{CryptoError, Suite, sm2, suite};

/// Bits of an RSA key that is made here.
const RSA_BITS: usize = 3072;

/// A private key of one suite.
pub struct PrivateKey {
    /// PKCS#8 PrivateKeyInfo, unencrypted; of a key on a token there is none.
    document: Option<SecretDocument>,
    kind: Kind,
}

enum Kind {
    EcdsaP256(p256::ecdsa::SigningKey),
    Rsa(Box<ring::rsa::KeyPair>),
    Sm2(Box<::sm2::dsa::SigningKey>),
    Token(Box<TokenKey>),
}

impl From<TokenKey> for PrivateKey {
    fn from(key: TokenKey) -> Self {
        Self { document: None, kind: Kind::Token(Box::new(key)) }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("suite", &self.suite().name()).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// A new key from the system's randomness; RSA has 3072 bits.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when the system has no randomness.
    pub fn generate(suite: Suite) -> Result<Self, CryptoError> {
        let no_randomness = |error: getrandom::Error| bad(format!("no randomness from the system: {error}"));
        let unwritable = |_| bad("a new key cannot be written as PKCS#8");
        let random = &mut getrandom::SysRng;
        let document = match suite {
            Suite::EcdsaP256Sha256 => {
                let key = p256::ecdsa::SigningKey::try_generate_from_rng(random).map_err(no_randomness)?;
                key.to_pkcs8_der().map_err(unwritable)?
            }
            Suite::RsaSha256 => {
                // The generator panics without randomness: asked for once, it will not be refused afterwards.
                getrandom::fill(&mut [0_u8; 64]).map_err(no_randomness)?;
                let mut random = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
                let key = rsa::RsaPrivateKey::new(&mut random, RSA_BITS).map_err(|error| bad(error.to_string()))?;
                key.to_pkcs8_der().map_err(unwritable)?
            }
            Suite::Sm2Sm3 => {
                let key = ::sm2::SecretKey::try_generate_from_rng(random).map_err(no_randomness)?;
                key.to_pkcs8_der().map_err(unwritable)?
            }
        };
        Self::from_document(document)
    }

    /// The SM2 key that these words are: whoever knows them has it. For what is made up, and must be the same tomorrow.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] for words whose digest is no key; there are none among 2²²⁰.
    pub(super) fn of_words(words: &str) -> Result<Self, CryptoError> {
        let digest = super::DigestAlgorithm::Sm3.digest(&[words.as_bytes()]);
        let key = ::sm2::SecretKey::from_slice(&digest).map_err(|_| bad("the digest of these words is no key"))?;
        Self::from_document(key.to_pkcs8_der().map_err(|_| bad("a key of words cannot be written as PKCS#8"))?)
    }

    /// From PKCS#8 in PEM. The password is needed exactly when it is encrypted (PBES2, RFC 8018).
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when it is not such a key or of no suite; [`CryptoError::Password`] when the password is
    /// missing or wrong.
    pub fn from_pem(pem: &str, password: Option<&str>) -> Result<Self, CryptoError> {
        let (label, document) = SecretDocument::from_pem(pem)
            .map_err(|_| bad("the file is not one private key in PKCS#8 PEM (BEGIN PRIVATE KEY)"))?;
        match label {
            "PRIVATE KEY" => Self::from_document(document),
            "ENCRYPTED PRIVATE KEY" => {
                let password =
                    password.ok_or(CryptoError::Password { what: "the key is encrypted and none is given" })?;
                Self::from_document(decrypt(document.as_bytes(), password)?)
            }
            _ => Err(bad("it is not PKCS#8; convert it with openssl pkcs8 -topk8")),
        }
    }

    /// From a file, as [`PrivateKey::from_pem`].
    ///
    /// # Errors
    /// As [`PrivateKey::from_pem`], and [`CryptoError::File`].
    pub fn load(path: &Path, password: Option<&str>) -> Result<Self, CryptoError> {
        let pem = std::fs::read(path).map_err(failed("read", path))?;
        Self::from_pem(&String::from_utf8(pem).map_err(|_| bad("the key file is not PEM text"))?, password)
    }

    /// From unencrypted PKCS#8, DER.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, CryptoError> {
        Self::from_document(SecretDocument::try_from(der).map_err(|_| bad("it is not PKCS#8"))?)
    }

    fn from_document(document: SecretDocument) -> Result<Self, CryptoError> {
        let der = document.as_bytes();
        let (algorithm, curve) = algorithm(der).map_err(|NotDer| bad("it is not PKCS#8"))?;
        let kind = match Suite::of_key(algorithm, curve).map_err(|error| bad(error.to_string()))? {
            Suite::EcdsaP256Sha256 => Kind::EcdsaP256(
                p256::ecdsa::SigningKey::from_pkcs8_der(der).map_err(|_| bad("it is damaged: not a P-256 key"))?,
            ),
            Suite::RsaSha256 => {
                let key = ring::rsa::KeyPair::from_pkcs8(der).map_err(|why| bad(format!("as an RSA key: {why}")))?;
                Kind::Rsa(Box::new(key))
            }
            Suite::Sm2Sm3 => {
                let damaged = |_| bad("it is damaged: not an SM2 key");
                let key = ::sm2::SecretKey::from_pkcs8_der(der).map_err(damaged)?;
                let key = ::sm2::dsa::SigningKey::new(sm2::IDENTITY, &key);
                Kind::Sm2(Box::new(key.map_err(|_| bad("it is damaged: not an SM2 key"))?))
            }
        };
        Ok(Self { document: Some(document), kind })
    }

    /// PKCS#8 PrivateKeyInfo, unencrypted.
    ///
    /// # Errors
    /// [`CryptoError::Mechanism`] for a key on a token, which does not leave it.
    pub(super) fn pkcs8(&self) -> Result<&[u8], CryptoError> {
        let document = self.document.as_ref().map(SecretDocument::as_bytes);
        document.ok_or_else(|| CryptoError::Mechanism { what: "keys on tokens sign here, and do nothing else".into() })
    }

    /// The suite of its signatures.
    pub const fn suite(&self) -> Suite {
        match &self.kind {
            Kind::EcdsaP256(_) => Suite::EcdsaP256Sha256,
            Kind::Rsa(_) => Suite::RsaSha256,
            Kind::Sm2(_) => Suite::Sm2Sm3,
            Kind::Token(key) => key.suite(),
        }
    }

    /// What is kept in a file of it: PKCS#8 in PEM, encrypted under the password (PBES2: scrypt, AES-256-CBC) when there is
    /// one; of a key on a token its URI.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when the system has no randomness.
    pub fn to_pem(&self, password: Option<&str>) -> Result<Zeroizing<String>, CryptoError> {
        if let Kind::Token(key) = &self.kind {
            return Ok(Zeroizing::new(format!("{}\n", key.uri())));
        }
        let unwritable = |_| bad("it cannot be written as PEM");
        let der = self.pkcs8()?;
        let Some(password) = password else {
            let document = SecretDocument::try_from(der).map_err(|_| bad("it is not PKCS#8"))?;
            return document.to_pem("PRIVATE KEY", LineEnding::LF).map_err(unwritable);
        };
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| bad("it is not PKCS#8"))?;
        let encrypted = info.encrypt_with_rng(&mut getrandom::SysRng, password);
        let encrypted = encrypted.map_err(|_| bad("it cannot be encrypted"))?;
        encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).map_err(unwritable)
    }

    /// The public key's bits, as certificates have them: the uncompressed point (SEC 1), or RSAPublicKey (RFC 8017 A.1.1).
    pub(super) fn public_bits(&self) -> Vec<u8> {
        match &self.kind {
            Kind::EcdsaP256(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Kind::Rsa(key) => key.public_key().as_ref().to_vec(),
            Kind::Sm2(key) => key.verifying_key().to_sec1_bytes().to_vec(),
            Kind::Token(key) => key.public_bits().to_vec(),
        }
    }

    /// SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), DER.
    pub(super) fn public_info(&self) -> Vec<u8> {
        let algorithm = match self.suite() {
            Suite::EcdsaP256Sha256 => asn1::sequence(&[&asn1::oid(suite::EC_PUBLIC_KEY), &asn1::oid(suite::P256)]),
            Suite::RsaSha256 => asn1::sequence(&[&asn1::oid(suite::RSA), &asn1::element(octet::NULL, &[])]),
            Suite::Sm2Sm3 => asn1::sequence(&[&asn1::oid(suite::EC_PUBLIC_KEY), &asn1::oid(suite::SM2)]),
        };
        asn1::sequence(&[&algorithm, &asn1::bits(&self.public_bits())])
    }

    /// The signature over `message`; of elliptic curves as DER.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when the key cannot sign, which does not happen to keys that were read; on a token, those of
    /// [`TokenKey::sign`].
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match &self.kind {
            Kind::EcdsaP256(key) => {
                let signature: DerSignature = key.try_sign(message).map_err(|_| bad("it cannot sign"))?;
                Ok(signature.as_bytes().to_vec())
            }
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let random = ring::rand::SystemRandom::new();
                key.sign(&ring::signature::RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| bad("it cannot sign"))?;
                Ok(signature)
            }
            Kind::Sm2(key) => {
                let signature = key.try_sign(message).map_err(|_| bad("it cannot sign"))?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Kind::Token(key) => key.sign(message),
        }
    }
}

fn bad(what: impl Into<String>) -> CryptoError {
    CryptoError::BadKey { what: what.into() }
}

/// EncryptedPrivateKeyInfo (RFC 5958 §3) → PrivateKeyInfo.
fn decrypt(der: &[u8], password: &str) -> Result<SecretDocument, CryptoError> {
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| bad("its encryption is not PBES2"))?;
    // A wrong password shows as bad padding or, by chance, as bytes that are no key.
    encrypted.decrypt(password).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }) => bad(
            "it is encrypted by an algorithm that is not supported; convert it with openssl pkcs8 -topk8 -v2 aes256",
        ),
        _ => CryptoError::Password { what: "the key does not open with the one given" },
    })
}

/// Algorithm and curve of a PrivateKeyInfo (RFC 5958 §2).
fn algorithm(der: &[u8]) -> Result<(ObjectIdentifier, Option<ObjectIdentifier>), NotDer> {
    let mut fields = asn1::single(der, Tag::Sequence)?.inside()?;
    fields.expect(Tag::Integer)?;
    let mut algorithm = fields.expect(Tag::Sequence)?.inside()?;
    let oid = algorithm.expect(Tag::ObjectIdentifier)?.oid()?;
    let curve = algorithm.optional(Tag::ObjectIdentifier)?.map(|curve| curve.oid()).transpose()?;
    Ok((oid, curve))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_suite_sign_and_read_back() {
        for suite in Suite::ALL {
            let key = PrivateKey::generate(suite).unwrap();
            let again = PrivateKey::from_pem(&key.to_pem(None).unwrap(), None).unwrap();
            assert_eq!((again.suite(), again.public_bits()), (suite, key.public_bits()));
            let signature = key.sign(b"message").unwrap();
            assert_eq!(again.sign(b"message").unwrap(), signature, "{suite:?}: deterministic");
            assert!(suite.verifies(&key.public_bits(), b"message", &signature));
            assert!(!suite.verifies(&key.public_bits(), b"messagE", &signature));
            assert!(!format!("{key:?}").contains(&super::super::hex(&key.public_bits())));
        }
    }

    #[test]
    fn an_encrypted_key_opens_with_its_password_only() {
        for suite in [Suite::EcdsaP256Sha256, Suite::Sm2Sm3] {
            let key = PrivateKey::generate(suite).unwrap();
            let pem = key.to_pem(Some("口令 pass")).unwrap();
            assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
            let read = |password| PrivateKey::from_pem(&pem, password).map(|k| k.public_bits()).map_err(|e| e.code());
            assert_eq!(read(Some("口令 pass")), Ok(key.public_bits()));
            assert_eq!(read(Some("口令 pasS")), Err("HL0717"));
            assert_eq!(read(None), Err("HL0717"));
        }
    }

    #[test]
    fn what_is_no_key_of_ours_is_refused() {
        let p384 = "-----BEGIN PRIVATE KEY-----\nMBACAQAwEAYHKoZIzj0CAQYFK4EEACI=\n-----END PRIVATE KEY-----\n";
        for pem in ["", "key", p384, "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n"] {
            assert_eq!(PrivateKey::from_pem(pem, None).unwrap_err().code(), "HL0710", "{pem}");
        }
    }
}

//! Our signing key with its certificate chain.
//!
//! Decides: whether key and certificates fit and may sign at a moment. Must not know: what is signed. Guarantees: the
//! key is never printed; signing is deterministic (RFC 6979): same bytes, same moment, same key, same signature.

use std::fmt;
use std::path::Path;

use chrono::{DateTime, Utc};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::DecodePrivateKey as _;

use super::certificate::Certificate;
use super::{CryptoError, Suite, cms, suite};

/// A private key; one variant for each suite that signs.
enum PrivateKey {
    EcdsaP256(SigningKey),
}

/// A signing key, its certificate and the certificates between it and the root.
pub struct Signer {
    key: PrivateKey,
    chain: Vec<Certificate>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("subject", &self.certificate().subject()).finish_non_exhaustive()
    }
}

impl Signer {
    pub(super) fn new(key: SigningKey, mut chain: Vec<Certificate>) -> Result<Self, CryptoError> {
        let bad = |what: &str| Err(CryptoError::BadKey { what: what.to_owned() });
        let Some(leaf) = chain.first() else { return bad("there is no certificate for it") };
        if leaf.key_algorithm() != (suite::EC_PUBLIC_KEY, Some(suite::P256)) {
            return bad("its certificate is for a key of another kind; P-256 is needed");
        }
        if leaf.key_bits() != key.verifying_key().to_sec1_point(false).as_bytes() {
            return bad("it does not belong to the first certificate of the chain");
        }
        // The root is what a verifier brings along; one that we send proves nothing.
        let mut position = 0;
        chain.retain(|certificate| {
            position += 1;
            position == 1 || !certificate.is_self_issued()
        });
        Ok(Self { key: PrivateKey::EcdsaP256(key), chain })
    }

    /// From PEM texts: the key in PKCS#8, the chain with the signer's certificate first.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when the key is encrypted, of another kind or does not fit the certificate,
    /// [`CryptoError::BadCertificate`] when a certificate cannot be read.
    pub fn from_pem(key: &str, chain: &[u8]) -> Result<Self, CryptoError> {
        let chain = Certificate::all_from_pem(chain)?;
        if key.contains("BEGIN ENCRYPTED PRIVATE KEY") {
            return Err(CryptoError::BadKey { what: "it is encrypted; give it unencrypted PKCS#8".into() });
        }
        let key = SigningKey::from_pkcs8_pem(key)
            .map_err(|_| CryptoError::BadKey { what: "it is not a P-256 private key in PKCS#8 PEM".into() })?;
        Self::new(key, chain)
    }

    /// From files, as [`Signer::from_pem`].
    ///
    /// # Errors
    /// As [`Signer::from_pem`], and [`CryptoError::File`].
    pub fn load(key: &Path, chain: &Path) -> Result<Self, CryptoError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| CryptoError::File {
                act: "read",
                path: path.display().to_string(),
                why: error.to_string(),
            })
        };
        let key = String::from_utf8(read(key)?)
            .map_err(|_| CryptoError::BadKey { what: "the key file is not PEM text".into() })?;
        Self::from_pem(&key, &read(chain)?)
    }

    /// The signer's certificate.
    pub fn certificate(&self) -> &Certificate {
        self.chain.first().expect("a chain without a leaf is refused when it is made")
    }

    /// The suite of its signatures.
    pub const fn suite(&self) -> Suite {
        match self.key {
            PrivateKey::EcdsaP256(_) => Suite::EcdsaP256Sha256,
        }
    }

    /// Whether it may sign at this moment.
    ///
    /// # Errors
    /// [`CryptoError::Expired`], [`CryptoError::NotYetValid`], [`CryptoError::WrongUse`].
    pub fn check(&self, at: DateTime<Utc>) -> Result<(), CryptoError> {
        self.certificate().check_signs_data()?;
        self.chain.iter().try_for_each(|certificate| certificate.check_validity(at))
    }

    /// A detached CMS signature (RFC 5652) over `content`, said to be made at `at` (whole seconds).
    ///
    /// # Errors
    /// As [`Signer::check`]: a certificate that receivers would refuse does not sign.
    pub fn sign_detached(&self, content: &[u8], at: DateTime<Utc>) -> Result<Vec<u8>, CryptoError> {
        self.check(at)?;
        let attributes = cms::attributes_to_sign(&self.suite().digest().digest(&[content]), at);
        let signature = match &self.key {
            PrivateKey::EcdsaP256(key) => {
                let signature: DerSignature = key.sign(&attributes);
                signature.as_bytes().to_vec()
            }
        };
        cms::write(self.suite(), &self.chain, &attributes, &signature)
            .ok_or_else(|| CryptoError::BadKey { what: "there is no certificate for it".into() })
    }
}

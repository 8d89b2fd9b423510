//! Our signing key with its certificate chain.
//!
//! Decides: whether key and certificates fit and may sign at a moment. Must not know: what is signed. Guarantees: the
//! key is never printed; signing is deterministic: same bytes, same moment, same key, same signature.

use std::fmt;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::certificate::Certificate;
use super::token::{RefusedPins, TokenKey};
use super::{CryptoError, PrivateKey, Purpose, Suite, cms};
use crate::config::{Password, TokenUri};

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
    /// A key with its chain, the key's own certificate first.
    ///
    /// # Errors
    /// [`CryptoError::OtherKind`] when the certificate is for a key of another kind, [`CryptoError::BadKey`] when it is for
    /// another key.
    pub fn new(key: PrivateKey, mut chain: Vec<Certificate>) -> Result<Self, CryptoError> {
        belongs(&key, &chain)?;
        // The root is what a verifier brings along; one that we send proves nothing.
        let mut position = 0;
        chain.retain(|certificate| {
            position += 1;
            position == 1 || !certificate.is_self_issued()
        });
        Ok(Self { key, chain })
    }

    /// From PEM texts: the key in PKCS#8, the chain with the signer's certificate first. The password is needed exactly
    /// when the key is encrypted.
    ///
    /// # Errors
    /// As [`Signer::new`] and [`PrivateKey::from_pem`]; [`CryptoError::BadCertificate`] when a certificate cannot be read.
    pub fn from_pem(key: &str, chain: &[u8], password: Option<&str>) -> Result<Self, CryptoError> {
        Self::new(PrivateKey::from_pem(key, password)?, Certificate::all_from_pem(chain)?)
    }

    /// From files, as [`Signer::from_pem`].
    ///
    /// # Errors
    /// As [`Signer::from_pem`], and [`CryptoError::File`].
    pub fn load(key: &Path, chain: &Path, password: Option<&str>) -> Result<Self, CryptoError> {
        Self::new(PrivateKey::load(key, password)?, Certificate::load_all(chain)?)
    }

    /// With a key on a token, for those who keep nothing: a token that was shown a wrong PIN is left alone.
    ///
    /// # Errors
    /// As [`Signer::new`], and those of the token.
    pub fn on_token(uri: TokenUri, chain: &Path, pin: Option<&Password>) -> Result<Self, CryptoError> {
        let key = TokenKey::open(uri, pin, RefusedPins::forgotten())?;
        Self::new(key.into(), Certificate::load_all(chain)?)
    }

    /// The signer's certificate.
    pub fn certificate(&self) -> &Certificate {
        self.chain.first().expect("a chain without a leaf is refused when it is made")
    }

    /// Certificates between it and the root.
    pub fn between(&self) -> &[Certificate] {
        self.chain.get(1..).unwrap_or_default()
    }

    /// The suite of its signatures.
    pub const fn suite(&self) -> Suite {
        self.key.suite()
    }

    /// Whether it may sign at this moment.
    ///
    /// # Errors
    /// [`CryptoError::Expired`], [`CryptoError::NotYetValid`], [`CryptoError::WrongUse`].
    pub fn check(&self, at: DateTime<Utc>) -> Result<(), CryptoError> {
        self.certificate().check_use(Purpose::SignData)?;
        self.chain.iter().try_for_each(|certificate| certificate.check_validity(at))
    }

    /// A detached CMS signature (RFC 5652) over `content`, said to be made at `at` (whole seconds).
    ///
    /// # Errors
    /// As [`Signer::check`]: a certificate that receivers would refuse does not sign.
    pub fn sign_detached(&self, content: &[u8], at: DateTime<Utc>) -> Result<Vec<u8>, CryptoError> {
        self.check(at)?;
        self.signed(&cms::attributes_to_sign(&self.suite().digest().digest(&[content]), at))
    }

    /// The same at the level CAdES-B-B (ETSI EN 319 122-1), as containers of evidence have it.
    ///
    /// # Errors
    /// As [`Signer::sign_detached`].
    pub fn sign_cades(&self, content: &[u8], at: DateTime<Utc>) -> Result<Vec<u8>, CryptoError> {
        self.check(at)?;
        let digest = self.suite().digest().digest(&[content]);
        self.signed(&cms::cades_attributes_to_sign(&digest, at, self.certificate()))
    }

    /// The signature over a SET of attributes.
    pub(super) fn signed(&self, attributes: &[u8]) -> Result<Vec<u8>, CryptoError> {
        cms::write(self.suite(), &self.chain, attributes, &self.key.sign(attributes)?)
            .ok_or_else(|| CryptoError::BadKey { what: "there is no certificate for it".into() })
    }
}

/// Whether a key belongs to the first certificate of a chain.
pub(super) fn belongs(key: &PrivateKey, chain: &[Certificate]) -> Result<(), CryptoError> {
    let bad = |what: &str| Err(CryptoError::BadKey { what: what.to_owned() });
    let Some(leaf) = chain.first() else { return bad("there is no certificate for it") };
    match leaf.suite() {
        Ok(suite) if suite == key.suite() => {}
        other => return Err(CryptoError::other_kind(key.suite(), other)),
    }
    if leaf.key_bits() == key.public_bits() {
        Ok(())
    } else {
        bad("it does not belong to the first certificate of the chain")
    }
}

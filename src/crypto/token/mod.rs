//! Keys on PKCS#11 tokens (令牌, HSM): found, made, and used to sign without ever leaving them.
//!
//! Decides: which key is meant, and by which mechanism it signs. Must not know: what is signed, where URIs are written.
//! Guarantees: what a token gives is verified by the key's public half before anybody gets it; a token that is away, and
//! only that, is worth another try; a PIN that was refused is not tried again (`pins`).
//!
//! ECDSA by a token is not deterministic: the same bytes signed again give another signature that is as good.

mod master;
mod pins;
mod session;

use std::fmt;

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use der::Decode as _;
use der::Tag;
use der::asn1::ObjectIdentifier;

pub(super) use self::master::TokenMaster;
pub(super) use self::pins::RefusedPins;
use self::session::{Entered, Holder};
use super::{CryptoError, DigestAlgorithm, Suite, asn1, suite};
use crate::config::{Password, TokenUri};

/// Bits of an RSA key that is made on a token; more are slow on many.
const RSA_BITS: u64 = 3072;

/// A private key that stays on its token.
pub(super) struct TokenKey {
    holder: Holder,
    suite: Suite,
    public: Vec<u8>,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("uri", &self.uri().to_string()).finish_non_exhaustive()
    }
}

impl TokenKey {
    /// Finds a key.
    ///
    /// # Errors
    /// [`CryptoError::TokenModule`], [`CryptoError::TokenAway`], [`CryptoError::Pin`], [`CryptoError::TokenObject`],
    /// [`CryptoError::Mechanism`].
    pub fn open(uri: TokenUri, pin: Option<&Password>, refused: RefusedPins) -> Result<Self, CryptoError> {
        let holder = Holder::new(uri, pin.cloned(), refused);
        let (suite, public) = holder.enter(false, |entered| {
            let private = key(entered, &holder.uri)?;
            let id = attributes(entered, private, &[AttributeType::Id])?.into_iter().find_map(|found| match found {
                Attribute::Id(id) if !id.is_empty() => Some(id),
                _ => None,
            });
            read(entered, &holder.uri, private, id)
        })?;
        Ok(Self { holder, suite, public })
    }

    /// Makes a key on the token, under the label of the URI, which must be free.
    ///
    /// # Errors
    /// As [`TokenKey::open`]; [`CryptoError::Mechanism`] for SM2, for which PKCS#11 has none.
    pub fn make(
        uri: TokenUri,
        suite: Suite,
        pin: Option<&Password>,
        refused: RefusedPins,
    ) -> Result<Self, CryptoError> {
        let (mechanism, mut public, kind) = match suite {
            Suite::EcdsaP256Sha256 => (
                Mechanism::EccKeyPairGen,
                vec![Attribute::EcParams(asn1::oid(suite::P256))],
                MechanismType::ECC_KEY_PAIR_GEN,
            ),
            Suite::RsaSha256 => {
                let bits = vec![Attribute::ModulusBits(RSA_BITS.into()), Attribute::PublicExponent(vec![1, 0, 1])];
                (Mechanism::RsaPkcsKeyPairGen, bits, MechanismType::RSA_PKCS_KEY_PAIR_GEN)
            }
            Suite::Sm2Sm3 => return Err(no_sm2()),
        };
        let holder = Holder::new(uri, pin.cloned(), refused);
        let mut id = vec![0_u8; 16];
        getrandom::fill(&mut id).map_err(|error| CryptoError::BadKey { what: error.to_string() })?;
        let label = holder.uri.object.clone().unwrap_or_default().into_bytes();
        let named = [Attribute::Token(true), Attribute::Id(id), Attribute::Label(label)];
        public.extend(named.iter().cloned().chain([Attribute::Verify(true), Attribute::Private(false)]));
        let secret = [
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        let private: Vec<Attribute> = named.into_iter().chain(secret).collect();
        holder.enter(true, |entered| {
            if !entered.find(&wanted(&holder.uri, ObjectClass::PRIVATE_KEY))?.is_empty() {
                let what = format!("there is a key {} on it already; nothing was changed", holder.uri.key_text());
                return Err(CryptoError::TokenObject { token: holder.uri.token_text(), what });
            }
            entered.demand(kind)?;
            entered.say(entered.session.generate_key_pair(&mechanism, &public, &private)).map(drop)
        })?;
        let Holder { uri, pin, refused } = holder;
        Self::open(uri, pin.as_ref(), refused)
    }

    /// Which key this is.
    pub fn uri(&self) -> &TokenUri {
        &self.holder.uri
    }

    /// The suite of its signatures.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The public key's bits, as certificates have them.
    pub fn public_bits(&self) -> &[u8] {
        &self.public
    }

    /// The signature over `message`; of elliptic curves as DER.
    ///
    /// # Errors
    /// As [`TokenKey::open`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let signature = self.holder.enter(false, |entered| {
            let key = key(entered, &self.holder.uri)?;
            match self.suite {
                Suite::EcdsaP256Sha256 => {
                    entered.demand(MechanismType::ECDSA)?;
                    let digest = DigestAlgorithm::Sha256.digest(&[message]);
                    let raw = entered.say(entered.session.sign(&Mechanism::Ecdsa, key, &digest))?;
                    let signature = p256::ecdsa::Signature::from_slice(&raw);
                    let signature = signature.map_err(|_| entered.away("its signature is not of P-256"))?;
                    Ok(signature.to_der().as_bytes().to_vec())
                }
                Suite::RsaSha256 => {
                    entered.demand(MechanismType::SHA256_RSA_PKCS)?;
                    entered.say(entered.session.sign(&Mechanism::Sha256RsaPkcs, key, message))
                }
                Suite::Sm2Sm3 => Err(no_sm2()),
            }
        })?;
        if self.suite.verifies(&self.public, message, &signature) {
            Ok(signature)
        } else {
            let why = "its signature does not verify by its own public key".into();
            Err(CryptoError::TokenAway { token: self.holder.uri.token_text(), why })
        }
    }
}

fn no_sm2() -> CryptoError {
    CryptoError::Mechanism {
        what: "PKCS#11 has none for SM2 with SM3 (国密); such tokens speak SKF (GM/T 0016) or SDF (GM/T 0018)".into(),
    }
}

/// What an object must be.
fn wanted(uri: &TokenUri, class: ObjectClass) -> Vec<Attribute> {
    let mut template = vec![Attribute::Class(class)];
    template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.as_ref().map(|id| Attribute::Id(id.clone())));
    template
}

/// The one private key that the URI names.
fn key(entered: &Entered<'_>, uri: &TokenUri) -> Result<ObjectHandle, CryptoError> {
    let found = entered.find(&wanted(uri, ObjectClass::PRIVATE_KEY))?;
    let bad = |what: String| Err(CryptoError::TokenObject { token: uri.token_text(), what });
    match found.as_slice() {
        [one] => Ok(*one),
        [] => bad(format!("there is no private key {} on it", uri.key_text())),
        all => bad(format!("{} private keys {} are on it; say which by id", all.len(), uri.key_text())),
    }
}

fn attributes(
    entered: &Entered<'_>,
    object: ObjectHandle,
    which: &[AttributeType],
) -> Result<Vec<Attribute>, CryptoError> {
    entered.say(entered.session.get_attributes(object, which))
}

/// Suite and public half of a private key.
fn read(
    entered: &Entered<'_>,
    uri: &TokenUri,
    private: ObjectHandle,
    id: Option<Vec<u8>>,
) -> Result<(Suite, Vec<u8>), CryptoError> {
    let kinds = attributes(entered, private, &[AttributeType::KeyType])?;
    let bad = |what: &str| CryptoError::TokenObject {
        token: uri.token_text(),
        what: format!("the key {} {what}", uri.key_text()),
    };
    if kinds.iter().any(|found| matches!(found, Attribute::KeyType(KeyType::RSA))) {
        // A private RSA key says its public half itself.
        let parts = attributes(entered, private, &[AttributeType::Modulus, AttributeType::PublicExponent])?;
        let part = |of: AttributeType| {
            parts.iter().find(|found| found.attribute_type() == of).and_then(|found| match found {
                Attribute::Modulus(bytes) | Attribute::PublicExponent(bytes) => Some(asn1::unsigned(bytes)),
                _ => None,
            })
        };
        let parts = part(AttributeType::Modulus).zip(part(AttributeType::PublicExponent));
        let (modulus, exponent) = parts.ok_or_else(|| bad("does not say its public half"))?;
        if modulus.len() < 2048 / 8 {
            return Err(bad("has fewer than 2048 bits"));
        }
        return Ok((Suite::RsaSha256, asn1::sequence(&[&modulus, &exponent])));
    }
    if !kinds.iter().any(|found| matches!(found, Attribute::KeyType(KeyType::EC))) {
        return Err(bad("is neither RSA nor of an elliptic curve"));
    }
    let mut template = wanted(uri, ObjectClass::PUBLIC_KEY);
    if let Some(id) = id {
        template = vec![Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id)];
    }
    let public = *entered.find(&template)?.first().ok_or_else(|| bad("has no public key beside it"))?;
    let parts = attributes(entered, public, &[AttributeType::EcParams, AttributeType::EcPoint])?;
    let (mut curve, mut point) = (None, None);
    for part in parts {
        match part {
            Attribute::EcParams(bytes) => curve = ObjectIdentifier::from_der(&bytes).ok(),
            // An OCTET STRING by the standard; some tokens give the point itself.
            Attribute::EcPoint(bytes) => {
                let inner = asn1::single(&bytes, Tag::OctetString).map(|element| element.value.to_vec());
                point = Some(inner.unwrap_or(bytes));
            }
            _ => {}
        }
    }
    match curve.map(|curve| Suite::of_key(suite::EC_PUBLIC_KEY, Some(curve))) {
        Some(Ok(Suite::EcdsaP256Sha256)) => {
            Ok((Suite::EcdsaP256Sha256, point.ok_or_else(|| bad("does not say its public half"))?))
        }
        Some(Ok(Suite::Sm2Sm3)) => Err(no_sm2()),
        _ => Err(bad("is of a curve that is not P-256")),
    }
}

//! A master key (主密钥) that stays on its token: data keys are wrapped there.
//!
//! Decides: the mechanism, AES-256-GCM (PKCS#11 v2.40 §2.12.3), nonce and tag beside the wrapped key. Must not know: what the
//! data keys are for. Guarantees: a token that is away is told from one that did not wrap a key.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use zeroize::Zeroizing;

use super::session::{Entered, Holder};
use super::{RefusedPins, attributes, wanted};
use crate::config::{Password, TokenUri};
use crate::crypto::at_rest::{KEY, Wrapper};
use crate::crypto::{CryptoError, DigestAlgorithm, hex};

const NONCE: usize = 12;
const TAG: usize = 16;
/// What is wrapped is nothing else.
const MEANT_FOR: &[u8] = b"huiliu data key 1";

/// See the module.
pub(in crate::crypto) struct TokenMaster {
    holder: Holder,
    id: String,
}

impl TokenMaster {
    /// Finds the key that the URI names.
    ///
    /// # Errors
    /// As [`super::TokenKey::open`].
    pub fn open(uri: TokenUri, pin: Option<&Password>, refused: RefusedPins) -> Result<Self, CryptoError> {
        let holder = Holder::new(uri, pin.cloned(), refused);
        let own: Vec<Vec<u8>> = holder.enter(false, |entered| {
            entered.demand(MechanismType::AES_GCM)?;
            let said = attributes(entered, secret(entered, &holder.uri)?, &[AttributeType::Id, AttributeType::Label])?;
            let bytes = |part| match part {
                Attribute::Id(bytes) | Attribute::Label(bytes) => bytes,
                _ => Vec::new(),
            };
            Ok(said.into_iter().map(bytes).collect())
        })?;
        let token = holder.uri.token_text();
        let mut parts: Vec<&[u8]> = vec![b"huiliu master key on a token", token.as_bytes()];
        parts.extend(own.iter().map(Vec::as_slice));
        let id = hex(&DigestAlgorithm::Sha256.digest(&parts)[..8]);
        Ok(Self { holder, id })
    }

    /// Makes a key on the token, under the label of the URI, which must be free.
    ///
    /// # Errors
    /// As [`super::TokenKey::open`].
    pub fn make(uri: TokenUri, pin: Option<&Password>, refused: RefusedPins) -> Result<Self, CryptoError> {
        let holder = Holder::new(uri, pin.cloned(), refused);
        let mut id = vec![0_u8; 16];
        fill(&mut id)?;
        let label = holder.uri.object.clone().unwrap_or_default().into_bytes();
        let template = [
            Attribute::Token(true),
            Attribute::Id(id),
            Attribute::Label(label),
            Attribute::ValueLen((KEY as u64).into()),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        holder.enter(true, |entered| {
            if !entered.find(&wanted(&holder.uri, ObjectClass::SECRET_KEY))?.is_empty() {
                let what = format!("there is a key {} on it already; nothing was changed", holder.uri.key_text());
                return Err(CryptoError::TokenObject { token: holder.uri.token_text(), what });
            }
            entered.demand(MechanismType::AES_GCM)?;
            entered.demand(MechanismType::AES_KEY_GEN)?;
            entered.say(entered.session.generate_key(&Mechanism::AesKeyGen, &template)).map(drop)
        })?;
        let Holder { uri, pin, refused } = holder;
        Self::open(uri, pin.as_ref(), refused)
    }
}

impl Wrapper for TokenMaster {
    fn id(&self) -> String {
        self.id.clone()
    }

    fn wrap(&self, key: &[u8; KEY]) -> Result<Vec<u8>, CryptoError> {
        self.holder.enter(false, |entered| {
            let mut nonce = [0; NONCE];
            fill(&mut nonce)?;
            let master = secret(entered, &self.holder.uri)?;
            let sealed = {
                let parameters = entered.say(GcmParams::new(&mut nonce, MEANT_FOR, (8 * TAG as u64).into()))?;
                entered.say(entered.session.encrypt(&Mechanism::AesGcm(parameters), master, key))?
            };
            Ok([nonce.as_slice(), &sealed].concat()) // a token that draws its own nonce has written it there
        })
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Option<Zeroizing<[u8; KEY]>>, CryptoError> {
        let Some((nonce, sealed)) = wrapped.split_first_chunk::<NONCE>().filter(|(_, s)| s.len() == KEY + TAG) else {
            return Ok(None);
        };
        self.holder.enter(false, |entered| {
            let master = secret(entered, &self.holder.uri)?;
            let mut nonce = *nonce;
            let parameters = entered.say(GcmParams::new(&mut nonce, MEANT_FOR, (8 * TAG as u64).into()))?;
            match entered.session.decrypt(&Mechanism::AesGcm(parameters), master, sealed) {
                Ok(key) => {
                    let key = Zeroizing::new(key);
                    Ok(key.as_slice().try_into().ok().map(Zeroizing::new))
                }
                // Libraries differ in how they say that a tag does not fit.
                Err(Error::Pkcs11(
                    RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange | RvError::GeneralError,
                    _,
                )) => Ok(None),
                Err(error) => entered.say(Err(error)),
            }
        })
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), CryptoError> {
    getrandom::fill(bytes).map_err(|error| CryptoError::BadKey { what: error.to_string() })
}

/// The one AES key that the URI names.
fn secret(entered: &Entered<'_>, uri: &TokenUri) -> Result<ObjectHandle, CryptoError> {
    let mut template = wanted(uri, ObjectClass::SECRET_KEY);
    template.push(Attribute::KeyType(KeyType::AES));
    let found = entered.find(&template)?;
    let bad = |what: String| Err(CryptoError::TokenObject { token: uri.token_text(), what });
    match found.as_slice() {
        [one] => Ok(*one),
        [] => bad(format!("there is no AES key {} on it", uri.key_text())),
        all => bad(format!("{} AES keys {} are on it; say which by id", all.len(), uri.key_text())),
    }
}

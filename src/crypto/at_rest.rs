//! Values at rest (落盘加密): the master key, the data keys that it wraps, and how one value is encrypted.
//!
//! A data key is 32 random bytes, kept wrapped (RFC 3394). Every use of it has keys of its own, derived by HKDF-SHA-256
//! (RFC 5869) from the data key and the names of what they are for. A value is encrypted with AES-256-GCM; its nonce is
//! the first 96 bits of HMAC-SHA-256, under a key of its own, over place and value. So the same value at the same place
//! is the same text every time, and two different ones never meet under one nonce, whatever is rolled back, repeated or
//! restored; a random nonce would promise no more, and would make what did not change look changed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::{aead, hkdf, hmac};
use zeroize::Zeroizing;

/// Bytes of master and data keys.
pub(super) const KEY: usize = 32;
const NONCE: usize = aead::NONCE_LEN;
const TAG: usize = 16;
/// Bytes that encryption adds to a value: generation, nonce, tag.
pub const OVERHEAD: usize = 1 + NONCE + TAG;
/// Values are filled up to multiples of this, so that an amount's length does not tell its size.
const FILL: usize = 16;
/// Bytes of a blind index (盲索引).
const INDEX: usize = 16;
/// Begins every encrypted text.
pub const MARK: &str = "hl1:";

/// The generation of a data key, from 1.
pub type Generation = u8;

/// Whoever wraps data keys: a key in a file or a variable here, or one on a token (令牌).
pub trait Wrapper: Send + Sync {
    /// Tells this key from others, and says nothing about it.
    fn id(&self) -> String;
    /// Wraps a data key.
    ///
    /// # Errors
    /// Those of a token.
    fn wrap(&self, key: &[u8; KEY]) -> Result<Vec<u8>, super::CryptoError>;
    /// Unwraps what it wrapped; `None` for anything else.
    ///
    /// # Errors
    /// Those of a token.
    fn unwrap(&self, wrapped: &[u8]) -> Result<Option<Zeroizing<[u8; KEY]>>, super::CryptoError>;
}

/// A master key (主密钥) of 256 bits, as text in base64.
pub struct MasterKey(Zeroizing<[u8; KEY]>);

impl MasterKey {
    /// Reads what [`new_master`] made; `None` when that is not 32 bytes in base64.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    fn wrapping(&self) -> aes_kw::KwAes256 {
        aes_kw::KwAes256::new((&*self.0).into())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl Wrapper for MasterKey {
    fn id(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        super::hex(&hmac::sign(&key, b"huiliu master key id").as_ref()[..8])
    }

    fn wrap(&self, key: &[u8; KEY]) -> Result<Vec<u8>, super::CryptoError> {
        let mut wrapped = vec![0; KEY + 8];
        let done = self.wrapping().wrap_key(key, &mut wrapped).map(drop);
        done.map_err(|_| super::CryptoError::BadKey { what: "it wraps nothing".into() })?;
        Ok(wrapped)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Option<Zeroizing<[u8; KEY]>>, super::CryptoError> {
        let mut key = Zeroizing::new([0; KEY]);
        let done = self.wrapping().unwrap_key(wrapped, key.as_mut_slice()).is_ok();
        Ok(done.then_some(key))
    }
}

/// The text of a new master key.
///
/// # Errors
/// When the machine has no randomness to give.
pub fn new_master() -> Result<Zeroizing<String>, super::CryptoError> {
    Ok(Zeroizing::new(STANDARD.encode(fresh()?.as_slice())))
}

/// Makes a master key in a new file that only its owner may read.
///
/// # Errors
/// [`super::CryptoError::File`] when the file is there already or cannot be written.
pub fn make_master(path: &Path) -> Result<(), super::CryptoError> {
    if path.exists() {
        let why = "it exists; a key that was overwritten opens nothing any more".to_owned();
        return Err(super::CryptoError::File { act: "make", path: path.display().to_string(), why });
    }
    let text = Zeroizing::new(format!("{}\n", new_master()?.as_str()));
    super::files::write_whole(path, text.as_bytes(), 0o600)
}

fn fresh() -> Result<Zeroizing<[u8; KEY]>, super::CryptoError> {
    let mut key = Zeroizing::new([0; KEY]);
    getrandom::fill(key.as_mut_slice()).map_err(|error| super::CryptoError::BadKey { what: error.to_string() })?;
    Ok(key)
}

/// The data keys (数据密钥) of a store, unwrapped. What is looked up by equality is always encrypted under the first one;
/// everything else under the newest.
#[derive(Clone, Default)]
pub struct DataKeys(BTreeMap<Generation, Zeroizing<[u8; KEY]>>);

impl DataKeys {
    /// With one more of these; the number says which.
    pub fn put(&mut self, generation: Generation, key: Zeroizing<[u8; KEY]>) {
        self.0.insert(generation, key);
    }

    /// Makes the next one; `None` when there are 255.
    ///
    /// # Errors
    /// When the machine has no randomness to give.
    pub fn renew(&mut self) -> Result<Option<Generation>, super::CryptoError> {
        let Some(next) = self.newest().unwrap_or(0).checked_add(1) else { return Ok(None) };
        self.put(next, fresh()?);
        Ok(Some(next))
    }

    /// The newest; `None` when there is none.
    pub fn newest(&self) -> Option<Generation> {
        self.0.keys().next_back().copied()
    }

    /// Wrapped by `wrapper`, oldest first.
    ///
    /// # Errors
    /// Those of a token.
    pub fn wrapped(&self, wrapper: &dyn Wrapper) -> Result<Vec<(Generation, Vec<u8>)>, super::CryptoError> {
        self.0.iter().map(|(generation, key)| Ok((*generation, wrapper.wrap(key)?))).collect()
    }

    /// For values of one use, such as `["cell", "person", "phone"]`: keys of every generation.
    pub fn cipher(&self, purpose: &[&str]) -> Cipher {
        let keys = self.0.iter().map(|(generation, key)| (*generation, Keys::derive(key, purpose))).collect();
        Cipher { keys, fill: true }
    }

    /// As [`Self::cipher`] for values that are found by what they are: always under the first generation, and nothing
    /// is filled up.
    pub fn lookup(&self, purpose: &[&str]) -> Cipher {
        let first = self.0.first_key_value();
        let keys = first.map(|(generation, key)| (*generation, Keys::derive(key, purpose)));
        Cipher { keys: keys.into_iter().collect(), fill: false }
    }

    /// A blind index (盲索引) for one use.
    pub fn blind(&self, purpose: &[&str]) -> Option<Blind> {
        let (_, key) = self.0.first_key_value()?;
        Some(Blind(derive(key, purpose, "index", hmac::HMAC_SHA256)))
    }

    /// Hides digests, which would let a guess be checked.
    pub fn digests(&self) -> Option<Digests> {
        let (_, key) = self.0.first_key_value()?;
        let row: hmac::Key = derive(key, &["digest"], "row", hmac::HMAC_SHA256);
        let Block(block) = derive(key, &["digest"], "block", Length(KEY));
        Some(Digests { row, block: aes::Aes256::new_from_slice(block.as_slice()).ok()? })
    }
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A length of key material that ring has no type for.
struct Length(usize);

/// A key for the bare block cipher.
struct Block(Zeroizing<[u8; KEY]>);

impl From<hkdf::Okm<'_, Length>> for Block {
    fn from(material: hkdf::Okm<'_, Length>) -> Self {
        let mut key = Zeroizing::new([0; KEY]);
        material.fill(key.as_mut_slice()).expect("the length asked for");
        Self(key)
    }
}

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Names with their lengths, so that no two lists of names run together.
fn info(purpose: &[&str], part: &str) -> Vec<u8> {
    let mut info = Vec::new();
    for name in purpose.iter().chain(&[part]) {
        info.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
        info.extend_from_slice(name.as_bytes());
    }
    info
}

fn pseudorandom(key: &[u8; KEY]) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"huiliu at rest 1").extract(key)
}

fn derive<L: hkdf::KeyType, K: for<'a> From<hkdf::Okm<'a, L>>>(
    key: &[u8; KEY],
    purpose: &[&str],
    part: &str,
    kind: L,
) -> K {
    let info = info(purpose, part);
    let info = [info.as_slice()];
    pseudorandom(key).expand(&info, kind).expect("a key is shorter than 255 hashes").into()
}

/// The keys of one use under one data key.
#[derive(Clone)]
struct Keys {
    value: aead::LessSafeKey,
    nonce: hmac::Key,
}

impl Keys {
    fn derive(key: &[u8; KEY], purpose: &[&str]) -> Self {
        let value: aead::UnboundKey = derive(key, purpose, "value", &aead::AES_256_GCM);
        Self { value: aead::LessSafeKey::new(value), nonce: derive(key, purpose, "nonce", hmac::HMAC_SHA256) }
    }
}

/// Why a stored value does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// It was altered, or stood somewhere else.
    #[error("it was altered, or moved here from another place")]
    Altered,
    /// It was encrypted under a data key that is not here.
    #[error("it is of generation {0} of the data key, which is not here")]
    Generation(Generation),
}

/// Encrypts the values of one use.
#[derive(Clone)]
pub struct Cipher {
    keys: BTreeMap<Generation, Keys>,
    fill: bool,
}

impl Cipher {
    /// For long values, whose length says little: they are not filled up.
    #[must_use]
    pub fn for_long(self) -> Self {
        Self { fill: false, ..self }
    }

    /// Encrypts a value that stands at `place`: generation, nonce, ciphertext, tag.
    pub fn encrypt(&self, place: &[u8], value: &[u8]) -> Vec<u8> {
        let (generation, keys) = self.keys.last_key_value().expect("whoever encrypts has a data key");
        let mut out = Vec::with_capacity(OVERHEAD + value.len() + FILL);
        out.push(*generation);
        out.extend_from_slice(&[0; NONCE]);
        out.extend_from_slice(value);
        if self.fill {
            out.push(0x80);
            let filled = (value.len() + 1).next_multiple_of(FILL);
            out.resize(1 + NONCE + filled, 0);
        }
        let (head, text) = out.split_at_mut(1 + NONCE);
        let mut context = hmac::Context::with_key(&keys.nonce);
        context.update(&(place.len() as u64).to_le_bytes());
        context.update(place);
        context.update(text);
        let digest = context.sign();
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&digest.as_ref()[..NONCE]);
        head[1..].copy_from_slice(&nonce);
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let tag = keys.value.seal_in_place_separate_tag(nonce, aead::Aad::from(place), text);
        out.extend_from_slice(tag.expect("shorter than 64 GiB").as_ref());
        out
    }

    /// Opens what [`Self::encrypt`] made for the same place.
    pub fn decrypt(&self, place: &[u8], stored: &[u8]) -> Result<Vec<u8>, Closed> {
        let (generation, rest) = stored.split_first().ok_or(Closed::Altered)?;
        let keys = self.keys.get(generation).ok_or(Closed::Generation(*generation))?;
        let (nonce, text) = rest.split_first_chunk::<NONCE>().ok_or(Closed::Altered)?;
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let mut text = text.to_vec();
        let length =
            keys.value.open_in_place(nonce, aead::Aad::from(place), &mut text).map_err(|_| Closed::Altered)?.len();
        text.truncate(length);
        if self.fill {
            let end = text.iter().rposition(|byte| *byte != 0).ok_or(Closed::Altered)?;
            if text.get(end) != Some(&0x80) {
                return Err(Closed::Altered);
            }
            text.truncate(end);
        }
        Ok(text)
    }

    /// As [`Self::encrypt`], as text: [`MARK`] and base64.
    pub fn encrypt_text(&self, place: &[u8], value: &str) -> String {
        let stored = self.encrypt(place, value.as_bytes());
        let mut text = String::with_capacity(MARK.len() + stored.len() * 4 / 3 + 4);
        text.push_str(MARK);
        URL_SAFE_NO_PAD.encode_string(stored, &mut text);
        text
    }

    /// Opens what [`Self::encrypt_text`] made.
    pub fn decrypt_text(&self, place: &[u8], stored: &str) -> Result<String, Closed> {
        let text = stored.strip_prefix(MARK).ok_or(Closed::Altered)?;
        let stored = URL_SAFE_NO_PAD.decode(text).map_err(|_| Closed::Altered)?;
        String::from_utf8(self.decrypt(place, &stored)?).map_err(|_| Closed::Altered)
    }
}

/// A keyed hash for lookups (盲索引): HMAC-SHA-256, the first 128 bits.
#[derive(Clone)]
pub struct Blind(hmac::Key);

impl Blind {
    /// The index of a value, 22 characters.
    pub fn of(&self, value: &str) -> String {
        URL_SAFE_NO_PAD.encode(&hmac::sign(&self.0, value.as_bytes()).as_ref()[..INDEX])
    }
}

/// Hides digests of rows and records. An unkeyed digest of a row whose other cells are known lets everybody with a dump
/// check guesses of the missing one, and a citizen ID has few candidates.
#[derive(Clone)]
pub struct Digests {
    row: hmac::Key,
    block: aes::Aes256,
}

impl Digests {
    /// A keyed digest instead of a digest. It cannot be undone, and need not: it is only compared.
    pub fn row(&self, digest: i64) -> i64 {
        let hidden = hmac::sign(&self.row, &digest.to_le_bytes());
        hidden.as_ref().first_chunk().map_or(digest, |bytes| i64::from_le_bytes(*bytes))
    }

    /// A digest of 256 bits, encrypted block by block: its halves are random already.
    pub fn hide(&self, mut digest: [u8; 32]) -> [u8; 32] {
        for half in digest.as_chunks_mut::<16>().0 {
            self.block.encrypt_block(half.into());
        }
        digest
    }

    /// Undoes [`Self::hide`].
    pub fn show(&self, mut digest: [u8; 32]) -> [u8; 32] {
        for half in digest.as_chunks_mut::<16>().0 {
            self.block.decrypt_block(half.into());
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "370283199001011234";

    fn keys() -> DataKeys {
        let mut keys = DataKeys::default();
        keys.put(1, Zeroizing::new([7; KEY]));
        keys
    }

    #[test]
    fn a_value_opens_at_its_place_only_and_what_was_altered_never() {
        let keys = keys();
        let (cell, other) = (keys.cipher(&["cell", "person", "phone"]), keys.cipher(&["cell", "person", "address"]));
        for value in ["", ID, "崂山区", "\u{80}\0\0", &"长".repeat(500)] {
            let stored = cell.encrypt_text(b"12", value);
            assert_eq!(cell.decrypt_text(b"12", &stored).as_deref(), Ok(value));
            assert_eq!(cell.encrypt_text(b"12", value), stored, "the same again");
            assert_ne!(cell.encrypt_text(b"13", value), stored, "another place");
            assert_eq!(cell.decrypt_text(b"13", &stored), Err(Closed::Altered));
            assert_eq!(other.decrypt_text(b"12", &stored), Err(Closed::Altered));
        }
        let stored = cell.encrypt(b"12", ID.as_bytes());
        for bit in 8..stored.len() * 8 {
            let mut altered = stored.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cell.decrypt(b"12", &altered), Err(Closed::Altered), "bit {bit}");
        }
        for cut in 1..stored.len() {
            assert_eq!(cell.decrypt(b"12", &stored[..cut]), Err(Closed::Altered), "cut at {cut}");
        }
        assert_eq!(cell.decrypt_text(b"12", ID), Err(Closed::Altered), "a plain value is not believed");
    }

    #[test]
    fn lengths_of_short_values_say_nothing() {
        let cell = keys().cipher(&["cell", "fiscal", "amount"]);
        let lengths = ["1", "12.5", "123456789.1234"].map(|value| cell.encrypt(b"", value.as_bytes()).len());
        assert_eq!(lengths, [OVERHEAD + FILL; 3]);
    }

    #[test]
    fn a_new_data_key_takes_new_values_and_old_ones_still_open() {
        let mut keys = keys();
        let (old, found) = (keys.cipher(&["cell"]).encrypt(b"", b"a"), keys.lookup(&["key"]).encrypt(b"", b"a"));
        assert_eq!(keys.renew(), Ok(Some(2)));
        let cipher = keys.cipher(&["cell"]);
        assert_eq!(cipher.decrypt(b"", &old).as_deref(), Ok(&b"a"[..]));
        assert_eq!((old[0], cipher.encrypt(b"", b"a")[0]), (1, 2));
        assert_eq!(keys.lookup(&["key"]).encrypt(b"", b"a"), found, "what is looked up stays");
        let mut newest = DataKeys::default();
        newest.put(2, Zeroizing::new([9; KEY]));
        assert_eq!(newest.cipher(&["cell"]).decrypt(b"", &old), Err(Closed::Generation(1)));
    }

    #[test]
    fn a_master_key_unwraps_what_it_wrapped_and_nothing_else() {
        let [one, other] = [new_master().unwrap(), new_master().unwrap()];
        let [one, other] = [one, other].map(|text| MasterKey::from_text(&text).unwrap());
        let wrapped = one.wrap(&[5; KEY]).unwrap();
        assert_eq!(one.unwrap(&wrapped).unwrap().as_deref(), Some(&[5; KEY]));
        assert_eq!(other.unwrap(&wrapped), Ok(None));
        assert_eq!(one.unwrap(&wrapped[1..]), Ok(None));
        assert_ne!(one.id(), other.id());
        for text in ["", "short", "AAAA", &STANDARD.encode([1; 33])] {
            assert!(MasterKey::from_text(text).is_none(), "{text}");
        }
    }

    #[test]
    fn blind_indexes_are_keyed_by_what_they_are_for() {
        let keys = keys();
        let blind = |purpose: &[&str]| keys.blind(purpose).unwrap();
        assert_eq!(blind(&["person", "id"]).of(ID), blind(&["person", "id"]).of(ID));
        assert_eq!(blind(&["person", "id"]).of(ID).len(), 22);
        assert_ne!(blind(&["person", "id"]).of(ID), blind(&["per", "sonid"]).of(ID));
    }

    #[test]
    fn digests_are_hidden_and_come_back() {
        let digests = keys().digests().unwrap();
        let digest: [u8; 32] = std::array::from_fn(|i| i as u8);
        assert_ne!(digests.hide(digest), digest);
        assert_eq!(digests.show(digests.hide(digest)), digest);
        assert_eq!(digests.row(5), digests.row(5));
        assert_ne!(digests.row(5), 5);
        assert_ne!(digests.row(5), digests.row(6));
    }
}

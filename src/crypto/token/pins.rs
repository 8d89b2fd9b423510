//! PINs that a token refused: not tried again, since a token locks itself after a few wrong ones.
//!
//! Guarantees: a PIN is not to be read from what is kept, only whether it is the same (HMAC-SHA256 under a secret of the
//! file's own); every process of the installation heeds it.

use std::fs;
use std::path::PathBuf;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::super::CryptoError;
use super::super::files::{failed, write_whole};
use crate::config::Password;

/// Bytes of the secret, and of each entry behind it.
const PART: usize = 32;

/// Where it is kept; nowhere, for those who keep nothing.
#[derive(Debug, Clone)]
pub(in crate::crypto) struct RefusedPins(Option<PathBuf>);

impl RefusedPins {
    /// In this file.
    pub const fn kept(path: PathBuf) -> Self {
        Self(Some(path))
    }

    /// Nowhere: then a token that has been shown a wrong PIN since the last right one is left alone altogether.
    pub const fn forgotten() -> Self {
        Self(None)
    }

    /// Where, for people.
    pub fn place(&self) -> Option<String> {
        self.0.as_ref().map(|path| path.display().to_string())
    }

    /// Whether this token has refused this PIN; `None` when nothing is kept.
    pub fn has(&self, token: &str, pin: &Password) -> Result<Option<bool>, CryptoError> {
        let Some((_, entries)) = self.read()? else { return Ok(self.0.as_ref().map(|_| false)) };
        let (secret, entries) = entries.split_at_checked(PART).unwrap_or_default();
        let wanted = mac(secret, token, pin);
        Ok(Some(entries.chunks(PART).any(|entry| entry == wanted)))
    }

    /// Keeps that it did.
    pub fn add(&self, token: &str, pin: &Password) -> Result<(), CryptoError> {
        let Some(path) = &self.0 else { return Ok(()) };
        let mut bytes = match self.read()? {
            Some((_, bytes)) => bytes,
            None => {
                let mut secret = vec![0; PART];
                getrandom::fill(&mut secret).map_err(|error| CryptoError::BadKey { what: error.to_string() })?;
                secret
            }
        };
        let secret: Vec<u8> = bytes.iter().copied().take(PART).collect();
        bytes.extend(mac(&secret, token, pin));
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(failed("create", dir))?;
        }
        write_whole(path, &bytes, 0o600)
    }

    fn read(&self) -> Result<Option<(&PathBuf, Vec<u8>)>, CryptoError> {
        let Some(path) = self.0.as_ref().filter(|path| path.exists()) else { return Ok(None) };
        let bytes = fs::read(path).map_err(failed("read", path))?;
        Ok((bytes.len() >= PART).then_some((path, bytes)))
    }
}

fn mac(secret: &[u8], token: &str, pin: &Password) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(token.as_bytes());
    mac.update(&[0]);
    mac.update(pin.reveal().as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_pin_is_known_again_and_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let pins = RefusedPins::kept(dir.path().join("keys/refused-pins"));
        let pin = |text: &str| Password::new(text.to_owned());
        assert_eq!(pins.has("t", &pin("1234")).unwrap(), Some(false));
        pins.add("t", &pin("1234")).unwrap();
        pins.add("t", &pin("5678")).unwrap();
        for (token, text, expect) in
            [("t", "1234", true), ("t", "5678", true), ("t", "9999", false), ("u", "1234", false)]
        {
            assert_eq!(pins.has(token, &pin(text)).unwrap(), Some(expect), "{token} {text}");
        }
        let kept = fs::read(dir.path().join("keys/refused-pins")).unwrap();
        assert!(!kept.windows(4).any(|window| window == b"1234"));
        let forgotten = RefusedPins::forgotten();
        forgotten.add("t", &pin("1234")).unwrap();
        assert_eq!(forgotten.has("t", &pin("1234")).unwrap(), None);
    }
}

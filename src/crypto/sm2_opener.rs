//! Messages encrypted to an SM2 key by itself (GB/T 32918.4-2016), without an envelope.
//!
//! Decides: the forms that are read. Must not know: where messages and keys come from. Guarantees: what opens is what was
//! encrypted, for the ciphertext holds a digest of it; no panic on any bytes.

use ::sm2::pkcs8::DecodePrivateKey as _;
use ::sm2::pke::{DecryptingKey, Mode};
use ::sm2::{NonZeroScalar, SecretKey};

/// Who opens such messages.
pub struct Sm2Opener(NonZeroScalar);

impl Sm2Opener {
    /// Of a key in PEM (PKCS#8), or of its 64 hexadecimal digits; `None` when it is neither.
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let key = match text.starts_with("-----BEGIN") {
            true => SecretKey::from_pkcs8_pem(text).ok()?,
            false => SecretKey::from_slice(&super::digest_from_hex(&text.to_ascii_lowercase())?).ok()?,
        };
        Some(Self(key.to_nonzero_scalar()))
    }

    /// The message: of ASN.1 (GM/T 0009), or of C1‖C3‖C2 or the older C1‖C2‖C3 with or without the byte 04 before the point.
    pub fn open(&self, ciphertext: &[u8]) -> Option<Vec<u8>> {
        const DER: u8 = 0x30;
        const POINT: u8 = 0x04;
        let by = |mode| DecryptingKey::new_with_mode(self.0, mode);
        let raw = |bytes: &[u8]| by(Mode::C1C3C2).decrypt(bytes).or_else(|_| by(Mode::C1C2C3).decrypt(bytes)).ok();
        let asn1 = (ciphertext.first() == Some(&DER)).then(|| by(Mode::C1C3C2).decrypt_der(ciphertext).ok()).flatten();
        asn1.or_else(|| raw(ciphertext)).or_else(|| raw(&[&[POINT], ciphertext].concat()))
    }
}

impl std::fmt::Debug for Sm2Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sm2Opener(…)")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ::sm2::pkcs8::{EncodePrivateKey as _, LineEnding};
    use ::sm2::pke::EncryptingKey;

    use super::*;

    /// A private key that protects nothing: the example of GB/T 32918.5.
    pub(crate) const KEY: &str = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8";

    /// A message to [`KEY`] in every form that is around.
    pub(crate) fn sealed(message: &[u8]) -> Vec<Vec<u8>> {
        let public = SecretKey::from_slice(&crate::crypto::digest_from_hex(&KEY.to_lowercase()).unwrap()).unwrap();
        let by = |mode| EncryptingKey::new_with_mode(public.public_key(), mode);
        let random = &mut getrandom::SysRng;
        let new = by(Mode::C1C3C2).encrypt(random, message).unwrap();
        let old = by(Mode::C1C2C3).encrypt(random, message).unwrap();
        let der = by(Mode::C1C3C2).encrypt_der(random, message).unwrap();
        vec![new[1..].to_vec(), old[1..].to_vec(), new, old, der]
    }

    #[test]
    fn every_form_opens_and_no_altered_one() {
        let opener = Sm2Opener::from_text(KEY).unwrap();
        let message = "证照".as_bytes();
        for (form, sealed) in sealed(message).into_iter().enumerate() {
            assert_eq!(opener.open(&sealed).as_deref(), Some(message), "{form}");
            for at in 0..sealed.len() {
                let mut altered = sealed.clone();
                altered[at] ^= 1;
                assert_ne!(opener.open(&altered).as_deref(), Some(message), "{form} {at}");
                assert_eq!(opener.open(&sealed[..at]), None, "{form} {at}");
            }
        }
    }

    #[test]
    fn keys_come_in_pem_and_in_hexadecimal() {
        let key = SecretKey::from_slice(&crate::crypto::digest_from_hex(&KEY.to_lowercase()).unwrap()).unwrap();
        let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
        let sealed = sealed(b"x").remove(0);
        assert!(Sm2Opener::from_text(&pem).is_some_and(|opener| opener.open(&sealed).is_some()));
        for wrong in [
            "",
            "00",
            KEY.trim_start_matches('3'),
            &"0".repeat(64),
            "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----",
        ] {
            assert!(Sm2Opener::from_text(wrong).is_none(), "{wrong}");
        }
    }
}

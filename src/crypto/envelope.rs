//! Encryption to one recipient's certificate: CMS EnvelopedData (RFC 5652 §6) and AuthEnvelopedData (RFC 5083).
//!
//! Decides: which algorithms go with which key. RSA: OAEP with SHA-256 (RFC 3560), AES-256-GCM. P-256: an ephemeral key, X9.63
//! with SHA-256, AES-256 key wrap (RFC 5753), AES-256-GCM. SM2: SM2 encryption (GB/T 32918.4, GM/T 0010), SM4-CBC. Must not
//! know: what is encrypted. Guarantees: a new content key every time; RSA PKCS#1 v1.5, which leaks by its timing, is not
//! opened; SM4-CBC proves nothing by itself, so what it holds must be covered by a digest that is checked first.

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use der::Tag;
use der::asn1::ObjectIdentifier;
use zeroize::Zeroizing;

use super::asn1::{self, Element, Elements, NotDer, octet};
use super::cms::DATA;
use super::key_transport::{self, Wrapped};
use super::{Certificate, CryptoError, PrivateKey, Purpose, Suite};

const ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
const GM_ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.6.1.4.2.3");
const AUTH_ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.23");
const AES_256_GCM: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.46");
const AES_256_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42");
const SM4_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.104.2");
/// Bytes of a GCM tag.
const TAG_BYTES: usize = 16;

/// A content key, wiped after use.
pub(super) type ContentKey = Zeroizing<Vec<u8>>;

/// To whom something is encrypted.
#[derive(Debug, Clone)]
pub struct Recipient {
    certificate: Certificate,
    suite: Suite,
}

impl Recipient {
    /// The owner of this certificate. Whether it is to be believed is asked of [`super::Trust`].
    ///
    /// # Errors
    /// [`CryptoError::WrongUse`] when it is for something else, [`CryptoError::UnsupportedSuite`].
    pub fn new(certificate: Certificate) -> Result<Self, CryptoError> {
        certificate.check_use(Purpose::ReceiveData)?;
        Ok(Self { suite: certificate.suite()?, certificate })
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// How content is encrypted: `aes-256-gcm`, `sm4-cbc`.
    pub const fn algorithm(&self) -> &'static str {
        match self.suite {
            Suite::EcdsaP256Sha256 | Suite::RsaSha256 => "aes-256-gcm",
            Suite::Sm2Sm3 => "sm4-cbc",
        }
    }

    /// Encrypts `content`, DER. Never the same bytes twice.
    ///
    /// # Errors
    /// [`CryptoError::Sealed`] when the certificate's key cannot be encrypted to or the system has no randomness.
    pub fn encrypt(&self, content: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match self.suite {
            Suite::EcdsaP256Sha256 | Suite::RsaSha256 => self.encrypt_gcm(content),
            Suite::Sm2Sm3 => self.encrypt_sm4(content),
        }
    }

    fn encrypt_gcm(&self, content: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (key, nonce) = (random::<32>()?, random::<12>()?);
        let mut bytes = content.to_vec();
        let tag = gcm(key.as_slice())?
            .seal_in_place_separate_tag(gcm_nonce(&nonce[..])?, ring::aead::Aad::empty(), &mut bytes)
            .map_err(|_| sealed("the content is too long for one key"))?;
        let parameters = asn1::sequence(&[&asn1::element(octet::OCTET_STRING, &[&nonce[..]]), &asn1::unsigned(&[16])]);
        let inside = asn1::sequence(&[
            &asn1::unsigned(&[0]),
            &asn1::element(octet::SET, &[&key_transport::wrap(&self.certificate, self.suite, &key[..])?]),
            &encrypted_content(AES_256_GCM, &parameters, &bytes),
            &asn1::element(octet::OCTET_STRING, &[tag.as_ref()]),
        ]);
        Ok(outermost(AUTH_ENVELOPED_DATA, &inside))
    }

    fn encrypt_sm4(&self, content: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (key, iv) = (random::<16>()?, random::<16>()?);
        let cipher = cbc::Encryptor::<sm4::Sm4>::new_from_slices(&key[..], &iv[..]).map_err(|_| sealed("SM4"))?;
        let bytes = cipher.encrypt_padded_vec::<Pkcs7>(content);
        let parameters = asn1::element(octet::OCTET_STRING, &[&iv[..]]);
        let inside = asn1::sequence(&[
            &asn1::unsigned(&[0]),
            &asn1::element(octet::SET, &[&key_transport::wrap(&self.certificate, self.suite, &key[..])?]),
            &encrypted_content(SM4_CBC, &parameters, &bytes),
        ]);
        Ok(outermost(ENVELOPED_DATA, &inside))
    }
}

/// A private key with its certificate, to open what was encrypted to it.
#[derive(Debug)]
pub struct Opener {
    key: PrivateKey,
    certificate: Certificate,
}

impl Opener {
    /// A key and its own certificate.
    ///
    /// # Errors
    /// [`CryptoError::OtherKind`], [`CryptoError::BadKey`] when they do not belong together.
    pub fn new(key: PrivateKey, certificate: Certificate) -> Result<Self, CryptoError> {
        super::signer::belongs(&key, std::slice::from_ref(&certificate))?;
        Ok(Self { key, certificate })
    }

    /// From files: the key in PKCS#8 PEM, its certificate in PEM.
    ///
    /// # Errors
    /// As [`Opener::new`], [`PrivateKey::load`] and [`Certificate::load_all`].
    pub fn load(
        key: &std::path::Path,
        certificate: &std::path::Path,
        password: Option<&str>,
    ) -> Result<Self, CryptoError> {
        Self::new(PrivateKey::load(key, password)?, Certificate::load_all(certificate)?.swap_remove(0))
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Opens what was encrypted to the certificate: our own forms, and AES-256-CBC.
    ///
    /// # Errors
    /// [`CryptoError::Sealed`] when it was encrypted to others, otherwise, or was altered.
    pub fn decrypt(&self, envelope: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let parts = Envelope::parse(envelope)?;
        let mine = parts.recipients.iter().find(|wrapped| wrapped.names(&self.certificate));
        let mine = mine.ok_or_else(|| sealed("it is encrypted to another certificate"))?;
        let key = key_transport::unwrap(&self.key, mine)?;
        // One answer to whatever is wrong behind the key: who asks learns nothing about it.
        parts.open(&key).ok_or_else(|| sealed("it was altered, or its key is another's"))
    }
}

/// The parts of an envelope, as slices of the received bytes.
struct Envelope<'a> {
    recipients: Vec<Wrapped<'a>>,
    algorithm: ObjectIdentifier,
    parameters: Element<'a>,
    content: &'a [u8],
    tag: Option<&'a [u8]>,
}

impl<'a> Envelope<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, CryptoError> {
        read(bytes).map_err(|NotDer| sealed("it is not a DER EnvelopedData or AuthEnvelopedData as we read them"))
    }

    fn open(&self, key: &[u8]) -> Option<Vec<u8>> {
        match (self.algorithm, self.tag) {
            (AES_256_GCM, Some(tag)) => {
                let mut fields = self.parameters.inside().ok()?;
                let nonce = fields.expect(Tag::OctetString).ok()?.value;
                let tag_bytes = fields.expect(Tag::Integer).and_then(|e| e.small()).ok()?;
                if usize::from(tag_bytes) != TAG_BYTES || tag.len() != TAG_BYTES {
                    return None;
                }
                let mut bytes = [self.content, tag].concat();
                let opened = gcm(key).ok()?.open_in_place(gcm_nonce(nonce).ok()?, ring::aead::Aad::empty(), &mut bytes);
                let length = opened.ok()?.len();
                bytes.truncate(length);
                Some(bytes)
            }
            (AES_256_CBC, None) => {
                let cipher = cbc::Decryptor::<aes::Aes256>::new_from_slices(key, self.parameters.value).ok()?;
                cipher.decrypt_padded_vec::<Pkcs7>(self.content).ok()
            }
            (SM4_CBC, None) => {
                let cipher = cbc::Decryptor::<sm4::Sm4>::new_from_slices(key, self.parameters.value).ok()?;
                cipher.decrypt_padded_vec::<Pkcs7>(self.content).ok()
            }
            _ => None,
        }
    }
}

fn read(bytes: &[u8]) -> Result<Envelope<'_>, NotDer> {
    let mut outer = asn1::single(bytes, Tag::Sequence)?.inside()?;
    let kind = outer.expect(Tag::ObjectIdentifier)?.oid()?;
    let wrapped = outer.expect(asn1::context(0))?;
    outer.end()?;
    let mut fields = asn1::single(wrapped.value, Tag::Sequence)?.inside()?;
    fields.expect(Tag::Integer)?;
    fields.optional(asn1::context(0))?;
    let recipients = key_transport::read(fields.expect(Tag::Set)?)?;
    let mut inner = fields.expect(Tag::Sequence)?.inside()?;
    inner.expect(Tag::ObjectIdentifier)?;
    let mut algorithm = inner.expect(Tag::Sequence)?.inside()?;
    let (oid, parameters) = (algorithm.expect(Tag::ObjectIdentifier)?.oid()?, algorithm.any()?);
    algorithm.end()?;
    let content = inner.expect(asn1::context_primitive(0))?.value;
    inner.end()?;
    let tag = tag(kind, fields)?;
    Ok(Envelope { recipients, algorithm: oid, parameters, content, tag })
}

/// What follows the content: in AuthEnvelopedData the tag, and no attributes, which nobody here would check.
fn tag(kind: ObjectIdentifier, mut rest: Elements<'_>) -> Result<Option<&[u8]>, NotDer> {
    match kind {
        AUTH_ENVELOPED_DATA => {
            let tag = rest.expect(Tag::OctetString)?.value;
            rest.end()?;
            Ok(Some(tag))
        }
        ENVELOPED_DATA | GM_ENVELOPED_DATA => {
            rest.optional(asn1::context(1))?;
            rest.end()?;
            Ok(None)
        }
        _ => Err(NotDer),
    }
}

fn encrypted_content(algorithm: ObjectIdentifier, parameters: &[u8], bytes: &[u8]) -> Vec<u8> {
    asn1::sequence(&[
        &asn1::oid(DATA),
        &asn1::sequence(&[&asn1::oid(algorithm), parameters]),
        &asn1::element(octet::CONTEXT_0_PRIMITIVE, &[bytes]),
    ])
}

fn outermost(kind: ObjectIdentifier, inside: &[u8]) -> Vec<u8> {
    asn1::sequence(&[&asn1::oid(kind), &asn1::element(octet::CONTEXT_0, &[inside])])
}

fn gcm(key: &[u8]) -> Result<ring::aead::LessSafeKey, CryptoError> {
    let key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, key);
    Ok(ring::aead::LessSafeKey::new(key.map_err(|_| sealed("its content key has a wrong length"))?))
}

fn gcm_nonce(bytes: &[u8]) -> Result<ring::aead::Nonce, CryptoError> {
    ring::aead::Nonce::try_assume_unique_for_key(bytes).map_err(|_| sealed("its nonce has a wrong length"))
}

pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, CryptoError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut bytes[..]).map_err(|error| sealed(format!("no randomness from the system: {error}")))?;
    Ok(bytes)
}

pub(super) fn sealed(what: impl Into<String>) -> CryptoError {
    CryptoError::Sealed { what: what.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::issue::tests::{authority_of, leaf};
    use crate::crypto::tests::encryption;

    #[test]
    fn only_the_owner_opens_it_and_it_is_never_the_same() {
        for suite in Suite::ALL {
            let (_, recipient, opener, other) = encryption(suite);
            for content in [&b""[..], b"x", "汇流".repeat(10_000).as_bytes()] {
                let envelope = recipient.encrypt(content).unwrap();
                assert_eq!(opener.decrypt(&envelope).unwrap(), content, "{suite:?}");
                assert_ne!(recipient.encrypt(content).unwrap(), envelope);
                assert_eq!(other.decrypt(&envelope).unwrap_err().code(), "HL0718");
            }
        }
    }

    #[test]
    fn an_altered_envelope_does_not_open_to_the_same_and_never_panics() {
        for suite in Suite::ALL {
            let (_, recipient, opener, _) = encryption(suite);
            let content = b"a body of some bytes, longer than a block";
            let envelope = recipient.encrypt(content).unwrap();
            for at in 0..envelope.len() {
                let mut altered = envelope.clone();
                altered[at] ^= 1;
                match opener.decrypt(&altered) {
                    Err(error) => assert_eq!(error.code(), "HL0718"),
                    // CBC without a tag: the digest in the manifest is what refuses it. And parts nobody reads.
                    Ok(opened) => assert!(suite == Suite::Sm2Sm3 || opened == content, "{suite:?} byte {at}"),
                }
            }
            for end in 0..envelope.len() {
                assert!(opener.decrypt(envelope.get(..end).unwrap()).is_err(), "{suite:?} cut at {end}");
            }
        }
    }

    #[test]
    fn a_certificate_for_signing_is_not_encrypted_to() {
        for suite in Suite::ALL {
            let (root, key) = authority_of(suite, "root");
            let signing = leaf(&key, &root, |_| {}).certificate;
            assert_eq!(Recipient::new(signing).unwrap_err().code(), "HL0707", "{suite:?}");
        }
    }
}

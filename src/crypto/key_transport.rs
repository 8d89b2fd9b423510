//! How a content key reaches its one recipient: CMS RecipientInfo (RFC 5652 §6.2), by kind of key.
//!
//! Decides: the forms that are written and read. Must not know: the content. Guarantees: an ephemeral key is used once;
//! a recipient is found by the issuer and serial number or the key identifier of its certificate.

use der::Tag;
use der::asn1::ObjectIdentifier;
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::DecodePrivateKey as _;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::asn1::{self, Element, NotDer, octet};
use super::cms::SignerId;
use super::envelope::{ContentKey, sealed};
use super::{Certificate, CryptoError, DigestAlgorithm, PrivateKey, Suite, suite};

const RSA_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
/// SM2 encryption (GM/T 0006).
const SM2_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.301.3");
/// dhSinglePass-stdDH-sha256kdf-scheme (RFC 5753 §7.1.4).
const ECDH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.1.11.1");
const AES_256_WRAP: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.45");

/// A content key as it travels to one recipient.
pub(super) struct Wrapped<'a> {
    recipient: SignerId<'a>,
    algorithm: ObjectIdentifier,
    parameters: Option<Element<'a>>,
    /// The sender's ephemeral point and its further words, for key agreement.
    ephemeral: Option<(&'a [u8], Option<&'a [u8]>)>,
    key: &'a [u8],
}

impl Wrapped<'_> {
    /// Whether it is for the owner of this certificate.
    pub(super) fn names(&self, certificate: &Certificate) -> bool {
        self.recipient.names(certificate)
    }
}

/// RecipientInfo with this content key for the owner of `certificate`.
pub(super) fn wrap(certificate: &Certificate, suite: Suite, key: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let random = &mut getrandom::SysRng;
    let unusable = || sealed(format!("the key of {} cannot be encrypted to", certificate.subject()));
    match suite {
        Suite::RsaSha256 => {
            let public = rsa::pkcs1::DecodeRsaPublicKey::from_pkcs1_der(certificate.key_bits());
            let public: rsa::RsaPublicKey = public.map_err(|_| unusable())?;
            let mut random = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
            let encrypted = public.encrypt(&mut random, rsa::Oaep::<Sha256>::new(), key).map_err(|_| unusable())?;
            Ok(transported(certificate, &oaep_algorithm(), &encrypted))
        }
        Suite::Sm2Sm3 => {
            let public = ::sm2::pke::EncryptingKey::from_sec1_bytes(certificate.key_bits()).map_err(|_| unusable())?;
            let encrypted = public.encrypt_der(random, key).map_err(|_| unusable())?;
            Ok(transported(certificate, &asn1::sequence(&[&asn1::oid(SM2_ENCRYPTION)]), &encrypted))
        }
        Suite::EcdsaP256Sha256 => {
            let public = p256::PublicKey::from_sec1_bytes(certificate.key_bits()).map_err(|_| unusable())?;
            let own = p256::SecretKey::try_generate_from_rng(random).map_err(|error| sealed(error.to_string()))?;
            let shared = p256::ecdh::diffie_hellman(own.to_nonzero_scalar(), public.as_affine());
            let wrapping = wrapping_key(shared.raw_secret_bytes(), None);
            let mut wrapped = vec![0; key.len() + 8];
            aes_wrap(&wrapping)?.wrap_key(key, &mut wrapped).map_err(|_| unusable())?;
            Ok(agreed(certificate, &own.public_key().to_sec1_bytes(), &wrapped))
        }
    }
}

/// The content key, by the owner's private key.
pub(super) fn unwrap(private: &PrivateKey, wrapped: &Wrapped<'_>) -> Result<ContentKey, CryptoError> {
    let closed = || sealed("its content key does not open with this private key");
    let der = private.pkcs8()?;
    let key = match (private.suite(), wrapped.algorithm) {
        (Suite::RsaSha256, RSA_OAEP) => {
            if !wrapped.parameters.is_some_and(|parameters| is_oaep_with_sha256(parameters).unwrap_or(false)) {
                return Err(sealed("OAEP with another digest than SHA-256"));
            }
            let private = rsa::RsaPrivateKey::from_pkcs8_der(der).map_err(|_| closed())?;
            let mut random = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
            private.decrypt_blinded(&mut random, rsa::Oaep::<Sha256>::new(), wrapped.key).map_err(|_| closed())?
        }
        (Suite::Sm2Sm3, SM2_ENCRYPTION | suite::SM2) => {
            let private = ::sm2::SecretKey::from_pkcs8_der(der).map_err(|_| closed())?;
            ::sm2::pke::DecryptingKey::new(private).decrypt_der(wrapped.key).map_err(|_| closed())?
        }
        (Suite::EcdsaP256Sha256, ECDH_SHA256) => {
            let private = p256::SecretKey::from_pkcs8_der(der).map_err(|_| closed())?;
            let (point, words) = wrapped.ephemeral.ok_or_else(closed)?;
            let public = p256::PublicKey::from_sec1_bytes(point).map_err(|_| closed())?;
            let shared = p256::ecdh::diffie_hellman(private.to_nonzero_scalar(), public.as_affine());
            let wrapping = wrapping_key(shared.raw_secret_bytes(), words);
            let mut key = vec![0; wrapped.key.len().saturating_sub(8)];
            aes_wrap(&wrapping)?.unwrap_key(wrapped.key, &mut key).map_err(|_| closed())?;
            key
        }
        (_, other) => return Err(sealed(format!("its content key is encrypted by {}", suite::known(other)))),
    };
    Ok(Zeroizing::new(key))
}

/// RecipientInfos that name a certificate; others are passed over.
pub(super) fn read(set: Element<'_>) -> Result<Vec<Wrapped<'_>>, NotDer> {
    let mut elements = set.inside()?;
    let mut all = Vec::new();
    while !elements.is_empty() {
        let element = elements.any()?;
        if element.tag == Tag::Sequence {
            all.push(read_transported(element)?);
        } else if element.tag == asn1::context(1) {
            all.extend(read_agreed(element)?);
        }
    }
    Ok(all)
}

fn read_transported(element: Element<'_>) -> Result<Wrapped<'_>, NotDer> {
    let mut fields = element.inside()?;
    fields.expect(Tag::Integer)?;
    let recipient = match fields.optional(asn1::context_primitive(0))? {
        Some(id) => SignerId::SubjectKeyId(id.value),
        None => issuer_and_serial(fields.expect(Tag::Sequence)?)?,
    };
    let (algorithm, parameters) = algorithm(fields.expect(Tag::Sequence)?)?;
    let key = fields.expect(Tag::OctetString)?.value;
    fields.end()?;
    Ok(Wrapped { recipient, algorithm, parameters, ephemeral: None, key })
}

fn read_agreed(element: Element<'_>) -> Result<Vec<Wrapped<'_>>, NotDer> {
    let mut fields = element.inside()?;
    fields.expect(Tag::Integer)?;
    let mut originator = fields.expect(asn1::context(0))?.inside()?;
    let mut public = originator.expect(asn1::context(1))?.inside()?;
    public.expect(Tag::Sequence)?;
    let point = public.expect(Tag::BitString)?.value.split_first().ok_or(NotDer)?.1;
    let words = match fields.optional(asn1::context(1))? {
        Some(words) => Some(asn1::single(words.value, Tag::OctetString)?.raw),
        None => None,
    };
    let (scheme, parameters) = algorithm(fields.expect(Tag::Sequence)?)?;
    let (wrap, _) = algorithm(parameters.ok_or(NotDer)?)?;
    if wrap != AES_256_WRAP {
        return Err(NotDer);
    }
    let mut keys = fields.expect(Tag::Sequence)?.inside()?;
    fields.end()?;
    let mut all = Vec::new();
    while !keys.is_empty() {
        let mut one = keys.expect(Tag::Sequence)?.inside()?;
        let recipient = match one.optional(asn1::context(0))? {
            Some(id) => SignerId::SubjectKeyId(id.inside()?.expect(Tag::OctetString)?.value),
            None => issuer_and_serial(one.expect(Tag::Sequence)?)?,
        };
        let key = one.expect(Tag::OctetString)?.value;
        let ephemeral = Some((point, words));
        all.push(Wrapped { recipient, algorithm: scheme, parameters: None, ephemeral, key });
    }
    Ok(all)
}

fn issuer_and_serial(element: Element<'_>) -> Result<SignerId<'_>, NotDer> {
    let mut fields = element.inside()?;
    let (issuer, serial) = (fields.expect(Tag::Sequence)?.raw, fields.expect(Tag::Integer)?.value);
    fields.end()?;
    Ok(SignerId::IssuerAndSerial { issuer, serial })
}

fn algorithm(element: Element<'_>) -> Result<(ObjectIdentifier, Option<Element<'_>>), NotDer> {
    let mut fields = element.inside()?;
    let oid = fields.expect(Tag::ObjectIdentifier)?.oid()?;
    let parameters = if fields.is_empty() { None } else { Some(fields.any()?) };
    fields.end()?;
    Ok((oid, parameters))
}

/// KeyTransRecipientInfo (RFC 5652 §6.2.1).
fn transported(certificate: &Certificate, algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let key = asn1::element(octet::OCTET_STRING, &[key]);
    asn1::sequence(&[&asn1::unsigned(&[0]), &certificate.issuer_and_serial(), algorithm, &key])
}

/// KeyAgreeRecipientInfo (RFC 5652 §6.2.2, RFC 5753 §3.1.1) with an ephemeral key.
fn agreed(certificate: &Certificate, point: &[u8], key: &[u8]) -> Vec<u8> {
    let public = [asn1::sequence(&[&asn1::oid(suite::EC_PUBLIC_KEY)]), asn1::bits(point)].concat();
    let originator = asn1::element(octet::CONTEXT_0, &[&asn1::element(octet::CONTEXT_1, &[&public])]);
    let wrap = asn1::sequence(&[&asn1::oid(AES_256_WRAP)]);
    let key = asn1::element(octet::OCTET_STRING, &[key]);
    asn1::element(
        octet::CONTEXT_1,
        &[
            &asn1::unsigned(&[3]),
            &originator,
            &asn1::sequence(&[&asn1::oid(ECDH_SHA256), &wrap]),
            &asn1::sequence(&[&asn1::sequence(&[&certificate.issuer_and_serial(), &key])]),
        ],
    )
}

/// The key-wrapping key: X9.63 with SHA-256 over the shared secret, one block of it (RFC 5753 §7.2). `words` is the sender's
/// further material, an OCTET STRING.
fn wrapping_key(shared: &[u8], words: Option<&[u8]>) -> Zeroizing<[u8; 32]> {
    let words = words.map_or_else(Vec::new, |words| asn1::element(octet::CONTEXT_0, &[words]));
    let bits = asn1::element(octet::OCTET_STRING, &[&256_u32.to_be_bytes()]);
    let info = asn1::sequence(&[
        &asn1::sequence(&[&asn1::oid(AES_256_WRAP)]),
        &words,
        &asn1::element(octet::CONTEXT_2, &[&bits]),
    ]);
    Zeroizing::new(DigestAlgorithm::Sha256.digest(&[shared, &1_u32.to_be_bytes(), &info]))
}

fn aes_wrap(key: &[u8; 32]) -> Result<aes_kw::KwAes256, CryptoError> {
    use aes::cipher::KeyInit as _;
    aes_kw::KwAes256::new_from_slice(key).map_err(|_| sealed("AES key wrap"))
}

/// Whether RSAES-OAEP-params (RFC 8017 A.2.1) name SHA-256 for both digests and no label, with parameters NULL or without.
fn is_oaep_with_sha256(parameters: Element<'_>) -> Result<bool, NotDer> {
    let mut fields = parameters.inside()?;
    let (digest, _) = algorithm(asn1::single(fields.expect(asn1::context(0))?.value, Tag::Sequence)?)?;
    let (mask, of) = algorithm(asn1::single(fields.expect(asn1::context(1))?.value, Tag::Sequence)?)?;
    fields.end()?;
    let (mask_digest, _) = algorithm(of.ok_or(NotDer)?)?;
    Ok((digest, mask, mask_digest) == (suite::SHA256, MGF1, suite::SHA256))
}

fn oaep_algorithm() -> Vec<u8> {
    asn1::sequence(&[&asn1::oid(RSA_OAEP), &oaep_parameters()])
}

/// RSAES-OAEP-params with SHA-256 for both digests and no label (RFC 8017 A.2.1).
fn oaep_parameters() -> Vec<u8> {
    let sha256 = asn1::sequence(&[&asn1::oid(suite::SHA256), &asn1::element(octet::NULL, &[])]);
    let mask = asn1::sequence(&[&asn1::oid(MGF1), &sha256]);
    asn1::sequence(&[&asn1::element(octet::CONTEXT_0, &[&sha256]), &asn1::element(octet::CONTEXT_1, &[&mask])])
}

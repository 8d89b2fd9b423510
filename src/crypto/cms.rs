//! CMS SignedData (RFC 5652 §5), detached, and its GM/T 0010-2012 form: parsing that keeps the bytes, and writing.
//!
//! Decides: the structure. Must not know: whether keys and certificates are to be believed (`verify` does).
//! Guarantees: slices of the received bytes, strict DER, no panic; versions and unused parameters are checked, so that
//! no byte of a signature file can change unnoticed.

use chrono::{DateTime, Utc};
use der::Tag;
use der::asn1::ObjectIdentifier;

use super::asn1::{self, Element, Elements, NotDer, octet};
use super::certificate::Certificate;
use super::{CryptoError, Digest, DigestAlgorithm, Suite, ess};

pub(super) const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const GM_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.6.1.4.2.1");
const GM_SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.6.1.4.2.2");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");

/// A parsed SignedData; everything borrows from the bytes it was read from.
#[derive(Debug, Clone)]
pub struct SignedData<'a> {
    /// Type of the whole: PKCS#7 (1.2.840.113549.1.7.2) or GM/T (1.2.156.10197.6.1.4.2.2) signedData.
    pub kind: ObjectIdentifier,
    /// Type of what is signed: PKCS#7 or GM/T data, or another.
    pub content_type: ObjectIdentifier,
    /// What is signed, when it is inside; `None` when the signature is detached.
    pub content: Option<&'a [u8]>,
    /// Digest algorithms announced.
    pub digest_algorithms: Vec<ObjectIdentifier>,
    /// Certificates, DER, in the order of the file.
    pub certificates: Vec<&'a [u8]>,
    /// Signers.
    pub signers: Vec<SignerInfo<'a>>,
}

/// One signer.
#[derive(Debug, Clone)]
pub struct SignerInfo<'a> {
    /// Whose certificate.
    pub id: SignerId<'a>,
    /// Digest algorithm.
    pub digest_algorithm: ObjectIdentifier,
    /// Signed attributes; imports may lack them.
    pub attributes: Option<SignedAttributes<'a>>,
    /// Signature algorithm.
    pub signature_algorithm: ObjectIdentifier,
    /// Signature value.
    pub signature: &'a [u8],
}

/// How a signer names its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignerId<'a> {
    /// By issuer (DER) and serial number.
    IssuerAndSerial {
        /// The issuer's name, DER.
        issuer: &'a [u8],
        /// The serial number's bytes.
        serial: &'a [u8],
    },
    /// By subject key identifier.
    SubjectKeyId(&'a [u8]),
}

impl SignerId<'_> {
    /// Whether this names `certificate`.
    pub fn names(&self, certificate: &Certificate) -> bool {
        match self {
            Self::IssuerAndSerial { issuer, serial } => {
                certificate.issuer_der() == *issuer && certificate.serial_bytes() == *serial
            }
            Self::SubjectKeyId(id) => certificate.subject_key_id() == Some(id),
        }
    }
}

/// The attributes a signer signed along with the content's digest (RFC 5652 §11).
#[derive(Debug, Clone)]
pub struct SignedAttributes<'a> {
    raw: &'a [u8],
    /// contentType.
    pub content_type: ObjectIdentifier,
    /// messageDigest.
    pub message_digest: &'a [u8],
    /// signingTime.
    pub signing_time: Option<DateTime<Utc>>,
}

impl SignedAttributes<'_> {
    /// What the signature is over: the received bytes, tagged as the SET they stand for (RFC 5652 §5.4).
    pub fn signed_bytes(&self) -> Vec<u8> {
        asn1::retagged(octet::SET, self.raw)
    }
}

impl<'a> SignedAttributes<'a> {
    /// The one value of another attribute; `None` when it is not there, or not with one value.
    pub(super) fn value(&self, wanted: ObjectIdentifier) -> Option<Element<'a>> {
        let mut elements = Elements::new(self.raw).ok()?.any().ok()?.inside().ok()?;
        while !elements.is_empty() {
            let mut fields = elements.expect(Tag::Sequence).ok()?.inside().ok()?;
            let oid = fields.expect(Tag::ObjectIdentifier).ok()?.oid().ok()?;
            let mut values = fields.expect(Tag::Set).ok()?.inside().ok()?;
            if oid == wanted {
                let value = values.any().ok()?;
                return values.is_empty().then_some(value);
            }
        }
        None
    }
}

impl<'a> SignedData<'a> {
    /// Reads a DER SignedData.
    ///
    /// # Errors
    /// [`CryptoError::MalformedSignature`], naming the part.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CryptoError> {
        let bad = |what| move |NotDer| CryptoError::MalformedSignature { what };
        let (kind, mut fields) = open(bytes).map_err(bad("not a DER SignedData"))?;
        let version = fields.expect(Tag::Integer).and_then(|e| e.small()).map_err(bad("version"))?;
        let digest_algorithms = fields.expect(Tag::Set).and_then(algorithms).map_err(bad("digest algorithms"))?;
        let (content_type, content) = fields.expect(Tag::Sequence).and_then(content_of).map_err(bad("content"))?;
        let certificates = fields.optional(asn1::context(0)).and_then(raw_elements).map_err(bad("certificates"))?;
        fields.optional(asn1::context(1)).map_err(bad("revocation lists"))?;
        let signers = fields.expect(Tag::Set).and_then(signers).map_err(bad("signers"))?;
        fields.end().map_err(bad("bytes after the signers"))?;

        // RFC 5652 §5.1: 3 when a signer is named by key identifier or the content is not plain data, else 1.
        let plain = matches!(content_type, DATA | GM_DATA);
        let by_key = signers.iter().any(|s| matches!(s.id, SignerId::SubjectKeyId(_)));
        if version != if plain && !by_key { 1 } else { 3 } {
            return Err(CryptoError::MalformedSignature { what: "version" });
        }
        if !signers.iter().all(|s| digest_algorithms.contains(&s.digest_algorithm)) {
            return Err(CryptoError::MalformedSignature { what: "digest algorithms" });
        }
        Ok(Self { kind, content_type, content, digest_algorithms, certificates, signers })
    }
}

fn open(bytes: &[u8]) -> Result<(ObjectIdentifier, Elements<'_>), NotDer> {
    let mut outer = asn1::single(bytes, Tag::Sequence)?.inside()?;
    let kind = outer.expect(Tag::ObjectIdentifier)?.oid()?;
    let wrapped = outer.expect(asn1::context(0))?;
    outer.end()?;
    if !matches!(kind, SIGNED_DATA | GM_SIGNED_DATA) {
        return Err(NotDer);
    }
    Ok((kind, asn1::single(wrapped.value, Tag::Sequence)?.inside()?))
}

/// AlgorithmIdentifier with parameters absent or NULL, which is all that the algorithms we know have.
fn algorithm(element: Element<'_>) -> Result<ObjectIdentifier, NotDer> {
    let mut fields = element.inside()?;
    let oid = fields.expect(Tag::ObjectIdentifier)?.oid()?;
    if fields.optional(Tag::Null)?.is_some_and(|null| !null.value.is_empty()) {
        return Err(NotDer);
    }
    fields.end()?;
    Ok(oid)
}

fn algorithms(set: Element<'_>) -> Result<Vec<ObjectIdentifier>, NotDer> {
    let mut elements = set.inside()?;
    let mut all = Vec::new();
    while !elements.is_empty() {
        all.push(algorithm(elements.expect(Tag::Sequence)?)?);
    }
    Ok(all)
}

fn content_of(element: Element<'_>) -> Result<(ObjectIdentifier, Option<&[u8]>), NotDer> {
    let mut fields = element.inside()?;
    let kind = fields.expect(Tag::ObjectIdentifier)?.oid()?;
    let content = match fields.optional(asn1::context(0))? {
        Some(wrapped) => Some(asn1::single(wrapped.value, Tag::OctetString)?.value),
        None => None,
    };
    fields.end()?;
    Ok((kind, content))
}

fn raw_elements(element: Option<Element<'_>>) -> Result<Vec<&[u8]>, NotDer> {
    let mut all = Vec::new();
    if let Some(element) = element {
        let mut elements = element.inside()?;
        while !elements.is_empty() {
            all.push(elements.expect(Tag::Sequence)?.raw);
        }
    }
    Ok(all)
}

fn signers(set: Element<'_>) -> Result<Vec<SignerInfo<'_>>, NotDer> {
    let mut elements = set.inside()?;
    let mut all = Vec::new();
    while !elements.is_empty() {
        all.push(signer(elements.expect(Tag::Sequence)?)?);
    }
    Ok(all)
}

fn signer(element: Element<'_>) -> Result<SignerInfo<'_>, NotDer> {
    let mut fields = element.inside()?;
    let version = fields.expect(Tag::Integer)?.small()?;
    let id = match (version, fields.optional(asn1::context_primitive(0))?) {
        (3, Some(key_id)) => SignerId::SubjectKeyId(key_id.value),
        (1, None) => {
            let mut name = fields.expect(Tag::Sequence)?.inside()?;
            let (issuer, serial) = (name.expect(Tag::Sequence)?.raw, name.expect(Tag::Integer)?.value);
            name.end()?;
            SignerId::IssuerAndSerial { issuer, serial }
        }
        _ => return Err(NotDer),
    };
    let digest_algorithm = algorithm(fields.expect(Tag::Sequence)?)?;
    let attributes = fields.optional(asn1::context(0))?.map(attributes).transpose()?;
    let signature_algorithm = algorithm(fields.expect(Tag::Sequence)?)?;
    let signature = fields.expect(Tag::OctetString)?.value;
    // Unsigned attributes (timestamps) prove nothing by themselves and are passed over.
    fields.optional(asn1::context(1))?;
    fields.end()?;
    Ok(SignerInfo { id, digest_algorithm, attributes, signature_algorithm, signature })
}

fn attributes(element: Element<'_>) -> Result<SignedAttributes<'_>, NotDer> {
    let (mut content_type, mut message_digest, mut signing_time) = (None, None, None);
    let mut elements = element.inside()?;
    while !elements.is_empty() {
        let mut fields = elements.expect(Tag::Sequence)?.inside()?;
        let oid = fields.expect(Tag::ObjectIdentifier)?.oid()?;
        let mut values = fields.expect(Tag::Set)?.inside()?;
        fields.end()?;
        let twice = match oid {
            CONTENT_TYPE => content_type.replace(values.any()?.oid()?).is_some(),
            MESSAGE_DIGEST => message_digest.replace(values.expect(Tag::OctetString)?.value).is_some(),
            SIGNING_TIME => signing_time.replace(values.any()?.time()?).is_some(),
            _ => continue,
        };
        if twice || !values.is_empty() {
            return Err(NotDer);
        }
    }
    Ok(SignedAttributes {
        raw: element.raw,
        content_type: content_type.ok_or(NotDer)?,
        message_digest: message_digest.ok_or(NotDer)?,
        signing_time,
    })
}

/// The attributes to be signed, as a DER SET: contentType data, this digest, this time.
pub(super) fn attributes_to_sign(digest: &Digest, at: DateTime<Utc>) -> Vec<u8> {
    asn1::set_of(octet::SET, basic(digest, at))
}

/// The same for CAdES (ETSI EN 319 122-1 §5.2.2.3): with signing-certificate-v2 (RFC 5035), which names the signer's
/// certificate by its digest.
pub(super) fn cades_attributes_to_sign(digest: &Digest, at: DateTime<Utc>, signer: &Certificate) -> Vec<u8> {
    let by = signer.suite().map_or(DigestAlgorithm::Sha256, Suite::digest);
    let hashed = asn1::element(octet::OCTET_STRING, &[&by.digest(&[signer.der()])]);
    let named = match by {
        DigestAlgorithm::Sha256 => asn1::sequence(&[&hashed]), // the default, which DER leaves out
        DigestAlgorithm::Sm3 => asn1::sequence(&[&asn1::sequence(&[&asn1::oid(by.oid())]), &hashed]),
    };
    let certificate = attribute(ess::SECOND, asn1::sequence(&[&asn1::sequence(&[&named])]));
    asn1::set_of(octet::SET, basic(digest, at).into_iter().chain([certificate]).collect())
}

pub(super) fn basic(digest: &Digest, at: DateTime<Utc>) -> Vec<Vec<u8>> {
    vec![
        attribute(CONTENT_TYPE, asn1::oid(DATA)),
        attribute(SIGNING_TIME, asn1::time(at)),
        attribute(MESSAGE_DIGEST, asn1::element(octet::OCTET_STRING, &[digest])),
    ]
}

pub(super) fn attribute(oid: ObjectIdentifier, value: Vec<u8>) -> Vec<u8> {
    asn1::sequence(&[&asn1::oid(oid), &asn1::element(octet::SET, &[&value])])
}

/// A detached SignedData by one signer: `chain` is the signer's certificate and what lies between it and the root,
/// `attributes` the SET from [`attributes_to_sign`], `signature` is over it.
pub(super) fn write(suite: Suite, chain: &[Certificate], attributes: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let leaf = chain.first()?;
    let digest = asn1::sequence(&[&asn1::oid(suite.digest().oid())]);
    let signer = asn1::sequence(&[
        &asn1::unsigned(&[1]),
        &leaf.issuer_and_serial(),
        &digest,
        &asn1::retagged(octet::CONTEXT_0, attributes),
        &suite.signature_algorithm(),
        &asn1::element(octet::OCTET_STRING, &[signature]),
    ]);
    let certificates = chain.iter().map(|c| c.der().to_vec()).collect();
    let signed = asn1::sequence(&[
        &asn1::unsigned(&[1]),
        &asn1::element(octet::SET, &[&digest]),
        &asn1::sequence(&[&asn1::oid(DATA)]),
        &asn1::set_of(octet::CONTEXT_0, certificates),
        &asn1::element(octet::SET, &[&signer]),
    ]);
    Some(asn1::sequence(&[&asn1::oid(SIGNED_DATA), &asn1::element(octet::CONTEXT_0, &[&signed])]))
}

//! X.509 certificates (RFC 5280) as far as we decide about them ourselves: names, validity, key, permitted use.
//!
//! Decides: what a certificate says. Must not know: whether to believe it (`trust` does). Guarantees: everything is
//! read from the bytes as received, which stay available unchanged; works for SM2 certificates too.

use std::path::Path;

use chrono::{DateTime, Utc};
use der::Tag;
use der::asn1::ObjectIdentifier;
use der::pem::LineEnding;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::asn1::{self, Element, Elements, NotDer};
use super::files::failed;
use super::{CryptoError, Purpose, Suite, suite};

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

/// A certificate and the bytes it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
    key_algorithm: ObjectIdentifier,
    key_parameters: Option<ObjectIdentifier>,
    key_algorithm_id: Vec<u8>,
    key: Vec<u8>,
    extensions: Extensions,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Extensions {
    key_usage: Option<u8>,
    purposes: Option<Vec<ObjectIdentifier>>,
    purposes_are_critical: bool,
    authority: bool,
    subject_key_id: Option<Vec<u8>>,
}

impl Certificate {
    /// Reads one DER certificate.
    ///
    /// # Errors
    /// [`CryptoError::BadCertificate`] when it is not one.
    pub fn from_der(der: &[u8]) -> Result<Self, CryptoError> {
        read(der).map_err(|NotDer| CryptoError::BadCertificate { what: "not an X.509 certificate".into() })
    }

    /// Reads all certificates of a PEM text, in order.
    ///
    /// # Errors
    /// [`CryptoError::BadCertificate`] when there is none, or one cannot be read.
    pub fn all_from_pem(pem: &[u8]) -> Result<Vec<Self>, CryptoError> {
        let mut all = Vec::new();
        for item in CertificateDer::pem_slice_iter(pem) {
            let der = item.map_err(|_| CryptoError::BadCertificate { what: "not PEM".into() })?;
            all.push(Self::from_der(&der)?);
        }
        if all.is_empty() {
            return Err(CryptoError::BadCertificate { what: "the file holds no certificate in PEM".into() });
        }
        Ok(all)
    }

    /// Reads all certificates of a PEM file, in order; there is at least one.
    ///
    /// # Errors
    /// As [`Certificate::all_from_pem`], and [`CryptoError::File`].
    pub fn load_all(path: &Path) -> Result<Vec<Self>, CryptoError> {
        Self::all_from_pem(&std::fs::read(path).map_err(failed("read", path))?)
    }

    /// As PEM.
    ///
    /// # Errors
    /// [`CryptoError::BadCertificate`], which does not happen to certificates that were read.
    pub fn to_pem(&self) -> Result<String, CryptoError> {
        der::pem::encode_string("CERTIFICATE", LineEnding::LF, &self.der)
            .map_err(|_| CryptoError::BadCertificate { what: "it cannot be written as PEM".into() })
    }

    /// The bytes as received.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Serial number in hexadecimal.
    pub fn serial(&self) -> String {
        suite::hex(&self.serial)
    }

    /// Subject for people: `CN=…, O=…`.
    pub fn subject(&self) -> String {
        name_text(&self.subject)
    }

    /// Issuer for people.
    pub fn issuer(&self) -> String {
        name_text(&self.issuer)
    }

    /// First moment of validity.
    pub const fn not_before(&self) -> DateTime<Utc> {
        self.not_before
    }

    /// Last moment of validity.
    pub const fn not_after(&self) -> DateTime<Utc> {
        self.not_after
    }

    /// The key's algorithm and, for elliptic curves, the curve.
    pub const fn key_algorithm(&self) -> (ObjectIdentifier, Option<ObjectIdentifier>) {
        (self.key_algorithm, self.key_parameters)
    }

    /// Whether issuer and subject are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    pub(super) fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    pub(super) fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    pub(super) fn serial_bytes(&self) -> &[u8] {
        &self.serial
    }

    /// IssuerAndSerialNumber (RFC 5652 §10.2.4), DER.
    pub(super) fn issuer_and_serial(&self) -> Vec<u8> {
        asn1::sequence(&[&self.issuer, &asn1::element(asn1::octet::INTEGER, &[&self.serial])])
    }

    pub(super) fn subject_key_id(&self) -> Option<&[u8]> {
        self.extensions.subject_key_id.as_deref()
    }

    /// The public key's bits: for elliptic curves the point (SEC 1), for RSA RSAPublicKey (RFC 8017 A.1.1).
    pub(super) fn key_bits(&self) -> &[u8] {
        &self.key
    }

    /// What stands inside the AlgorithmIdentifier of the key.
    pub(super) fn key_algorithm_id(&self) -> &[u8] {
        &self.key_algorithm_id
    }

    /// The suite of its key.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedSuite`].
    pub fn suite(&self) -> Result<Suite, CryptoError> {
        Suite::of_key(self.key_algorithm, self.key_parameters)
    }

    /// Bits of an RSA key's modulus; `None` for other keys.
    pub fn rsa_bits(&self) -> Option<u64> {
        if self.key_algorithm != suite::RSA {
            return None;
        }
        let mut fields = asn1::single(&self.key, Tag::Sequence).ok()?.inside().ok()?;
        let modulus = fields.expect(Tag::Integer).ok()?.value;
        let leading = modulus.iter().take_while(|byte| **byte == 0).count();
        let first = modulus.get(leading)?;
        Some(u64::try_from(modulus.len() - leading).ok()? * 8 - u64::from(first.leading_zeros()))
    }

    /// Whether `signature` over `message` is by this certificate's key, which must be of this suite.
    pub fn verify(&self, suite: Suite, message: &[u8], signature: &[u8]) -> bool {
        self.suite() == Ok(suite) && suite.verifies(&self.key, message, signature)
    }

    /// Whether `at` lies within the validity.
    ///
    /// # Errors
    /// [`CryptoError::Expired`], [`CryptoError::NotYetValid`].
    pub fn check_validity(&self, at: DateTime<Utc>) -> Result<(), CryptoError> {
        if at < self.not_before {
            return Err(CryptoError::NotYetValid { subject: self.subject(), not_before: self.not_before });
        }
        if at > self.not_after {
            return Err(CryptoError::Expired { subject: self.subject(), not_after: self.not_after });
        }
        Ok(())
    }

    /// Whether this certificate is for `purpose`: an end entity whose key usage (RFC 5280 §4.2.1.3) and extended key
    /// usage, if it has any, fit.
    ///
    /// # Errors
    /// [`CryptoError::WrongUse`].
    pub fn check_use(&self, purpose: Purpose) -> Result<(), CryptoError> {
        let wrong = |what| Err(CryptoError::WrongUse { subject: self.subject(), purpose, what });
        if self.extensions.authority {
            return wrong("it is a certificate authority's");
        }
        match self.extensions.key_usage {
            None => return wrong("it has no key usage"),
            Some(usage) if usage & purpose.key_usage(self.suite().ok()) == 0 => return wrong(purpose.lacking()),
            Some(_) => {}
        }
        let named = self.extensions.purposes.as_deref();
        if purpose == Purpose::StampTime && !(named.is_some() && self.extensions.purposes_are_critical) {
            return wrong("time stamping is not its one, critical purpose");
        }
        if purpose.is_among(named) { Ok(()) } else { wrong("its purposes are for something else") }
    }

    /// Whether this certificate may issue others: keyCertSign, if it says anything about usage.
    ///
    /// # Errors
    /// [`CryptoError::WrongUse`].
    pub fn check_issues(&self) -> Result<(), CryptoError> {
        match self.extensions.key_usage {
            Some(usage) if usage & 0b0000_0100 == 0 => {
                let purpose = Purpose::Issue;
                Err(CryptoError::WrongUse { subject: self.subject(), purpose, what: "its key usage lacks keyCertSign" })
            }
            _ => Ok(()),
        }
    }
}

fn read(der: &[u8]) -> Result<Certificate, NotDer> {
    let mut outer = asn1::single(der, Tag::Sequence)?.inside()?;
    let mut tbs = outer.expect(Tag::Sequence)?.inside()?;
    outer.expect(Tag::Sequence)?;
    outer.expect(Tag::BitString)?;
    outer.end()?;

    tbs.optional(asn1::context(0))?;
    let serial = tbs.expect(Tag::Integer)?;
    tbs.expect(Tag::Sequence)?;
    let issuer = tbs.expect(Tag::Sequence)?;
    let mut validity = tbs.expect(Tag::Sequence)?.inside()?;
    let (not_before, not_after) = (validity.any()?.time()?, validity.any()?.time()?);
    let subject = tbs.expect(Tag::Sequence)?;
    let mut key_info = tbs.expect(Tag::Sequence)?.inside()?;
    let key_algorithm_id = key_info.expect(Tag::Sequence)?;
    let mut algorithm = key_algorithm_id.inside()?;
    let key_algorithm = algorithm.expect(Tag::ObjectIdentifier)?.oid()?;
    let key_parameters = algorithm.optional(Tag::ObjectIdentifier)?.map(|e| e.oid()).transpose()?;
    let key = key_info.expect(Tag::BitString)?.value.split_first().ok_or(NotDer)?.1;

    Ok(Certificate {
        der: der.to_vec(),
        serial: serial.value.to_vec(),
        issuer: issuer.raw.to_vec(),
        subject: subject.raw.to_vec(),
        not_before,
        not_after,
        key_algorithm,
        key_parameters,
        key_algorithm_id: key_algorithm_id.value.to_vec(),
        key: key.to_vec(),
        extensions: read_extensions(tbs)?,
    })
}

fn read_extensions(mut tbs: Elements<'_>) -> Result<Extensions, NotDer> {
    let mut found = Extensions::default();
    while !tbs.is_empty() {
        let field = tbs.any()?;
        if field.tag != asn1::context(3) {
            continue;
        }
        let mut list = asn1::single(field.value, Tag::Sequence)?.inside()?;
        while !list.is_empty() {
            let mut extension = list.expect(Tag::Sequence)?.inside()?;
            let oid = extension.expect(Tag::ObjectIdentifier)?.oid()?;
            let critical = extension.optional(Tag::Boolean)?.is_some_and(|critical| critical.value == [0xFF]);
            let value = extension.expect(Tag::OctetString)?.value;
            found.remember(oid, critical, value)?;
        }
    }
    Ok(found)
}

impl Extensions {
    fn remember(&mut self, oid: ObjectIdentifier, critical: bool, value: &[u8]) -> Result<(), NotDer> {
        match oid {
            KEY_USAGE => {
                let bits = asn1::single(value, Tag::BitString)?.value;
                self.key_usage = Some(bits.get(1).copied().unwrap_or(0));
            }
            EXTENDED_KEY_USAGE => {
                let mut list = asn1::single(value, Tag::Sequence)?.inside()?;
                let mut purposes = Vec::new();
                while !list.is_empty() {
                    purposes.push(list.expect(Tag::ObjectIdentifier)?.oid()?);
                }
                self.purposes = Some(purposes);
                self.purposes_are_critical = critical;
            }
            BASIC_CONSTRAINTS => {
                let mut fields = asn1::single(value, Tag::Sequence)?.inside()?;
                self.authority = fields.optional(Tag::Boolean)?.is_some_and(|e| e.value == [0xFF]);
            }
            SUBJECT_KEY_ID => {
                self.subject_key_id = Some(asn1::single(value, Tag::OctetString)?.value.to_vec());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Parts of names that have a short key.
pub(super) const NAME_PARTS: [(&str, ObjectIdentifier); 7] = [
    ("CN", ObjectIdentifier::new_unwrap("2.5.4.3")),
    ("serialNumber", ObjectIdentifier::new_unwrap("2.5.4.5")),
    ("C", ObjectIdentifier::new_unwrap("2.5.4.6")),
    ("L", ObjectIdentifier::new_unwrap("2.5.4.7")),
    ("ST", ObjectIdentifier::new_unwrap("2.5.4.8")),
    ("O", ObjectIdentifier::new_unwrap("2.5.4.10")),
    ("OU", ObjectIdentifier::new_unwrap("2.5.4.11")),
];

/// A distinguished name for people. Unreadable parts are left out: this text decides nothing.
pub(super) fn name_text(name: &[u8]) -> String {
    let mut parts = Vec::new();
    if let Ok(mut sets) = asn1::single(name, Tag::Sequence).and_then(|e| e.inside()) {
        while let Ok(set) = sets.expect(Tag::Set) {
            let Ok(mut attributes) = set.inside() else { break };
            while let Ok(attribute) = attributes.expect(Tag::Sequence) {
                parts.extend(attribute_text(&attribute));
            }
        }
    }
    parts.join(", ")
}

fn attribute_text(attribute: &Element<'_>) -> Option<String> {
    let mut fields = attribute.inside().ok()?;
    let oid = fields.expect(Tag::ObjectIdentifier).ok()?.oid().ok()?;
    let value = fields.any().ok()?;
    let text = if value.tag == Tag::BmpString {
        let units = value.value.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    } else {
        String::from_utf8_lossy(value.value).into_owned()
    };
    let key = NAME_PARTS.iter().find(|(_, part)| *part == oid).map(|(key, _)| (*key).to_owned());
    let key = key.unwrap_or_else(|| oid.to_string());
    // A name is shown on terminals: no control characters.
    let shown: String = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    Some(format!("{key}={shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::issue::tests::{authority, leaf};

    #[test]
    fn names_validity_and_use_are_read() {
        let (root, key) = authority("测试根");
        let signing = leaf(&key, &root, |_| {});
        assert_eq!(signing.certificate.issuer(), "CN=测试根");
        assert_eq!(signing.certificate.subject(), "CN=signer");
        assert!(signing.certificate.check_use(Purpose::SignData).is_ok());
        assert_eq!(root.check_use(Purpose::SignData).unwrap_err().code(), "HL0707");
        assert!(root.check_issues().is_ok());
    }

    #[test]
    fn no_prefix_or_flip_of_a_certificate_panics() {
        let (root, _) = authority("root");
        for end in 0..root.der().len() {
            assert!(Certificate::from_der(root.der().get(..end).unwrap()).is_err());
        }
        for at in 0..root.der().len() {
            let mut bytes = root.der().to_vec();
            bytes[at] ^= 0x55;
            let _ = Certificate::from_der(&bytes).map(|c| c.subject());
        }
    }
}

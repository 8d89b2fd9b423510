//! X.509 certificates (RFC 5280) as far as we decide about them ourselves: names, validity, key, permitted use.
//!
//! Decides: what a certificate says. Must not know: whether to believe it (`trust` does). Guarantees: everything is
//! read from the bytes as received, which stay available unchanged; works for SM2 certificates too.

use chrono::{DateTime, Utc};
use der::Tag;
use der::asn1::ObjectIdentifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::CryptoError;
use super::asn1::{self, Element, Elements, NotDer};
use super::suite;

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

/// Purposes (extended key usage) under which data may be signed: any, e-mail protection, document signing (RFC 9336).
const SIGNING_PURPOSES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("2.5.29.37.0"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.36"),
];

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
    key: Vec<u8>,
    extensions: Extensions,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Extensions {
    key_usage: Option<u8>,
    purposes: Option<Vec<ObjectIdentifier>>,
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

    pub(super) fn subject_key_id(&self) -> Option<&[u8]> {
        self.extensions.subject_key_id.as_deref()
    }

    /// The public key's bits: for elliptic curves the point (SEC 1).
    pub(super) fn key_bits(&self) -> &[u8] {
        &self.key
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

    /// Whether this certificate is for signing data: an end entity whose key usage has digitalSignature or
    /// contentCommitment (RFC 5280 §4.2.1.3) and whose purposes, if it names any, include one for data.
    ///
    /// # Errors
    /// [`CryptoError::WrongUse`].
    pub fn check_signs_data(&self) -> Result<(), CryptoError> {
        let wrong = |what| Err(CryptoError::WrongUse { subject: self.subject(), what });
        if self.extensions.authority {
            return wrong("it is a certificate authority's");
        }
        match self.extensions.key_usage {
            None => return wrong("it has no key usage"),
            Some(usage) if usage & 0b1100_0000 == 0 => return wrong("its key usage lacks digitalSignature"),
            Some(_) => {}
        }
        match &self.extensions.purposes {
            Some(purposes) if !purposes.iter().any(|p| SIGNING_PURPOSES.contains(p)) => {
                wrong("its purposes are for something else")
            }
            _ => Ok(()),
        }
    }

    /// Whether this certificate may issue others: keyCertSign, if it says anything about usage.
    ///
    /// # Errors
    /// [`CryptoError::WrongUse`].
    pub fn check_issues(&self) -> Result<(), CryptoError> {
        match self.extensions.key_usage {
            Some(usage) if usage & 0b0000_0100 == 0 => {
                Err(CryptoError::WrongUse { subject: self.subject(), what: "its key usage lacks keyCertSign" })
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
    let mut algorithm = key_info.expect(Tag::Sequence)?.inside()?;
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
            extension.optional(Tag::Boolean)?;
            let value = extension.expect(Tag::OctetString)?.value;
            found.remember(oid, value)?;
        }
    }
    Ok(found)
}

impl Extensions {
    fn remember(&mut self, oid: ObjectIdentifier, value: &[u8]) -> Result<(), NotDer> {
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
    let oid = fields.expect(Tag::ObjectIdentifier).ok()?.oid().ok()?.to_string();
    let value = fields.any().ok()?;
    let text = if value.tag == Tag::BmpString {
        let units = value.value.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    } else {
        String::from_utf8_lossy(value.value).into_owned()
    };
    let key = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        other => other,
    };
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
        assert!(signing.certificate.check_signs_data().is_ok());
        assert_eq!(root.check_signs_data().unwrap_err().code(), "HL0707");
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

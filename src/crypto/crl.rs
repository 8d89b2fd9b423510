//! Certificate revocation lists (RFC 5280 §5): read, verified, asked.
//!
//! Decides: which lists are acceptable and what an entry means for a moment. Must not know: paths, where lists come from.
//! Guarantees: signatures are checked over the bytes as received; a list with a critical extension that is not understood
//! (delta, indirect, partitioned) is refused, because its silence would mean nothing.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use der::Tag;
use der::asn1::ObjectIdentifier;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;

use super::asn1::{self, Element, NotDer};
use super::certificate::{Certificate, name_text};
use super::{CryptoError, suite};

const REASON: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
const INVALID_SINCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.24");
/// Reasons keyCompromise, cACompromise, aACompromise: somebody else may have signed, with any date.
const COMPROMISED: [u8; 3] = [1, 2, 10];

/// One revocation list.
#[derive(Debug, Clone)]
pub struct Crl {
    issuer: Vec<u8>,
    this_update: DateTime<Utc>,
    next_update: Option<DateTime<Utc>>,
    /// By serial number.
    entries: HashMap<Vec<u8>, Entry>,
    signed: Vec<u8>,
    algorithm_id: Vec<u8>,
    signature: Vec<u8>,
}

/// One revoked certificate.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// From when on it does not count: the invalidity date where there is one, else the date of the revocation.
    since: DateTime<Utc>,
    compromised: bool,
}

impl Crl {
    /// Reads lists: one in DER, or all of a PEM text.
    ///
    /// # Errors
    /// [`CryptoError::BadCrl`] when there is none, one cannot be read, or one is of a kind that is not supported.
    pub fn all_from(bytes: &[u8]) -> Result<Vec<Self>, CryptoError> {
        Self::ders_of(bytes)?.iter().map(|der| Self::from_der(der)).collect()
    }

    /// The lists of a file, each in DER.
    ///
    /// # Errors
    /// [`CryptoError::BadCrl`] when there is none.
    pub fn ders_of(bytes: &[u8]) -> Result<Vec<Vec<u8>>, CryptoError> {
        if bytes.first() == Some(&0x30) {
            return Ok(vec![bytes.to_vec()]);
        }
        let mut all = Vec::new();
        for item in CertificateRevocationListDer::pem_slice_iter(bytes) {
            all.push(item.map_err(|_| bad("not PEM"))?.to_vec());
        }
        if all.is_empty() { Err(bad("neither DER nor PEM (BEGIN X509 CRL)")) } else { Ok(all) }
    }

    /// Reads one list.
    ///
    /// # Errors
    /// [`CryptoError::BadCrl`] when it cannot be read, or is of a kind that is not supported.
    pub fn from_der(der: &[u8]) -> Result<Self, CryptoError> {
        let (list, unknown) = read(der).map_err(|NotDer| bad("it is not an X.509 revocation list"))?;
        match unknown {
            Some(oid) => Err(bad(format!(
                "that of {} has the critical extension {oid}, which is not understood: a delta or a part proves nothing",
                list.issuer()
            ))),
            None => Ok(list),
        }
    }

    /// Whose, for people.
    pub fn issuer(&self) -> String {
        name_text(&self.issuer)
    }

    /// When the next one is due, by its own word.
    pub const fn next_update(&self) -> Option<DateTime<Utc>> {
        self.next_update
    }

    /// When it was made.
    pub const fn this_update(&self) -> DateTime<Utc> {
        self.this_update
    }

    /// How many certificates it revokes.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it revokes nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it says it is by this authority.
    pub(super) fn names(&self, issuer: &Certificate) -> bool {
        self.issuer == issuer.subject_der()
    }

    /// Whether it is signed by this authority.
    ///
    /// # Errors
    /// [`CryptoError::BadCrl`].
    pub(super) fn check_signature(&self, issuer: &Certificate) -> Result<(), CryptoError> {
        if suite::verifies_by_id(issuer, &self.algorithm_id, &self.signed, &self.signature) {
            Ok(())
        } else {
            Err(bad(format!("that in the name of {} is not signed by its key", self.issuer())))
        }
    }

    /// Whether it is up to date: the next one is not due yet, and it is not older than `max_age`.
    ///
    /// # Errors
    /// [`CryptoError::StaleCrl`].
    pub(super) fn check_fresh(&self, now: DateTime<Utc>, max_age: Option<Duration>) -> Result<(), CryptoError> {
        let age = max_age.and_then(|age| TimeDelta::from_std(age).ok());
        let by_age = age.and_then(|age| self.this_update.checked_add_signed(age));
        let due = self.next_update.into_iter().chain(by_age).min();
        match due {
            Some(due) if due < now => Err(CryptoError::StaleCrl { issuer: self.issuer(), due }),
            _ => Ok(()),
        }
    }

    /// Whether a certificate of its issuer still counts for what it did at `at`. A compromised key cannot be believed
    /// about when it signed, so that it does not count at any time, unless the time is `proven` by somebody else.
    ///
    /// # Errors
    /// [`CryptoError::Revoked`].
    pub(super) fn check_not_revoked(
        &self,
        certificate: &Certificate,
        at: DateTime<Utc>,
        proven: bool,
    ) -> Result<(), CryptoError> {
        let Some(entry) = self.entries.get(certificate.serial_bytes()) else { return Ok(()) };
        let by_compromise = entry.compromised && !proven;
        if at < entry.since && !by_compromise {
            return Ok(());
        }
        let because = if entry.compromised { ": its key became known to others" } else { "" };
        Err(CryptoError::Revoked { subject: certificate.subject(), at: entry.since, because })
    }
}

fn bad(what: impl Into<String>) -> CryptoError {
    CryptoError::BadCrl { what: what.into() }
}

/// The list, and a critical extension that we do not understand.
fn read(der: &[u8]) -> Result<(Crl, Option<ObjectIdentifier>), NotDer> {
    let mut outer = asn1::single(der, Tag::Sequence)?.inside()?;
    let signed = outer.expect(Tag::Sequence)?;
    let algorithm = outer.expect(Tag::Sequence)?;
    let [0, signature @ ..] = outer.expect(Tag::BitString)?.value else { return Err(NotDer) };
    outer.end()?;

    let mut fields = signed.inside()?;
    fields.optional(Tag::Integer)?;
    if fields.expect(Tag::Sequence)?.raw != algorithm.raw {
        return Err(NotDer);
    }
    let issuer = fields.expect(Tag::Sequence)?;
    let this_update = fields.any()?.time()?;
    let next_update = match fields.optional(Tag::UtcTime)? {
        Some(element) => Some(element.time()?),
        None => fields.optional(Tag::GeneralizedTime)?.map(|element| element.time()).transpose()?,
    };
    let mut entries = HashMap::new();
    let mut unknown = None;
    if let Some(list) = fields.optional(Tag::Sequence)? {
        let mut list = list.inside()?;
        while !list.is_empty() {
            let (serial, entry) = read_entry(list.expect(Tag::Sequence)?, &mut unknown)?;
            entries.insert(serial, entry);
        }
    }
    if let Some(wrapped) = fields.optional(asn1::context(0))? {
        extensions(asn1::single(wrapped.value, Tag::Sequence)?, &mut unknown, |_, _| Ok(false))?;
    }
    fields.end()?;
    let list = Crl {
        issuer: issuer.raw.to_vec(),
        this_update,
        next_update,
        entries,
        signed: signed.raw.to_vec(),
        algorithm_id: algorithm.value.to_vec(),
        signature: signature.to_vec(),
    };
    Ok((list, unknown))
}

fn read_entry(element: Element<'_>, unknown: &mut Option<ObjectIdentifier>) -> Result<(Vec<u8>, Entry), NotDer> {
    let mut fields = element.inside()?;
    let serial = fields.expect(Tag::Integer)?.value.to_vec();
    let mut entry = Entry { since: fields.any()?.time()?, compromised: false };
    if let Some(list) = fields.optional(Tag::Sequence)? {
        extensions(list, unknown, |oid, value| {
            match oid {
                REASON => {
                    let reason = asn1::single(value, Tag::Enumerated)?.value;
                    entry.compromised = matches!(reason, [reason] if COMPROMISED.contains(reason));
                }
                INVALID_SINCE => entry.since = entry.since.min(asn1::single(value, Tag::GeneralizedTime)?.time()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
    }
    fields.end()?;
    Ok((serial, entry))
}

/// Walks extensions; remembers a critical one that `understood` does not know.
fn extensions(
    list: Element<'_>,
    unknown: &mut Option<ObjectIdentifier>,
    mut understood: impl FnMut(ObjectIdentifier, &[u8]) -> Result<bool, NotDer>,
) -> Result<(), NotDer> {
    let mut list = list.inside()?;
    while !list.is_empty() {
        let mut extension = list.expect(Tag::Sequence)?.inside()?;
        let oid = extension.expect(Tag::ObjectIdentifier)?.oid()?;
        let critical = extension.optional(Tag::Boolean)?.is_some_and(|critical| critical.value == [0xFF]);
        let known = understood(oid, extension.expect(Tag::OctetString)?.value)?;
        if critical && !known {
            unknown.get_or_insert(oid);
        }
    }
    Ok(())
}

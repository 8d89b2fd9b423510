//! Time stamps (时间戳, RFC 3161): asking for one, and whether the answer proves that a signature was there at a time.
//!
//! Decides: what a good token is — over these very bytes, to this question, under the demanded policy, at a credible
//! time, signed by a certificate that is for nothing but stamping and leads to a root given for that. Must not know: how
//! the question travels, what the signature is of. Guarantees: everything is judged over the bytes as received; one code
//! per reason; a token is believed for its time only after everything else about it held.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use der::Tag;
use der::asn1::ObjectIdentifier;
use serde::Serialize;

use super::asn1::{self, Element, NotDer, octet};
use super::cms::SignedData;
use super::verify::{brought, check_attributes, not_from_the_future, one_signer, only_signer};
use super::{CryptoError, DigestAlgorithm, Purpose, Trust, When, ess, hex};
use crate::error::Problem;

const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
/// A token may be this much older than the question for it: clocks differ.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);
/// Characters of an authority's own words that are passed on.
const WORDS: usize = 200;

/// Why there is no good token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// The authority cannot be reached, or does not answer in time.
    #[error("the time-stamping authority {place} does not answer: {why}")]
    Unreachable {
        /// Host and port.
        place: String,
        /// The system's reason.
        why: String,
    },
    /// What came is not a time-stamp response, or one that cannot be read.
    #[error("the answer is not a time stamp: {what}")]
    Unreadable {
        /// What.
        what: String,
    },
    /// The authority says no.
    #[error("the time-stamping authority refuses, status {status}: {why}")]
    Refused {
        /// PKIStatus (RFC 3161 §2.4.2).
        status: u8,
        /// Failure and words of the authority.
        why: String,
    },
    /// The answer to somebody's else question, or to an earlier one.
    #[error("the time stamp answers another question: its nonce is not ours")]
    OtherNonce,
    /// A token of something else.
    #[error("the time stamp is of something else: it is not over this signature")]
    OtherImprint,
    /// Under another policy than the one demanded.
    #[error("the time stamp is under the policy {found}, {wanted} is demanded")]
    OtherPolicy {
        /// Its own.
        found: String,
        /// Ours.
        wanted: String,
    },
    /// A time that cannot be.
    #[error("the time stamp says {at}, {what}")]
    ImplausibleTime {
        /// Its time.
        at: DateTime<Utc>,
        /// What it cannot be.
        what: &'static str,
    },
    /// Its signature or certificate does not hold.
    #[error("the time stamp: {0}")]
    Crypto(#[from] CryptoError),
}

impl StampError {
    /// The stable code; `huiliu explain CODE` has the page.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "HL0771",
            Self::Unreadable { .. } => "HL0772",
            Self::Refused { .. } => "HL0773",
            Self::OtherNonce => "HL0774",
            Self::OtherImprint => "HL0775",
            Self::OtherPolicy { .. } => "HL0776",
            Self::ImplausibleTime { .. } => "HL0777",
            Self::Crypto(error) => error.code(),
        }
    }
}

impl From<&StampError> for Problem {
    fn from(error: &StampError) -> Self {
        Problem::error(error.code(), error.to_string())
    }
}

impl From<NotDer> for StampError {
    fn from(_: NotDer) -> Self {
        Self::Unreadable { what: "it is not a time-stamp response in DER".into() }
    }
}

/// A token that holds: when, by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StampedBy {
    /// By then the signature was there.
    pub at: DateTime<Utc>,
    /// The authority's name.
    pub subject: String,
    /// The trusted root it leads to.
    pub root: String,
    /// The token's serial number, hexadecimal.
    pub serial: String,
    /// The policy it was issued under.
    pub policy: String,
    /// The suite.
    pub suite: &'static str,
    /// What could not be checked and is accepted all the same, by the installation's rules: code and sentence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One question to an authority.
#[derive(Debug, Clone)]
pub struct Question {
    /// TimeStampReq (RFC 3161 §2.4.1), DER.
    pub der: Vec<u8>,
    /// DER of the nonce.
    nonce: Vec<u8>,
}

/// What a token must fulfil besides being of the right bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demands<'a> {
    /// It answers this question; a token that was kept is asked without.
    pub question: Option<&'a Question>,
    /// It is under this policy.
    pub policy: Option<ObjectIdentifier>,
}

impl Question {
    /// For a stamp over `signed`, imprinted by this algorithm, with the authority's certificate in the answer.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when the system has no randomness.
    pub fn about(
        signed: &[u8],
        algorithm: DigestAlgorithm,
        policy: Option<ObjectIdentifier>,
    ) -> Result<Self, CryptoError> {
        let mut nonce = [0_u8; 8];
        getrandom::fill(&mut nonce)
            .map_err(|error| CryptoError::BadKey { what: format!("no randomness from the system: {error}") })?;
        let nonce = asn1::unsigned(&nonce);
        let algorithm_id = asn1::sequence(&[&asn1::oid(algorithm.oid()), &asn1::element(octet::NULL, &[])]);
        let digest = asn1::element(octet::OCTET_STRING, &[&algorithm.digest(&[signed])]);
        let der = asn1::sequence(&[
            &asn1::unsigned(&[1]),
            &asn1::sequence(&[&algorithm_id, &digest]),
            &policy.map(asn1::oid).unwrap_or_default(),
            &nonce,
            &asn1::element(octet::BOOLEAN, &[&[0xFF]]),
        ]);
        Ok(Self { der, nonce })
    }
}

/// What a stamp of a detached signature is over: the value of the signature (as CAdES-T, ETSI EN 319 122-1 §5.3), and
/// the digest algorithm that goes with it.
///
/// # Errors
/// [`CryptoError::MalformedSignature`], [`CryptoError::UnsupportedSuite`].
pub fn signature_value(signature: &[u8]) -> Result<(Vec<u8>, DigestAlgorithm), CryptoError> {
    let data = SignedData::parse(signature)?;
    let signer = only_signer(&data)?;
    let suite = super::Suite::of_signer(signer.digest_algorithm, signer.signature_algorithm)?;
    Ok((signer.signature.to_vec(), suite.digest()))
}

/// Whether a time-stamp response, byte for byte as it came, proves that `signed` was there at the time that it says.
///
/// # Errors
/// Each reason its own: see [`StampError`].
pub fn verify_stamp(
    response: &[u8],
    signed: &[u8],
    demands: Demands<'_>,
    trust: &Trust,
    now: DateTime<Utc>,
) -> Result<StampedBy, StampError> {
    let token = token_of(response)?;
    let data = SignedData::parse(token).map_err(unreadable)?;
    let signer = one_signer(&data).map_err(unreadable)?;
    let Some(content) = data.content.filter(|_| data.content_type == TST_INFO) else {
        return Err(StampError::Unreadable { what: "what is signed is not about time".into() });
    };
    let (leaf, others) = brought(&data, signer).map_err(unreadable)?;
    let suite = check_attributes(&data, signer, &leaf, |algorithm| Ok(algorithm.digest(&[content])))?;
    // RFC 3161 §2.4.2, RFC 5816.
    if signer.attributes.as_ref().is_none_or(|attributes| ess::names(attributes, &leaf).is_err()) {
        return Err(CryptoError::Tampered { what: "the authority's certificate is not the one signed for" }.into());
    }
    let info = Info::read(content)?;
    let algorithm = DigestAlgorithm::of(info.algorithm).ok_or(StampError::OtherImprint)?;
    if info.imprint != algorithm.digest(&[signed]) {
        return Err(StampError::OtherImprint);
    }
    if demands.question.is_some_and(|question| info.nonce != Some(question.nonce.as_slice())) {
        return Err(StampError::OtherNonce);
    }
    if let Some(wanted) = demands.policy.filter(|wanted| *wanted != info.policy) {
        return Err(StampError::OtherPolicy { found: info.policy.to_string(), wanted: wanted.to_string() });
    }
    let implausible = |what| StampError::ImplausibleTime { at: info.at, what };
    not_from_the_future(info.at, now).map_err(|_| implausible("which is in the future"))?;
    if demands.question.is_some() && now.signed_duration_since(info.at) > CLOCK_SKEW {
        return Err(implausible("which is before it was asked for"));
    }
    let believed = trust.check(&leaf, &others, Purpose::StampTime, When::said(info.at, now))?;
    Ok(StampedBy {
        at: info.at,
        subject: leaf.subject(),
        root: believed.root.subject(),
        serial: hex(info.serial),
        policy: info.policy.to_string(),
        suite: suite.name(),
        warnings: believed.told(),
    })
}

/// What a token that was kept proves of a detached signature; its question is forgotten.
///
/// # Errors
/// As [`verify_stamp`].
pub fn verify_kept_stamp(
    response: &[u8],
    signature: &[u8],
    trust: &Trust,
    now: DateTime<Utc>,
) -> Result<StampedBy, StampError> {
    verify_stamp(response, &signature_value(signature)?.0, Demands::default(), trust, now)
}

/// The structure of a token is that of a signature; what is wrong with it is said as of a token.
fn unreadable(error: CryptoError) -> StampError {
    StampError::Unreadable { what: error.to_string() }
}

/// The token in a TimeStampResp (RFC 3161 §2.4.2) that grants one.
fn token_of(response: &[u8]) -> Result<&[u8], StampError> {
    let mut fields = asn1::single(response, Tag::Sequence)?.inside()?;
    let mut info = fields.expect(Tag::Sequence)?.inside()?;
    let status = info.expect(Tag::Integer)?.small()?;
    // 0 granted, 1 granted with modifications: what was modified is checked with everything else.
    if status > 1 {
        return Err(StampError::Refused { status, why: refusal(info)? });
    }
    let token = fields.optional(Tag::Sequence)?;
    fields.end()?;
    Ok(token.ok_or(StampError::Unreadable { what: "it grants a token and holds none".into() })?.raw)
}

/// The authority's reason in its own words and numbers, for a terminal.
fn refusal(mut info: asn1::Elements<'_>) -> Result<String, NotDer> {
    let mut words = Vec::new();
    if let Some(texts) = info.optional(Tag::Sequence)? {
        let mut texts = texts.inside()?;
        while !texts.is_empty() {
            words.push(String::from_utf8_lossy(texts.expect(Tag::Utf8String)?.value).into_owned());
        }
    }
    if let Some([_, bits @ ..]) = info.optional(Tag::BitString)?.map(|bits| bits.value) {
        const FAILURES: [(usize, &str); 8] = [
            (0, "badAlg"),
            (2, "badRequest"),
            (5, "badDataFormat"),
            (14, "timeNotAvailable"),
            (15, "unacceptedPolicy"),
            (16, "unacceptedExtension"),
            (17, "addInfoNotAvailable"),
            (25, "systemFailure"),
        ];
        let set = |bit: usize| bits.get(bit / 8).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0);
        words.extend(FAILURES.into_iter().filter(|(bit, _)| set(*bit)).map(|(_, name)| name.to_owned()));
    }
    if words.is_empty() {
        words.push("no reason given".to_owned());
    }
    Ok(words.join(", ").chars().filter(|c| !c.is_control()).take(WORDS).collect())
}

/// TSTInfo (RFC 3161 §2.4.2), as far as it is judged.
struct Info<'a> {
    policy: ObjectIdentifier,
    algorithm: ObjectIdentifier,
    imprint: &'a [u8],
    serial: &'a [u8],
    at: DateTime<Utc>,
    /// DER.
    nonce: Option<&'a [u8]>,
}

impl<'a> Info<'a> {
    fn read(content: &'a [u8]) -> Result<Self, NotDer> {
        let mut fields = asn1::single(content, Tag::Sequence)?.inside()?;
        if fields.expect(Tag::Integer)?.small()? != 1 {
            return Err(NotDer);
        }
        let policy = fields.expect(Tag::ObjectIdentifier)?.oid()?;
        let mut imprint = fields.expect(Tag::Sequence)?.inside()?;
        let algorithm = imprint.expect(Tag::Sequence)?.inside()?.expect(Tag::ObjectIdentifier)?.oid()?;
        let digest = imprint.expect(Tag::OctetString)?.value;
        imprint.end()?;
        let serial = fields.expect(Tag::Integer)?.value;
        let at = precise(fields.expect(Tag::GeneralizedTime)?)?;
        fields.optional(Tag::Sequence)?; // accuracy: the time is taken as it stands
        fields.optional(Tag::Boolean)?; // ordering
        let nonce = fields.optional(Tag::Integer)?.map(|nonce| nonce.raw);
        fields.optional(asn1::context(0))?; // the authority's name, by its own word
        if let Some(extensions) = fields.optional(asn1::context(1))? {
            let mut extensions = extensions.inside()?;
            while !extensions.is_empty() {
                let mut extension = extensions.expect(Tag::Sequence)?.inside()?;
                extension.expect(Tag::ObjectIdentifier)?;
                // Critical: it would change what the token means.
                if extension.optional(Tag::Boolean)?.is_some_and(|critical| critical.value == [0xFF]) {
                    return Err(NotDer);
                }
            }
        }
        fields.end()?;
        Ok(Self { policy, algorithm, imprint: digest, serial, at, nonce })
    }
}

/// GeneralizedTime that may have fractions of a second (RFC 3161 §2.4.2): `20261121083005.25Z`.
fn precise(element: Element<'_>) -> Result<DateTime<Utc>, NotDer> {
    let text = std::str::from_utf8(element.value).map_err(|_| NotDer)?.strip_suffix('Z').ok_or(NotDer)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(NotDer);
    }
    let at = NaiveDateTime::parse_from_str(&format!("{whole}.{fraction}"), "%Y%m%d%H%M%S%.f").map_err(|_| NotDer)?;
    Ok(at.and_utc())
}

/// The OID of a policy as people write it: `1.2.156.10197.6`.
pub fn policy(text: &str) -> Option<ObjectIdentifier> {
    ObjectIdentifier::new(text).ok()
}

#[cfg(test)]
mod tests;

//! What a certificate is wanted for, and how certificates say so (RFC 5280 §4.2.1.3, §4.2.1.12).
//!
//! Decides: which key usages and extended key usages count. Must not know: paths, roots.

use std::fmt;

use der::asn1::ObjectIdentifier;

use super::Suite;

/// What a certificate is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To sign data: manifests, receipts, departments' files.
    SignData,
    /// To be sent data that only its owner can read.
    ReceiveData,
    /// To say when something existed (RFC 3161 §2.3).
    StampTime,
    /// To call our interfaces.
    CallUs,
    /// To issue certificates. What an authority's certificate is for; never asked of a leaf.
    Issue,
}

const ANY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
const CLIENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const MAIL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4");
/// Time stamping, RFC 3161 §2.3.
pub(super) const STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
/// Document signing, RFC 9336.
const DOCUMENTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.36");

impl Purpose {
    /// Bits of the key usage of which one must be set: digitalSignature and contentCommitment for signing; keyEncipherment
    /// for RSA, keyAgreement for P-256, either or dataEncipherment for SM2, as its encryption certificates have them.
    pub(super) const fn key_usage(self, suite: Option<Suite>) -> u8 {
        match (self, suite) {
            (Self::SignData | Self::StampTime, _) => 0b1100_0000,
            (Self::CallUs, _) => 0b1000_0000,
            (Self::ReceiveData, Some(Suite::RsaSha256)) => 0b0010_0000,
            (Self::ReceiveData, Some(Suite::EcdsaP256Sha256)) => 0b0000_1000,
            (Self::ReceiveData, Some(Suite::Sm2Sm3)) => 0b0011_1000,
            (Self::ReceiveData, None) => 0,
            (Self::Issue, _) => 0b0000_0100,
        }
    }

    /// What a key usage without any of those bits is told.
    pub(super) const fn lacking(self) -> &'static str {
        match self {
            Self::SignData | Self::StampTime | Self::CallUs => "its key usage lacks digitalSignature",
            Self::ReceiveData => "its key usage lacks what its key is encrypted to with",
            Self::Issue => "its key usage lacks keyCertSign",
        }
    }

    /// Whether it is among these extended key usages. A certificate that names none may do everything but stamp time,
    /// for which one must be made.
    pub(super) fn is_among(self, named: Option<&[ObjectIdentifier]>) -> bool {
        let Some(named) = named else { return self != Self::StampTime };
        let accepted: &[ObjectIdentifier] = match self {
            Self::SignData => &[ANY, MAIL, DOCUMENTS],
            Self::ReceiveData => &[ANY, MAIL],
            Self::StampTime => return named == [STAMPING],
            Self::CallUs => &[ANY, CLIENT],
            Self::Issue => return true,
        };
        named.iter().any(|purpose| accepted.contains(purpose))
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SignData => "signing data",
            Self::ReceiveData => "receiving encrypted data",
            Self::StampTime => "stamping time",
            Self::CallUs => "calling interfaces",
            Self::Issue => "issuing certificates",
        })
    }
}

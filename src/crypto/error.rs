//! What can be wrong with a signature, a certificate or a key, each with its own code.

use chrono::{DateTime, Utc};

use super::{Purpose, Suite};
use crate::error::{Disposition, Problem};

/// Why something was not signed, or a signature not accepted. Never holds key material or content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The signature file is not a CMS SignedData (RFC 5652) that we read.
    #[error("the signature is not readable: {what}")]
    MalformedSignature {
        /// Which part.
        what: &'static str,
    },
    /// Readable, but by algorithms that this build does not have.
    #[error("the suite {suite} is not supported")]
    UnsupportedSuite {
        /// As operators call it, or its number.
        suite: String,
    },
    /// The signed bytes or the signature were altered, or belong to something else.
    #[error("the signature does not match: {what}")]
    Tampered {
        /// Which check failed.
        what: &'static str,
    },
    /// A signature that should be CAdES (ETSI EN 319 122-1) and does not name its signer's certificate.
    #[error("the signature does not say whose it is: {what}")]
    SignerNotNamed {
        /// What is wrong with the attribute.
        what: &'static str,
    },
    /// Certificate past its end at the time in question.
    #[error("the certificate of {subject} expired on {not_after}")]
    Expired {
        /// Whose.
        subject: String,
        /// Its end.
        not_after: DateTime<Utc>,
    },
    /// Certificate before its start at the time in question.
    #[error("the certificate of {subject} is not valid before {not_before}")]
    NotYetValid {
        /// Whose.
        subject: String,
        /// Its start.
        not_before: DateTime<Utc>,
    },
    /// The certificate's path does not end at a given root.
    #[error("the certificate of {subject}, issued by {issuer}, does not lead to a trusted root")]
    OtherRoot {
        /// Whose.
        subject: String,
        /// Who issued it, by its own word.
        issuer: String,
    },
    /// The certificate is not for what it was used for.
    #[error("the certificate of {subject} is not for {purpose}: {what}")]
    WrongUse {
        /// Whose.
        subject: String,
        /// What it was used for.
        purpose: Purpose,
        /// What it lacks or is.
        what: &'static str,
    },
    /// The certificate itself cannot be read or its path breaks a rule.
    #[error("a certificate is not acceptable: {what}")]
    BadCertificate {
        /// What.
        what: String,
    },
    /// Signed later than now.
    #[error("the signature says it was made at {signed_at}, which is in the future")]
    FromTheFuture {
        /// Its own word.
        signed_at: DateTime<Utc>,
    },
    /// The certificate was revoked before the time in question, or its key had become known.
    #[error("the certificate of {subject} was revoked on {at}{because}")]
    Revoked {
        /// Whose.
        subject: String,
        /// From when on it does not count.
        at: DateTime<Utc>,
        /// Why, where that matters.
        because: &'static str,
    },
    /// A revocation list cannot be used, or there is none where one is needed.
    #[error("revocation list: {what}")]
    BadCrl {
        /// What.
        what: String,
    },
    /// A revocation list is out of date.
    #[error("the revocation list of {issuer} is stale: the next one was due on {due}")]
    StaleCrl {
        /// Whose.
        issuer: String,
        /// When the next one should have come.
        due: DateTime<Utc>,
    },
    /// A good certificate whose algorithm or key size this installation does not allow.
    #[error("the certificate of {subject} is not allowed here: {what}")]
    Policy {
        /// Whose.
        subject: String,
        /// Which rule.
        what: String,
    },
    /// A key of one kind with a certificate for another.
    #[error("the key is {key}, its certificate is for {certificate}")]
    OtherKind {
        /// The key's kind.
        key: &'static str,
        /// The certificate's.
        certificate: String,
    },
    /// A password is missing or wrong.
    #[error("the password does not open it: {what}")]
    Password {
        /// What.
        what: &'static str,
    },
    /// A body that cannot be encrypted or decrypted.
    #[error("the encryption does not open: {what}")]
    Sealed {
        /// What.
        what: String,
    },
    /// The library that speaks to a PKCS#11 token cannot be loaded.
    #[error("the PKCS#11 library {path} cannot be used: {why}")]
    TokenModule {
        /// Which.
        path: String,
        /// The system's reason, or the library's.
        why: String,
    },
    /// A PKCS#11 token (令牌) is not there, or does not answer as it should.
    #[error("the token {token} is away: {why}")]
    TokenAway {
        /// Which.
        token: String,
        /// The library's reason.
        why: String,
    },
    /// A token's PIN is missing or wrong, or the token is locked.
    #[error("the PIN of the token {token}: {what}")]
    Pin {
        /// Which.
        token: String,
        /// What.
        what: String,
    },
    /// The key that is meant is not on the token, or cannot be.
    #[error("the token {token}: {what}")]
    TokenObject {
        /// Which.
        token: String,
        /// What.
        what: String,
    },
    /// The token cannot sign so.
    #[error("a mechanism is missing: {what}")]
    Mechanism {
        /// Which.
        what: String,
    },
    /// A key on a token is not named as it should be (RFC 7512).
    #[error("it does not name a key on a token: {what}")]
    TokenUri {
        /// What is wrong with it.
        what: String,
    },
    /// The private key cannot be used.
    #[error("the private key cannot be used: {what}")]
    BadKey {
        /// Why.
        what: String,
    },
    /// A key or certificate file cannot be read or written.
    #[error("cannot {act} {path}: {why}")]
    File {
        /// read, write, lock.
        act: &'static str,
        /// Which.
        path: String,
        /// The system's reason.
        why: String,
    },
}

impl CryptoError {
    /// The stable code; `huiliu explain CODE` has the page.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MalformedSignature { .. } => "HL0701",
            Self::UnsupportedSuite { .. } => "HL0702",
            Self::Tampered { .. } => "HL0703",
            Self::Expired { .. } => "HL0704",
            Self::NotYetValid { .. } => "HL0705",
            Self::OtherRoot { .. } => "HL0706",
            Self::WrongUse { .. } => "HL0707",
            Self::BadCertificate { .. } => "HL0708",
            Self::FromTheFuture { .. } => "HL0709",
            Self::BadKey { .. } => "HL0710",
            Self::File { .. } => "HL0711",
            Self::Revoked { .. } => "HL0712",
            Self::BadCrl { .. } => "HL0713",
            Self::StaleCrl { .. } => "HL0714",
            Self::Policy { .. } => "HL0715",
            Self::OtherKind { .. } => "HL0716",
            Self::Password { .. } => "HL0717",
            Self::Sealed { .. } => "HL0718",
            Self::SignerNotNamed { .. } => "HL0779",
            Self::TokenUri { .. } => "HL0780",
            Self::TokenModule { .. } => "HL0781",
            Self::TokenAway { .. } => "HL0782",
            Self::Pin { .. } => "HL0783",
            Self::TokenObject { .. } => "HL0784",
            Self::Mechanism { .. } => "HL0785",
        }
    }

    /// What the engine does: nothing about evidence mends itself, only files, clocks and tokens do.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::File { .. } | Self::TokenAway { .. } => Disposition::Retry,
            Self::MalformedSignature { .. }
            | Self::UnsupportedSuite { .. }
            | Self::Tampered { .. }
            | Self::SignerNotNamed { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::OtherRoot { .. }
            | Self::WrongUse { .. }
            | Self::BadCertificate { .. }
            | Self::FromTheFuture { .. }
            | Self::Revoked { .. }
            | Self::BadCrl { .. }
            | Self::StaleCrl { .. }
            | Self::Policy { .. }
            | Self::OtherKind { .. }
            | Self::Password { .. }
            | Self::Sealed { .. }
            | Self::TokenUri { .. }
            | Self::TokenModule { .. }
            | Self::Pin { .. }
            | Self::TokenObject { .. }
            | Self::Mechanism { .. }
            | Self::BadKey { .. } => Disposition::Halt,
        }
    }
}

impl CryptoError {
    /// A key of `key` with a certificate for something else.
    pub(super) fn other_kind(key: Suite, certificate: Result<Suite, Self>) -> Self {
        let certificate = certificate.map_or_else(|error| error.to_string(), |suite| suite.word().to_owned());
        Self::OtherKind { key: key.word(), certificate }
    }
}

impl From<&CryptoError> for Problem {
    fn from(error: &CryptoError) -> Self {
        Problem::error(error.code(), error.to_string())
    }
}

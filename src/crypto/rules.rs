//! Whether the installation's rules (config) allow a certificate's key, and which moments decide about it.

use chrono::{DateTime, Utc};

use super::{Certificate, CryptoError, Suite};
use crate::config::Rules;

/// Whether a certificate's key is allowed.
///
/// # Errors
/// [`CryptoError::Policy`].
pub fn check_rules(rules: &Rules, certificate: &Certificate) -> Result<(), CryptoError> {
    let refused = |what: String| Err(CryptoError::Policy { subject: certificate.subject(), what });
    if rules.national_only && !certificate.suite().is_ok_and(Suite::is_national) {
        return refused("only SM2 with SM3 (国密) is, and its key is another".into());
    }
    let least = rules.rsa_bits.max(2048);
    match certificate.rsa_bits() {
        Some(bits) if bits < least => refused(format!("its RSA key has {bits} bits, {least} are the least")),
        _ => Ok(()),
    }
}

/// The moments that decide about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// When it was used: it must have been in force.
    pub at: DateTime<Utc>,
    /// The present: revocation lists must be up to date.
    pub now: DateTime<Utc>,
    /// Whether `at` is proven by somebody other than the signer.
    pub proven: bool,
}

impl When {
    /// Used at this moment, judged at this moment.
    pub const fn then(at: DateTime<Utc>) -> Self {
        Self { at, now: at, proven: true }
    }

    /// Used at `at` by the user's own word, judged now.
    pub const fn said(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { at, now, proven: false }
    }
}

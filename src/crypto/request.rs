//! Requests for certificates (RFC 2986), for an authority to answer.

use der::pem::LineEnding;

use super::{CryptoError, PrivateKey, issue};

/// A distinguished name, DER, from how people write it: `C=CN, O=青岛市电政办, CN=签名`. Keys: CN, serialNumber, C, L, ST, O, OU.
///
/// # Errors
/// [`CryptoError::BadCertificate`], saying how names are written.
pub fn distinguished_name(text: &str) -> Result<Vec<u8>, CryptoError> {
    issue::parse_name(text).ok_or_else(|| CryptoError::BadCertificate {
        what: "a name is written as C=CN, O=office, CN=name; the country has two capital letters".into(),
    })
}

/// A request for a certificate for this key under this name, PEM.
///
/// # Errors
/// [`CryptoError::BadKey`] when the key cannot sign.
pub fn new_request(name: &[u8], key: &PrivateKey) -> Result<String, CryptoError> {
    let der = issue::certification_request(name, key)?;
    der::pem::encode_string("CERTIFICATE REQUEST", LineEnding::LF, &der)
        .map_err(|_| CryptoError::BadKey { what: "its request cannot be written as PEM".into() })
}

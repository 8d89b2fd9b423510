//! The roots a verifier brings along, and whether a certificate leads to one of them.
//!
//! Decides: path validation (RFC 5280 §6) through rustls-webpki, and what webpki leaves to its caller: key usage of
//! leaf and issuers, validity of the root itself. Must not know: signatures over data. Guarantees: one code per reason.
//! Revocation lists are not consulted yet.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use super::CryptoError;
use super::certificate::Certificate;

/// Roots (and other issuers) that are believed because the operator says so.
#[derive(Debug, Clone)]
pub struct Trust {
    roots: Vec<Certificate>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl Trust {
    /// From a PEM text with one or more certificates.
    ///
    /// # Errors
    /// [`CryptoError::BadCertificate`] when there is none or one cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CryptoError> {
        let roots = Certificate::all_from_pem(pem)?;
        let mut anchors = Vec::with_capacity(roots.len());
        for root in &roots {
            let der = CertificateDer::from(root.der());
            let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|error| CryptoError::BadCertificate {
                what: format!("the root {} cannot be used: {error}", root.subject()),
            })?;
            anchors.push(anchor.to_owned());
        }
        Ok(Self { roots, anchors })
    }

    /// Whether `leaf` signs data and leads, through `others`, to one of the roots at the moment `at`.
    /// Gives the root it leads to.
    ///
    /// # Errors
    /// [`CryptoError::Expired`], [`CryptoError::NotYetValid`], [`CryptoError::OtherRoot`], [`CryptoError::WrongUse`],
    /// [`CryptoError::UnsupportedSuite`], [`CryptoError::BadCertificate`].
    pub fn check(
        &self,
        leaf: &Certificate,
        others: &[Certificate],
        at: DateTime<Utc>,
    ) -> Result<&Certificate, CryptoError> {
        leaf.check_validity(at)?;
        leaf.check_signs_data()?;
        let seconds = u64::try_from(at.timestamp())
            .map_err(|_| CryptoError::BadCertificate { what: "the moment lies before 1970".into() })?;
        let der = CertificateDer::from(leaf.der());
        let end = EndEntityCert::try_from(&der).map_err(|error| refused(&error, leaf))?;
        let between: Vec<CertificateDer<'_>> = others.iter().map(|c| CertificateDer::from(c.der())).collect();
        let path = end
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.anchors,
                &between,
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
                SignsData,
                None,
                None,
            )
            .map_err(|error| refused(&error, leaf))?;
        for issuer in path.intermediate_certificates() {
            Certificate::from_der(&issuer.der())?.check_issues()?;
        }
        let anchor = path.anchor();
        let (root, _) = self
            .roots
            .iter()
            .zip(&self.anchors)
            .find(|(_, candidate)| *candidate == anchor)
            .ok_or_else(|| CryptoError::BadCertificate { what: "the path ends nowhere".into() })?;
        root.check_validity(at)?;
        root.check_issues()?;
        Ok(root)
    }
}

/// Accepts certificates that name no purpose or one for data. The leaf was checked before; this is for those between.
struct SignsData;

impl ExtendedKeyUsageValidator for SignsData {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        const ACCEPTED: [&[usize]; 3] =
            [&[2, 5, 29, 37, 0], &[1, 3, 6, 1, 5, 5, 7, 3, 4], &[1, 3, 6, 1, 5, 5, 7, 3, 36]];
        let mut none = true;
        for purpose in purposes {
            none = false;
            let purpose = purpose?.to_decoded_oid();
            if ACCEPTED.contains(&purpose.as_slice()) {
                return Ok(());
            }
        }
        if none { Ok(()) } else { Err(webpki::Error::CaUsedAsEndEntity) }
    }
}

fn refused(error: &webpki::Error, leaf: &Certificate) -> CryptoError {
    use webpki::Error as E;
    let subject = leaf.subject();
    let moment = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    };
    match error {
        E::CertExpired { not_after, .. } => {
            CryptoError::Expired { subject: format!("an issuer of {subject}"), not_after: moment(not_after) }
        }
        E::CertNotValidYet { not_before, .. } => {
            CryptoError::NotYetValid { subject: format!("an issuer of {subject}"), not_before: moment(not_before) }
        }
        E::UnknownIssuer | E::InvalidSignatureForPublicKey => CryptoError::OtherRoot { subject, issuer: leaf.issuer() },
        E::CaUsedAsEndEntity | E::EndEntityUsedAsCa | E::RequiredEkuNotFoundContext(_) => {
            CryptoError::WrongUse { subject, what: "a certificate on its path is used for what it is not for" }
        }
        E::UnsupportedSignatureAlgorithmContext(_) | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            CryptoError::UnsupportedSuite { suite: format!("of the certificates of {subject}") }
        }
        other => CryptoError::BadCertificate { what: format!("{subject}: {other}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::issue::tests::{authority, leaf, noon, pem};
    use crate::crypto::issue::{self, Request};
    use chrono::TimeDelta;
    use der::asn1::ObjectIdentifier;

    fn trusting(root: &Certificate) -> Trust {
        Trust::from_pem(pem(root).as_bytes()).unwrap()
    }

    #[test]
    fn each_reason_to_refuse_has_its_own_code() {
        let (root, key) = authority("root");
        let (namesake, _) = authority("root");
        let (stranger, _) = authority("stranger");
        let code = |roots: &Certificate, at, change: &dyn Fn(&mut Request)| {
            let leaf = leaf(&key, &root, change);
            trusting(roots).check(&leaf.certificate, &[], at).map(Certificate::subject).map_err(|e| e.code())
        };
        let no_change = |_: &mut Request| {};
        assert_eq!(code(&root, noon(), &no_change), Ok("CN=root".to_owned()));
        assert_eq!(code(&root, noon() + TimeDelta::days(31), &no_change), Err("HL0704"), "expired");
        assert_eq!(code(&root, noon() - TimeDelta::days(31), &no_change), Err("HL0705"), "not yet valid");
        assert_eq!(code(&stranger, noon(), &no_change), Err("HL0706"), "another root");
        assert_eq!(code(&namesake, noon(), &no_change), Err("HL0706"), "another root of the same name");
        assert_eq!(code(&root, noon(), &|r| r.key_usage = issue::ISSUES), Err("HL0707"), "wrong key usage");
        let server = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
        assert_eq!(code(&root, noon(), &|r| r.purposes = vec![server]), Err("HL0707"), "for TLS servers");
        let mail = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4");
        assert!(code(&root, noon(), &|r| r.purposes = vec![server, mail]).is_ok());
        assert_eq!(code(&root, noon(), &|r| r.authority = true), Err("HL0707"), "an authority");
        let longer = noon() + TimeDelta::days(60);
        assert_eq!(
            code(&root, noon() + TimeDelta::days(40), &|r| r.not_after = longer),
            Err("HL0704"),
            "the root itself expired"
        );
    }

    #[test]
    fn a_leaf_cannot_issue() {
        let (root, key) = authority("root");
        let between_key = issue::new_key().unwrap();
        let request = |name: &str, authority, key_usage| Request {
            common_name: name.into(),
            not_before: noon() - TimeDelta::days(1),
            not_after: noon() + TimeDelta::days(1),
            authority,
            key_usage,
            purposes: Vec::new(),
        };
        for (authority, usage, expect) in [
            (true, issue::ISSUES, Ok(())),
            (false, issue::SIGNS_DATA, Err("HL0707")),
            (true, 0b1000_0000, Err("HL0707")),
        ] {
            let between = issue::issue(&request("between", authority, usage), &between_key, Some(&root), &key).unwrap();
            let leaf = leaf(&between_key, &between, |_| {});
            let found = trusting(&root).check(&leaf.certificate, &[between], noon()).map(|_| ()).map_err(|e| e.code());
            assert_eq!(found, expect, "authority {authority}, usage {usage:08b}");
        }
    }
}

//! The roots a verifier brings along, and whether a certificate leads to one of them.
//!
//! Decides: path validation (RFC 5280 §6) through rustls-webpki, and what webpki leaves to its caller: SM2, key usage of
//! leaf and issuers, validity of the root itself, revocation by date, the installation's own rules. Must not know:
//! signatures over data; where roots and revocation lists come from. Guarantees: one code per reason; where revocation
//! lists are given, every certificate below a root must be covered by one of its issuer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use der::asn1::ObjectIdentifier;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use super::certificate::Certificate;
use super::suite::ALGORITHMS;
use super::{Crl, CryptoError, Purpose, When, check_rules};
use crate::config::{Rules, Stale};

/// Roots (and other issuers) that are believed because the operator says so, and under which rules.
#[derive(Debug, Clone)]
pub struct Trust {
    roots: Vec<Certificate>,
    anchors: Vec<TrustAnchor<'static>>,
    crls: Vec<Crl>,
    /// Whether a certificate that no list covers is in doubt.
    demands_crls: bool,
    rules: Rules,
}

/// A certificate that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Believed<'a> {
    /// The root it leads to.
    pub root: &'a Certificate,
    /// What somebody should be told all the same: revocation that could not be checked.
    pub warnings: Vec<CryptoError>,
}

impl Believed<'_> {
    /// The warnings, each with its code, for reports.
    pub(super) fn told(&self) -> Vec<String> {
        self.warnings.iter().map(|warning| format!("{} {warning}", warning.code())).collect()
    }
}

impl Trust {
    /// From a PEM text with one or more certificates; the usual rules, no revocation lists.
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
        Ok(Self { roots, anchors, crls: Vec::new(), demands_crls: false, rules: Rules::default() })
    }

    /// Under these rules.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// With these revocation lists. With none at all, revocation is not checked, unless it is demanded.
    #[must_use]
    pub fn with_crls(self, crls: Vec<Crl>) -> Self {
        Self { demands_crls: self.demands_crls || !crls.is_empty(), crls, ..self }
    }

    /// Every certificate must be covered by a list, even if none could be got.
    #[must_use]
    pub fn demanding_crls(self) -> Self {
        Self { demands_crls: true, ..self }
    }

    /// The revocation lists it judges by.
    pub fn crls(&self) -> &[Crl] {
        &self.crls
    }

    /// Whether a revocation list is by one of the roots, or by one of `brought`.
    ///
    /// # Errors
    /// [`CryptoError::BadCrl`].
    pub(super) fn check_list(&self, list: &Crl, brought: &[Certificate]) -> Result<(), CryptoError> {
        let what = format!("that of {} is of no authority of these certificates", list.issuer());
        let mut outcome = Err(CryptoError::BadCrl { what });
        for issuer in self.authorities(list, brought) {
            outcome = outcome.or_else(|_| list.check_signature(issuer));
        }
        outcome
    }

    /// Of the roots and of `brought`, those in whose name a revocation list is.
    pub(super) fn authorities<'t>(
        &'t self,
        list: &Crl,
        brought: &'t [Certificate],
    ) -> impl Iterator<Item = &'t Certificate> {
        self.roots.iter().chain(brought).filter(move |issuer| list.names(issuer))
    }

    /// Whether `leaf` is for `purpose` and leads, through `others`, to one of the roots.
    ///
    /// # Errors
    /// [`CryptoError::Expired`], [`CryptoError::NotYetValid`], [`CryptoError::OtherRoot`], [`CryptoError::WrongUse`],
    /// [`CryptoError::UnsupportedSuite`], [`CryptoError::BadCertificate`], [`CryptoError::Policy`],
    /// [`CryptoError::Revoked`], [`CryptoError::BadCrl`], [`CryptoError::StaleCrl`].
    pub fn check(
        &self,
        leaf: &Certificate,
        others: &[Certificate],
        purpose: Purpose,
        when: When,
    ) -> Result<Believed<'_>, CryptoError> {
        leaf.check_validity(when.at)?;
        leaf.check_use(purpose)?;
        let (between, root) = self.path(leaf, others, purpose, when.at)?;
        for issuer in &between {
            issuer.check_issues()?;
        }
        root.check_validity(when.at)?;
        root.check_issues()?;
        for certificate in [leaf].into_iter().chain(&between).chain([root]) {
            check_rules(&self.rules, certificate)?;
        }
        let mut warnings = Vec::new();
        if self.demands_crls {
            let below = [leaf].into_iter().chain(&between);
            for (certificate, issuer) in below.zip(between.iter().chain([root])) {
                warnings.extend(self.revocation(certificate, issuer, when)?);
            }
        }
        Ok(Believed { root, warnings })
    }

    /// The path to a root: the certificates between, from the leaf upwards, and the root.
    fn path(
        &self,
        leaf: &Certificate,
        others: &[Certificate],
        purpose: Purpose,
        at: DateTime<Utc>,
    ) -> Result<(Vec<Certificate>, &Certificate), CryptoError> {
        let seconds = u64::try_from(at.timestamp())
            .map_err(|_| CryptoError::BadCertificate { what: "the moment lies before 1970".into() })?;
        let der = CertificateDer::from(leaf.der());
        let end = EndEntityCert::try_from(&der).map_err(|error| refused(&error, leaf, purpose))?;
        let given: Vec<CertificateDer<'_>> = others.iter().map(|c| CertificateDer::from(c.der())).collect();
        let path = end
            .verify_for_usage(
                &ALGORITHMS,
                &self.anchors,
                &given,
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
                For(purpose),
                None,
                None,
            )
            .map_err(|error| refused(&error, leaf, purpose))?;
        let mut between = Vec::new();
        for issuer in path.intermediate_certificates() {
            between.push(Certificate::from_der(&issuer.der())?);
        }
        let anchor = path.anchor();
        let root = self.roots.iter().zip(&self.anchors).find(|(_, candidate)| *candidate == anchor);
        let (root, _) = root.ok_or_else(|| CryptoError::BadCertificate { what: "the path ends nowhere".into() })?;
        Ok((between, root))
    }

    /// Whether `issuer` has revoked `certificate`, by the latest of its lists. What cannot be told is refused, or given
    /// back as a warning.
    fn revocation(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        when: When,
    ) -> Result<Option<CryptoError>, CryptoError> {
        let doubt = |error| match self.rules.stale {
            Stale::Refuse => Err(error),
            Stale::Alarm => Ok(Some(error)),
        };
        let mut named: Vec<&Crl> = self.crls.iter().filter(|crl| crl.names(issuer)).collect();
        named.sort_by_key(|crl| std::cmp::Reverse(crl.this_update()));
        let mut forged = None;
        let genuine = named.into_iter().find(|crl| match crl.check_signature(issuer) {
            Ok(()) => true,
            Err(error) => {
                forged.get_or_insert(error);
                false
            }
        });
        let Some(crl) = genuine else {
            let what = format!("there is none of {}, which issued {}", issuer.subject(), certificate.subject());
            return doubt(forged.unwrap_or(CryptoError::BadCrl { what }));
        };
        crl.check_not_revoked(certificate, when.at, when.proven)?;
        match crl.check_fresh(when.now, self.rules.crl_max_age) {
            Ok(()) => Ok(None),
            Err(error) => doubt(error),
        }
    }
}

/// Accepts certificates that name no purpose or this one. The leaf was checked before; this is for those between.
struct For(Purpose);

impl ExtendedKeyUsageValidator for For {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut named = Vec::new();
        for purpose in purposes {
            let arcs: Vec<u32> =
                purpose?.to_decoded_oid().into_iter().map(|arc| u32::try_from(arc).unwrap_or(u32::MAX)).collect();
            named.extend(ObjectIdentifier::from_arcs(arcs).ok());
        }
        if named.is_empty() || self.0.is_among(Some(&named)) { Ok(()) } else { Err(webpki::Error::CaUsedAsEndEntity) }
    }
}

fn refused(error: &webpki::Error, leaf: &Certificate, purpose: Purpose) -> CryptoError {
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
            let what = "a certificate on its path is used for what it is not for";
            CryptoError::WrongUse { subject, purpose, what }
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
    use crate::crypto::issue::tests::{authority, authority_of, fresh, leaf, noon, pem};
    use crate::crypto::issue::{self, Issuer, Request, common_name};
    use crate::crypto::{PrivateKey, Suite};
    use chrono::TimeDelta;

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
            let trust = trusting(roots);
            let found = trust.check(&leaf.certificate, &[], Purpose::SignData, When::then(at));
            found.map(|believed| believed.root.subject()).map_err(|e| e.code())
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
    fn a_certificate_of_the_right_authority_serves_its_own_purpose_only() {
        let client = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
        let all = [Purpose::SignData, Purpose::ReceiveData, Purpose::StampTime, Purpose::CallUs];
        for suite in Suite::ALL {
            let (root, key) = authority_of(suite, "root");
            let serves = |key_usage: u8, purposes: Vec<ObjectIdentifier>| -> Vec<Purpose> {
                let made = leaf(&key, &root, |request| {
                    request.key_usage = key_usage;
                    request.purposes = purposes;
                });
                let serves = |purpose: &Purpose| match trusting(&root).check(
                    &made.certificate,
                    &[],
                    *purpose,
                    When::then(noon()),
                ) {
                    Ok(_) => true,
                    Err(error) => {
                        assert_eq!(error.code(), "HL0707", "{suite:?} {purpose}");
                        false
                    }
                };
                all.into_iter().filter(serves).collect()
            };
            assert_eq!(serves(issue::RECEIVES_DATA, vec![]), [Purpose::ReceiveData], "{suite:?}");
            assert_eq!(serves(issue::SIGNS_DATA, vec![super::super::purpose::STAMPING]), [Purpose::StampTime]);
            assert_eq!(serves(issue::SIGNS_DATA, vec![client]), [Purpose::CallUs]);
            assert_eq!(serves(issue::SIGNS_DATA, vec![]), [Purpose::SignData, Purpose::CallUs]);
        }
    }

    #[test]
    fn a_leaf_cannot_issue() {
        let (root, key) = authority("root");
        let between_key = PrivateKey::generate(Suite::EcdsaP256Sha256).unwrap();
        for (authority, key_usage, expect) in [
            (true, issue::ISSUES, Ok(())),
            (false, issue::SIGNS_DATA, Err("HL0707")),
            (true, 0b1000_0000, Err("HL0707")),
        ] {
            let between = between(&between_key, (&root, &key), |r| (r.authority, r.key_usage) = (authority, key_usage));
            let leaf = leaf(&between_key, &between, |_| {});
            let trust = trusting(&root);
            let found = trust.check(&leaf.certificate, &[between], Purpose::SignData, When::then(noon()));
            assert_eq!(found.map(|_| ()).map_err(|e| e.code()), expect, "authority {authority}, usage {key_usage:08b}");
        }
    }

    fn between(
        own: &PrivateKey,
        (root, key): (&Certificate, &PrivateKey),
        change: impl FnOnce(&mut Request),
    ) -> Certificate {
        let mut request = Request {
            subject: common_name("between"),
            not_before: noon() - TimeDelta::days(30),
            not_after: noon() + TimeDelta::days(30),
            authority: true,
            key_usage: issue::ISSUES,
            purposes: Vec::new(),
        };
        change(&mut request);
        issue::issue(&request, own, Issuer { certificate: Some(root), key }).unwrap()
    }

    /// An authority of a suite with a leaf, and what its lists say.
    struct Listed {
        root: Certificate,
        key: PrivateKey,
        leaf: Certificate,
    }

    impl Listed {
        fn new(suite: Suite) -> Self {
            let (root, key) = authority_of(suite, "root");
            let leaf = leaf(&key, &root, |_| {}).certificate;
            Self { root, key, leaf }
        }

        /// A list made an hour before noon and good for a day; revoked since then, for this reason.
        fn list(&self, revoked: Option<(DateTime<Utc>, Option<u8>)>) -> Vec<u8> {
            let entries: Vec<_> = revoked.into_iter().map(|(at, reason)| (&self.leaf, at, reason)).collect();
            let times = (noon() - TimeDelta::hours(1), noon() + TimeDelta::hours(23));
            issue::revocation_list(&self.root, &self.key, times, &entries).unwrap()
        }

        fn code(&self, crls: &[Vec<u8>], rules: Rules, when: When) -> Result<usize, &'static str> {
            let crls = crls.iter().flat_map(|crl| Crl::all_from(crl).unwrap()).collect();
            let trust = trusting(&self.root).with_crls(crls).with_rules(rules);
            let found = trust.check(&self.leaf, &[], Purpose::SignData, when);
            found.map(|believed| believed.warnings.len()).map_err(|e| e.code())
        }
    }

    #[test]
    fn a_revoked_certificate_counts_for_what_it_signed_before() {
        for suite in Suite::ALL {
            let listed = Listed::new(suite);
            let since = noon() - TimeDelta::hours(2);
            let code = |revoked, at| listed.code(&[listed.list(revoked)], Rules::default(), When::said(at, noon()));
            assert_eq!(code(None, noon()), Ok(0), "{suite:?}");
            assert_eq!(code(Some((since, None)), noon()), Err("HL0712"));
            assert_eq!(code(Some((since, None)), since), Err("HL0712"), "at the very moment");
            assert_eq!(code(Some((since, None)), since - TimeDelta::seconds(1)), Ok(0), "signed before");
            let (superseded, stolen) = (Some((since, Some(4))), Some((since, Some(1))));
            assert_eq!(code(superseded, since - TimeDelta::seconds(1)), Ok(0));
            assert_eq!(code(stolen, since - TimeDelta::days(1)), Err("HL0712"), "whoever has the key can say any time");
            let proven = When { proven: true, ..When::said(since - TimeDelta::days(1), noon()) };
            assert_eq!(listed.code(&[listed.list(stolen)], Rules::default(), proven), Ok(0));
        }
    }

    #[test]
    fn lists_of_others_and_stale_lists_do_not_count() {
        let listed = Listed::new(Suite::Sm2Sm3);
        let (stranger, stranger_key) = authority_of(Suite::Sm2Sm3, "stranger");
        let (_, namesake_key) = authority_of(Suite::Sm2Sm3, "root");
        let times = (noon() - TimeDelta::hours(1), noon() + TimeDelta::hours(23));
        let of_another = issue::revocation_list(&stranger, &stranger_key, times, &[]).unwrap();
        let forged = issue::revocation_list(&listed.root, &namesake_key, times, &[]).unwrap();
        let (strict, lax) = (Rules::default(), Rules { stale: Stale::Alarm, ..Rules::default() });
        let now = When::said(noon(), noon());
        for (crl, why) in [(&of_another, "another issuer's"), (&forged, "signed by another key")] {
            assert_eq!(listed.code(std::slice::from_ref(crl), strict, now), Err("HL0713"), "{why}");
            assert_eq!(listed.code(std::slice::from_ref(crl), lax, now), Ok(1), "{why}");
        }
        // A forged list does not push the genuine one aside.
        let revoked = listed.list(Some((noon() - TimeDelta::hours(2), None)));
        assert_eq!(listed.code(&[forged, revoked.clone()], lax, now), Err("HL0712"));

        let later = When::said(noon(), noon() + TimeDelta::days(2));
        assert_eq!(listed.code(&[listed.list(None)], strict, later), Err("HL0714"));
        assert_eq!(listed.code(&[listed.list(None)], lax, later), Ok(1));
        assert_eq!(listed.code(&[revoked], lax, later), Err("HL0712"), "also a stale list revokes");
        let young = Rules { crl_max_age: Some(Duration::from_secs(1800)), ..strict };
        assert_eq!(listed.code(&[listed.list(None)], young, now), Err("HL0714"), "older than we allow");
    }

    #[test]
    fn no_bit_of_a_list_can_change() {
        let listed = Listed::new(Suite::EcdsaP256Sha256);
        let good = listed.list(Some((noon() - TimeDelta::hours(2), Some(4))));
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                let Ok(crls) = Crl::all_from(&bytes) else { continue };
                let trust = trusting(&listed.root).with_crls(crls);
                let when = When::said(noon() - TimeDelta::hours(3), noon());
                let found = trust.check(&listed.leaf, &[], Purpose::SignData, when);
                assert_eq!(found.unwrap_err().code(), "HL0713", "byte {at} bit {bit}");
            }
        }
        for bytes in [&b""[..], b"garbage", b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"] {
            assert_eq!(Crl::all_from(bytes).unwrap_err().code(), "HL0713");
        }
    }

    #[test]
    fn an_authority_between_must_not_be_revoked_either() {
        let (root, key) = authority("root");
        let own = fresh(Suite::EcdsaP256Sha256);
        let between = between(&own, (&root, &key), |_| {});
        let leaf = leaf(&own, &between, |_| {}).certificate;
        let times = (noon() - TimeDelta::hours(1), noon() + TimeDelta::hours(23));
        let list = |issuer: &Certificate, key: &PrivateKey, revoked: &[(&Certificate, DateTime<Utc>, Option<u8>)]| {
            Crl::all_from(&issue::revocation_list(issuer, key, times, revoked).unwrap()).unwrap().remove(0)
        };
        let code = |crls: Vec<Crl>| {
            let trust = trusting(&root).with_crls(crls);
            let found = trust.check(&leaf, std::slice::from_ref(&between), Purpose::SignData, When::then(noon()));
            found.map(|_| ()).map_err(|e| e.code())
        };
        assert_eq!(code(vec![list(&root, &key, &[]), list(&between, &own, &[])]), Ok(()));
        assert_eq!(code(vec![list(&root, &key, &[])]), Err("HL0713"), "nothing is said about the leaf");
        let since = noon() - TimeDelta::hours(2);
        assert_eq!(code(vec![list(&root, &key, &[(&between, since, None)]), list(&between, &own, &[])]), Err("HL0712"));
    }

    #[test]
    fn the_installation_may_demand_more() {
        let national = Rules { national_only: true, ..Rules::default() };
        let longer = Rules { rsa_bits: 4096, ..Rules::default() };
        for suite in Suite::ALL {
            let listed = Listed::new(suite);
            let code = |rules| listed.code(&[], rules, When::then(noon()));
            assert_eq!(code(national), if suite.is_national() { Ok(0) } else { Err("HL0715") }, "{suite:?}");
            assert_eq!(code(longer), if suite == Suite::RsaSha256 { Err("HL0715") } else { Ok(0) }, "{suite:?}");
        }
    }
}

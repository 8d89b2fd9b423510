//! A whole development PKI (开发测试) of one suite: an authority and one certificate for everything that needs one.
//!
//! Decides: which there are. Guarantees: every name says that it is not for production; what is there already is kept,
//! so that making it again only completes it.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use der::asn1::ObjectIdentifier;
use der::pem::LineEnding;

use super::dev_ca::issue_root;
use super::files::{failed, write_whole};
use super::issue::{self, Issuer, Request};
use super::{Certificate, CryptoError, PrivateKey, Suite, purpose};

/// File name, what it is for, key usage, extended key usage.
const LEAVES: [(&str, &str, u8, Option<ObjectIdentifier>); 6] = [
    ("signing", "signing 发布方签名", issue::SIGNS_DATA, None),
    ("department", "department signing 部门签名", issue::SIGNS_DATA, None),
    ("receipts", "subscriber signing 订阅方签名", issue::SIGNS_DATA, None),
    ("subscriber", "subscriber encryption 订阅方加密", issue::RECEIVES_DATA, None),
    ("client", "API client 接口调用", 0b1000_0000, Some(ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"))),
    ("tsa", "time stamping 时间戳", issue::SIGNS_DATA, Some(purpose::STAMPING)),
];

/// Makes `ca`, its revocation list, and a key with certificate for every purpose, below `dir`: `<name>.pem`, `<name>.key`,
/// `ca.crl`. Gives the files that were made now. Certificates last two years, the authority ten, its list thirty days.
///
/// # Errors
/// [`CryptoError::File`]; [`CryptoError::BadKey`] when a certificate is there without its key.
pub fn make(dir: &Path, suite: Suite, now: DateTime<Utc>) -> Result<Vec<PathBuf>, CryptoError> {
    fs::create_dir_all(dir).map_err(failed("create", dir))?;
    let mut made = Vec::new();
    let label = |what: &str| format!("huiliu DEVELOPMENT {} {what} — not for production 开发测试", suite.word());
    let (root, root_key) = pair(dir, "ca", suite, &mut made, |key| issue_root(&label("CA"), key, now))?;
    for (name, what, key_usage, extended) in LEAVES {
        pair(dir, name, suite, &mut made, |key| {
            let request = Request {
                subject: issue::common_name(&label(what)),
                not_before: now - TimeDelta::hours(1),
                not_after: root.not_after().min(now + TimeDelta::days(2 * 365)),
                authority: false,
                key_usage,
                purposes: extended.into_iter().collect(),
            };
            issue::issue(&request, key, Issuer { certificate: Some(&root), key: &root_key })
        })?;
    }
    let list = dir.join("ca.crl");
    let times = (now - TimeDelta::hours(1), now + TimeDelta::days(30));
    let der = issue::revocation_list(&root, &root_key, times, &[])?;
    let pem = der::pem::encode_string("X509 CRL", LineEnding::LF, &der);
    let pem = pem.map_err(|_| CryptoError::BadCrl { what: "it cannot be written as PEM".into() })?;
    write_whole(&list, pem.as_bytes(), 0o644)?;
    made.push(list);
    Ok(made)
}

/// A key and its certificate: those that are there, or new ones.
fn pair(
    dir: &Path,
    name: &str,
    suite: Suite,
    made: &mut Vec<PathBuf>,
    issue: impl FnOnce(&PrivateKey) -> Result<Certificate, CryptoError>,
) -> Result<(Certificate, PrivateKey), CryptoError> {
    let (certificate, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    if certificate.exists() {
        return Ok((Certificate::load_all(&certificate)?.swap_remove(0), PrivateKey::load(&key, None)?));
    }
    let own = PrivateKey::generate(suite)?;
    let issued = issue(&own)?;
    // Certificate last: whoever finds one finds its key too.
    write_whole(&key, own.to_pem(None)?.as_bytes(), 0o600)?;
    write_whole(&certificate, issued.to_pem()?.as_bytes(), 0o644)?;
    made.extend([key, certificate]);
    Ok((issued, own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::issue::tests::noon;
    use crate::crypto::{Crl, Purpose, Trust, When};

    #[test]
    fn every_certificate_serves_what_it_is_for_and_says_what_it_is() {
        for suite in [Suite::EcdsaP256Sha256, Suite::Sm2Sm3] {
            let dir = tempfile::tempdir().unwrap();
            let made = make(dir.path(), suite, noon()).unwrap();
            assert_eq!(made.len(), 15, "seven pairs and a list");
            let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
            let crls = Crl::all_from(&read("ca.crl")).unwrap();
            let trust = Trust::from_pem(&read("ca.pem")).unwrap().with_crls(crls);
            for (name, purpose) in [
                ("signing.pem", Purpose::SignData),
                ("department.pem", Purpose::SignData),
                ("receipts.pem", Purpose::SignData),
                ("subscriber.pem", Purpose::ReceiveData),
                ("client.pem", Purpose::CallUs),
                ("tsa.pem", Purpose::StampTime),
            ] {
                let certificate = Certificate::all_from_pem(&read(name)).unwrap().remove(0);
                trust.check(&certificate, &[], purpose, When::then(noon())).unwrap();
                assert!(certificate.subject().contains("not for production 开发测试"), "{name}");
            }
            fs::remove_file(dir.path().join("tsa.pem")).unwrap();
            assert_eq!(make(dir.path(), suite, noon()).unwrap().len(), 3, "only what is missing, and a new list");
        }
    }
}

//! The development CA (开发测试): a root and a signing certificate, made on first use and plainly labelled as such.
//!
//! Decides: what is made, when it is renewed, what is never overwritten. Must not know: who signs what. Guarantees: keys
//! are readable by their owner only; files appear whole or not at all; two processes make one CA; a root whose key is
//! gone is never silently replaced, because subscribers already trust it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use der::pem::LineEnding;
use p256::ecdsa::SigningKey;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};

use super::certificate::Certificate;
use super::files::{failed, write_whole};
use super::issue::{self, Request};
use super::{CryptoError, Signer};

const ROOT_NAME: &str = "huiliu DEVELOPMENT CA — not for production 开发测试";
const LEAF_NAME: &str = "huiliu DEVELOPMENT signing — not for production 开发测试";

/// Where the files of the development CA lie below a state directory.
#[derive(Debug, Clone)]
pub struct DevCaFiles {
    /// The root's certificate: what subscribers are given.
    pub root: PathBuf,
    root_key: PathBuf,
    signing: PathBuf,
    signing_key: PathBuf,
    lock: PathBuf,
}

impl DevCaFiles {
    /// `dev-ca.pem`, `dev-ca.key`, `signing.pem`, `signing.key` below `state_dir`.
    pub fn below(state_dir: &Path) -> Self {
        Self {
            root: state_dir.join("dev-ca.pem"),
            root_key: state_dir.join("dev-ca.key"),
            signing: state_dir.join("signing.pem"),
            signing_key: state_dir.join("signing.key"),
            lock: state_dir.join("dev-ca.lock"),
        }
    }
}

/// The signer under the development CA of `state_dir`; makes what is missing. The root lasts ten years, the signing
/// certificate two; one that ends within a week is replaced.
///
/// # Errors
/// [`CryptoError::File`]; [`CryptoError::BadKey`] when the root's certificate is there without its key;
/// [`CryptoError::Expired`] when the root itself has ended.
pub fn signer(state_dir: &Path, now: DateTime<Utc>) -> Result<Signer, CryptoError> {
    let files = DevCaFiles::below(state_dir);
    fs::create_dir_all(state_dir).map_err(failed("create", state_dir))?;
    let lock = File::create(&files.lock).map_err(failed("create", &files.lock))?;
    lock.lock().map_err(failed("lock", &files.lock))?;

    let (root, root_key) = root(&files, now)?;
    if let Some(signer) = present_signer(&files, &root, now)? {
        return Ok(signer);
    }
    let key = issue::new_key()?;
    let request = Request {
        common_name: LEAF_NAME.into(),
        not_before: now - TimeDelta::hours(1),
        not_after: root.not_after().min(now + TimeDelta::days(2 * 365)),
        authority: false,
        key_usage: issue::SIGNS_DATA,
        purposes: Vec::new(),
    };
    let certificate = issue::issue(&request, &key, Some(&root), &root_key)?;
    // Certificate last: whoever finds one finds its key too.
    write_whole(&files.signing_key, key_pem(&key)?.as_bytes(), 0o600)?;
    write_whole(&files.signing, certificate_pem(&certificate)?.as_bytes(), 0o644)?;
    tracing::info!(path = %files.signing.display(), "made a development signing certificate");
    Signer::new(key, vec![certificate])
}

/// The root, made if there is none.
fn root(files: &DevCaFiles, now: DateTime<Utc>) -> Result<(Certificate, SigningKey), CryptoError> {
    if files.root.exists() {
        let root = one_certificate(&files.root)?;
        root.check_validity(now)?;
        if !files.root_key.exists() {
            return Err(CryptoError::BadKey {
                what: format!("{} is there but {} is not", files.root.display(), files.root_key.display()),
            });
        }
        return Ok((root, read_key(&files.root_key)?));
    }
    let key = issue::new_key()?;
    let request = Request {
        common_name: ROOT_NAME.into(),
        not_before: now - TimeDelta::hours(1),
        not_after: now + TimeDelta::days(10 * 365),
        authority: true,
        key_usage: issue::ISSUES,
        purposes: Vec::new(),
    };
    let root = issue::issue(&request, &key, None, &key)?;
    write_whole(&files.root_key, key_pem(&key)?.as_bytes(), 0o600)?;
    write_whole(&files.root, certificate_pem(&root)?.as_bytes(), 0o644)?;
    tracing::info!(path = %files.root.display(), "made a development CA, not for production");
    Ok((root, key))
}

/// The signer on disk, if it is whole, issued by this root and good for another week (or as long as the root).
fn present_signer(files: &DevCaFiles, root: &Certificate, now: DateTime<Utc>) -> Result<Option<Signer>, CryptoError> {
    if !files.signing.exists() || !files.signing_key.exists() {
        return Ok(None);
    }
    let signer = Signer::load(&files.signing_key, &files.signing)?;
    let leaf = signer.certificate();
    let enough = (now + TimeDelta::days(7)).min(root.not_after());
    let good = leaf.issuer_der() == root.subject_der() && leaf.not_after() >= enough && signer.check(now).is_ok();
    Ok(good.then_some(signer))
}

fn one_certificate(path: &Path) -> Result<Certificate, CryptoError> {
    let pem = fs::read(path).map_err(failed("read", path))?;
    let mut all = Certificate::all_from_pem(&pem)?;
    Ok(all.swap_remove(0))
}

fn read_key(path: &Path) -> Result<SigningKey, CryptoError> {
    let pem = fs::read_to_string(path).map_err(failed("read", path))?;
    SigningKey::from_pkcs8_pem(&pem)
        .map_err(|_| CryptoError::BadKey { what: format!("{} is not a P-256 key in PKCS#8", path.display()) })
}

fn key_pem(key: &SigningKey) -> Result<impl std::ops::Deref<Target = String>, CryptoError> {
    key.to_pkcs8_pem(LineEnding::LF).map_err(|_| CryptoError::BadKey { what: "it cannot be written as PKCS#8".into() })
}

/// PEM of a certificate.
pub(super) fn certificate_pem(certificate: &Certificate) -> Result<String, CryptoError> {
    der::pem::encode_string("CERTIFICATE", LineEnding::LF, certificate.der())
        .map_err(|_| CryptoError::BadCertificate { what: "it cannot be written as PEM".into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::issue::tests::noon;
    use crate::crypto::{Moment, Trust, verify_detached};
    use std::os::unix::fs::PermissionsExt as _;

    fn subject_of(dir: &Path, at: DateTime<Utc>) -> String {
        signer(dir, at).unwrap().certificate().serial()
    }

    #[test]
    fn first_use_makes_a_labelled_ca_and_later_use_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("deep/.huiliu");
        let made = signer(&state, noon()).unwrap();
        assert!(made.certificate().issuer().contains("not for production 开发测试"));
        let again = signer(&state, noon()).unwrap();
        assert_eq!(again.certificate(), made.certificate());
        for key in ["dev-ca.key", "signing.key"] {
            let mode = fs::metadata(state.join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
        let trust = Trust::from_pem(&fs::read(DevCaFiles::below(&state).root).unwrap()).unwrap();
        let signature = again.sign_detached(b"x", noon()).unwrap();
        assert!(verify_detached(&signature, b"x", &trust, Moment::Signing { now: noon() }).is_ok());
    }

    #[test]
    fn an_ending_signing_certificate_is_renewed_under_the_same_root() {
        let dir = tempfile::tempdir().unwrap();
        let first = subject_of(dir.path(), noon());
        let root = fs::read(dir.path().join("dev-ca.pem")).unwrap();
        assert_ne!(subject_of(dir.path(), noon() + TimeDelta::days(2 * 365 - 3)), first);
        assert_eq!(fs::read(dir.path().join("dev-ca.pem")).unwrap(), root);
        assert_eq!(signer(dir.path(), noon() + TimeDelta::days(11 * 365)).unwrap_err().code(), "HL0704");
    }

    #[test]
    fn an_interrupted_making_is_completed_and_a_lost_root_key_is_said() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("dev-ca.key"), "half").unwrap();
        fs::write(dir.path().join("dev-ca.new"), "half").unwrap();
        let first = subject_of(dir.path(), noon());
        fs::remove_file(dir.path().join("signing.key")).unwrap();
        assert_ne!(subject_of(dir.path(), noon()), first, "the leaf is replaceable");
        fs::remove_file(dir.path().join("dev-ca.key")).unwrap();
        assert_eq!(signer(dir.path(), noon()).unwrap_err().code(), "HL0710", "the root is not");
    }

    #[test]
    fn two_processes_make_one_ca() {
        let dir = tempfile::tempdir().unwrap();
        let serials: Vec<String> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| subject_of(dir.path(), noon()))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(serials.iter().all(|serial| *serial == serials[0]));
    }
}

//! The development CA (开发测试): a root and a signing certificate, made on first use and plainly labelled as such.
//!
//! Decides: what is made, when it is renewed, what is never overwritten. Must not know: who signs what. Guarantees: keys
//! are readable by their owner only; files appear whole or not at all; two processes make one CA; a root whose key is
//! gone is never silently replaced, because subscribers already trust it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use super::certificate::Certificate;
use super::files::{failed, write_whole};
use super::issue::{self, Issuer, Request};
use super::{CryptoError, PrivateKey, Signer, Suite};

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

/// Where the certificate lies under which [`signer`] signs, once it is made.
pub fn signing_certificate(state_dir: &Path) -> PathBuf {
    DevCaFiles::below(state_dir).signing
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
    let key = PrivateKey::generate(Suite::EcdsaP256Sha256)?;
    let request = Request {
        subject: issue::common_name(LEAF_NAME),
        not_before: now - TimeDelta::hours(1),
        not_after: root.not_after().min(now + TimeDelta::days(2 * 365)),
        authority: false,
        key_usage: issue::SIGNS_DATA,
        purposes: Vec::new(),
    };
    let certificate = issue::issue(&request, &key, Issuer { certificate: Some(&root), key: &root_key })?;
    // Certificate last: whoever finds one finds its key too.
    write_whole(&files.signing_key, key.to_pem(None)?.as_bytes(), 0o600)?;
    write_whole(&files.signing, certificate.to_pem()?.as_bytes(), 0o644)?;
    tracing::info!(path = %files.signing.display(), "made a development signing certificate");
    Signer::new(key, vec![certificate])
}

/// The root, made if there is none.
fn root(files: &DevCaFiles, now: DateTime<Utc>) -> Result<(Certificate, PrivateKey), CryptoError> {
    if files.root.exists() {
        let root = Certificate::load_all(&files.root)?.swap_remove(0);
        root.check_validity(now)?;
        if !files.root_key.exists() {
            return Err(CryptoError::BadKey {
                what: format!("{} is there but {} is not", files.root.display(), files.root_key.display()),
            });
        }
        return Ok((root, PrivateKey::load(&files.root_key, None)?));
    }
    let key = PrivateKey::generate(Suite::EcdsaP256Sha256)?;
    let root = issue_root(ROOT_NAME, &key, now)?;
    write_whole(&files.root_key, key.to_pem(None)?.as_bytes(), 0o600)?;
    write_whole(&files.root, root.to_pem()?.as_bytes(), 0o644)?;
    tracing::info!(path = %files.root.display(), "made a development CA, not for production");
    Ok((root, key))
}

/// A root of this name that lasts ten years.
pub(super) fn issue_root(name: &str, key: &PrivateKey, now: DateTime<Utc>) -> Result<Certificate, CryptoError> {
    let request = Request {
        subject: issue::common_name(name),
        not_before: now - TimeDelta::hours(1),
        not_after: now + TimeDelta::days(10 * 365),
        authority: true,
        key_usage: issue::ISSUES,
        purposes: Vec::new(),
    };
    issue::issue(&request, key, Issuer { certificate: None, key })
}

/// The signer on disk, if it is whole, issued by this root and good for another week (or as long as the root).
fn present_signer(files: &DevCaFiles, root: &Certificate, now: DateTime<Utc>) -> Result<Option<Signer>, CryptoError> {
    if !files.signing.exists() || !files.signing_key.exists() {
        return Ok(None);
    }
    let signer = Signer::load(&files.signing_key, &files.signing, None)?;
    let leaf = signer.certificate();
    let enough = (now + TimeDelta::days(7)).min(root.not_after());
    let good = leaf.issuer_der() == root.subject_der() && leaf.not_after() >= enough && signer.check(now).is_ok();
    Ok(good.then_some(signer))
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

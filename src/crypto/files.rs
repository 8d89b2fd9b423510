//! Files with keys in them: whole or absent, and for their owner's eyes.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::CryptoError;

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// The secret in this file, made on first use.
///
/// # Errors
/// [`CryptoError::File`] when it cannot be read or made, [`CryptoError::BadKey`] when it is not a secret.
pub fn secret(path: &Path) -> Result<Vec<u8>, CryptoError> {
    if !path.exists() {
        let mut fresh = [0_u8; SECRET_BYTES];
        getrandom::fill(&mut fresh).map_err(|error| CryptoError::BadKey { what: error.to_string() })?;
        write_whole(path, &fresh, 0o600)?;
        tracing::debug!(path = %path.display(), "made a secret");
    }
    let secret = fs::read(path).map_err(failed("read", path))?;
    if secret.len() == SECRET_BYTES {
        Ok(secret)
    } else {
        Err(CryptoError::BadKey { what: format!("{} is not a secret of {SECRET_BYTES} bytes", path.display()) })
    }
}

/// Writes a file with these permissions under a temporary name, syncs it and renames it into place.
pub(super) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CryptoError> {
    let temporary = path.with_extension("new");
    // A leftover of an interrupted attempt may have other permissions.
    if temporary.exists() {
        fs::remove_file(&temporary).map_err(failed("replace", &temporary))?;
    }
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().map_err(failed("write", path))
}

/// An error about a file.
pub(super) fn failed<'a>(act: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> CryptoError + 'a {
    move |error| CryptoError::File { act, path: path.display().to_string(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owner_and_a_damaged_one_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        let made = secret(&path).unwrap();
        assert_eq!((made.len(), secret(&path).unwrap()), (SECRET_BYTES, made.clone()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(secret(&dir.path().join("b.key")).unwrap(), made);
        fs::write(&path, &made[1..]).unwrap();
        assert!(secret(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), made[1..]);
    }
}

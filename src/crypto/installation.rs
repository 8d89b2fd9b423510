//! Which signer an installation uses: the files it names, or the development CA.

use chrono::{DateTime, Utc};

use super::{CryptoError, Signer, dev_ca};
use crate::config::Installation;

/// The signer of this installation, ready to sign at `now`.
///
/// # Errors
/// As [`Signer::load`], [`Signer::check`] and [`dev_ca::signer`].
pub fn installation_signer(installation: &Installation, now: DateTime<Utc>) -> Result<Signer, CryptoError> {
    let signer = match &installation.signing {
        Some(files) => Signer::load(&files.key, &files.chain)?,
        None => dev_ca::signer(&installation.state_dir, now)?,
    };
    signer.check(now)?;
    Ok(signer)
}

//! This installation's own places: where state lies, who signs, where batches go.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::config::{Feed, OutletKind, Workspace};
use crate::crypto::{CryptoError, Signer, dev_ca};
use crate::outlet::{Outlet, Spool};

/// The directory of state, as a path that can be opened.
pub fn state_dir(workspace: &Workspace) -> PathBuf {
    workspace.installation.state_dir.clone()
}

/// The spool, as a path that can be opened.
pub fn spool_dir(workspace: &Workspace) -> PathBuf {
    workspace.installation.spool.clone()
}

/// The installation's key, or the development CA's, made on first use and labelled as such.
pub(super) fn signer(workspace: &Workspace, now: DateTime<Utc>) -> Result<Signer, CryptoError> {
    match &workspace.installation.signing {
        Some(files) => Signer::load(&files.key, &files.chain),
        None => dev_ca::signer(&state_dir(workspace), now),
    }
}

/// The secret of one feed's pseudonyms: the same in every run, and another for every feed, so that two subscribers
/// cannot join what they hold. It rests on `pseudonym.key` in the state directory, made on first use; who loses that
/// file gives everybody new pseudonyms, so it belongs in the backup.
pub(super) fn pseudonym_key(workspace: &Workspace, feed: &str) -> Result<Vec<u8>, CryptoError> {
    let secret = crate::crypto::secret(&state_dir(workspace).join("pseudonym.key"))?;
    Ok([secret.as_slice(), feed.as_bytes()].concat())
}

/// Where this feed's batches go.
pub(super) fn outlet(workspace: &Workspace, feed: &Feed) -> Box<dyn Outlet> {
    match feed.delivery.outlet {
        OutletKind::Spool => Box::new(Spool::new(spool_dir(workspace))),
    }
}

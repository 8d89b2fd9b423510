//! This installation's own places: where state lies, who signs, where batches go.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::config::{Feed, OutletKind, Workspace};
use crate::crypto::{CryptoError, Signer, dev_ca};
use crate::outlet::rabbitmq::{Address, Patience, RabbitMq};
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

/// The installation's broker, not connected yet; `None` when none is configured.
pub(super) fn broker(workspace: &Workspace) -> Option<RabbitMq> {
    let configured = workspace.installation.broker.as_ref()?;
    let address = Address::parse(&configured.url, configured.ca.as_deref());
    Some(RabbitMq::new(address, Patience::default()))
}

/// Where this feed's batches go. All feeds share the broker's one connection.
pub(super) fn outlet(workspace: &Workspace, feed: &Feed, broker: Option<&RabbitMq>) -> Box<dyn Outlet> {
    match (feed.delivery.outlet.value, broker) {
        (OutletKind::Spool, _) => Box::new(Spool::new(spool_dir(workspace))),
        (OutletKind::Rabbitmq, Some(broker)) => Box::new(broker.outlet()),
        // The check of definitions refuses this (HL0145); batches then wait, and say why.
        (OutletKind::Rabbitmq, None) => Box::new(RabbitMq::unconfigured().outlet()),
    }
}

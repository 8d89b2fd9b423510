//! The daemon's own lease, by which `huiliu status` sees it, and those of the jobs at work.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};

use super::super::{ServeError, Setup};
use super::Daemon;
use crate::serve::holder::{give_back_of_the_dead, host};
use crate::store::{Lease, Store, StoreError};

/// Daemons on one machine that announce themselves.
const DAEMONS: u32 = 64;

/// Takes the first free of this machine's daemon leases.
pub(super) async fn announce(store: &mut dyn Store, holder: &str, setup: &Setup) -> Result<Lease, ServeError> {
    let ttl = setup.workspace.installation.serve.lease;
    for name in give_back_of_the_dead(store).await? {
        tracing::info!(name, "its holder died here; whoever comes first has it");
    }
    for n in 1..=DAEMONS {
        let name = format!("daemon/{}/{n}", host());
        if let Some(lease) = store.acquire_lease(&name, holder, ttl).await? {
            return Ok(lease);
        }
    }
    Err(StoreError::Unavailable(format!("{DAEMONS} daemons of this machine work on this store")).into())
}

impl Daemon {
    /// Three times in the life of a lease: holds what is held. Work whose lease is gone stops at its next commit, which
    /// the store would refuse anyway.
    pub(super) async fn renew(&mut self, now: DateTime<Utc>) {
        let ttl = self.setup.workspace.installation.serve.lease;
        if (now - self.renewed).to_std().is_ok_and(|since| since < ttl / 3) {
            return;
        }
        self.renewed = now;
        match self.store.renew_lease(&self.own, ttl).await {
            Ok(true) => {}
            Ok(false) => {
                let again = self.store.acquire_lease(&self.own.name, &self.own.holder, ttl).await;
                if let Ok(Some(lease)) = again {
                    self.own = lease;
                }
            }
            Err(error) => self.reconnect(&error).await,
        }
        for seat in &self.seats {
            let Some((job, Some(lease))) = &seat.at else { continue };
            match self.store.renew_lease(lease, ttl).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::error!(%job, code = "HL0410", "another daemon took the lease over; the work stops here");
                    seat.stop.store(true, Ordering::Relaxed);
                }
                Err(error) => tracing::warn!(%job, %error, "the lease could not be renewed"),
            }
        }
    }

    /// The store did not answer: perhaps a new connection is answered.
    async fn reconnect(&mut self, error: &StoreError) {
        tracing::warn!(%error, "the store does not answer");
        match (self.setup.stores)().await {
            Ok(store) => self.store = store,
            Err(error) => tracing::warn!(%error, "the store cannot be reached"),
        }
    }
}

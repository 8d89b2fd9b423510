//! Retention (保存期限): what history and change logs the registers need not keep any longer.

use chrono::{DateTime, TimeDelta, Utc};

use super::Daemon;
use crate::engine::agreed_time;

/// Whoever has it lets go; several daemons of an installation do not at the same time.
const LEASE: &str = "retention";
/// How long until it is tried again when somebody else, or an error, was in the way.
const AGAIN: TimeDelta = TimeDelta::hours(1);

impl Daemon {
    /// Once a day: months that ended longer ago than the installation keeps them.
    pub(super) async fn let_go_of_old_months(&mut self, now: DateTime<Utc>) {
        const DAY: TimeDelta = TimeDelta::hours(24);
        let workspace = self.shared.workspace();
        let installation = &workspace.installation;
        let Some(keep) = installation.retention.and_then(|keep| TimeDelta::from_std(keep).ok()) else { return };
        if self.let_go.is_some_and(|last| now - last < DAY) {
            return;
        }
        // A clock of years ahead would let go of everything.
        if let Err(error) = agreed_time(&mut *self.store, self.setup.clock).await {
            self.let_go = Some(now - DAY + AGAIN);
            return tracing::warn!(%error, "old months are not let go of now");
        }
        let micros = now.timestamp_micros();
        let lease = match self.store.acquire_lease(LEASE, &self.own.holder, installation.serve.lease).await {
            Ok(Some(lease)) => lease,
            Ok(None) => return self.let_go = Some(now - DAY + AGAIN),
            Err(error) => {
                self.let_go = Some(now - DAY + AGAIN);
                return tracing::warn!(%error, "old months could not be let go");
            }
        };
        self.let_go = Some(now);
        match self.store.retain_since((now - keep).timestamp_micros()).await {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => {
                tracing::info!(tables = gone.join(" "), "let go of old months of history and change logs");
                let told = format!("{} before {}", gone.join(" "), (now - keep).to_rfc3339());
                if let Err(error) = self.store.audit(micros, "retention", &told).await {
                    tracing::warn!(%error, "what went could not be noted in the audit log");
                }
            }
            Err(error) => {
                self.let_go = Some(now - DAY + AGAIN);
                tracing::warn!(%error, "old months could not be let go; they are tried again in an hour");
            }
        }
        if let Err(error) = self.store.release_lease(&lease).await {
            tracing::warn!(%error, "the lease of retention could not be given back; it ends by itself");
        }
    }
}

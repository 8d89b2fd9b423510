//! Backfills that somebody asked for, also from another process: the store is where they are handed over.

use chrono::{DateTime, TimeDelta, Utc};

use super::Daemon;
use crate::engine::schedule::BackfillLane;

/// How often the store is asked.
const EVERY: TimeDelta = TimeDelta::seconds(2);

impl Daemon {
    /// Looks at the next round.
    pub(super) fn backfills_changed(&mut self) {
        self.asked_for_backfills = None;
    }

    /// Tells the schedule which backfills may work.
    pub(super) async fn look_for_backfills(&mut self, now: DateTime<Utc>) {
        if self.asked_for_backfills.is_some_and(|last| now - last < EVERY) {
            return;
        }
        self.asked_for_backfills = Some(now);
        match self.store.backfills(None).await {
            Ok(mut backfills) => {
                backfills.retain(|backfill| backfill.state.works());
                backfills.sort_by_key(|backfill| backfill.id);
                let lanes: Vec<BackfillLane> = backfills.iter().map(BackfillLane::of).collect();
                self.schedule.set_backfills(lanes);
            }
            Err(error) => tracing::warn!(%error, "backfills could not be looked at"),
        }
    }
}

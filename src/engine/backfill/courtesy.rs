//! Live work goes first (实时优先): what a backfill leaves to the pipelines and feeds at work beside it.
//!
//! Decides: when it waits, and how few rows it commits at a time meanwhile. Must not know: which daemon or command does the
//! live work; the store's leases say that somebody does. Guarantees: it goes on however much live work there is, one
//! commit in [`PATIENCE`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::engine::intake::CHUNK_ROWS;
use crate::engine::{Engine, EngineError};

/// How long live work is waited for before a commit.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether live work is over.
const LOOK: Duration = Duration::from_millis(20);
/// For so long after live work more of it is expected.
const EXPECTED: Duration = Duration::from_secs(10);
/// Rows a commit while live work is expected: it may come at any moment, and then waits for the commit under way.
const FEW_ROWS: usize = 1024;

/// How a backfill behaves beside live work.
pub(super) struct Courtesy {
    /// Asked to wait for nobody.
    eager: bool,
    rows: Arc<AtomicUsize>,
    /// Since when it works; `None` before the first commit of a step.
    since: Option<Instant>,
}

impl Courtesy {
    pub(super) fn new(eager: bool) -> Self {
        Self { eager, rows: Arc::new(AtomicUsize::new(CHUNK_ROWS)), since: None }
    }

    /// Rows that a reader may give to one commit, as they come to be known.
    pub(super) fn rows(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.rows)
    }
}

impl Engine {
    /// Waits while pipelines or feeds are at work, others writing meanwhile, and, while more such work is expected, as long
    /// as it worked; told to stop, it waits no longer.
    pub(super) async fn give_way(&mut self, courtesy: &mut Courtesy) -> Result<(), EngineError> {
        let mut live = self.look_for_live_work(courtesy).await?;
        // A step that is stopped while it waits would never come to anything, were its pipeline due again and again.
        if let Some(since) = courtesy.since.filter(|_| courtesy.rows.load(Ordering::Relaxed) == FEW_ROWS) {
            self.store.rest().await?;
            let (worked, began) = (since.elapsed().min(PATIENCE), Instant::now());
            while began.elapsed() < if live { PATIENCE } else { worked } && self.check_stop().is_ok() {
                #[expect(clippy::disallowed_methods, reason = "others' work is waited for")]
                tokio::time::sleep(LOOK).await;
                live = self.look_for_live_work(courtesy).await?;
            }
        }
        courtesy.since = Some(Instant::now());
        Ok(())
    }

    /// Whether a pipeline or feed is at work, in whatever process; readers hear of it.
    pub(super) async fn look_for_live_work(&mut self, courtesy: &Courtesy) -> Result<bool, EngineError> {
        if courtesy.eager {
            return Ok(false);
        }
        let leases = self.store.leases().await?;
        let at = self.store.now().await?;
        let (live, now) = (leases.iter().any(|lease| lease.is_live(at)), Instant::now());
        if live {
            self.met_live_work = Some(now);
        }
        courtesy.rows.store(rows(self.met_live_work, now), Ordering::Relaxed);
        Ok(live)
    }
}

/// Rows a commit, when live work was last met then.
fn rows(met: Option<Instant>, now: Instant) -> usize {
    let expected = met.is_some_and(|met| now.saturating_duration_since(met) < EXPECTED);
    if expected { FEW_ROWS } else { CHUNK_ROWS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_at_a_time_while_live_work_is_expected() {
        let met = Instant::now();
        let after = |wait: Duration| rows(Some(met), met + wait);
        assert_eq!((rows(None, met), after(Duration::ZERO)), (CHUNK_ROWS, FEW_ROWS));
        assert_eq!((after(EXPECTED - LOOK), after(EXPECTED)), (FEW_ROWS, CHUNK_ROWS));
    }
}

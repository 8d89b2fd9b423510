//! A batch on its way to the outlet, while the next one is made.
//!
//! Decides: when the next may follow. Guarantees: one batch of a feed at a time, in order; what the outlet has not confirmed
//! goes out again as the very same bytes.

use tracing::Instrument as _;

use super::Pass;
use crate::batch::{Manifest, SealedBatch};
use crate::engine::{Engine, EngineError};
use crate::error::Disposition;
use crate::failpoint::Boundary;
use crate::outlet::{Delivered, OutletError};

/// Waiting batches that are read at a time, once the outlet took one.
const AT_A_TIME: i64 = 16;

/// A batch that the outlet has been handed and has not answered for, while the next one is made.
pub(super) struct Leaving {
    seq: u64,
    records: u64,
    answer: tokio::task::JoinHandle<Result<Delivered, OutletError>>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.answer.abort(); // of a pass that broke off: the same bytes go out again
    }
}

impl Engine {
    /// After a crash or an outage the very same bytes go out again, up to this batch.
    pub(super) async fn deliver_waiting(&mut self, pass: &mut Pass, through: i64) -> Result<(), EngineError> {
        let mut most = 1; // where nothing is taken, nothing more is read
        loop {
            let mut waiting = self.store.undelivered(&pass.feed.name, most).await?;
            most = AT_A_TIME;
            waiting.retain(|row| row.seq <= through);
            if waiting.is_empty() || !pass.is_taken() {
                return Ok(());
            }
            for row in waiting {
                let batch = SealedBatch {
                    feed: pass.feed.name.clone(),
                    seq: row.seq.unsigned_abs(),
                    manifest_digest: Manifest::digest_of(&row.manifest)?,
                    body: row.body,
                    manifest: row.manifest,
                    signature: row.signature,
                };
                self.deliver(pass, batch, row.records.unsigned_abs()).await?;
                if !self.delivered(pass).await? {
                    return Ok(());
                }
            }
        }
    }

    /// Hands one batch to the outlet, after the one before it is durable. If the outlet does not take batches now, it
    /// waits, and the rest behind it.
    pub(super) async fn deliver(
        &mut self,
        pass: &mut Pass,
        batch: SealedBatch,
        records: u64,
    ) -> Result<(), EngineError> {
        if !self.delivered(pass).await? {
            return Ok(());
        }
        let Some(outlet) = pass.outlet.clone() else { return Ok(()) };
        Boundary::BatchLeaving.reached();
        let (seq, span) = (batch.seq, tracing::info_span!("deliver", batch = batch.id(), records));
        let answer = tokio::spawn(async move { outlet.deliver(&batch).await }.instrument(span));
        pass.leaving = Some(Leaving { seq, records, answer });
        Ok(())
    }

    /// Waits for the outlet's answer, if a batch is on its way. False when the outlet does not take batches now.
    pub(super) async fn delivered(&mut self, pass: &mut Pass) -> Result<bool, EngineError> {
        let Some(mut leaving) = pass.leaving.take() else { return Ok(pass.is_taken()) };
        let answer = (&mut leaving.answer).await.map_err(|error| EngineError::Internal(error.to_string()))?;
        match answer {
            Ok(Delivered::Durable) => {
                Boundary::BatchConfirmed.reached();
                self.store.mark_durable(&pass.feed.name, leaving.seq as i64).await?;
                Boundary::BatchDurable.reached();
                pass.report.durable += leaving.records;
                self.progress.records(&pass.feed.name, leaving.records);
                Ok(true)
            }
            Ok(Delivered::Accepted) => Ok(true),
            Err(error) if error.disposition() == Disposition::Retry => {
                pass.report.status = "waiting";
                pass.report.why = Some(format!("{} {error}", error.code()));
                pass.outlet = None;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

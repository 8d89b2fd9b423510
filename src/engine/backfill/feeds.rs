//! Sending again: batches exactly as they were sealed, or a whole new snapshot.

use std::fs;
use std::time::Instant;

use super::courtesy::Courtesy;
use super::{Spec, read, refused};
use crate::batch::{Manifest, SealedBatch};
use crate::engine::{Engine, EngineError, premises};
use crate::error::Problem;
use crate::outlet::{BatchFiles, Delivered, OutletError};
use crate::store::{BackfillView, BatchRow, ChunkView};

/// Batches read at a time.
const PAGE: i64 = 16;

impl Engine {
    /// Numbers and records of the batches from `since` on that were delivered before.
    pub(super) async fn replayable(&mut self, feed: &str, since: u64) -> Result<Vec<(i64, u64)>, EngineError> {
        let waiting = self.store.undelivered(feed, 1).await?.first().map_or(i64::MAX, |batch| batch.seq);
        let first = i64::try_from(since.max(1)).unwrap_or(i64::MAX);
        let (mut all, mut next) = (Vec::new(), first);
        loop {
            let page = self.store.batches_from(feed, next, PAGE).await?;
            let Some(last) = page.last().map(|batch| batch.seq) else { break };
            let delivered = page.iter().filter(|batch| batch.seq < waiting);
            all.extend(delivered.map(|batch| (batch.seq, batch.records.unsigned_abs())));
            next = last + 1;
        }
        if all.is_empty() {
            let problem = Problem::error("HL0927", format!("feed \"{feed}\" has no delivered batch from {since} on"));
            return Err(refused(problem.hint("`huiliu feed list` shows how many batches each feed has")));
        }
        Ok(all)
    }

    /// The batches of one chunk, in order, byte for byte.
    pub(super) async fn replay_batches(
        &mut self,
        backfill: &BackfillView,
        chunk: &ChunkView,
    ) -> Result<(), EngineError> {
        let (first, last): (i64, i64) = read(&chunk.spec)?;
        let spec = Spec::of(backfill)?;
        let (rate, started, mut courtesy) = (spec.rate(), Instant::now(), Courtesy::new(spec.eager));
        let name = &backfill.target;
        let feed = self.workspace.feeds.get(name).cloned();
        let feed = feed.ok_or_else(|| EngineError::Internal(format!("feed {name} is not defined")))?;
        if let Some(suspended) = self.suspended(name).await? {
            let (place, why) = (format!("the outlet of {name}"), suspended.told);
            return Err(OutletError::Unavailable { batch: name.clone(), place, why }.into());
        }
        let outlet = premises::outlet(&self.workspace, &feed, self.broker.as_ref());
        let (mut next, mut records) = (first, 0);
        while next <= last {
            let page = self.store.batches_from(name, next, PAGE.min(last - next + 1)).await?;
            let Some(end) = page.last().map(|batch| batch.seq) else { break };
            for row in page.into_iter().filter(|row| row.seq <= last) {
                self.give_way(&mut courtesy).await?;
                self.check_stop()?;
                let sent = row.records.unsigned_abs();
                let batch = self.whole(name, row)?;
                if outlet.deliver(&batch).await? == Delivered::Accepted {
                    let (batch, place) = (batch.id(), format!("the outlet of {name}"));
                    return Err(OutletError::Unavailable { batch, place, why: "not durable yet".into() }.into());
                }
                records += sent;
                self.progress.records(name, sent);
                if let Some(rate) = rate {
                    self.pace(rate, started, records).await?;
                }
            }
            next = end + 1;
        }
        self.progress.done();
        Ok(())
    }

    /// A batch with its body, from the store or, when it was dropped there, from the spool.
    fn whole(&self, feed: &str, row: BatchRow) -> Result<SealedBatch, EngineError> {
        let seq = row.seq.unsigned_abs();
        let mut body = row.body;
        if body.is_empty() {
            let directory = premises::spool_dir(&self.workspace).join(feed);
            body = fs::read(BatchFiles::in_feed(&directory, seq).body).map_err(|_| {
                let problem = Problem::error("HL0926", format!("the body of batch {feed}/{seq} is not kept any more"));
                refused(problem.hint(format!("huiliu backfill start --feed {feed} --rebuild sends a new snapshot")))
            })?;
        }
        Ok(SealedBatch {
            feed: feed.to_owned(),
            seq,
            manifest_digest: Manifest::digest_of(&row.manifest)?,
            body,
            manifest: row.manifest,
            signature: row.signature,
        })
    }

    /// First everything held counts as unknown; then everything granted is sent.
    pub(super) async fn rebuild_feed(&mut self, backfill: &BackfillView, chunk: &ChunkView) -> Result<(), EngineError> {
        let name = &backfill.target;
        if read::<String>(&chunk.spec)? == "open" {
            self.store.feed(name).await?;
            return Ok(self.store.reopen_feed(name).await?);
        }
        let report = self.release(name).await?;
        match report.status {
            "waiting" => {
                let (batch, why) = (name.clone(), report.why.unwrap_or_default());
                Err(OutletError::Unavailable { batch, place: format!("the outlet of {name}"), why }.into())
            }
            _ => Ok(()),
        }
    }
}

//! One feed, from its cursor as far as it goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::inbox::{Envelope, read_body, read_envelope};
use super::{Cursor, Inbox, ReceiveError, Sink};
use crate::batch::{HexDigest, Manifest, Opened, batch_id, open_manifest};
use crate::crypto::{Moment, Trust};
use crate::error::Problem;

/// What became of one feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Feed.
    pub feed: String,
    /// The last batch loaded, now or earlier; `None` is none.
    pub through: Option<u64>,
    /// Batches loaded now.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Of which upserts.
    pub upserts: u64,
    /// Of which withdrawals.
    pub withdrawals: u64,
    /// Why it stopped before the end; `None` when everything there was loaded.
    pub stopped: Option<Problem>,
}

/// Verifies and loads every batch of `feed` that follows the sink's cursor, and stops at the first that does not hold.
/// Certificates must be valid at the time of signing; `now` is what signing times are compared with.
pub async fn receive_feed(
    inbox: &Inbox,
    feed: &str,
    trust: &Arc<Trust>,
    sink: &mut dyn Sink,
    now: DateTime<Utc>,
) -> Received {
    let mut received = Received {
        feed: feed.to_owned(),
        through: None,
        batches: 0,
        records: 0,
        upserts: 0,
        withdrawals: 0,
        stopped: None,
    };
    let mut receiver = Receiver { inbox, feed, trust, now };
    received.stopped = receiver.run(sink, &mut received).await.err().map(|error| Problem::from(&error));
    received
}

struct Receiver<'a> {
    inbox: &'a Inbox,
    feed: &'a str,
    trust: &'a Arc<Trust>,
    now: DateTime<Utc>,
}

impl Receiver<'_> {
    async fn run(&mut self, sink: &mut dyn Sink, received: &mut Received) -> Result<(), ReceiveError> {
        let mut cursor = sink.cursor(self.feed).await?;
        received.through = cursor.map(|cursor| cursor.seq);
        let present = self.inbox.seqs(self.feed)?;
        if let Some(cursor) = &cursor {
            self.check_loaded(cursor, &present)?;
        }
        let after = cursor.map_or(0, |cursor| cursor.seq);
        for seq in present.range(after + 1..) {
            let expected = cursor.map_or(1, |cursor| cursor.seq + 1);
            if *seq != expected {
                return Err(ReceiveError::Hole { feed: self.feed.to_owned(), expected, found: *seq });
            }
            let batch = self.open(*seq, cursor).await?;
            sink.apply(&batch).await?;
            cursor = Some(Cursor { seq: *seq, manifest_digest: HexDigest(batch.manifest_digest) });
            received.through = Some(*seq);
            received.batches += 1;
            received.records += batch.manifest.body.records;
            received.upserts += batch.manifest.body.upserts;
            received.withdrawals += batch.manifest.body.withdrawals;
        }
        Ok(())
    }

    /// The batch at the cursor, if it is still there, must be the one that was loaded.
    fn check_loaded(&self, cursor: &Cursor, present: &BTreeSet<u64>) -> Result<(), ReceiveError> {
        if !present.contains(&cursor.seq) {
            return Ok(());
        }
        let batch = || batch_id(self.feed, cursor.seq);
        let bytes = read_envelope(&self.inbox.files(self.feed, cursor.seq), &batch())?.manifest;
        let same = Manifest::from_json(&bytes)
            .is_ok_and(|manifest| manifest.body.digest().0.digest(&[&bytes]) == cursor.manifest_digest.0);
        if same {
            return Ok(());
        }
        Err(ReceiveError::Fork { batch: batch(), what: "the batch loaded under this number was another one" })
    }

    /// Reads and verifies one batch, and that it follows `cursor`. Heavy: runs beside the async tasks.
    async fn open(&self, seq: u64, cursor: Option<Cursor>) -> Result<Opened, ReceiveError> {
        let (inbox, feed, trust) = (self.inbox.clone(), self.feed.to_owned(), Arc::clone(self.trust));
        let now = self.now;
        tokio::task::spawn_blocking(move || open(&inbox, (&feed, seq), cursor, &trust, now)).await.map_err(|_| {
            ReceiveError::Incomplete {
                batch: batch_id(self.feed, seq),
                file: "the batch".into(),
                why: "verification was broken off".into(),
            }
        })?
    }
}

fn open(
    inbox: &Inbox,
    (feed, seq): (&str, u64),
    cursor: Option<Cursor>,
    trust: &Trust,
    now: DateTime<Utc>,
) -> Result<Opened, ReceiveError> {
    let name = batch_id(feed, seq);
    let failed = |error| ReceiveError::Batch { batch: name.clone(), error };
    let files = inbox.files(feed, seq);
    let Envelope { manifest, signature } = read_envelope(&files, &name)?;
    let opened = open_manifest(&manifest, &signature, trust, Moment::Signing { now }).map_err(failed)?;
    let manifest = &opened.manifest;
    if manifest.feed != feed || manifest.seq != seq {
        return Err(ReceiveError::Misplaced {
            place: files.manifest.display().to_string(),
            batch: batch_id(&manifest.feed, manifest.seq),
        });
    }
    if manifest.previous != cursor.map(|cursor| cursor.manifest_digest) {
        return Err(ReceiveError::Fork { batch: name, what: "it follows another batch" });
    }
    let body = read_body(&files, manifest.body.bytes, &name)?;
    opened.open_body(&body).map_err(failed)
}

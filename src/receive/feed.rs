//! One feed, from its cursor as far as it goes.

use std::sync::Arc;

use serde::Serialize;

use super::inbox::{Content, Inbox, Parcel};
use super::spool::read_body;
use super::{Cursor, ReceiveError, Sink};
use crate::batch::{
    BatchError, Effect, HexDigest, Manifest, Opened, OpenedManifest, Reader, Receipt, batch_id, open_manifest,
};
use crate::clock::Clock;
use crate::crypto::Moment;
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
    /// Batches that came again, were the same and had no effect.
    pub again: u64,
    /// Corrections and recalls among the batches loaded now.
    pub demands: Vec<Demand>,
    /// Why it stopped before the end; `None` when everything there was loaded.
    pub stopped: Option<Problem>,
}

/// A correction or recall that was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Demand {
    /// `feed/seq`.
    pub batch: String,
    /// `correction`, `recall`.
    pub kind: &'static str,
    /// Records.
    pub records: u64,
    /// 事由.
    pub reason: String,
    /// 文号.
    pub reference: String,
}

impl Received {
    /// Nothing yet.
    pub fn nothing(feed: &str) -> Self {
        Self {
            feed: feed.to_owned(),
            through: None,
            batches: 0,
            records: 0,
            upserts: 0,
            withdrawals: 0,
            again: 0,
            demands: Vec::new(),
            stopped: None,
        }
    }
}

/// Verifies and loads every batch of `feed` that follows the sink's cursor, and stops at the first that does not hold.
/// Certificates must be valid at the time of signing, which is compared with the clock.
pub async fn receive_feed(
    inbox: &mut dyn Inbox,
    feed: &str,
    reader: &Arc<Reader>,
    sink: &mut dyn Sink,
    clock: Clock,
) -> Received {
    let mut receiver = Receiver::new(feed, reader, clock);
    let stopped = receiver.drain(inbox, sink).await.err().map(|error| Problem::from(&error));
    Received { stopped, ..receiver.received }
}

/// What became of a parcel that holds.
enum Taken {
    /// It is loaded, now or earlier.
    Done(Box<Receipt>),
    /// Its number is ahead of the next one; with its body.
    Ahead(u64, Content),
}

/// The number that comes next.
pub(super) fn after(cursor: Option<Cursor>) -> u64 {
    cursor.map_or(1, |cursor| cursor.seq + 1)
}

/// One feed on its way.
pub(super) struct Receiver {
    reader: Arc<Reader>,
    clock: Clock,
    /// `None` until the sink was asked.
    cursor: Option<Option<Cursor>>,
    pub(super) received: Received,
}

impl Receiver {
    pub(super) fn new(feed: &str, reader: &Arc<Reader>, clock: Clock) -> Self {
        Self { reader: Arc::clone(reader), clock, cursor: None, received: Received::nothing(feed) }
    }

    async fn drain(&mut self, inbox: &mut dyn Inbox, sink: &mut dyn Sink) -> Result<(), ReceiveError> {
        while self.step(inbox, sink).await? {}
        Ok(())
    }

    /// Takes one batch. False when there is none; what does not hold is left where it is. What is ahead of its turn waits
    /// aside: a lost batch that was sent again lies behind those that were waiting.
    pub(super) async fn step(&mut self, inbox: &mut dyn Inbox, sink: &mut dyn Sink) -> Result<bool, ReceiveError> {
        let cursor = match self.cursor {
            Some(cursor) => cursor,
            None => sink.cursor(&self.received.feed).await?,
        };
        self.cursor = Some(cursor);
        self.received.through = cursor.map(|cursor| cursor.seq);
        let error = loop {
            let Some(parcel) = inbox.next(cursor).await? else {
                let Some(found) = inbox.ahead() else { return Ok(false) };
                break self.hole(cursor, found);
            };
            match self.take(parcel, cursor, sink).await {
                Ok(Taken::Done(receipt)) => return inbox.settle(*receipt).await.map(|()| true),
                Ok(Taken::Ahead(seq, body)) => {
                    if !inbox.set_aside(seq, body).await? {
                        break self.hole(cursor, inbox.ahead().map_or(seq, |lowest| lowest.min(seq)));
                    }
                }
                Err(error) => break error,
            }
        };
        inbox.refuse().await?;
        Err(error)
    }

    fn hole(&self, cursor: Option<Cursor>, found: u64) -> ReceiveError {
        ReceiveError::Hole { feed: self.received.feed.clone(), expected: after(cursor), found }
    }

    async fn take(
        &mut self,
        parcel: Parcel,
        cursor: Option<Cursor>,
        sink: &mut dyn Sink,
    ) -> Result<Taken, ReceiveError> {
        let feed = self.received.feed.clone();
        let Parcel { place, seq, manifest, signature, body } = parcel;
        let name = seq.map_or_else(|| place.clone(), |seq| batch_id(&feed, seq));
        let (reader, now) = (Arc::clone(&self.reader), self.clock.now());
        let opened =
            heavy(&name, move || open_manifest(&manifest, &signature, &reader.trust, Moment::Signing { now })).await?;
        let opened = opened.map_err(|error| ReceiveError::Batch { batch: name, error })?;
        let found = &opened.manifest;
        if found.feed != feed || seq.is_some_and(|seq| seq != found.seq) {
            return Err(ReceiveError::Misplaced { place, batch: batch_id(&found.feed, found.seq) });
        }
        let expected = after(cursor);
        if found.seq < expected {
            return Ok(Taken::Done(Box::new(self.again(opened, body, sink).await?)));
        }
        if found.seq > expected {
            return Ok(Taken::Ahead(found.seq, body));
        }
        if found.previous != cursor.map(|cursor| cursor.manifest_digest) {
            return Err(ReceiveError::Fork { batch: batch_id(&feed, found.seq), what: "it follows another batch" });
        }
        Ok(Taken::Done(Box::new(self.load(opened, body, sink).await?)))
    }

    /// The next batch: everything about it is checked, then it is loaded.
    async fn load(
        &mut self,
        opened: OpenedManifest,
        body: Content,
        sink: &mut dyn Sink,
    ) -> Result<Receipt, ReceiveError> {
        let name = batch_id(&opened.manifest.feed, opened.manifest.seq);
        // A feed is named after its subscriber: nobody loads what was sealed for another department.
        let subscriber = &opened.manifest.subscriber;
        if opened.manifest.feed.split('.').next() != Some(subscriber.as_str()) {
            return Err(ReceiveError::Addressed { batch: name, subscriber: subscriber.clone() });
        }
        let (named, reader) = (name.clone(), Arc::clone(&self.reader));
        let batch: Opened = heavy(&name, move || {
            let body = content(body, opened.manifest.body.bytes, &named)?;
            opened.open_body(&body, &reader.keys).map_err(|error| ReceiveError::Batch { batch: named, error })
        })
        .await??;
        let held = sink.apply(&batch).await?;
        let (manifest, digest) = (&batch.manifest, HexDigest(batch.manifest_digest));
        self.cursor = Some(Some(Cursor { seq: manifest.seq, manifest_digest: digest }));
        let received = &mut self.received;
        received.through = Some(manifest.seq);
        received.batches += 1;
        received.records += manifest.body.records;
        received.upserts += manifest.body.upserts;
        received.withdrawals += manifest.body.withdrawals;
        received.demands.extend(manifest.notice.as_ref().map(|notice| Demand {
            batch: name,
            kind: manifest.kind.name(),
            records: manifest.body.records,
            reason: notice.reason.clone(),
            reference: notice.reference.clone(),
        }));
        Ok(Receipt { held, ..self.receipt(manifest, digest, Effect::Applied) })
    }

    /// A batch that was loaded before must be the same one; then it has no effect.
    async fn again(
        &mut self,
        opened: OpenedManifest,
        body: Content,
        sink: &mut dyn Sink,
    ) -> Result<Receipt, ReceiveError> {
        let OpenedManifest { manifest, digest, .. } = opened;
        let name = batch_id(&manifest.feed, manifest.seq);
        let loaded = sink.loaded(&manifest.feed, manifest.seq).await?;
        if loaded.is_some_and(|loaded| loaded.0 != digest) {
            let what = "the batch loaded under this number was another one";
            return Err(ReceiveError::Fork { batch: name, what });
        }
        let (named, bytes, (algorithm, expected)) =
            (name.clone(), manifest.body.bytes, (manifest.body.algorithm, manifest.body.digest.0));
        let same =
            heavy(&name, move || content(body, bytes, &named).map(|body| algorithm.digest(&[&body]) == expected));
        if !same.await?? {
            let error = BatchError::BodyDigest { what: "its digest differs" };
            return Err(ReceiveError::Batch { batch: name, error });
        }
        self.received.again += 1;
        Ok(self.receipt(&manifest, HexDigest(digest), Effect::AlreadyLoaded))
    }

    fn receipt(&self, manifest: &Manifest, digest: HexDigest, effect: Effect) -> Receipt {
        Receipt::new(manifest, digest, effect, self.clock.now())
    }
}

fn content(body: Content, bytes: u64, name: &str) -> Result<Vec<u8>, ReceiveError> {
    match body {
        Content::File(file) => read_body(&file, bytes, name),
        Content::Bytes(body) => Ok(body),
    }
}

/// Runs beside the async tasks.
async fn heavy<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ReceiveError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ReceiveError::Incomplete {
        batch: name.to_owned(),
        file: "the batch".into(),
        why: "verification was broken off".into(),
    })
}

//! What a subscriber holds (持有), worked out anew from the bodies of its feed's batches.
//!
//! Reads only. A body lies in the store until it is dropped, and then in the spool; behind a broker it may be gone, and an
//! encrypted one nobody here can read: then what is held is not known from the batches, and why is said.

use std::collections::BTreeMap;

use super::{Engine, EngineError, premises};
use crate::batch::{FeedSchema, Manifest, Op, read_body};
use crate::crypto::Digest;
use crate::linking::EntityId;
use crate::outlet::BatchFiles;
use crate::store::{BatchRow, HeldDigest, HeldRow};

/// Batches read at a time.
const AT_A_TIME: i64 = 16;

/// What all batches of a feed up to one of them say is held.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// By entity: its record, and the fingerprint of the schema that it was sent under.
    pub(super) held: BTreeMap<EntityId, (HeldRow, Digest)>,
    /// The last batch's.
    pub(super) schema: Option<FeedSchema>,
    /// The last batch's.
    pub(super) manifest_digest: Option<Digest>,
}

/// A batch whose records cannot be read any more.
#[derive(Debug)]
pub(super) struct Unread {
    /// Its number.
    pub(super) seq: u64,
    /// Why.
    pub(super) why: &'static str,
}

impl Engine {
    /// What batches 1 to `through` of a feed say is held after them.
    pub(super) async fn sent_through(
        &mut self,
        feed: &str,
        through: u64,
    ) -> Result<Result<Replayed, Unread>, EngineError> {
        let mut all = Replayed::default();
        let mut next = 1;
        while next <= through {
            let rows = self.store.batches_from(feed, i64::try_from(next).unwrap_or(i64::MAX), AT_A_TIME).await?;
            if rows.first().is_none_or(|row| row.seq.unsigned_abs() != next) {
                return Ok(Err(Unread { seq: next, why: "it is not kept" }));
            }
            for row in rows.into_iter().take_while(|row| row.seq.unsigned_abs() <= through) {
                let seq = row.seq.unsigned_abs();
                next = seq + 1;
                if let Err(why) = self.take_in(feed, row, &mut all) {
                    return Ok(Err(Unread { seq, why }));
                }
            }
        }
        Ok(Ok(all))
    }

    fn take_in(&self, feed: &str, row: BatchRow, all: &mut Replayed) -> Result<(), &'static str> {
        let seq = row.seq;
        let manifest = Manifest::from_json(&row.manifest).map_err(|_| "its manifest does not read")?;
        let algorithm = manifest.body.algorithm;
        all.manifest_digest = Some(algorithm.digest(&[&row.manifest]));
        let body = self.kept_body(feed, row, &manifest)?;
        let (schema, records) = read_body(&body, algorithm).map_err(|_| "its records do not read")?;
        for record in records {
            match record.op {
                Op::Upsert => {
                    let held = HeldDigest { version: record.version, digest: record.digest };
                    let row = HeldRow { entity: record.id, held, batch: seq };
                    all.held.insert(record.id, (row, schema.fingerprint()));
                }
                Op::Withdraw => drop(all.held.remove(&record.id)),
            }
        }
        all.schema = Some(schema);
        Ok(())
    }

    /// The body of a batch: from the store, or where it dropped it, from the spool.
    fn kept_body(&self, feed: &str, row: BatchRow, manifest: &Manifest) -> Result<Vec<u8>, &'static str> {
        if manifest.body.encryption.is_some() {
            return Err("they are encrypted to the subscriber");
        }
        let in_store = !row.body.is_empty();
        let body = if in_store {
            row.body
        } else {
            let file =
                BatchFiles::in_feed(&premises::spool_dir(&self.workspace).join(feed), row.seq.unsigned_abs()).body;
            std::fs::read(file).map_err(|_| "their body is no longer kept")?
        };
        match manifest.body.algorithm.digest(&[&body]) == manifest.body.digest.0 {
            true => Ok(body),
            false if in_store => Err("their body in the store is another one"),
            false => Err("their body in the spool is another one"),
        }
    }
}

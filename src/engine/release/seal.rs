//! A batch closed: sealed, kept with the feed's state and its entries in the audit log, and on its way. While one is sealed,
//! the one before it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Pass;
use crate::batch::{
    BatchError, BodyBuilder, Changes, Decision, FoundInText, Heading, HexDigest, Kind, Part, RowCounts, SealedBatch,
    seal,
};
use crate::config::Feed;
use crate::engine::rows::hex;
use crate::engine::{Engine, EngineError, FeedReport};
use crate::share::{FieldDecision, Release};
use crate::store::{BatchRow, FeedCounts, FeedState, Found, Note, SealSet};

/// A batch that is sealed, and kept while the next one is sealed.
pub(super) struct Unkept {
    set: SealSet,
    batch: Option<SealedBatch>,
    now: DateTime<Utc>,
}

/// A body that another thread closes and signs.
type Sealing = tokio::task::JoinHandle<Result<(SealedBatch, Kind), BatchError>>;

impl Engine {
    /// Seals what is in the body (if anything); meanwhile the batch before it is kept and handed to the outlet.
    ///
    /// Nothing reads what a pass wrote of entities that it has passed, so one batch may be held back in memory. Whoever
    /// needs it kept calls [`Self::keep`].
    #[tracing::instrument(name = "seal", skip_all)]
    pub(super) async fn seal_batch(&mut self, pass: &mut Pass, last: bool) -> Result<(), EngineError> {
        let now = self.agreed_time().await?;
        let (counts, withheld) = (std::mem::take(&mut pass.counts), std::mem::take(&mut pass.withheld_by));
        pass.report.counts.add(&counts);
        let found = std::mem::take(&mut pass.found);
        let mut state = pass.state.clone();
        let records = pass.body.records();
        let sealing = match records {
            0 => None,
            _ => Some(pass.close((&mut state, now, last), (&counts, withheld), &found)?),
        };
        let kept = self.keep(pass).await;
        let batch = match sealing {
            Some(sealing) => Some(sealing.await.map_err(|error| EngineError::Internal(error.to_string()))??),
            None => None,
        };
        kept?;
        state.previous = batch.as_ref().map(|(batch, _)| hex(&batch.manifest_digest)).or(state.previous);
        pass.state = state.clone();
        if last {
            state.sweep = None;
            state.part = 0;
        }
        let (batch, row) = match batch {
            Some((batch, kind)) => {
                let row = row(&batch, (kind, records));
                (Some(batch), Some(row))
            }
            None => (None, None),
        };
        let set = SealSet {
            feed: pass.feed.name.clone(),
            state,
            stamp: self.workspace.installation.timestamps.is_some(),
            upserts: std::mem::take(&mut pass.upserts),
            withdrawals: std::mem::take(&mut pass.withdrawals),
            counts,
            at: now.timestamp_micros(),
            chased: std::mem::take(&mut pass.chased),
            notes: Vec::new(),
            batch: row,
            found: found.into_values().collect(),
        };
        pass.unkept = Some(Unkept { set, batch, now });
        Ok(())
    }

    /// Keeps the batch that was sealed last, with the feed's state and its entries in the audit log, and hands it to the
    /// outlet.
    pub(super) async fn keep(&mut self, pass: &mut Pass) -> Result<(), EngineError> {
        let Some(Unkept { mut set, batch, now }) = pass.unkept.take() else { return Ok(()) };
        set.notes = self.notes_of(pass, set.batch.as_ref(), now);
        let (upserts, withdrawals) = (set.upserts.len() as u64, set.withdrawals.len() as u64);
        let records = set.batch.as_ref().map_or(0, |row| row.records.unsigned_abs());
        self.store.seal(set).await?;
        pass.report.upserts += upserts;
        pass.report.withdrawals += withdrawals;
        let Some(batch) = batch else { return Ok(()) };
        self.keys_used.insert(key_use(pass));
        pass.report.batches += 1;
        if pass.report.status == "nothing new" {
            pass.report.status = "released";
        }
        self.deliver(pass, batch, records).await
    }

    /// What the audit log says of a batch: to whom, for what, under which grant, signed by whom; and the first time that a key
    /// signs for a feed.
    fn notes_of(&self, pass: &Pass, row: Option<&BatchRow>, now: DateTime<Utc>) -> Vec<Note> {
        let Some(row) = row else { return Vec::new() };
        let (feed, at) = (&pass.feed, now.timestamp_micros());
        let signer = pass.signer.certificate();
        let grant: String = hex(&pass.decision.grant_digest.0).chars().take(16).collect();
        let though = if pass.recalls_only { ", though the grant is suspended" } else { "" };
        let told = format!(
            "{}/{}: {}, {} records to {} for {}, grant {grant}, signed by {}{though}",
            feed.name,
            row.seq,
            row.kind,
            row.records,
            feed.subscriber,
            feed.purpose,
            signer.serial()
        );
        let mut notes = vec![Note::new(at, "feed.release", told)];
        let used = key_use(pass);
        if !self.keys_used.contains(&used) {
            notes.insert(0, Note::new(at, "key.use", format!("signs batches of {used}")));
        }
        notes
    }

    pub(super) async fn finish(&mut self, pass: Pass) -> Result<FeedReport, EngineError> {
        let Pass { mut report, started, .. } = pass;
        report.seconds = started.elapsed().as_secs_f64();
        if !report.counts.balanced() {
            return Err(EngineError::Unbalanced { register: format!("feed {}", report.feed) });
        }
        if report.batches > 0 {
            self.checkpoint_if_due().await;
        }
        self.progress.done();
        Ok(report)
    }
}

/// What the store keeps of a batch.
fn row(batch: &SealedBatch, (kind, records): (Kind, usize)) -> BatchRow {
    BatchRow {
        seq: batch.seq as i64,
        kind: kind.name().to_owned(),
        body: batch.body.clone(),
        manifest: batch.manifest.clone(),
        signature: batch.signature.clone(),
        manifest_digest: hex(&batch.manifest_digest),
        records: records as i64,
    }
}

impl Pass {
    /// Closes the body and has it sealed under the next number, on a thread of its own: digests take their time, and a
    /// key on a token is asked over a bus or a network.
    fn close(
        &mut self,
        (state, now, last): (&mut FeedState, DateTime<Utc>, bool),
        (counts, withheld): (&FeedCounts, BTreeMap<String, u64>),
        found: &BTreeMap<String, Found>,
    ) -> Result<Sealing, EngineError> {
        state.seq += 1;
        state.part += i64::from(self.notice.is_none());
        let rows = RowCounts {
            considered: counts.considered,
            released: counts.released,
            unaffected: counts.unaffected,
            withheld,
        };
        let heading = self.heading(state, (now, last), rows, found)?;
        let next = BodyBuilder::new(&self.schema, state.seq.unsigned_abs() + 1);
        let body = std::mem::replace(&mut self.body, next);
        let (signer, recipient) = (Arc::clone(&self.signer), self.recipient.clone());
        Ok(tokio::task::spawn_blocking(move || {
            let (body, kind) = (body.finish(), heading.kind);
            let body = match recipient {
                Some(recipient) => body.encrypted_to(&recipient)?,
                None => body,
            };
            Ok((seal(heading, body, &signer)?, kind))
        }))
    }

    fn heading(
        &self,
        state: &FeedState,
        (now, last): (DateTime<Utc>, bool),
        rows: RowCounts,
        found: &BTreeMap<String, Found>,
    ) -> Result<Heading, EngineError> {
        let told = |found: &Found| FoundInText {
            policy: found.policy.clone(),
            citizen_ids: found.citizen_ids.unsigned_abs(),
            mobiles: found.mobiles.unsigned_abs(),
        };
        let free_text = found.iter().map(|(field, found)| (field.clone(), told(found))).collect();
        let previous = match &state.previous {
            None => None,
            Some(text) => Some(
                crate::crypto::digest_from_hex(text)
                    .ok_or_else(|| EngineError::Internal("a stored manifest digest does not read".into()))?,
            ),
        };
        let snapshot = self.first && self.notice.is_none();
        Ok(Heading {
            feed: self.feed.name.clone(),
            seq: state.seq.unsigned_abs(),
            kind: match &self.notice {
                Some((kind, _)) => *kind,
                None if snapshot => Kind::Snapshot,
                None => Kind::Delta,
            },
            notice: self.notice.as_ref().map(|(_, notice)| notice.clone()),
            part: snapshot.then_some(Part { n: state.part.unsigned_abs(), last }),
            issuer: self.issuer.clone(),
            subscriber: self.feed.subscriber.clone(),
            created_at: now,
            register: self.feed.register.value.clone(),
            schema_version: self.schema_version,
            previous,
            changes: if self.notice.is_some() {
                Changes { after: state.cursor, through: state.cursor }
            } else {
                self.window
            },
            decision: Decision { rows, free_text, ..self.decision.clone() },
        })
    }
}

/// Which key signs for which feed.
fn key_use(pass: &Pass) -> String {
    let signer = pass.signer.certificate();
    format!("{}: {}, serial {}", pass.feed.name, signer.subject(), signer.serial())
}

/// What every manifest of this pass says about the grant; row counts differ from batch to batch.
pub(super) fn decision(feed: &Feed, release: &Release, grant: [u8; 32]) -> Decision {
    let (mut released, mut masked, mut withheld) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for (field, decision) in release.decisions() {
        match decision {
            FieldDecision::Released => released.push(field.clone()),
            FieldDecision::Masked(how) => {
                masked.insert(field.clone(), how.clone());
            }
            FieldDecision::Withheld(why) => {
                withheld.insert(field.clone(), why.to_string());
            }
        }
    }
    Decision {
        grant: feed.name.clone(),
        grant_digest: HexDigest(grant),
        purpose: feed.purpose.clone(),
        basis: feed.basis.clone(),
        approved: feed.approved.as_ref().and_then(|approved| approved.number.clone()),
        released,
        masked,
        withheld,
        free_text: BTreeMap::new(),
        rows: RowCounts { considered: 0, released: 0, unaffected: 0, withheld: BTreeMap::new() },
    }
}

//! A batch closed: sealed, kept with the feed's state and its entries in the audit log, and on its way.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Pass;
use crate::batch::{BodyBuilder, Changes, Decision, FoundInText, Heading, HexDigest, Kind, Part, RowCounts, seal};
use crate::config::Feed;
use crate::engine::rows::hex;
use crate::engine::{Engine, EngineError, FeedReport};
use crate::share::{FieldDecision, Release};
use crate::store::{BatchRow, FeedState, Found, Note, SealSet};

impl Engine {
    /// Seals what is in the body (if anything), keeps it with the feed's state, and hands it to the outlet.
    #[tracing::instrument(name = "seal", skip_all)]
    pub(super) async fn seal_batch(&mut self, pass: &mut Pass, last: bool) -> Result<(), EngineError> {
        let records = pass.body.records();
        let counts = std::mem::take(&mut pass.counts);
        let withheld_by = std::mem::take(&mut pass.withheld_by);
        let (found, chased) = (std::mem::take(&mut pass.found), std::mem::take(&mut pass.chased));
        pass.report.counts.add(&counts);
        let now = self.agreed_time().await?;
        let mut sealed = None;
        let mut state = pass.state.clone();
        if records > 0 {
            let next = BodyBuilder::new(&pass.schema, state.seq.unsigned_abs() + 2);
            let body = std::mem::replace(&mut pass.body, next).finish();
            let body = match &pass.recipient {
                Some(recipient) => body.encrypted_to(recipient)?,
                None => body,
            };
            state.seq += 1;
            state.part += i64::from(pass.notice.is_none());
            let heading = pass.heading(
                &state,
                (now, last),
                RowCounts {
                    considered: counts.considered,
                    released: counts.released,
                    unaffected: counts.unaffected,
                    withheld: withheld_by,
                },
                &found,
            )?;
            let kind = heading.kind;
            let signer = Arc::clone(&pass.signer);
            // A key on a token is asked over a bus or a network.
            let sealing = tokio::task::spawn_blocking(move || seal(heading, body, &signer)).await;
            let batch = sealing.map_err(|error| EngineError::Internal(error.to_string()))??;
            state.previous = Some(hex(&batch.manifest_digest));
            let row = BatchRow {
                seq: state.seq,
                kind: kind.name().to_owned(),
                body: batch.body.clone(),
                manifest: batch.manifest.clone(),
                signature: batch.signature.clone(),
                manifest_digest: hex(&batch.manifest_digest),
                records: records as i64,
            };
            sealed = Some((batch, row));
        }
        let mut kept = state.clone();
        if last {
            kept.sweep = None;
            kept.part = 0;
        }
        let (batch, row) = sealed.map_or((None, None), |(batch, row)| (Some(batch), Some(row)));
        pass.report.upserts += pass.upserts.len() as u64;
        pass.report.withdrawals += pass.withdrawals.len() as u64;
        let set = SealSet {
            feed: pass.feed.name.clone(),
            state: kept,
            stamp: self.workspace.installation.timestamps.is_some(),
            upserts: std::mem::take(&mut pass.upserts),
            withdrawals: std::mem::take(&mut pass.withdrawals),
            counts,
            at: now.timestamp_micros(),
            chased,
            notes: self.notes_of(pass, row.as_ref(), now),
            batch: row,
            found: found.into_values().collect(),
        };
        self.store.seal(set).await?;
        if batch.is_some() {
            self.keys_used.insert(key_use(pass));
        }
        pass.state = state;
        if let Some(batch) = batch {
            pass.report.batches += 1;
            if pass.report.status == "nothing new" {
                pass.report.status = "released";
            }
            self.deliver(pass, batch, records as u64).await?;
        }
        Ok(())
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

impl Pass {
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

//! One pass of one feed: what changed, under the grant, compared with what the subscriber holds, sealed and delivered.

mod leaving;
mod page;
mod stamps;

pub(super) use stamps::Rest as StampRest;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use self::leaving::Leaving;
use self::page::{Encoded, Page, Step, encode};
use super::rows::hex;
use super::{Engine, EngineError, FeedReport};
use crate::batch::{
    BatchError, BodyBuilder, Changes, Decision, FeedField, FeedSchema, Heading, HexDigest, Kind, Part, RowCounts, seal,
};
use crate::config::{Feed, MaskRule, Register};
use crate::crypto::{DigestAlgorithm, Recipient, Signer};
use crate::linking::EntityId;
use crate::outlet::Outlet;
use crate::share::{FieldDecision, Release, in_force};
use crate::store::{BatchRow, FeedCounts, FeedState, HeldDigest, Holding, SealSet, Snapshot};

/// Entities read at a time.
const PAGE: i64 = 8192;

/// A page that another thread encodes.
type Encoding = tokio::task::JoinHandle<Result<(Encoded, Page), BatchError>>;

/// A feed's pass under way.
struct Pass {
    feed: Feed,
    issuer: String,
    /// `None` when the grant is not in force: everything held is withdrawn.
    release: Option<Arc<Release>>,
    decision: Decision,
    schema: Arc<FeedSchema>,
    schema_version: u32,
    signer: Arc<Signer>,
    /// To whom bodies are encrypted, if they are.
    recipient: Option<Recipient>,
    /// `None` once it does not take batches now.
    outlet: Option<Arc<dyn Outlet>>,
    leaving: Option<Leaving>,
    state: FeedState,
    first: bool,
    window: Changes,
    quota_left: Option<u64>,
    body: BodyBuilder,
    counts: FeedCounts,
    withheld_by: BTreeMap<String, u64>,
    upserts: Vec<Holding>,
    withdrawals: Vec<EntityId>,
    report: FeedReport,
    started: Instant,
}

impl Engine {
    /// One pass: releases and delivers everything this feed has waiting.
    async fn release_batches(&mut self, name: &str) -> Result<FeedReport, EngineError> {
        if self.workspace.feeds.contains_key(name)
            && let Some(why) = self.suspended(name).await?
        {
            return Ok(FeedReport::new(name, "waiting", Some(why)));
        }
        let Some(mut pass) = self.begin(name).await? else {
            return Err(EngineError::Internal(format!("feed {name} is not defined")));
        };
        self.deliver_waiting(&mut pass).await?;
        self.note_feed(&pass.feed).await?;
        if pass.state.sweep.is_some() {
            self.sweep(&mut pass).await?;
        } else {
            self.delta(&mut pass).await?;
        }
        self.delivered(&mut pass).await?;
        self.finish(pass).await
    }

    async fn begin(&mut self, name: &str) -> Result<Option<Pass>, EngineError> {
        let Some(feed) = self.workspace.feeds.get(name).cloned() else { return Ok(None) };
        let Some(register) = self.workspace.registers.get(&feed.register.value) else { return Ok(None) };
        let today = self.clock.today(self.workspace.installation.zone);
        let refused = in_force(&feed, today).err().map(|why| why.to_string());
        let mut release =
            Release::compile(&feed, register, &self.workspace.codes, today).map_err(EngineError::Definitions)?;
        if feed.mask.values().any(|mask| mask.value == MaskRule::Pseudonym) {
            release = release.with_pseudonym_key(&super::premises::pseudonym_key(&self.workspace, name)?);
        }
        let now = self.clock.now();
        let (signer, recipient) = super::premises::seals(&self.workspace, &feed, now).await?;
        let schema = Arc::new(schema(name, register, &release, signer.suite().digest())?);
        let grant = self.workspace.feed_digest(name).and_then(crate::crypto::digest_from_hex);
        let grant = grant.ok_or_else(|| EngineError::Internal(format!("the file of feed {name} has no digest")))?;
        let decision = decision(&feed, &release, grant);
        let mut state = self.store.feed(name).await?;
        let horizon = self.store.horizon(&feed.register.value).await?;
        let grant = if refused.is_some() { format!("ended:{}", hex(&grant)) } else { hex(&grant) };
        let first = state.grant.is_none() || (state.sweep.is_some() && state.cursor == 0);
        let told = state.grant.as_deref() == Some(&grant);
        if !told {
            state.grant = Some(grant);
            state.sweep = Some((0, horizon));
            state.part = 0;
        }
        let digest = hex(&Sha256::digest(schema.json().as_bytes()));
        if state.schema.1.as_deref() != Some(&digest) {
            state.schema = (state.schema.0 + 1, Some(digest));
        }
        let through = state.sweep.map_or(horizon, |(_, through)| through);
        if let Some(why) = refused.as_ref().filter(|_| !told) {
            self.store.audit(self.clock.now().timestamp_micros(), "feed.refused", &format!("{name}: {why}")).await?;
        }
        Ok(Some(Pass {
            issuer: self.workspace.installation.issuer.clone(),
            quota_left: self.quota_left(&feed, now).await?,
            outlet: Some(Arc::from(super::premises::outlet(&self.workspace, &feed, self.broker.as_ref()))),
            leaving: None,
            release: refused.is_none().then(|| Arc::new(release)),
            decision,
            body: BodyBuilder::new(&schema, state.seq.unsigned_abs() + 1),
            schema_version: u32::try_from(state.schema.0).unwrap_or(u32::MAX),
            schema,
            signer: Arc::new(signer),
            recipient,
            first,
            window: Changes { after: state.cursor, through },
            counts: FeedCounts::default(),
            withheld_by: BTreeMap::new(),
            upserts: Vec::new(),
            withdrawals: Vec::new(),
            report: FeedReport::new(name, if refused.is_some() { "refused" } else { "nothing new" }, refused),
            feed,
            state,
            started: Instant::now(),
        }))
    }

    /// Records the quota still allows today; `None` without a quota.
    async fn quota_left(&mut self, feed: &Feed, now: DateTime<Utc>) -> Result<Option<u64>, EngineError> {
        let Some(quota) = feed.delivery.quota else { return Ok(None) };
        let midnight = now
            .with_timezone(&self.workspace.installation.zone)
            .date_naive()
            .and_time(chrono::NaiveTime::MIN)
            .and_local_timezone(self.workspace.installation.zone)
            .earliest()
            .map_or(0, |at| at.timestamp_micros());
        let sent = self.store.sealed_since(&feed.name, midnight).await?;
        Ok(Some(quota.0.saturating_sub(sent)))
    }

    /// Everything live and everything held, in entity order. While one page is sent the next is encoded, and the store
    /// reads the one after it.
    async fn sweep(&mut self, pass: &mut Pass) -> Result<(), EngineError> {
        let Some((after, _)) = pass.state.sweep else { return Ok(()) };
        let (page, mut to) = self.sweep_page(pass, after).await?;
        let mut encoding = pass.encode(page);
        loop {
            self.check_stop()?;
            let next = match to {
                EntityId::MAX => None,
                _ => Some(self.sweep_page(pass, to).await?).map(|(page, to)| (pass.encode(page), to)),
            };
            if !self.send(pass, encoding).await? {
                return Ok(());
            }
            let Some(following) = next else { break };
            pass.state.sweep = pass.state.sweep.map(|(_, through)| (to, through));
            (encoding, to) = following;
        }
        pass.state.cursor = pass.window.through;
        self.seal_batch(pass, true).await?;
        pass.state.sweep = None;
        pass.state.part = 0;
        Ok(())
    }

    /// The entities after this one, and the last that they reach.
    async fn sweep_page(&mut self, pass: &Pass, after: EntityId) -> Result<(Page, EntityId), EngineError> {
        let register = &pass.feed.register.value;
        let rows = self.store.entities_after(register, &pass.reads(), after, PAGE).await?;
        let to = rows.last.filter(|_| rows.ids.len() as i64 == PAGE).unwrap_or(EntityId::MAX);
        let held = self.holdings_between(&pass.feed.name, after, to).await?;
        let gone = held.keys().copied().filter(|id| rows.ids.binary_search(id).is_err()).collect();
        Ok((Page { rows: Snapshot { gone, ..rows }, held }, to))
    }

    async fn holdings_between(
        &mut self,
        feed: &str,
        after: EntityId,
        to: EntityId,
    ) -> Result<HashMap<EntityId, HeldDigest>, EngineError> {
        let mut held = HashMap::new();
        let mut from = after;
        loop {
            let page = self.store.holdings_after(feed, from, PAGE).await?;
            let Some(last) = page.last().map(|holding| holding.entity) else { return Ok(held) };
            held.extend(page.into_iter().filter(|h| h.entity <= to).map(|h| (h.entity, h.held)));
            if last >= to {
                return Ok(held);
            }
            from = last;
        }
    }

    /// What changed since the cursor, in entity order.
    async fn delta(&mut self, pass: &mut Pass) -> Result<(), EngineError> {
        let window = (pass.window.after, pass.window.through);
        if window.0 >= window.1 {
            return Ok(()); // nothing changed: nothing to count, and the daemon looks every minute
        }
        let mut from = 0;
        // The last page is the one that has no entity left.
        while let Some(rows) = self.changed_page(pass, from).await? {
            self.check_stop()?;
            let looked_at: Vec<EntityId> = rows.ids.iter().chain(&rows.gone).copied().collect();
            let held = self.store.held(&pass.feed.name, &looked_at).await?;
            from = rows.last.unwrap_or(EntityId::MAX);
            let encoding = pass.encode(Page { rows, held });
            if !self.send(pass, encoding).await? {
                return Ok(());
            }
        }
        pass.state.cursor = window.1;
        self.seal_batch(pass, true).await
    }

    async fn changed_page(&mut self, pass: &Pass, from: EntityId) -> Result<Option<Snapshot>, EngineError> {
        let window = (pass.window.after, pass.window.through);
        if window.0 >= window.1 {
            return Ok(None);
        }
        let of = (pass.feed.register.value.as_str(), &pass.reads()[..]);
        let page = self.store.changed_between(of, window, from, PAGE).await?;
        Ok(page.last.is_some().then_some(page))
    }

    /// Puts what must go out into batches. False when the quota of the day is used up.
    async fn send(&mut self, pass: &mut Pass, encoding: Encoding) -> Result<bool, EngineError> {
        let encoded = encoding.await.map_err(|error| EngineError::Internal(error.to_string()));
        let (encoded, page) = encoded??;
        let mut steps = encoded.steps(&page.rows);
        steps.sort_unstable_by_key(|(entity, _)| *entity);
        for (entity, step) in steps {
            match step {
                Step::Unaffected => {
                    pass.counts.considered += 1;
                    pass.counts.unaffected += 1;
                }
                Step::Withheld(rule) => {
                    pass.counts.considered += 1;
                    pass.counts.withheld += 1;
                    *pass.withheld_by.entry(rule.to_owned()).or_default() += 1;
                }
                Step::Send { rows, row, holding, entity: id } => {
                    if pass.quota_left == Some(0) {
                        self.seal_batch(pass, false).await?;
                        pass.report.status = "waiting";
                        pass.report.why = Some("HL0610 the day's quota is used up; it resets at midnight".into());
                        return Ok(false);
                    }
                    if !pass.body.has_room_for(rows, row, &pass.feed.delivery.batch) {
                        self.seal_batch(pass, false).await?;
                    }
                    pass.counts.considered += 1;
                    pass.body.push(rows, row)?;
                    pass.counts.released += 1;
                    pass.quota_left = pass.quota_left.map(|left| left - 1);
                    match holding {
                        Some(holding) => pass.upserts.push(holding),
                        None => pass.withdrawals.push(id),
                    }
                }
            }
            if let Some((after, _)) = &mut pass.state.sweep {
                *after = entity;
            }
        }
        Ok(true)
    }

    /// Seals what is in the body (if anything), keeps it with the feed's state, and hands it to the outlet.
    #[tracing::instrument(name = "seal", skip_all)]
    async fn seal_batch(&mut self, pass: &mut Pass, last: bool) -> Result<(), EngineError> {
        let records = pass.body.records();
        let counts = std::mem::take(&mut pass.counts);
        let withheld_by = std::mem::take(&mut pass.withheld_by);
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
            state.part += 1;
            let heading = pass.heading(
                &state,
                (now, last),
                RowCounts {
                    considered: counts.considered,
                    released: counts.released,
                    unaffected: counts.unaffected,
                    withheld: withheld_by,
                },
            )?;
            let kind = heading.kind;
            let signer = Arc::clone(&pass.signer);
            // A key on a token is asked over a bus or a network.
            let sealing = tokio::task::spawn_blocking(move || seal(heading, body, &signer)).await;
            let batch = sealing.map_err(|error| EngineError::Internal(error.to_string()))??;
            state.previous = Some(hex(&batch.manifest_digest));
            let row = BatchRow {
                seq: state.seq,
                kind: if kind == Kind::Snapshot { "snapshot" } else { "delta" }.to_owned(),
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
            batch: row,
            upserts: std::mem::take(&mut pass.upserts),
            withdrawals: std::mem::take(&mut pass.withdrawals),
            counts,
            at: now.timestamp_micros(),
        };
        self.store.seal(set).await?;
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

    async fn finish(&mut self, pass: Pass) -> Result<FeedReport, EngineError> {
        let Pass { mut report, started, .. } = pass;
        report.seconds = started.elapsed().as_secs_f64();
        if !report.counts.balanced() {
            return Err(EngineError::Unbalanced { register: format!("feed {}", report.feed) });
        }
        let detail = format!(
            "{}: {}, {} batches, {} records",
            report.feed, report.status, report.batches, report.counts.released
        );
        if report.status != "nothing new" {
            let at = self.now();
            self.store.audit(at, "feed.release", &detail).await?;
            self.checkpoint_if_due().await;
        }
        self.progress.done();
        Ok(report)
    }
}

impl Pass {
    /// Register fields that the grant looks at.
    fn reads(&self) -> Vec<&str> {
        self.release.as_ref().map_or_else(Vec::new, |release| release.reads().into_iter().collect())
    }

    /// Encodes a page under the grant on another thread.
    fn encode(&self, page: Page) -> Encoding {
        let (schema, release) = (Arc::clone(&self.schema), self.release.clone());
        tokio::task::spawn_blocking(move || Ok((encode(&schema, release.as_deref(), &page)?, page)))
    }

    fn heading(
        &self,
        state: &FeedState,
        (now, last): (DateTime<Utc>, bool),
        rows: RowCounts,
    ) -> Result<Heading, EngineError> {
        let previous = match &state.previous {
            None => None,
            Some(text) => Some(
                crate::crypto::digest_from_hex(text)
                    .ok_or_else(|| EngineError::Internal("a stored manifest digest does not read".into()))?,
            ),
        };
        let snapshot = self.first;
        Ok(Heading {
            feed: self.feed.name.clone(),
            seq: state.seq.unsigned_abs(),
            kind: if snapshot { Kind::Snapshot } else { Kind::Delta },
            part: snapshot.then_some(Part { n: state.part.unsigned_abs(), last }),
            issuer: self.issuer.clone(),
            subscriber: self.feed.subscriber.clone(),
            created_at: now,
            register: self.feed.register.value.clone(),
            schema_version: self.schema_version,
            previous,
            changes: self.window,
            decision: Decision { rows, ..self.decision.clone() },
        })
    }
}

/// The schema of the records that go out under a grant.
pub(super) fn schema(
    feed: &str,
    register: &Register,
    release: &Release,
    algorithm: DigestAlgorithm,
) -> Result<FeedSchema, BatchError> {
    let fields = release.fields().map(|(field, kind)| FeedField {
        name: field.to_owned(),
        title: register.field(field).map_or_else(String::new, |f| f.title.clone()),
        kind,
    });
    FeedSchema::new(feed, fields.collect(), algorithm)
}

/// What every manifest of this pass says about the grant; row counts differ from batch to batch.
fn decision(feed: &Feed, release: &Release, grant: [u8; 32]) -> Decision {
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
        rows: RowCounts { considered: 0, released: 0, unaffected: 0, withheld: BTreeMap::new() },
    }
}

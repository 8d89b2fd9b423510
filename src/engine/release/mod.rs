//! One pass of one feed: what changed, under the grant, compared with what the subscriber holds, sealed and delivered.

mod chase;
mod leaving;
mod page;
mod refusal;
mod seal;
mod stamps;

pub(super) use stamps::Rest as StampRest;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, NaiveDate, Utc};
use sha2::{Digest as _, Sha256};

use self::leaving::Leaving;
use self::page::{Encoded, Page, Step, encode};
use self::seal::{Unkept, decision};
use super::rows::hex;
use super::suspend::Suspended;
use super::{Engine, EngineError, FeedReport};
use crate::batch::{
    BatchError, BodyBuilder, Changes, Committing, Decision, FeedField, FeedSchema, Kind, Notice, SaltKey,
};
use crate::config::{EvidenceOf, Feed, MaskRule, Register};
use crate::crypto::{DigestAlgorithm, Recipient, Signer};
use crate::linking::EntityId;
use crate::outlet::Outlet;
use crate::share::{FieldDecision, Release, RowFound, in_force};
use crate::store::{FeedCounts, FeedState, Found, HeldDigest, Holding, Snapshot};

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
    /// Where evidence is by field.
    committing: Option<Arc<Committing>>,
    schema_version: u32,
    signer: Arc<Signer>,
    /// To whom bodies are encrypted, if they are.
    recipient: Option<Arc<Recipient>>,
    /// `None` once it does not take batches now.
    outlet: Option<Arc<dyn Outlet>>,
    leaving: Option<Leaving>,
    unkept: Option<Unkept>,
    state: FeedState,
    first: bool,
    window: Changes,
    quota_left: Option<u64>,
    body: BodyBuilder,
    counts: FeedCounts,
    withheld_by: BTreeMap<String, u64>,
    upserts: Vec<Holding>,
    withdrawals: Vec<EntityId>,
    /// Numbers of persons found in the free text of what is in the body, by field.
    found: BTreeMap<String, Found>,
    /// Records that are recalled: they stay inside.
    recalled: Arc<HashSet<EntityId>>,
    /// Of what is in the body: the corrections and recalls that it carries, and why.
    chased: Vec<i64>,
    notice: Option<(Kind, Notice)>,
    /// The grant is suspended: nothing else goes out.
    recalls_only: bool,
    report: FeedReport,
    started: Instant,
}

impl Engine {
    /// One pass: releases and delivers everything this feed has waiting.
    async fn release_batches(&mut self, name: &str) -> Result<FeedReport, EngineError> {
        let suspended = match self.workspace.feeds.contains_key(name) {
            true => self.suspended(name).await?,
            false => None,
        };
        let suspended = match suspended {
            None => self.awaits_decision(name).await?,
            suspended => suspended,
        };
        let done = match &suspended {
            Some(suspended) => Box::pin(self.recalls_only(name, suspended)).await,
            None => Box::pin(self.one_pass(name)).await,
        };
        self.tell_refusal(name, suspended.map(|suspended| suspended.told), &done).await?;
        done
    }

    /// The pass of a feed that is suspended, or awaits a decision: recalls (撤回) leave, and what is sealed before them; everything else waits.
    async fn recalls_only(&mut self, name: &str, suspended: &Suspended) -> Result<FeedReport, EngineError> {
        let Some(through) = self.recalls_due(name, suspended).await? else {
            return Ok(FeedReport::new(name, "waiting", Some(suspended.told.clone())));
        };
        let mut pass = self.begin(name).await?.ok_or_else(|| not_defined(name))?;
        pass.recalls_only = true;
        self.deliver_waiting(&mut pass, through).await?;
        self.note_feed(&pass.feed).await?;
        if pass.is_taken() {
            self.chase(&mut pass).await?;
        }
        if self.delivered(&mut pass).await? {
            pass.report.status = "waiting";
            pass.report.why = Some(suspended.told.clone());
        }
        self.finish(pass).await
    }

    async fn one_pass(&mut self, name: &str) -> Result<FeedReport, EngineError> {
        let mut pass = self.begin(name).await?.ok_or_else(|| not_defined(name))?;
        self.deliver_waiting(&mut pass, i64::MAX).await?;
        self.note_feed(&pass.feed).await?;
        let passed = match pass.is_taken() {
            true => self.seal_all(&mut pass).await,
            false => Ok(()),
        };
        let kept = self.keep(&mut pass).await; // also of a pass that broke off
        passed.and(kept)?;
        self.delivered(&mut pass).await?;
        self.finish(pass).await
    }

    /// Corrections and recalls, then what changed.
    ///
    /// It ends soon after the outlet takes no more: a feed that waits keeps its place in the change log instead of a growing
    /// pile of sealed bodies, delays nobody by making them, and its subscriber gets every record once, as it is by then.
    async fn seal_all(&mut self, pass: &mut Pass) -> Result<(), EngineError> {
        self.chase(pass).await?;
        match pass.state.sweep {
            Some(_) => self.sweep(pass).await,
            None => self.delta(pass).await,
        }
    }

    async fn begin(&mut self, name: &str) -> Result<Option<Pass>, EngineError> {
        let now = self.agreed_time().await?; // a grant is in force, and a key is good, by that
        let Some(feed) = self.workspace.feeds.get(name).cloned() else { return Ok(None) };
        let Some(register) = self.workspace.registers.get(&feed.register.value) else { return Ok(None) };
        if let Some(unset) = self.workspace.unset_in(&feed.file) {
            return Err(EngineError::Definitions(vec![unset]));
        }
        let today = now.with_timezone(&self.workspace.installation.zone).date_naive();
        let refused = in_force(&feed, today).err().map(|why| why.to_string());
        let mut release =
            Release::compile(&feed, register, &self.workspace.codes, today).map_err(EngineError::Definitions)?;
        if feed.mask.values().any(|mask| matches!(mask.value, MaskRule::Pseudonym(_))) {
            let key = super::premises::agreed_pseudonym_key(&self.workspace, name, &mut *self.store).await?;
            release = release.with_pseudonym_key(&key);
        }
        let (signer, recipient) = super::premises::seals(&self.workspace, &feed, now).await?;
        let schema = Arc::new(schema(name, register, &release, signer.suite().digest())?);
        let committing = match register.evidence {
            EvidenceOf::Record => None,
            EvidenceOf::Field => {
                let key = super::premises::salt_key(&self.workspace)?;
                Some(Arc::new(committing(name, register, (&schema, &release), key)))
            }
        };
        let grant = self.workspace.feed_digest(name).and_then(crate::crypto::digest_from_hex);
        let grant = grant.ok_or_else(|| EngineError::Internal(format!("the file of feed {name} has no digest")))?;
        let decision = decision(&feed, &release, grant);
        let mut state = self.store.feed(name).await?;
        let horizon = self.store.horizon(&feed.register.value).await?;
        let grant = if refused.is_some() { format!("ended:{}", hex(&grant)) } else { hex(&grant) };
        let first = state.grant.is_none() || (state.sweep.is_some() && state.cursor == 0);
        follow(&mut state, &grant, (release.depends_on_day() && refused.is_none()).then_some(today), horizon);
        let digest = hex(&Sha256::digest(schema.json().as_bytes()));
        if state.schema.1.as_deref() != Some(&digest) {
            state.schema = (state.schema.0 + 1, Some(digest));
        }
        let through = state.sweep.map_or(horizon, |(_, through)| through);
        let recalled = Arc::new(self.store.recalled(&feed.register.value).await?.into_iter().collect());
        Ok(Some(Pass {
            issuer: self.workspace.installation.issuer.clone(),
            quota_left: self.quota_left(&feed, now).await?,
            outlet: Some(Arc::from(super::premises::outlet(&self.workspace, &feed, self.broker.as_ref()))),
            leaving: None,
            unkept: None,
            release: refused.is_none().then(|| Arc::new(release)),
            decision,
            body: BodyBuilder::new(&schema, state.seq.unsigned_abs() + 1),
            schema_version: u32::try_from(state.schema.0).unwrap_or(u32::MAX),
            schema,
            committing,
            signer: Arc::new(signer),
            recipient: recipient.map(Arc::new),
            first,
            window: Changes { after: state.cursor, through },
            counts: FeedCounts::default(),
            withheld_by: BTreeMap::new(),
            upserts: Vec::new(),
            withdrawals: Vec::new(),
            found: BTreeMap::new(),
            recalled,
            chased: Vec::new(),
            notice: None,
            recalls_only: false,
            report: FeedReport::new(name, if refused.is_some() { "refused" } else { "nothing new" }, refused),
            feed,
            state,
            started: Instant::now(),
        }))
    }

    /// Records the quota still allows today; `None` without a quota.
    async fn quota_left(&mut self, feed: &Feed, now: DateTime<Utc>) -> Result<Option<u64>, EngineError> {
        let Some(quota) = feed.delivery.quota else { return Ok(None) };
        let zone = self.workspace.installation.zone;
        let began = refusal::quota_day(now, zone).map_or(0, |(from, _)| from.timestamp_micros());
        let sent = self.store.sealed_since(&feed.name, began).await?;
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

    /// Puts what must go out into batches. False when the quota of the day is used up, or the outlet takes no more.
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
                        pass.report.why = Some(self.quota_is_used_up());
                        return Ok(false);
                    }
                    if !pass.body.has_room_for(rows, row, &pass.feed.delivery.batch) {
                        self.seal_batch(pass, false).await?;
                        if !pass.is_taken() {
                            return Ok(false);
                        }
                    }
                    pass.counts.considered += 1;
                    pass.body.push(rows, row)?;
                    pass.find(encoded.found_in(rows, row));
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
}

/// Under another grant than before everything is compared once, and so it is with every day where what leaves depends on the
/// day: what a date overtakes is in no change log. A comparison under way is finished first.
fn follow(state: &mut FeedState, grant: &str, day: Option<NaiveDate>, horizon: i64) {
    let present = day.map_or_else(|| grant.to_owned(), |day| format!("{grant}@{day}"));
    let known = state.grant.as_deref();
    let of_another_day = day.is_some() && known.and_then(|known| known.split('@').next()) == Some(grant);
    if known == Some(present.as_str()) || (of_another_day && state.sweep.is_some()) {
        return;
    }
    state.grant = Some(present);
    state.sweep = Some((0, horizon));
    state.part = 0;
}

impl Pass {
    /// Whether the outlet takes batches, as far as anybody knows.
    const fn is_taken(&self) -> bool {
        self.outlet.is_some()
    }

    /// Register fields that the grant looks at, and those that records commit to.
    fn reads(&self) -> Vec<&str> {
        let Some(release) = &self.release else { return Vec::new() };
        let committed = self.schema.committed().iter().map(String::as_str);
        let all: BTreeSet<&str> = release.reads().into_iter().chain(committed).collect();
        all.into_iter().collect()
    }

    /// How records are encoded.
    fn form(&self) -> (&FeedSchema, Option<&Committing>) {
        (&self.schema, self.committing.as_deref())
    }

    /// Encodes a page under the grant on another thread.
    fn encode(&self, page: Page) -> Encoding {
        let (schema, release, recalled) = (Arc::clone(&self.schema), self.release.clone(), Arc::clone(&self.recalled));
        let committing = self.committing.clone();
        tokio::task::spawn_blocking(move || {
            let form = (&*schema, committing.as_deref());
            Ok((encode(form, (release.as_deref(), &recalled), &page)?, page))
        })
    }

    /// Counts what was found in the free text of a record that goes out.
    fn find<'a>(&mut self, found: impl Iterator<Item = &'a RowFound>) {
        let (schema, policy) = (Arc::clone(&self.schema), self.feed.free_text.name());
        for one in found {
            let Some(field) = schema.fields().get(one.column) else { continue };
            let sum = self.found.entry(field.name.clone()).or_insert_with(|| Found {
                field: field.name.clone(),
                policy: policy.to_owned(),
                citizen_ids: 0,
                mobiles: 0,
            });
            sum.citizen_ids += one.citizen_ids.cast_signed();
            sum.mobiles += one.mobiles.cast_signed();
        }
    }
}

fn not_defined(feed: &str) -> EngineError {
    EngineError::Internal(format!("feed {feed} is not defined"))
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
    let committed = match register.evidence {
        EvidenceOf::Record => Vec::new(),
        EvidenceOf::Field => register.fields.iter().map(|field| field.name.clone()).collect(),
    };
    FeedSchema::committing(feed, fields.collect(), committed, algorithm)
}

/// How the records of a feed are committed to: what is masked, or altered on its way, is never opened.
fn committing(feed: &str, register: &Register, (schema, release): (&FeedSchema, &Release), key: SaltKey) -> Committing {
    let plain = release.decisions().iter().filter(|(_, decision)| *decision == FieldDecision::Released);
    let plain: BTreeSet<&str> = plain.map(|(field, _)| field.as_str()).collect();
    let fields: Vec<_> = register.fields.iter().map(|field| (field.name.clone(), field.kind)).collect();
    Committing::new(key, (feed, &register.name), &fields, (schema, &plain))
}

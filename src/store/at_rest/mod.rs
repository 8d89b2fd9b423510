//! Encryption at rest (落盘加密): a store around a store, which sees no sensitive value.
//!
//! Decides: what of everything that is written is encrypted, and as what. Must not know: databases. It stands between
//! the engine and either store, so that there is one place where values are encrypted and one where they are opened,
//! and a store without it does nothing more than before. `docs/at-rest.md` says what this protects against, and what not.

mod change;
mod keys;
mod operations;
mod register;
mod review;
mod views;

pub use keys::{DataKeyView, data_keys, encrypted_fields, master, on_token, plain, renew, rotate};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;

use self::keys::{fields_note, refused};
use self::register::{Around, RegisterAtRest};
use super::{
    BatchLink, BatchRow, ChangeSet, ClaimView, DeliveryView, EntityView, FeedState, FeedView, FileEnd, FileStart,
    FileState, HeldDigest, HeldRow, HistoryView, LedgerRow, Note, QuarantineFilter, QuarantineView, Recalled,
    ReceiptRow, Result, RunEnd, RunStart, RunView, SealSet, Snapshot, Store, StoreError, Surveyed,
};
use crate::config::Register;
use crate::crypto::DigestAlgorithm;
use crate::crypto::at_rest::{Cipher, DataKeys, Digests, Wrapper};
use crate::error::Problem;
use crate::linking::{Before, ClaimId, EntityId, Known, Layout, StreamId};
use crate::record::FieldType;

/// A store whose sensitive values are encrypted.
pub struct AtRestStore {
    inner: Box<dyn Store>,
    keys: DataKeys,
    digests: Digests,
    quarantine: Cipher,
    bodies: Cipher,
    /// Positions, digests of files, and what backfills were asked for.
    places: Cipher,
    /// The source's own keys, of claims by stream and of rows set aside by `system.dataset`.
    sources: HashMap<StreamId, Cipher>,
    aside: HashMap<String, Cipher>,
    registers: HashMap<String, RegisterAtRest>,
}

impl AtRestStore {
    /// Around a store; what is in there is opened with this master key. An empty store gets its data key now, noted at
    /// this instant (microseconds).
    ///
    /// # Errors
    /// HL0407 when the master key is another one, HL0408 when the store was begun without encryption.
    pub async fn open(mut inner: Box<dyn Store>, wrapper: &dyn Wrapper, at: i64) -> Result<Self> {
        let keys = keys::unwrapped(inner.as_mut(), wrapper, at).await?;
        let digests = keys.digests().ok_or_else(|| StoreError::Damaged("there is no data key".into()))?;
        Ok(Self {
            inner,
            digests,
            quarantine: keys.cipher(&["quarantine"]).for_long(),
            bodies: keys.cipher(&["batch"]).for_long(),
            places: keys.lookup(&["place"]),
            sources: HashMap::new(),
            aside: HashMap::new(),
            registers: HashMap::new(),
            keys,
        })
    }

    /// A digest of what is held. What stands for none was put there by the store itself.
    fn shown(&self, digest: [u8; 32]) -> [u8; 32] {
        if digest == HeldDigest::AGAIN { digest } else { self.digests.show(digest) }
    }

    fn register(&self, name: &str) -> Result<&RegisterAtRest> {
        self.registers.get(name).ok_or_else(|| StoreError::Damaged(format!("register {name} was not prepared")))
    }

    /// What the source's own keys of a stream are encrypted with. Nothing is asked of the store for it: this happens in
    /// the middle of a chunk, where a question would give the turn to others.
    fn source(&mut self, stream: StreamId) -> &Cipher {
        let keys = &self.keys;
        self.sources.entry(stream).or_insert_with(|| keys.lookup(&["source", &stream.to_string()]))
    }

    /// The same for rows that were set aside, which have no stream.
    fn aside(&mut self, dataset: &str) -> &Cipher {
        if !self.aside.contains_key(dataset) {
            self.aside.insert(dataset.to_owned(), self.keys.lookup(&["aside", dataset]));
        }
        &self.aside[dataset]
    }

    /// What is stored of a register, what of it is encrypted, and how.
    async fn learn(
        &mut self,
        registers: &[&Register],
        encrypted: impl Fn(&Register) -> BTreeMap<String, FieldType>,
        stored: &[Surveyed],
    ) -> Result<Vec<Register>> {
        let sensitive = |(register, field): &(&Register, &str)| encrypted(register).contains_key(*field);
        let named =
            registers.iter().flat_map(|register| register.keys.iter().map(|key| (*register, key.value.as_str())));
        let names: HashSet<(&str, &str)> =
            named.filter(sensitive).map(|(register, field)| (register.name.as_str(), field)).collect();
        let mut kept = Vec::new();
        for (register, stored) in registers.iter().zip(stored) {
            let columns = stored.fields.iter().map(|(name, _)| name.clone()).collect();
            let around = Around { columns, names: names.clone(), keys: &self.keys };
            let known = RegisterAtRest::new(register, &encrypted(register), &around)?;
            kept.push(known.kept_as(register));
            self.registers.insert(register.name.clone(), known);
        }
        Ok(kept)
    }

    async fn prepare_all(&mut self, registers: &[&Register]) -> Result<()> {
        let noted = encrypted_fields(self.inner.as_mut()).await?;
        let stored = self.inner.survey(registers).await?;
        let nothing = BTreeMap::new();
        let mut notes = Vec::new();
        for (register, stored) in registers.iter().zip(&stored) {
            let noted = noted.get(&register.name).unwrap_or(&nothing);
            let wanted = sensitive_fields(register);
            unchanged(register, (noted, &wanted), stored)?;
            if *noted != wanted {
                notes.push(fields_note(&register.name, &wanted));
            }
        }
        if !notes.is_empty() {
            self.inner.note_at_rest(&notes, true).await?;
        }
        let kept = self.learn(registers, sensitive_fields, &stored).await?;
        self.inner.prepare(&kept.iter().collect::<Vec<_>>()).await
    }

    async fn survey_all(&mut self, registers: &[&Register]) -> Result<Vec<Surveyed>> {
        let noted = encrypted_fields(self.inner.as_mut()).await?;
        let stored = self.inner.survey(registers).await?;
        let known = |register: &Register| noted.get(&register.name).cloned().unwrap_or_default();
        let kept = self.learn(registers, known, &stored).await?;
        let mut surveyed = self.inner.survey(&kept.iter().collect::<Vec<_>>()).await?;
        for (register, stored) in registers.iter().zip(&mut surveyed) {
            let encrypted = known(register);
            let at_rest = self.register(&register.name)?;
            stored.fields.retain(|(name, _)| !at_rest.is_index(name));
            for (name, kind) in &mut stored.fields {
                *kind = encrypted.get(name).copied().unwrap_or(*kind);
            }
            if let Err(StoreError::Refused(problem)) =
                unchanged(register, (&encrypted, &sensitive_fields(register)), stored)
            {
                stored.refused.get_or_insert(*problem);
            }
        }
        Ok(surveyed)
    }
}

/// The fields of a register that are to be encrypted.
fn sensitive_fields(register: &Register) -> BTreeMap<String, FieldType> {
    let sensitive = register.fields.iter().filter(|field| field.is_sensitive());
    sensitive.map(|field| (field.name.clone(), field.kind)).collect()
}

/// A field that is stored stays as it is stored: encrypted or not, and of its type.
fn unchanged(
    register: &Register,
    (noted, wanted): (&BTreeMap<String, FieldType>, &BTreeMap<String, FieldType>),
    stored: &Surveyed,
) -> Result<()> {
    for field in &register.fields {
        let there = stored.fields.iter().any(|(name, _)| *name == field.name);
        let (is, asked) = (noted.get(&field.name), wanted.get(&field.name));
        if !there || is == asked {
            continue;
        }
        let is = is.map_or_else(|| "plain".to_owned(), |kind| format!("encrypted, of type {kind}"));
        let asked = asked.map_or_else(|| "plain".to_owned(), |kind| format!("encrypted, of type {kind}"));
        let problem =
            Problem::error("HL0412", format!("field {} of register {} is stored {is}", field.name, register.name))
                .at(field.place.clone())
                .detail(format!("at level {} and type {} it would be {asked}", field.level, field.kind))
                .hint(
                    "add a new field of that level beside it, or put the level back; stored values are not rewritten",
                );
        return Err(refused(problem));
    }
    Ok(())
}

#[async_trait]
impl Store for AtRestStore {
    async fn prepare(&mut self, registers: &[&Register]) -> Result<()> {
        self.prepare_all(registers).await
    }

    async fn stream(&mut self, system: &str, dataset: &str, register: &str) -> Result<StreamId> {
        self.inner.stream(system, dataset, register).await
    }

    async fn streams(&mut self) -> Result<HashMap<StreamId, (String, String, String)>> {
        self.inner.streams().await
    }

    async fn layout(&mut self, register: &str, fields: &[String]) -> Result<Layout> {
        self.inner.layout(register, fields).await
    }

    async fn begin_run(&mut self, start: RunStart) -> Result<i64> {
        self.inner.begin_run(start).await
    }

    async fn end_run(&mut self, run: i64, end: RunEnd) -> Result<()> {
        self.inner.end_run(run, end).await
    }

    async fn runs(&mut self, pipeline: Option<&str>, limit: i64) -> Result<Vec<RunView>> {
        self.inner.runs(pipeline, limit).await
    }

    async fn file(&mut self, dataset: &str, digest: &str) -> Result<Option<FileState>> {
        let found = self.inner.file(dataset, &self.close_place(digest)).await?;
        found.map(|state| self.open_file(state)).transpose()
    }

    async fn begin_file(&mut self, start: FileStart) -> Result<FileState> {
        let start = FileStart { digest: self.close_place(&start.digest), ..start };
        let state = self.inner.begin_file(start).await?;
        self.open_file(state)
    }

    async fn end_file(&mut self, file: i64, end: FileEnd) -> Result<()> {
        self.inner.end_file(file, end).await
    }

    async fn recall(&mut self, stream: StreamId, rows: &[(Arc<str>, i64)]) -> Result<Vec<Recalled>> {
        let digests = self.digests.clone();
        let source = self.source(stream);
        let hidden = rows.iter().map(|(key, digest)| (source.encrypt_text(&[], key).into(), digests.row(*digest)));
        let hidden: Vec<(Arc<str>, i64)> = hidden.collect();
        self.inner.recall(stream, &hidden).await
    }

    async fn gone(&mut self, stream: StreamId, keys: &[Arc<str>]) -> Result<HashMap<Arc<str>, i64>> {
        let source = self.source(stream);
        let asked: HashMap<Arc<str>, &Arc<str>> =
            keys.iter().map(|key| (source.encrypt_text(&[], key).into(), key)).collect();
        let hidden: Vec<Arc<str>> = asked.keys().cloned().collect();
        let gone = self.inner.gone(stream, &hidden).await?;
        Ok(gone.into_iter().filter_map(|(key, since)| Some((Arc::clone(asked.get(&key)?), since))).collect())
    }

    async fn known(&mut self, register: &str, keys: &[(usize, Arc<str>)]) -> Result<Known> {
        let at_rest = self.registers.get(register);
        let Some(at_rest) = at_rest else { return self.inner.known(register, keys).await };
        let hidden: Vec<(usize, Arc<str>)> =
            keys.iter().map(|(kind, value)| (*kind, at_rest.close_key(*kind, value))).collect();
        let asked: HashMap<&(usize, Arc<str>), &Arc<str>> =
            hidden.iter().zip(keys.iter().map(|(_, value)| value)).collect();
        let found = self.inner.known(register, &hidden).await?;
        let plain = |((kind, value), entity): ((usize, Arc<str>), EntityId)| {
            let key = (kind, value);
            asked.get(&key).map(|value| ((kind, Arc::clone(value)), entity))
        };
        let mut known =
            Known { entity_of: found.entity_of.into_iter().filter_map(plain).collect(), ..Known::default() };
        for (entity, keys) in found.keys_of {
            known.keys_of.insert(entity, self.open_keys(register, keys)?);
        }
        Ok(known)
    }

    async fn before(&mut self, register: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, Before>> {
        let mut held = self.inner.before(register, entities).await?;
        for (entity, before) in &mut held {
            for claim in &mut before.claims {
                self.open_claim(register, claim)?;
            }
            if let Some((row, version)) = &mut before.row {
                self.register(register)?.open_row(*entity, *version, row)?;
            }
            before.keys = self.open_keys(register, std::mem::take(&mut before.keys))?;
        }
        Ok(held)
    }

    async fn next_ids(&mut self) -> Result<(ClaimId, EntityId)> {
        self.inner.next_ids().await
    }

    async fn commit(&mut self, mut change: ChangeSet) -> Result<()> {
        self.close_change(&mut change)?;
        self.inner.commit(change).await
    }

    async fn rest(&mut self) -> Result<()> {
        self.inner.rest().await
    }

    async fn vanished(
        &mut self,
        stream: StreamId,
        file: i64,
        after: ClaimId,
        limit: i64,
    ) -> Result<Vec<(ClaimId, EntityId)>> {
        self.inner.vanished(stream, file, after, limit).await
    }

    async fn claim_count(&mut self, stream: StreamId) -> Result<u64> {
        self.inner.claim_count(stream).await
    }

    async fn seen(&mut self, stream: StreamId, file: i64) -> Result<roaring::RoaringTreemap> {
        self.inner.seen(stream, file).await
    }

    async fn quarantine_vanished(&mut self, dataset: &str, file: i64) -> Result<u64> {
        self.inner.quarantine_vanished(dataset, file).await
    }

    async fn feed(&mut self, feed: &str) -> Result<FeedState> {
        self.inner.feed(feed).await
    }

    async fn horizon(&mut self, register: &str) -> Result<i64> {
        self.inner.horizon(register).await
    }

    async fn entities_after(
        &mut self,
        register: &str,
        fields: &[&str],
        after: EntityId,
        limit: i64,
    ) -> Result<Snapshot> {
        let page = self.inner.entities_after(register, fields, after, limit).await?;
        self.open_page(register, page)
    }

    async fn changed_between(
        &mut self,
        of: (&str, &[&str]),
        window: (i64, i64),
        from_entity: EntityId,
        limit: i64,
    ) -> Result<Snapshot> {
        let page = self.inner.changed_between(of, window, from_entity, limit).await?;
        self.open_page(of.0, page)
    }

    async fn held(&mut self, feed: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, HeldDigest>> {
        let mut held = self.inner.held(feed, entities).await?;
        for held in held.values_mut() {
            held.digest = self.shown(held.digest);
        }
        Ok(held)
    }

    async fn holdings_after(&mut self, feed: &str, after: EntityId, limit: i64) -> Result<Vec<HeldRow>> {
        let mut holdings = self.inner.holdings_after(feed, after, limit).await?;
        for holding in &mut holdings {
            holding.held.digest = self.shown(holding.held.digest);
        }
        Ok(holdings)
    }

    async fn seal(&mut self, mut seal: SealSet) -> Result<()> {
        self.close_seal(&mut seal);
        self.inner.seal(seal).await
    }

    async fn sealed_since(&mut self, feed: &str, at: i64) -> Result<u64> {
        self.inner.sealed_since(feed, at).await
    }

    async fn undelivered(&mut self, feed: &str, most: i64) -> Result<Vec<BatchRow>> {
        let batches = self.inner.undelivered(feed, most).await?;
        self.open_batches(feed, batches)
    }

    async fn mark_durable(&mut self, feed: &str, seq: i64) -> Result<()> {
        self.inner.mark_durable(feed, seq).await
    }

    async fn entity(&mut self, register: &str, key: &str) -> Result<Option<EntityView>> {
        let found = self.entity_by_key(register, key).await?;
        found.map(|view| self.open_entity(register, view)).transpose()
    }

    async fn find(&mut self, register: &str, field: &str, text: &str, limit: i64) -> Result<Vec<EntityView>> {
        if self.register(register)?.has(field) {
            return self.find_encrypted(register, (field, text), limit).await;
        }
        let found = self.inner.find(register, field, text, limit).await?;
        found.into_iter().map(|view| self.open_entity(register, view)).collect()
    }

    async fn history(&mut self, register: &str, entity: EntityId) -> Result<Vec<HistoryView>> {
        let history = self.inner.history(register, entity).await?;
        history.into_iter().map(|view| self.open_history(register, entity, view)).collect()
    }

    async fn claims(&mut self, register: &str, entity: EntityId) -> Result<Vec<ClaimView>> {
        let mut views = self.inner.claims(register, entity).await?;
        for view in &mut views {
            if let Some(claim) = &mut view.claim {
                self.open_claim(register, claim)?;
                view.fields = self.register(register)?.said(claim);
            }
        }
        Ok(views)
    }

    async fn quarantine(&mut self, filter: &QuarantineFilter) -> Result<Vec<QuarantineView>> {
        let entries = self.inner.quarantine(filter).await?;
        entries.into_iter().map(|entry| self.open_quarantined(entry)).collect()
    }

    async fn set_quarantine(&mut self, ids: &[i64], status: &str, why: &str, note: Option<Note>) -> Result<u64> {
        self.inner.set_quarantine(ids, status, why, note).await
    }

    async fn ledger(&mut self, run: Option<i64>) -> Result<Vec<LedgerRow>> {
        self.inner.ledger(run).await
    }

    async fn claimed_entities(&mut self, register: &str, after: EntityId, limit: i64) -> Result<Vec<EntityId>> {
        self.inner.claimed_entities(register, after, limit).await
    }

    async fn batch_links(&mut self, feed: &str) -> Result<Vec<BatchLink>> {
        self.inner.batch_links(feed).await
    }

    async fn hold_still(&mut self) -> Result<()> {
        self.inner.hold_still().await
    }

    async fn move_on(&mut self) -> Result<()> {
        self.inner.move_on().await
    }

    async fn lacks_indexes(&mut self) -> Result<bool> {
        self.inner.lacks_indexes().await
    }

    async fn holding_at(&mut self, feed: &str, seq: i64) -> Result<Option<u64>> {
        self.inner.holding_at(feed, seq).await
    }

    async fn feeds(&mut self) -> Result<Vec<FeedView>> {
        self.inner.feeds().await
    }

    async fn holders(&mut self, entity: EntityId) -> Result<Vec<(String, i64, i64)>> {
        self.inner.holders(entity).await
    }

    async fn count(&mut self, register: &str) -> Result<u64> {
        self.inner.count(register).await
    }

    async fn manifest(&mut self, feed: &str, seq: i64) -> Result<Option<Vec<u8>>> {
        self.inner.manifest(feed, seq).await
    }

    async fn record_receipt(&mut self, receipt: &ReceiptRow) -> Result<bool> {
        self.inner.record_receipt(receipt).await
    }

    async fn receipts(&mut self, feed: &str, limit: i64) -> Result<Vec<ReceiptRow>> {
        self.inner.receipts(feed, limit).await
    }

    async fn delivery(&mut self, feed: &str) -> Result<DeliveryView> {
        self.inner.delivery(feed).await
    }

    fn audit_by(&mut self, algorithm: DigestAlgorithm) {
        self.inner.audit_by(algorithm);
    }
}

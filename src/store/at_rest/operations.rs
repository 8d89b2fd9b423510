//! Leases, backfills and backlogs; most of it has no values in it.

use std::time::Duration;

use async_trait::async_trait;

use super::super::{
    AuditFilter, BackfillState, BackfillView, BatchRow, Bond, ChaseView, ChunkEnd, ChunkState, ChunkView, ClaimsMade,
    Definition, FeedLag, FileCounts, Found, HeldFile, HolderView, Lease, LeaseView, NewBackfill, NewChase, Note,
    OfferedColumn, Operations, Pulled, QuarantineBacklog, Result, Reviewed, ShapeView, StampDue, StampRow, Surveyed,
    Suspension, Unstamped, Versions, WorkedWith,
};
use super::AtRestStore;
use crate::audit::{Entry, SignedCheckpoint};
use crate::config::Register;
use crate::linking::{EntityId, StreamId};

#[async_trait]
impl Operations for AtRestStore {
    async fn acquire_lease(&mut self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>> {
        self.inner.acquire_lease(name, holder, ttl).await
    }

    async fn renew_lease(&mut self, lease: &Lease, ttl: Duration) -> Result<bool> {
        self.inner.renew_lease(lease, ttl).await
    }

    async fn release_lease(&mut self, lease: &Lease) -> Result<()> {
        self.inner.release_lease(lease).await
    }

    async fn now(&mut self) -> Result<i64> {
        self.inner.now().await
    }

    async fn leases(&mut self) -> Result<Vec<LeaseView>> {
        self.inner.leases().await
    }

    async fn set_fence(&mut self, fence: Option<Lease>) -> Result<()> {
        self.inner.set_fence(fence).await
    }

    async fn add_backfill(&mut self, mut new: NewBackfill) -> Result<i64> {
        new.spec = self.close_place(&new.spec);
        for chunk in &mut new.chunks {
            chunk.spec = self.close_place(&chunk.spec);
        }
        self.inner.add_backfill(new).await
    }

    async fn backfills(&mut self, id: Option<i64>) -> Result<Vec<BackfillView>> {
        let mut backfills = self.inner.backfills(id).await?;
        for backfill in &mut backfills {
            backfill.spec = self.open_place(&backfill.spec)?;
            backfill.before = backfill.before.take().map(|before| self.open_place(&before)).transpose()?;
        }
        Ok(backfills)
    }

    async fn backfill_chunks(&mut self, id: i64, state: Option<ChunkState>, limit: i64) -> Result<Vec<ChunkView>> {
        let mut chunks = self.inner.backfill_chunks(id, state, limit).await?;
        for chunk in &mut chunks {
            chunk.spec = self.open_place(&chunk.spec)?;
        }
        Ok(chunks)
    }

    async fn move_backfill(
        &mut self,
        id: i64,
        from: &[BackfillState],
        to: (BackfillState, Option<&str>, i64),
        note: Option<Note>,
    ) -> Result<bool> {
        self.inner.move_backfill(id, from, to, note).await
    }

    async fn note_backfill(&mut self, id: i64, run: Option<i64>, before: &str) -> Result<()> {
        let before = self.close_place(before);
        self.inner.note_backfill(id, run, &before).await
    }

    async fn end_chunk(&mut self, id: i64, n: i64, end: ChunkEnd) -> Result<()> {
        self.inner.end_chunk(id, n, end).await
    }

    async fn noted_once(&mut self, name: &str, value: &str) -> Result<String> {
        self.inner.noted_once(name, value).await
    }

    async fn retry_chunks(&mut self, id: i64) -> Result<u64> {
        self.inner.retry_chunks(id).await
    }

    async fn newest_file(&mut self, dataset: &str) -> Result<Option<(String, i64)>> {
        let newest = self.inner.newest_file(dataset).await?;
        newest.map(|(digest, at)| Ok((self.open_place(&digest)?, at))).transpose()
    }

    async fn named_file(&mut self, dataset: &str, name: &str) -> Result<Option<String>> {
        let named = self.inner.named_file(dataset, name).await?;
        named.map(|digest| self.open_place(&digest)).transpose()
    }

    async fn name_file(&mut self, dataset: &str, name: &str, digest: &str) -> Result<()> {
        let digest = self.close_place(digest);
        self.inner.name_file(dataset, name, &digest).await
    }

    async fn file_counts(&mut self, file: i64) -> Result<Vec<FileCounts>> {
        self.inner.file_counts(file).await
    }

    async fn last_taken_rows(&mut self, pipeline: &str, register: &str) -> Result<Option<(u64, u64)>> {
        self.inner.last_taken_rows(pipeline, register).await
    }

    async fn held_into(&mut self, register: &str) -> Result<Option<HeldFile>> {
        self.inner.held_into(register).await
    }

    async fn drop_held(&mut self, dataset: &str, why: &str) -> Result<()> {
        self.inner.drop_held(dataset, why).await
    }

    async fn pulled(&mut self, dataset: &str) -> Result<Option<Pulled>> {
        let Some(mut pulled) = self.inner.pulled(dataset).await? else { return Ok(None) };
        pulled.digest = self.open_place(&pulled.digest)?;
        pulled.cursor = pulled.cursor.map(|cursor| self.open_place(&cursor)).transpose()?;
        Ok(Some(pulled))
    }

    async fn batches_from(&mut self, feed: &str, seq: i64, limit: i64) -> Result<Vec<BatchRow>> {
        let batches = self.inner.batches_from(feed, seq, limit).await?;
        self.open_batches(feed, batches)
    }

    async fn drop_bodies(&mut self, before: i64) -> Result<u64> {
        self.inner.drop_bodies(before).await
    }

    async fn retain_since(&mut self, before: i64) -> Result<Vec<String>> {
        self.inner.retain_since(before).await
    }

    async fn reopen_feed(&mut self, feed: &str) -> Result<()> {
        self.inner.reopen_feed(feed).await
    }

    async fn suspend_feed(&mut self, feed: &str, now: Option<&Suspension>, note: Note) -> Result<()> {
        self.inner.suspend_feed(feed, now, note).await
    }

    async fn note_refusal(&mut self, feed: &str, why: Option<&str>, note: Note) -> Result<()> {
        self.inner.note_refusal(feed, why, note).await
    }

    async fn stamps_due(&mut self, feed: &str, limit: i64) -> Result<Vec<StampDue>> {
        self.inner.stamps_due(feed, limit).await
    }

    async fn keep_stamp(&mut self, feed: &str, stamp: &StampRow) -> Result<bool> {
        self.inner.keep_stamp(feed, stamp).await
    }

    async fn stamp_handed_on(&mut self, feed: &str, seq: i64) -> Result<()> {
        self.inner.stamp_handed_on(feed, seq).await
    }

    async fn stamps(&mut self, feed: &str, after: i64, limit: i64) -> Result<Vec<StampRow>> {
        self.inner.stamps(feed, after, limit).await
    }

    async fn unstamped(&mut self, feed: &str) -> Result<Unstamped> {
        self.inner.unstamped(feed).await
    }

    async fn add_chase(&mut self, chase: &NewChase, note: Note) -> Result<Vec<String>> {
        self.inner.add_chase(chase, note).await
    }

    async fn chases(&mut self, feed: Option<&str>, entity: Option<EntityId>) -> Result<Vec<ChaseView>> {
        self.inner.chases(feed, entity).await
    }

    async fn recalled(&mut self, register: &str) -> Result<Vec<EntityId>> {
        self.inner.recalled(register).await
    }

    async fn ever_holding(&mut self, entity: EntityId) -> Result<Vec<HolderView>> {
        self.inner.ever_holding(entity).await
    }

    async fn found_in_text(&mut self, feed: &str) -> Result<Vec<Found>> {
        self.inner.found_in_text(feed).await
    }

    async fn audit_all(&mut self, notes: &[Note]) -> Result<()> {
        self.inner.audit_all(notes).await
    }

    async fn prune_audit(&mut self, through: i64, note: Note) -> Result<u64> {
        self.inner.prune_audit(through, note).await
    }

    async fn feed_lag(&mut self, feed: &str, register: &str) -> Result<FeedLag> {
        self.inner.feed_lag(feed, register).await
    }

    async fn note_definitions(&mut self, with: &WorkedWith) -> Result<()> {
        self.inner.note_definitions(with).await
    }

    async fn definitions(&mut self, owner: Option<&str>) -> Result<Vec<Definition>> {
        self.inner.definitions(owner).await
    }

    async fn note_versions(&mut self, run: i64, versions: Versions<'_>) -> Result<()> {
        self.inner.note_versions(run, versions).await
    }

    async fn claims_made(&mut self, stream: StreamId) -> Result<Vec<ClaimsMade>> {
        self.inner.claims_made(stream).await
    }

    async fn survey(&mut self, registers: &[&Register]) -> Result<Vec<Surveyed>> {
        self.survey_all(registers).await
    }

    async fn review(&mut self, register: &str, bond: Bond<'_>, limit: i64) -> Result<Reviewed> {
        self.review_bond(register, bond, limit).await
    }

    async fn quarantine_backlog(&mut self) -> Result<Vec<QuarantineBacklog>> {
        self.inner.quarantine_backlog().await
    }

    async fn audit_entries(&mut self, filter: &AuditFilter) -> Result<Vec<Entry>> {
        self.inner.audit_entries(filter).await
    }

    async fn audit_since(&mut self, id: i64) -> Result<Option<(u64, i64, String)>> {
        self.inner.audit_since(id).await
    }

    async fn audit_checkpoints(&mut self) -> Result<Vec<SignedCheckpoint>> {
        self.inner.audit_checkpoints().await
    }

    async fn add_audit_checkpoint(
        &mut self,
        before_and_through: (Option<i64>, i64),
        checkpoint: &SignedCheckpoint,
    ) -> Result<bool> {
        self.inner.add_audit_checkpoint(before_and_through, checkpoint).await
    }

    async fn note_shape(&mut self, dataset: &str, columns: &[OfferedColumn], at: i64) -> Result<Vec<ShapeView>> {
        self.inner.note_shape(dataset, columns, at).await
    }

    async fn shapes(&mut self, dataset: Option<&str>) -> Result<Vec<ShapeView>> {
        self.inner.shapes(dataset).await
    }

    async fn use_shape(&mut self, dataset: &str, version: i64) -> Result<()> {
        self.inner.use_shape(dataset, version).await
    }

    async fn approve_shape(&mut self, dataset: &str, version: i64, why: &str, at: i64) -> Result<bool> {
        self.inner.approve_shape(dataset, version, why, at).await
    }

    async fn at_rest_notes(&mut self) -> Result<Vec<(String, String)>> {
        self.inner.at_rest_notes().await
    }

    async fn note_at_rest(&mut self, notes: &[(String, String)], replace: bool) -> Result<()> {
        self.inner.note_at_rest(notes, replace).await
    }
}

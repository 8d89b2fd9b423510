//! Leases, backfills and backlogs: each call waits for the commit under way, then does one thing.

use std::time::Duration;

use async_trait::async_trait;

use super::super::{
    AuditFilter, BackfillState, BackfillView, BatchRow, Bond, ChaseView, ChunkEnd, ChunkState, ChunkView, ClaimsMade,
    Definition, FeedLag, FileCounts, Found, HeldFile, HolderView, Lease, LeaseView, NewBackfill, NewChase, Note,
    OfferedColumn, Operations, Pulled, QuarantineBacklog, Result, Reviewed, ShapeView, StampDue, StampRow, Surveyed,
    Suspension, Unstamped, Versions, WorkedWith,
};
use super::SqliteStore;
use crate::audit::{Entry, SignedCheckpoint};
use crate::config::Register;
use crate::linking::{EntityId, StreamId};

#[async_trait]
impl Operations for SqliteStore {
    async fn acquire_lease(&mut self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>> {
        self.settle().await?;
        self.take_lease((name, holder), ttl).await
    }

    async fn renew_lease(&mut self, lease: &Lease, ttl: Duration) -> Result<bool> {
        self.settle().await?;
        self.hold_lease(lease, ttl).await
    }

    async fn release_lease(&mut self, lease: &Lease) -> Result<()> {
        self.settle().await?;
        self.give_back(lease).await
    }

    async fn leases(&mut self) -> Result<Vec<LeaseView>> {
        self.settle().await?;
        self.all_leases().await
    }

    async fn now(&mut self) -> Result<i64> {
        self.own_time().await
    }

    async fn set_fence(&mut self, fence: Option<Lease>) -> Result<()> {
        let settled = self.settle().await;
        self.fence = fence;
        settled
    }

    async fn add_backfill(&mut self, new: NewBackfill) -> Result<i64> {
        self.settle().await?;
        self.keep_backfill(new).await
    }

    async fn backfills(&mut self, id: Option<i64>) -> Result<Vec<BackfillView>> {
        self.settle().await?;
        self.list_backfills(id).await
    }

    async fn backfill_chunks(&mut self, id: i64, state: Option<ChunkState>, limit: i64) -> Result<Vec<ChunkView>> {
        self.settle().await?;
        self.list_chunks(id, state, limit).await
    }

    async fn move_backfill(
        &mut self,
        id: i64,
        from: &[BackfillState],
        to: (BackfillState, Option<&str>, i64),
        note: Option<Note>,
    ) -> Result<bool> {
        self.settle().await?;
        self.change_backfill(id, from, to, note).await
    }

    async fn note_backfill(&mut self, id: i64, run: Option<i64>, before: &str) -> Result<()> {
        self.settle().await?;
        self.annotate_backfill(id, run, before).await
    }

    async fn end_chunk(&mut self, id: i64, n: i64, end: ChunkEnd) -> Result<()> {
        self.settle().await?;
        self.finish_chunk(id, n, end).await
    }

    async fn noted_once(&mut self, name: &str, value: &str) -> Result<String> {
        self.settle().await?;
        super::schema::noted_once(&mut self.conn, name, value).await
    }

    async fn retry_chunks(&mut self, id: i64) -> Result<u64> {
        self.settle().await?;
        self.reset_chunks(id).await
    }

    async fn newest_file(&mut self, dataset: &str) -> Result<Option<(String, i64)>> {
        self.settle().await?;
        self.last_taken(dataset).await
    }

    async fn named_file(&mut self, dataset: &str, name: &str) -> Result<Option<String>> {
        self.settle().await?;
        self.digest_under(dataset, name).await
    }

    async fn name_file(&mut self, dataset: &str, name: &str, digest: &str) -> Result<()> {
        self.settle().await?;
        self.note_name(dataset, name, digest).await
    }

    async fn file_counts(&mut self, file: i64) -> Result<Vec<FileCounts>> {
        self.settle().await?;
        self.counts_of(file).await
    }

    async fn last_taken_rows(&mut self, pipeline: &str, register: &str) -> Result<Option<(u64, u64)>> {
        self.settle().await?;
        self.rows_last_taken(pipeline, register).await
    }

    async fn held_into(&mut self, register: &str) -> Result<Option<HeldFile>> {
        self.settle().await?;
        self.held_file(register).await
    }

    async fn drop_held(&mut self, dataset: &str, why: &str) -> Result<()> {
        self.settle().await?;
        self.let_held_go(dataset, why).await
    }

    async fn pulled(&mut self, dataset: &str) -> Result<Option<Pulled>> {
        self.settle().await?;
        self.last_pulled(dataset).await
    }

    async fn batches_from(&mut self, feed: &str, seq: i64, limit: i64) -> Result<Vec<BatchRow>> {
        self.settle().await?;
        self.stored_batches(feed, seq, limit).await
    }

    async fn drop_bodies(&mut self, before: i64) -> Result<u64> {
        self.settle().await?;
        self.forget_bodies(before).await
    }

    async fn retain_since(&mut self, _before: i64) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn reopen_feed(&mut self, feed: &str) -> Result<()> {
        self.settle().await?;
        self.start_feed_over(feed).await
    }

    async fn suspend_feed(&mut self, feed: &str, now: Option<&Suspension>, note: Note) -> Result<()> {
        self.settle().await?;
        self.note_suspended(feed, now, note).await
    }

    async fn note_refusal(&mut self, feed: &str, why: Option<&str>, note: Note) -> Result<()> {
        self.settle().await?;
        self.keep_refusal(feed, why, note).await
    }

    async fn stamps_due(&mut self, feed: &str, limit: i64) -> Result<Vec<StampDue>> {
        self.settle().await?;
        self.due_stamps(feed, limit).await
    }

    async fn keep_stamp(&mut self, feed: &str, stamp: &StampRow) -> Result<bool> {
        self.settle().await?;
        self.put_stamp(feed, stamp).await
    }

    async fn stamp_handed_on(&mut self, feed: &str, seq: i64) -> Result<()> {
        self.settle().await?;
        self.set_handed_on(feed, seq).await
    }

    async fn stamps(&mut self, feed: &str, after: i64, limit: i64) -> Result<Vec<StampRow>> {
        self.settle().await?;
        self.stamps_after(feed, after, limit).await
    }

    async fn unstamped(&mut self, feed: &str) -> Result<Unstamped> {
        self.settle().await?;
        self.waiting_for_stamps(feed).await
    }

    async fn feed_lag(&mut self, feed: &str, register: &str) -> Result<FeedLag> {
        self.settle().await?;
        self.lag_of(feed, register).await
    }

    async fn note_definitions(&mut self, with: &WorkedWith) -> Result<()> {
        self.settle().await?;
        self.keep_definitions(with).await
    }

    async fn definitions(&mut self, owner: Option<&str>) -> Result<Vec<Definition>> {
        self.settle().await?;
        self.list_definitions(owner).await
    }

    async fn note_versions(&mut self, run: i64, versions: Versions<'_>) -> Result<()> {
        self.settle().await?;
        self.keep_versions(run, versions).await
    }

    async fn claims_made(&mut self, stream: StreamId) -> Result<Vec<ClaimsMade>> {
        self.settle().await?;
        self.count_claims_made(stream).await
    }

    async fn survey(&mut self, registers: &[&Register]) -> Result<Vec<Surveyed>> {
        self.settle().await?;
        self.survey_all(registers).await
    }

    async fn review(&mut self, register: &str, bond: Bond<'_>, limit: i64) -> Result<Reviewed> {
        self.settle().await?;
        self.review_bond(register, bond, limit).await
    }

    async fn quarantine_backlog(&mut self) -> Result<Vec<QuarantineBacklog>> {
        self.settle().await?;
        self.waiting_quarantine().await
    }

    async fn add_chase(&mut self, chase: &NewChase, note: Note) -> Result<Vec<String>> {
        self.settle().await?;
        self.keep_chase(chase, note).await
    }

    async fn chases(&mut self, feed: Option<&str>, entity: Option<EntityId>) -> Result<Vec<ChaseView>> {
        self.settle().await?;
        self.list_chases(feed, entity).await
    }

    async fn recalled(&mut self, register: &str) -> Result<Vec<EntityId>> {
        self.settle().await?;
        self.recalled_of(register).await
    }

    async fn ever_holding(&mut self, entity: EntityId) -> Result<Vec<HolderView>> {
        self.settle().await?;
        self.ever_held(entity).await
    }

    async fn found_in_text(&mut self, feed: &str) -> Result<Vec<Found>> {
        self.settle().await?;
        self.found_in(feed).await
    }

    async fn audit_all(&mut self, notes: &[Note]) -> Result<()> {
        self.settle().await?;
        self.append_audit(notes).await
    }

    async fn prune_audit(&mut self, through: i64, note: Note) -> Result<u64> {
        self.settle().await?;
        self.drop_audit(through, note).await
    }

    async fn audit_entries(&mut self, filter: &AuditFilter) -> Result<Vec<Entry>> {
        self.settle().await?;
        self.list_audit(filter).await
    }

    async fn audit_since(&mut self, id: i64) -> Result<Option<(u64, i64, String)>> {
        self.settle().await?;
        self.audit_behind(id).await
    }

    async fn audit_checkpoints(&mut self) -> Result<Vec<SignedCheckpoint>> {
        self.settle().await?;
        self.list_checkpoints().await
    }

    async fn add_audit_checkpoint(
        &mut self,
        before_and_through: (Option<i64>, i64),
        checkpoint: &SignedCheckpoint,
    ) -> Result<bool> {
        self.settle().await?;
        self.keep_checkpoint(before_and_through, checkpoint).await
    }

    async fn at_rest_notes(&mut self) -> Result<Vec<(String, String)>> {
        self.settle().await?;
        self.noted_at_rest().await
    }

    async fn note_at_rest(&mut self, notes: &[(String, String)], replace: bool) -> Result<()> {
        self.settle().await?;
        self.keep_at_rest(notes, replace).await
    }

    async fn note_shape(&mut self, dataset: &str, columns: &[OfferedColumn], at: i64) -> Result<Vec<ShapeView>> {
        self.settle().await?;
        self.keep_shape(dataset, columns, at).await
    }

    async fn shapes(&mut self, dataset: Option<&str>) -> Result<Vec<ShapeView>> {
        self.settle().await?;
        self.list_shapes(dataset).await
    }

    async fn use_shape(&mut self, dataset: &str, version: i64) -> Result<()> {
        self.settle().await?;
        self.mark_shape_used(dataset, version).await
    }

    async fn approve_shape(&mut self, dataset: &str, version: i64, why: &str, at: i64) -> Result<bool> {
        self.settle().await?;
        self.mark_shape_approved(dataset, version, why, at).await
    }
}

//! Leases, backfills and backlogs.

use std::time::Duration;

use async_trait::async_trait;

use super::super::{
    AuditFilter, BackfillState, BackfillView, BatchRow, Bond, ChaseView, ChunkEnd, ChunkState, ChunkView, ClaimsMade,
    Definition, FeedLag, FileCounts, Found, HeldFile, HolderView, Lease, LeaseView, NewBackfill, NewChase, Note,
    OfferedColumn, Operations, Pulled, QuarantineBacklog, Result, Reviewed, ShapeView, StampDue, StampRow, Surveyed,
    Suspension, Unstamped, Versions, WorkedWith,
};
use super::connect::within;
use super::{PostgresStore, at_rest};
use crate::audit::{Entry, SignedCheckpoint};
use crate::config::Register;
use crate::linking::{EntityId, StreamId};

#[async_trait]
impl Operations for PostgresStore {
    async fn acquire_lease(&mut self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>> {
        at_rest!(self.take_lease((name, holder), ttl))
    }

    async fn renew_lease(&mut self, lease: &Lease, ttl: Duration) -> Result<bool> {
        at_rest!(self.hold_lease(lease, ttl))
    }

    async fn release_lease(&mut self, lease: &Lease) -> Result<()> {
        at_rest!(self.give_back(lease))
    }

    async fn leases(&mut self) -> Result<Vec<LeaseView>> {
        at_rest!(self.all_leases())
    }

    async fn now(&mut self) -> Result<i64> {
        at_rest!(self.own_time())
    }

    async fn set_fence(&mut self, fence: Option<Lease>) -> Result<()> {
        let settled = self.at_rest().await;
        self.fence = fence;
        settled
    }

    async fn add_backfill(&mut self, new: NewBackfill) -> Result<i64> {
        at_rest!(self.keep_backfill(&new))
    }

    async fn backfills(&mut self, id: Option<i64>) -> Result<Vec<BackfillView>> {
        at_rest!(self.list_backfills(id))
    }

    async fn backfill_chunks(&mut self, id: i64, state: Option<ChunkState>, limit: i64) -> Result<Vec<ChunkView>> {
        at_rest!(self.list_chunks(id, state, limit))
    }

    async fn move_backfill(
        &mut self,
        id: i64,
        from: &[BackfillState],
        to: (BackfillState, Option<&str>, i64),
        note: Option<Note>,
    ) -> Result<bool> {
        at_rest!(self.change_backfill(id, from, to, note))
    }

    async fn note_backfill(&mut self, id: i64, run: Option<i64>, before: &str) -> Result<()> {
        at_rest!(self.annotate_backfill(id, run, before))
    }

    async fn end_chunk(&mut self, id: i64, n: i64, end: ChunkEnd) -> Result<()> {
        at_rest!(self.finish_chunk(id, n, end))
    }

    async fn noted_once(&mut self, name: &str, value: &str) -> Result<String> {
        at_rest!(self.noted_of_all(name, value))
    }

    async fn retry_chunks(&mut self, id: i64) -> Result<u64> {
        at_rest!(self.reset_chunks(id))
    }

    async fn newest_file(&mut self, dataset: &str) -> Result<Option<(String, i64)>> {
        at_rest!(self.last_taken(dataset))
    }

    async fn named_file(&mut self, dataset: &str, name: &str) -> Result<Option<String>> {
        at_rest!(self.digest_under(dataset, name))
    }

    async fn name_file(&mut self, dataset: &str, name: &str, digest: &str) -> Result<()> {
        at_rest!(self.note_name(dataset, name, digest))
    }

    async fn file_counts(&mut self, file: i64) -> Result<Vec<FileCounts>> {
        at_rest!(self.counts_of(file))
    }

    async fn last_taken_rows(&mut self, pipeline: &str, register: &str) -> Result<Option<(u64, u64)>> {
        at_rest!(self.rows_last_taken(pipeline, register))
    }

    async fn held_into(&mut self, register: &str) -> Result<Option<HeldFile>> {
        at_rest!(self.held_file(register))
    }

    async fn drop_held(&mut self, dataset: &str, why: &str) -> Result<()> {
        at_rest!(self.let_held_go(dataset, why))
    }

    async fn pulled(&mut self, dataset: &str) -> Result<Option<Pulled>> {
        at_rest!(self.last_pulled(dataset))
    }

    async fn batches_from(&mut self, feed: &str, seq: i64, limit: i64) -> Result<Vec<BatchRow>> {
        at_rest!(self.stored_batches(feed, seq, limit))
    }

    async fn drop_bodies(&mut self, before: i64) -> Result<u64> {
        at_rest!(self.forget_bodies(before))
    }

    async fn retain_since(&mut self, before: i64) -> Result<Vec<String>> {
        at_rest!(self.let_go(before))
    }

    async fn reopen_feed(&mut self, feed: &str) -> Result<()> {
        at_rest!(self.start_feed_over(feed))
    }

    async fn suspend_feed(&mut self, feed: &str, now: Option<&Suspension>, note: Note) -> Result<()> {
        at_rest!(self.note_suspended(feed, now, note))
    }

    async fn note_refusal(&mut self, feed: &str, why: Option<&str>, note: Note) -> Result<()> {
        at_rest!(self.keep_refusal(feed, why, note))
    }

    async fn stamps_due(&mut self, feed: &str, limit: i64) -> Result<Vec<StampDue>> {
        at_rest!(self.due_stamps(feed, limit))
    }

    async fn keep_stamp(&mut self, feed: &str, stamp: &StampRow) -> Result<bool> {
        at_rest!(self.put_stamp(feed, stamp))
    }

    async fn stamp_handed_on(&mut self, feed: &str, seq: i64) -> Result<()> {
        at_rest!(self.set_handed_on(feed, seq))
    }

    async fn stamps(&mut self, feed: &str, after: i64, limit: i64) -> Result<Vec<StampRow>> {
        at_rest!(self.stamps_after(feed, after, limit))
    }

    async fn unstamped(&mut self, feed: &str) -> Result<Unstamped> {
        at_rest!(self.waiting_for_stamps(feed))
    }

    async fn feed_lag(&mut self, feed: &str, register: &str) -> Result<FeedLag> {
        at_rest!(self.lag_of(feed, register))
    }

    async fn note_definitions(&mut self, with: &WorkedWith) -> Result<()> {
        at_rest!(self.keep_definitions(with))
    }

    async fn definitions(&mut self, owner: Option<&str>) -> Result<Vec<Definition>> {
        at_rest!(self.list_definitions(owner))
    }

    async fn note_versions(&mut self, run: i64, versions: Versions<'_>) -> Result<()> {
        at_rest!(self.keep_versions(run, versions))
    }

    async fn claims_made(&mut self, stream: StreamId) -> Result<Vec<ClaimsMade>> {
        at_rest!(self.count_claims_made(stream))
    }

    async fn survey(&mut self, registers: &[&Register]) -> Result<Vec<Surveyed>> {
        at_rest!(self.survey_all(registers))
    }

    async fn review(&mut self, register: &str, bond: Bond<'_>, limit: i64) -> Result<Reviewed> {
        at_rest!(self.review_bond(register, bond, limit))
    }

    async fn quarantine_backlog(&mut self) -> Result<Vec<QuarantineBacklog>> {
        at_rest!(self.waiting_quarantine())
    }

    async fn add_chase(&mut self, chase: &NewChase, note: Note) -> Result<Vec<String>> {
        at_rest!(self.keep_chase(chase, note))
    }

    async fn chases(&mut self, feed: Option<&str>, entity: Option<EntityId>) -> Result<Vec<ChaseView>> {
        at_rest!(self.list_chases(feed, entity))
    }

    async fn recalled(&mut self, register: &str) -> Result<Vec<EntityId>> {
        at_rest!(self.recalled_of(register))
    }

    async fn ever_holding(&mut self, entity: EntityId) -> Result<Vec<HolderView>> {
        at_rest!(self.ever_held(entity))
    }

    async fn found_in_text(&mut self, feed: &str) -> Result<Vec<Found>> {
        at_rest!(self.found_in(feed))
    }

    async fn audit_all(&mut self, notes: &[Note]) -> Result<()> {
        at_rest!(self.append_audit(notes))
    }

    async fn prune_audit(&mut self, through: i64, note: Note) -> Result<u64> {
        at_rest!(self.drop_audit(through, note))
    }

    async fn audit_entries(&mut self, filter: &AuditFilter) -> Result<Vec<Entry>> {
        at_rest!(self.list_audit(filter))
    }

    async fn audit_since(&mut self, id: i64) -> Result<Option<(u64, i64, String)>> {
        at_rest!(self.audit_behind(id))
    }

    async fn audit_checkpoints(&mut self) -> Result<Vec<SignedCheckpoint>> {
        at_rest!(self.list_checkpoints())
    }

    async fn add_audit_checkpoint(
        &mut self,
        before_and_through: (Option<i64>, i64),
        checkpoint: &SignedCheckpoint,
    ) -> Result<bool> {
        at_rest!(self.keep_checkpoint(before_and_through, checkpoint))
    }

    async fn at_rest_notes(&mut self) -> Result<Vec<(String, String)>> {
        at_rest!(self.noted_at_rest())
    }

    async fn note_at_rest(&mut self, notes: &[(String, String)], replace: bool) -> Result<()> {
        at_rest!(self.keep_at_rest(notes, replace))
    }

    async fn note_shape(&mut self, dataset: &str, columns: &[OfferedColumn], at: i64) -> Result<Vec<ShapeView>> {
        at_rest!(self.keep_shape(dataset, columns, at))
    }

    async fn shapes(&mut self, dataset: Option<&str>) -> Result<Vec<ShapeView>> {
        at_rest!(self.list_shapes(dataset))
    }

    async fn use_shape(&mut self, dataset: &str, version: i64) -> Result<()> {
        at_rest!(self.mark_shape_used(dataset, version))
    }

    async fn approve_shape(&mut self, dataset: &str, version: i64, why: &str, at: i64) -> Result<bool> {
        at_rest!(self.mark_shape_approved(dataset, version, why, at))
    }
}

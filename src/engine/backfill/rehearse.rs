//! What a backfill would do: every chunk worked out as it would be, and nothing committed.

use std::time::Instant;

use serde::Serialize;

use super::files::{Work, next};
use super::plan::{Piece, Plan};
use super::{read, refused};
use crate::config::DatasetRef;
use crate::engine::flow::Flow;
use crate::engine::rehearse::{Affected, Tally};
use crate::engine::{Engine, EngineError};
use crate::error::Problem;
use crate::store::ChunkCounts;

use super::cut::next_rows;

/// What would happen.
#[derive(Debug, Clone, Serialize)]
pub struct Rehearsal {
    /// `files`, `replay`, `rebuild`.
    pub kind: &'static str,
    /// Pipeline or feed.
    pub target: String,
    /// Files or batches.
    pub sources: usize,
    /// Chunks.
    pub chunks: usize,
    /// Rows or records.
    pub rows: u64,
    /// Counts by register; a row that comes in several files counts in each.
    pub registers: Vec<(String, ChunkCounts)>,
    /// Subscribers whose feeds would carry something.
    pub affected: Vec<Affected>,
    /// Seconds, by the rate asked for or as fast as this went.
    pub seconds: f64,
}

impl Engine {
    /// Works a plan out and writes nothing.
    pub async fn rehearse(&mut self, plan: &Plan) -> Result<Rehearsal, EngineError> {
        let started = Instant::now();
        let (registers, affected) = match plan.kind {
            "files" => self.rehearse_files(plan).await?,
            _ => (Vec::new(), self.resent(plan)?),
        };
        let taken = started.elapsed().as_secs_f64();
        let seconds = plan.spec.rate.filter(|rate| *rate > 0).map_or(0.0, |rate| plan.rows as f64 / f64::from(rate));
        Ok(Rehearsal {
            kind: plan.kind,
            target: plan.target.clone(),
            sources: plan.sources,
            chunks: plan.chunks.len(),
            rows: plan.rows,
            registers,
            affected,
            seconds: seconds.max(taken),
        })
    }

    fn resent(&self, plan: &Plan) -> Result<Vec<Affected>, EngineError> {
        let feed = self.workspace.feeds.get(&plan.target);
        let feed = feed.ok_or_else(|| EngineError::Internal(format!("feed {} is not defined", plan.target)))?;
        let subscriber = feed.subscriber.clone();
        Ok(vec![Affected { feed: feed.name.clone(), subscriber, records: plan.rows }])
    }

    async fn rehearse_files(
        &mut self,
        plan: &Plan,
    ) -> Result<(Vec<(String, ChunkCounts)>, Vec<Affected>), EngineError> {
        let pipeline = self.pipeline(&plan.target)?;
        if !self.knows_stream(&pipeline.from.value).await? {
            let problem = Problem::error("HL0928", format!("pipeline \"{}\" never ran", pipeline.name));
            return Err(refused(problem.hint("run it once; there is nothing to compare with before")));
        }
        let flow = Flow::suppose(&self.workspace, (&pipeline, self.today()), &mut *self.store).await?;
        let work = Work::new(flow, (0, 0), plan.spec.clone());
        let lanes = work.flow.lanes.len();
        let mut tally = Tally::new(lanes);
        for chunk in &plan.chunks {
            for piece in read::<Vec<Piece>>(&chunk.spec)? {
                self.rehearse_piece(&work, &piece, &mut tally).await?;
            }
        }
        let mut affected = Vec::new();
        for (lane, tallied) in work.flow.lanes.iter().zip(&tally.lanes) {
            affected.extend(self.affected(&lane.register, &tallied.changed).await?);
        }
        let counts = tally.lanes.into_iter().map(|lane| lane.counts);
        let registers = work.flow.lanes.iter().map(|lane| lane.register.clone()).zip(counts).collect();
        Ok((registers, affected))
    }

    /// Whether this dataset ever went into any register: one that was added since is only supposed.
    async fn knows_stream(&mut self, from: &DatasetRef) -> Result<bool, EngineError> {
        let streams = self.store.streams().await?;
        let known =
            |(system, dataset, _): &(String, String, String)| (system, dataset) == (&from.system, &from.dataset);
        Ok(streams.values().any(known))
    }

    async fn rehearse_piece(&mut self, work: &Work, piece: &Piece, tally: &mut Tally) -> Result<(), EngineError> {
        let end = piece.to.unwrap_or(u64::MAX);
        let mut at = piece.from;
        let whence = self.whence(&work.flow, piece)?;
        let mut decoder = whence.open(piece, &at.into()).await?;
        let mut seen = vec![roaring::RoaringTreemap::new(); work.flow.lanes.len()];
        while at.row < end {
            self.check_stop()?;
            let (back, decoded) = next(decoder, next_rows(end, at.row)).await?;
            decoder = back;
            let Some(decoded) = decoded else { break };
            at = decoded.position.resume;
            let prepared = work.flow.reading().of(work.inside.keep(decoded)?)?;
            let parts = self.take_lanes(work, (piece, 0), prepared, &mut seen).await?;
            for (i, part) in parts.into_iter().enumerate() {
                tally.lanes[i].add(&part);
            }
        }
        Ok(())
    }
}

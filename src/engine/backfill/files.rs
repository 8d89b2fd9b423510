//! One chunk of old files, or of a table: decoded, held against what is known, mapped, linked and committed like live ones — under a
//! position of its own, and with nothing taken back because it is missing.

use std::time::Instant;

use arrow::array::{Array as _, AsArray as _};
use roaring::RoaringTreemap;

use super::cut::next_rows;
use super::plan::Piece;
use super::{Guard, Spec, read, refused};
use crate::config::Rate;
use crate::decode::{Decode, Decoded, Position, Resume};
use crate::engine::flow::Flow;
use crate::engine::intake::Prepared;
use crate::engine::take::{Passage, business_time, take};
use crate::engine::{Engine, EngineError};
use crate::error::Problem;
use crate::source::{FilesSource, Source as _};
use crate::store::{BackfillView, ChangeSet, ChunkView, FileStart, FileState, FileStatus, RegisterPart};

/// A chunk at work.
pub(super) struct Work {
    pub(super) flow: Flow,
    pub(super) run: i64,
    pub(super) spec: Spec,
    started: Instant,
    rows: u64,
}

impl Work {
    pub(super) fn new(flow: Flow, run: i64, spec: Spec) -> Self {
        Self { flow, run, spec, started: Instant::now(), rows: 0 }
    }

    pub(super) fn guard(&self, piece: &Piece) -> Guard {
        Guard { outdated: piece.outdated, own_time: self.flow.updated.is_some() }
    }
}

impl Engine {
    /// Works off the pieces of a chunk, from where a broken-off attempt left them.
    pub(super) async fn backfill_files(
        &mut self,
        backfill: &BackfillView,
        chunk: &ChunkView,
    ) -> Result<(), EngineError> {
        let pieces: Vec<Piece> = read(&chunk.spec)?;
        let pipeline = self.pipeline(&backfill.target)?;
        let flow = Flow::prepare(&self.workspace, (&pipeline, self.today()), &mut *self.store).await?;
        let run = backfill.run.ok_or_else(|| EngineError::Internal("a backfill without a run".into()))?;
        self.note_versions(run, &flow).await?;
        let mut work = Work::new(flow, run, Spec::of(backfill)?);
        for piece in &pieces {
            self.check_stop()?;
            let start = FileStart {
                // Not the live file of the same content: its position and its state are nobody's business here.
                dataset: format!("{}#{}", work.flow.from, backfill.id),
                name: piece.name.clone(),
                digest: piece.digest.clone(),
                bytes: piece.bytes,
                at: piece.at,
            };
            let file = self.store.begin_file(start).await?;
            self.backfill_piece(&mut work, piece, &file).await?;
            if piece.to.is_none() {
                self.store.end_file(file.id, FileStatus::Taken, None).await?;
            }
        }
        Ok(())
    }

    async fn backfill_piece(&mut self, work: &mut Work, piece: &Piece, file: &FileState) -> Result<(), EngineError> {
        let end = piece.to.unwrap_or(u64::MAX);
        // A table's rows are as they are when they are read.
        let piece = &Piece { at: if piece.keys.is_some() { self.now() } else { piece.at }, ..piece.clone() };
        let begins = match &piece.keys {
            Some(_) => Some(file.position.clone().unwrap_or_default()),
            None => begins_at(piece, file.position.as_ref().map(|position| position.resume))?.map(Position::from),
        };
        let Some(mut at) = begins else { return Ok(()) };
        let mut decoder = self.reopen(&work.flow, piece, &at).await?;
        let mut seen = Vec::new();
        for lane in work.flow.lanes.iter() {
            seen.push(self.store.seen(lane.stream, file.id).await?);
        }
        self.progress.file(&work.flow.pipeline.name, &piece.name, piece.bytes);
        while at.resume.row < end {
            let (back, decoded) = next(decoder, next_rows(end, at.resume.row)).await?;
            decoder = back;
            let Some(decoded) = decoded else { break };
            self.check_stop()?;
            at = decoded.position.clone();
            let rows = decoded.rows.num_rows() as u64;
            let decoded = inside(work, decoded)?;
            let prepared = work.flow.reading().of(decoded)?;
            let parts = self.take_lanes(work, (piece, file.id), &prepared, &mut seen).await?;
            let change =
                ChangeSet { run: work.run, file: Some(file.id), at: self.now(), position: Some(at.clone()), parts };
            self.store.commit(change).await?;
            self.progress.rows(rows, at.resume.byte);
            work.rows += rows;
            if let Some(rate) = share(work.spec.rate(), work.flow.pipeline.limits.rate) {
                self.pace(rate, work.started, work.rows).await?;
            }
        }
        self.progress.done();
        Ok(())
    }

    /// What a chunk changes in every register, with nothing written.
    pub(super) async fn take_lanes(
        &mut self,
        work: &Work,
        (piece, file): (&Piece, i64),
        prepared: &Prepared,
        seen: &mut [RoaringTreemap],
    ) -> Result<Vec<RegisterPart>, EngineError> {
        let mut next_ids = self.store.next_ids().await?;
        let mut parts = Vec::new();
        for (i, seen) in seen.iter_mut().enumerate() {
            let passage = Passage {
                run: work.run,
                file,
                at: piece.at,
                keeps_undecodable: i == 0,
                heals: false,
                guard: Some(work.guard(piece)),
                whole: false,
            };
            let (part, _) = take(&mut *self.store, &work.flow, (i, passage, next_ids), (prepared, None), seen).await?;
            if !part.counts.balanced() {
                return Err(EngineError::Unbalanced { register: part.register });
            }
            next_ids = part.next_ids;
            parts.push(part);
        }
        Ok(parts)
    }

    /// A decoder at this place of a file, if the file is still what was planned, or of a range of a table.
    pub(super) async fn reopen(
        &mut self,
        flow: &Flow,
        piece: &Piece,
        at: &Position,
    ) -> Result<Box<dyn Decode>, EngineError> {
        if let Some(range) = &piece.keys {
            return self.open_range(&flow.from, range, at).await;
        }
        let connector = &self.workspace.connectors[&flow.from.system];
        let source = FilesSource::at(&self.workspace, connector, (&piece.root, &piece.pattern), &flow.dataset)?;
        Ok(source.open(&piece.item(), Some(at)).await?)
    }
}

/// Where a piece of a file whose rows up to `reached` are in is to be gone on with; `None` when all of it is.
///
/// The pieces of a file share its position, for a row's claim depends on the rows before it: they go in order, as in the
/// live flow, and a piece whose predecessor failed waits for `retry`.
fn begins_at(piece: &Piece, reached: Option<Resume>) -> Result<Option<Resume>, EngineError> {
    match reached {
        Some(at) if piece.to.is_some_and(|end| at.row > end) => Ok(None),
        Some(at) if at.row >= piece.from.row => Ok(Some(at)),
        _ if piece.from == Resume::default() => Ok(Some(piece.from)),
        _ => Err(refused(
            Problem::error(
                "HL0932",
                format!("rows of {} before row {} are not in yet", piece.name, piece.from.row + 1),
            )
            .hint("see why the chunk before this one failed, then: huiliu backfill retry"),
        )),
    }
}

/// Rows a second: never above the pipeline's own limit, and half of it when nothing else is asked for, so that the live
/// flow keeps its share.
fn share(asked: Option<Rate>, limit: Option<Rate>) -> Option<Rate> {
    match (asked, limit) {
        (Some(asked), Some(limit)) => Some(Rate(asked.0.min(limit.0))),
        (None, Some(limit)) => Some(Rate((limit.0 / 2).max(1))),
        (asked, None) => asked,
    }
}

/// The next rows, read on another thread.
pub(in crate::engine) async fn next(
    mut decoder: Box<dyn Decode>,
    rows: usize,
) -> Result<(Box<dyn Decode>, Option<Decoded>), EngineError> {
    let reading = tokio::task::spawn_blocking(move || {
        let next = decoder.next(rows);
        (decoder, next)
    });
    let (decoder, next) = reading.await.map_err(|error| EngineError::Internal(error.to_string()))?;
    Ok((decoder, next?))
}

/// Only rows whose business time is asked for; the others count as dropped.
pub(super) fn inside(work: &Work, decoded: Decoded) -> Result<Decoded, EngineError> {
    let (Some((from, to)), Some(column)) = (work.spec.updated, work.flow.updated) else { return Ok(decoded) };
    let cells = decoded.rows.column(column).as_string::<i32>();
    let wanted = |i: &usize| {
        let at = (!cells.is_null(*i)).then(|| business_time(cells.value(*i))).flatten();
        at.is_some_and(|at| at >= from && at < to)
    };
    let kept: Vec<usize> = (0..decoded.rows.num_rows()).filter(wanted).collect();
    let left_out = (decoded.rows.num_rows() - kept.len()) as u64;
    let mut inside = decoded.keep(&kept).map_err(|error| EngineError::Internal(error.to_string()))?;
    inside.dropped += left_out;
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backfill_leaves_the_live_flow_its_share() {
        assert_eq!(share(None, Some(Rate(5000))), Some(Rate(2500)));
        assert_eq!(share(Some(Rate(9000)), Some(Rate(5000))), Some(Rate(5000)));
        assert_eq!(share(Some(Rate(100)), Some(Rate(5000))), Some(Rate(100)));
        assert_eq!(share(Some(Rate(100)), None), Some(Rate(100)));
        assert_eq!((share(None, None), share(None, Some(Rate(1)))), (None, Some(Rate(1))));
    }
}

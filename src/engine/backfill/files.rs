//! Chunks of old files, or of a table: decoded, held against what is known, mapped, linked and committed like live ones — under a
//! position of their own, and with nothing taken back because it is missing.
//!
//! Several workers read and map at a time ([`super::ahead`]); commits come one after the other, in the order of the chunks.
//! So what an old file says against another does not depend on how many work, and one rate serves all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use roaring::RoaringTreemap;

use super::ahead::{Next, Reader, Rows};
use super::courtesy::Courtesy;
use super::plan::Piece;
use super::span::Inside;
use super::{BackfillStep, Guard, Spec, read, refused};
use crate::config::Rate;
use crate::decode::{Decode, Decoded, Position, Resume};
use crate::engine::flow::Flow;
use crate::engine::intake::Prepared;
use crate::engine::take::{Passage, take};
use crate::engine::{Engine, EngineError};
use crate::error::Problem;
use crate::store::{
    BackfillState, BackfillView, ChangeSet, ChunkState, ChunkView, FileEnd, FileStart, FileState, Note, RegisterPart,
};

/// Chunks that several workers do in one step, for each of them; a single worker does one.
const STRETCH: i64 = 4;
/// How long the next rows may take before others get the turn to write.
const WAITING: Duration = Duration::from_millis(200);
/// A reader that breaks off so often at one chunk will not do better.
const FAULTS: u32 = 3;

/// A backfill at work.
pub(super) struct Work {
    pub(super) flow: Flow,
    pub(super) run: i64,
    pub(super) spec: Spec,
    pub(super) inside: Inside,
    /// Whether most rows need mapping, as far as the last commit tells.
    pub(super) map_ahead: Arc<AtomicBool>,
    pub(super) courtesy: Courtesy,
    backfill: i64,
    started: Instant,
    rows: u64,
}

impl Work {
    pub(super) fn new(flow: Flow, (backfill, run): (i64, i64), spec: Spec) -> Self {
        let (inside, map_ahead) = (Inside::of(&flow, &spec), Arc::new(AtomicBool::new(true)));
        let courtesy = Courtesy::new(spec.eager);
        Self { flow, run, spec, inside, map_ahead, courtesy, backfill, started: Instant::now(), rows: 0 }
    }

    pub(super) fn guard(&self, piece: &Piece) -> Guard {
        Guard { outdated: piece.outdated, own_time: self.flow.updated.is_some() }
    }

    /// Not the live dataset: position and state of the live file of the same content are nobody's business here.
    pub(super) fn dataset(&self) -> String {
        format!("{}#{}", self.flow.from, self.backfill)
    }
}

/// A chunk that is being read.
struct UnderWay {
    chunk: ChunkView,
    pieces: Vec<Piece>,
    reader: Reader,
}

impl Engine {
    /// Works off chunks: one, or a stretch of them when several workers read. What comes of the last is the answer; one
    /// that is refused or has to wait ends the stretch.
    pub(super) async fn backfill_files(
        &mut self,
        backfill: &BackfillView,
        first: ChunkView,
    ) -> Result<BackfillStep, EngineError> {
        let pipeline = self.pipeline(&backfill.target)?;
        let flow = Flow::prepare(&self.workspace, (&pipeline, self.today()), &mut *self.store).await?;
        let run = backfill.run.ok_or_else(|| EngineError::Internal("a backfill without a run".into()))?;
        self.note_versions(run, &flow).await?;
        let mut work = Work::new(flow, (backfill.id, run), Spec::of(backfill)?);
        self.look_for_live_work(&work.courtesy).await?; // the readers begin at once
        let workers = work.spec.workers();
        let mut waiting = VecDeque::from([first]);
        if workers > 1 {
            let stretch = STRETCH * i64::try_from(workers).unwrap_or(1);
            waiting = self.store.backfill_chunks(backfill.id, Some(ChunkState::Pending), stretch).await?.into();
        }
        let (mut under_way, mut last, mut rows) = (VecDeque::new(), None, 0);
        loop {
            while under_way.len() < workers
                && let Some(chunk) = waiting.pop_front()
            {
                let pieces: Vec<Piece> = read(&chunk.spec)?;
                let reader = self.read_ahead(&work, (&pieces, 0)).await?;
                under_way.push_back(UnderWay { chunk, pieces, reader });
            }
            let Some(UnderWay { chunk, pieces, reader }) = under_way.pop_front() else { break };
            if last.is_some() && !self.still_runs(backfill.id).await? {
                break;
            }
            let worked = self.work_off(&mut work, &pieces, reader).await;
            match self.chunk_ended(backfill, &chunk, worked).await? {
                BackfillStep::Chunk { n, rows: of_it, registers } => {
                    rows += of_it;
                    last = Some(BackfillStep::Chunk { n, rows, registers });
                }
                other => return Ok(other),
            }
        }
        last.ok_or_else(|| EngineError::Internal("a step without a chunk".into()))
    }

    /// Whether nobody wants it to wait or to end.
    async fn still_runs(&mut self, id: i64) -> Result<bool, EngineError> {
        let at = self.now();
        let running = (BackfillState::Running, None, at);
        Ok(self.store.move_backfill(id, &[BackfillState::Running], running, None).await?)
    }

    /// Works off the pieces of a chunk, from where a broken-off attempt left them.
    async fn work_off(&mut self, work: &mut Work, pieces: &[Piece], mut reader: Reader) -> Result<(), EngineError> {
        let (mut n, mut faults) = (0, 0);
        while let Some(piece) = pieces.get(n) {
            self.check_stop()?;
            let start = FileStart {
                dataset: work.dataset(),
                name: piece.name.clone(),
                digest: piece.digest.clone(),
                bytes: piece.bytes,
                at: piece.at,
                again: false,
            };
            let file = self.store.begin_file(start).await?;
            if self.backfill_piece(work, (n, piece), (&file, &mut reader)).await? {
                if piece.to.is_none() {
                    let told = format!("{}: {}, for backfill {}", work.flow.from, piece.name, work.backfill);
                    let note = Note::new(self.now(), "pull", told);
                    self.store.end_file(file.id, FileEnd::taken(None, Some(note))).await?;
                }
                n += 1;
                continue;
            }
            faults += 1;
            if faults > FAULTS {
                return Err(EngineError::Internal(format!("{} could not be read ahead", piece.name)));
            }
            self.store.rest().await?;
            reader = self.read_ahead(work, (pieces, n)).await?;
        }
        Ok(())
    }

    /// Takes what is left of a piece; false when its reader has to begin again.
    async fn backfill_piece(
        &mut self,
        work: &mut Work,
        (n, piece): (usize, &Piece),
        (file, reader): (&FileState, &mut Reader),
    ) -> Result<bool, EngineError> {
        // A table's rows are as they are when they are read.
        let piece = &Piece { at: if piece.keys.is_some() { self.now() } else { piece.at }, ..piece.clone() };
        let Some(at) = begins_at(piece, file.position.as_ref())? else {
            return Ok(true);
        };
        if !reader.begins(n, at.resume.row).await? {
            return Ok(false);
        }
        let mut seen = Vec::new();
        for lane in work.flow.lanes.iter() {
            seen.push(self.store.seen(lane.stream, file.id).await?);
        }
        self.progress.file(&work.flow.pipeline.name, &piece.name, piece.bytes);
        loop {
            match self.next_rows(reader).await? {
                Next::Rows(rows) => self.backfill_rows(work, (piece, file.id), *rows, &mut seen).await?,
                Next::Ends => break,
                Next::Lost => return Ok(false),
            }
        }
        self.progress.done();
        Ok(true)
    }

    /// The next rows; while they take their time, others may write.
    async fn next_rows(&mut self, reader: &mut Reader) -> Result<Next, EngineError> {
        if let Ok(next) = tokio::time::timeout(WAITING, reader.next()).await {
            return next;
        }
        self.store.rest().await?;
        reader.next().await
    }

    async fn backfill_rows(
        &mut self,
        work: &mut Work,
        (piece, file): (&Piece, i64),
        Rows { at, read, prepared }: Rows,
        seen: &mut [RoaringTreemap],
    ) -> Result<(), EngineError> {
        self.give_way(&mut work.courtesy).await?;
        self.check_stop()?;
        let parts = self.take_lanes(work, (piece, file), prepared, seen).await?;
        let (byte, position) = (at.resume.byte, Some(at));
        let change = ChangeSet { run: work.run, file: Some(file), at: self.now(), position, parts };
        self.store.commit(change).await?;
        self.progress.rows(read, byte);
        work.rows += read;
        if let Some(rate) = share(work.spec.rate(), work.flow.pipeline.limits.rate) {
            self.pace(rate, work.started, work.rows).await?;
        }
        Ok(())
    }

    /// What rows change in every register, with nothing written.
    pub(super) async fn take_lanes(
        &mut self,
        work: &Work,
        (piece, file): (&Piece, i64),
        mut prepared: Prepared,
        seen: &mut [RoaringTreemap],
    ) -> Result<Vec<RegisterPart>, EngineError> {
        let mut next_ids = self.store.next_ids().await?;
        let mut ahead = prepared.mapped.take().unwrap_or_default().into_iter();
        let (mut parts, mut needed) = (Vec::new(), 0);
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
            let laid = (&prepared, ahead.next());
            let (part, todo) = take(&mut *self.store, &work.flow, (i, passage, next_ids), laid, seen).await?;
            if !part.counts.balanced() {
                return Err(EngineError::Unbalanced { register: part.register });
            }
            next_ids = part.next_ids;
            needed += todo;
            parts.push(part);
        }
        let all = work.flow.lanes.len() * prepared.decoded.rows.num_rows();
        work.map_ahead.store(needed * 4 > all, Ordering::Relaxed);
        Ok(parts)
    }
}

/// Where a piece of a file whose rows up to `reached` are in is to be gone on with; `None` when all of it is.
///
/// The pieces of a file share its position, for a row's claim depends on the rows before it: they go in order, as in the
/// live flow, and a piece whose predecessor failed waits for `retry`.
///
/// The ranges of a table have nothing to do with each other.
pub(super) fn begins_at(piece: &Piece, reached: Option<&Position>) -> Result<Option<Position>, EngineError> {
    match reached {
        reached if piece.keys.is_some() => Ok(Some(reached.cloned().unwrap_or_default())),
        Some(at) if piece.to.is_some_and(|end| at.resume.row > end) => Ok(None),
        Some(at) if at.resume.row >= piece.from.row => Ok(Some(at.clone())),
        _ if piece.from == Resume::default() => Ok(Some(piece.from.into())),
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

//! Backfills (补数): governed re-reading of files and tables and re-sending of batches, beside the live flow.
//!
//! Decides: what is asked for, cut into chunks before anything runs; what an old file may still say. Guarantees: each
//! chunk may be repeated; what is committed of a chunk is not done again after a crash; the live position never moves,
//! and an old file neither takes back what a newer full extract shows nor overrules a newer business time.
//!
//! Several workers (并行) read and map at a time; one commits, chunk after chunk, so that nothing depends on how many work.
//!
//! Live work goes first ([`courtesy`]). A chunk runs under the lease of its pipeline or feed, so it never meets a live run of
//! the same data.

mod ahead;
mod courtesy;
mod cut;
mod dates;
mod feeds;
mod files;
mod guard;
mod plan;
mod rehearse;
mod span;
mod tables;

pub(super) use files::next as next_decoded;
pub use plan::{Chunking, FeedRequest, FilesRequest, Plan};
pub use rehearse::Rehearsal;

pub(super) use guard::Guard;

use serde::{Deserialize, Serialize};

use super::schedule::Window;
use super::{Engine, EngineError};
use crate::config::Rate;
use crate::error::{Disposition, Problem};
use crate::failpoint::Boundary;
use crate::store::{
    BackfillState, BackfillView, ChunkEnd, ChunkState, ChunkView, LedgerRow, NewBackfill, Note, RunEnd, RunStart,
    RunStatus,
};

/// What a step did.
#[derive(Debug, Clone)]
pub enum BackfillStep {
    /// One chunk, or several of which this is the last, through to its end.
    Chunk {
        /// Its number.
        n: i64,
        /// Rows or records of all of them.
        rows: u64,
        /// Registers that it may have changed.
        registers: Vec<String>,
    },
    /// A chunk that did not go; it is written down, and the others go on.
    Refused {
        /// Its number.
        n: i64,
        /// Code and message.
        why: String,
    },
    /// The world outside fails for now; the chunk stays to be done.
    Waits {
        /// Code and message.
        why: String,
    },
    /// It was asked to give way, and goes on later where it is.
    Yielded,
    /// There is nothing to do: it is over, or a person made it wait.
    Over(BackfillState),
}

impl BackfillStep {
    /// Code and message, when it did not go well.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Refused { why, .. } | Self::Waits { why } => Some(why),
            Self::Chunk { .. } | Self::Yielded | Self::Over(_) => None,
        }
    }

    /// Registers that may have changed.
    pub fn registers(&self) -> &[String] {
        match self {
            Self::Chunk { registers, .. } => registers,
            _ => &[],
        }
    }
}

/// What was asked for, beside the chunks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// Rows or records a second.
    pub(super) rate: Option<u32>,
    /// `22:00-06:00`.
    pub(super) window: Option<String>,
    /// Rows whose business time lies in `[from, to)`, microseconds.
    pub(super) updated: Option<(i64, i64)>,
    /// What is asked for, for people.
    pub(super) asked: String,
    /// Chunks that are read at a time; absent in those of earlier versions.
    #[serde(default)]
    pub(super) workers: u32,
    /// Whether it waits for no live work.
    #[serde(default)]
    pub(super) eager: bool,
}

impl Spec {
    fn of(backfill: &BackfillView) -> Result<Self, EngineError> {
        read(&backfill.spec)
    }

    /// At least one.
    pub(super) fn workers(&self) -> usize {
        usize::try_from(self.workers.max(1)).unwrap_or(1)
    }

    pub(super) fn rate(&self) -> Option<Rate> {
        self.rate.filter(|rate| *rate > 0).map(Rate)
    }
}

/// Rows that a register had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterRows {
    /// Register.
    pub register: String,
    /// Live rows.
    pub rows: u64,
}

/// A backfill's ledger, and the registers before and after it.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Ledger lines, one a register.
    pub ledger: Vec<LedgerRow>,
    /// Rows before it began.
    pub before: Vec<RegisterRows>,
    /// Rows now.
    pub after: Vec<RegisterRows>,
}

/// When a stored backfill may work.
pub(super) fn window_of(backfill: &BackfillView) -> Option<Window> {
    Spec::of(backfill).ok()?.window?.parse().ok()
}

impl Engine {
    /// Keeps a plan in the store, to be worked off by whoever comes; returns its id.
    pub async fn keep_backfill(&mut self, plan: Plan, why: Option<String>) -> Result<i64, EngineError> {
        let at = self.now();
        let detail = format!("{}: {}, {} chunks, {} rows", plan.target, plan.spec.asked, plan.chunks.len(), plan.rows);
        let new = NewBackfill {
            kind: plan.kind,
            target: plan.target,
            spec: written(&plan.spec)?,
            why: why.clone(),
            at,
            chunks: plan.chunks,
        };
        let id = self.store.add_backfill(new).await?;
        let why = why.map(|why| format!(" — {why}")).unwrap_or_default();
        self.store.audit(at, "backfill.start", &format!("backfill {id} of {detail}{why}")).await?;
        Ok(id)
    }

    /// The backfill of this number.
    pub async fn backfill(&mut self, id: i64) -> Result<BackfillView, EngineError> {
        let found = self.store.backfills(Some(id)).await?.pop();
        found.ok_or_else(|| refused(Problem::error("HL0924", format!("there is no backfill {id}"))))
    }

    /// Does the next chunk of a backfill, or goes on with it.
    pub async fn backfill_step(&mut self, id: i64) -> Result<BackfillStep, EngineError> {
        use BackfillState::{Pending, Running};
        let at = self.now();
        if !self.store.move_backfill(id, &[Pending, Running], (Running, None, at), None).await? {
            return Ok(BackfillStep::Over(self.backfill(id).await?.state));
        }
        let backfill = self.begin_backfill(id).await?;
        let Some(chunk) = self.store.backfill_chunks(id, Some(ChunkState::Pending), 1).await?.pop() else {
            return self.finish_backfill(&backfill).await.map(BackfillStep::Over);
        };
        let step = match backfill.kind.as_str() {
            "files" => match self.backfill_files(&backfill, chunk.clone()).await {
                // It could not even begin.
                Err(error) => self.chunk_ended(&backfill, &chunk, Err(error)).await?,
                Ok(step) => step,
            },
            _ => {
                let worked = self.backfill_feed(&backfill, &chunk).await;
                self.chunk_ended(&backfill, &chunk, worked).await?
            }
        };
        if matches!(step, BackfillStep::Yielded | BackfillStep::Waits { .. }) {
            return Ok(step);
        }
        if self.store.backfill_chunks(id, Some(ChunkState::Pending), 1).await?.is_empty() {
            let backfill = self.backfill(id).await?;
            self.finish_backfill(&backfill).await?;
        }
        Ok(step)
    }

    /// Writes down what came of a chunk, if something did.
    async fn chunk_ended(
        &mut self,
        backfill: &BackfillView,
        chunk: &ChunkView,
        worked: Result<(), EngineError>,
    ) -> Result<BackfillStep, EngineError> {
        match worked {
            Ok(()) => {
                self.end_chunk(backfill.id, chunk, None).await?;
                Ok(BackfillStep::Chunk { n: chunk.n, rows: chunk.rows, registers: self.touched(backfill) })
            }
            Err(EngineError::Stopped) => Ok(BackfillStep::Yielded),
            Err(EngineError::Store(error)) => Err(error.into()),
            Err(EngineError::Outlet(error)) if error.disposition() == Disposition::Retry => {
                Ok(BackfillStep::Waits { why: format!("{} {error}", error.code()) })
            }
            // A server that is away comes back; a file that is gone does not.
            Err(error) if error.disposition() == Disposition::Retry && of_table(chunk) => {
                Ok(BackfillStep::Waits { why: error.to_string() })
            }
            Err(error) => {
                let why = error.to_string();
                self.end_chunk(backfill.id, chunk, Some(why.clone())).await?;
                Ok(BackfillStep::Refused { n: chunk.n, why })
            }
        }
    }

    async fn end_chunk(&mut self, id: i64, chunk: &ChunkView, why: Option<String>) -> Result<(), EngineError> {
        let state = if why.is_none() { ChunkState::Done } else { ChunkState::Failed };
        let at = self.now();
        match &why {
            None => tracing::info!(backfill = id, chunk = chunk.n, rows = chunk.rows, "backfill chunk ended"),
            Some(why) => {
                tracing::warn!(backfill = id, chunk = chunk.n, rows = chunk.rows, why, "backfill chunk failed")
            }
        }
        Boundary::BackfillWorked.reached();
        self.store.end_chunk(id, chunk.n, ChunkEnd { state, why, at }).await?;
        Boundary::BackfillDone.reached();
        Ok(())
    }

    /// Opens its run, and notes what was there before it, the first time.
    async fn begin_backfill(&mut self, id: i64) -> Result<BackfillView, EngineError> {
        let backfill = self.backfill(id).await?;
        if backfill.before.is_some() {
            return Ok(backfill);
        }
        let registers = self.touched(&backfill);
        let before = written(&self.register_rows(&registers).await?)?;
        let run = match backfill.kind.as_str() {
            "files" => {
                let start = RunStart {
                    pipeline: backfill.target.clone(),
                    kind: "backfill",
                    at: self.now(),
                    definitions: self.workspace.digest(),
                };
                Some(self.store.begin_run(start).await?)
            }
            _ => None,
        };
        self.store.note_backfill(id, run, &before).await?;
        self.backfill(id).await
    }

    async fn backfill_feed(&mut self, backfill: &BackfillView, chunk: &ChunkView) -> Result<(), EngineError> {
        match backfill.kind.as_str() {
            "replay" => self.replay_batches(backfill, chunk).await,
            "rebuild" => self.rebuild_feed(backfill, chunk).await,
            other => Err(EngineError::Internal(format!("a backfill of kind {other}"))),
        }
    }

    /// Every chunk is done or failed.
    async fn finish_backfill(&mut self, backfill: &BackfillView) -> Result<BackfillState, EngineError> {
        let failed = backfill.failed > 0;
        let state = if failed { BackfillState::Failed } else { BackfillState::Done };
        let note = failed.then(|| format!("{} of its chunks failed", backfill.failed));
        let at = self.now();
        if let Some(run) = backfill.run {
            let balanced = self.store.ledger(Some(run)).await?.iter().all(|line| line.counts.balanced());
            let status = match (failed, balanced) {
                (_, false) => RunStatus::Unbalanced,
                (true, true) => RunStatus::Failed,
                (false, true) => RunStatus::Succeeded,
            };
            self.store.end_run(run, RunEnd { status, why: note.clone(), lag: None, at, note: None }).await?;
        }
        let told = format!("backfill {} of {}: {}", backfill.id, backfill.target, state.name());
        let told = Some(Note::new(at, "backfill.end", told));
        self.store.move_backfill(backfill.id, &[BackfillState::Running], (state, note.as_deref(), at), told).await?;
        Ok(state)
    }

    /// What it did so far, against what was there before.
    pub async fn compare_backfill(&mut self, backfill: &BackfillView) -> Result<Comparison, EngineError> {
        let registers = self.touched(backfill);
        let before: Vec<RegisterRows> = backfill.before.as_deref().map_or_else(|| Ok(Vec::new()), read)?;
        let ledger = match backfill.run {
            Some(run) => self.store.ledger(Some(run)).await?,
            None => Vec::new(),
        };
        Ok(Comparison { ledger, before, after: self.register_rows(&registers).await? })
    }

    async fn register_rows(&mut self, registers: &[String]) -> Result<Vec<RegisterRows>, EngineError> {
        let mut all = Vec::new();
        for register in registers {
            all.push(RegisterRows { register: register.clone(), rows: self.store.count(register).await? });
        }
        Ok(all)
    }

    /// Registers that a backfill of files writes to.
    fn touched(&self, backfill: &BackfillView) -> Vec<String> {
        let pipeline = self.workspace.pipelines.get(&backfill.target).filter(|_| backfill.kind == "files");
        pipeline.map_or_else(Vec::new, |pipeline| pipeline.into.iter().map(|into| into.value.clone()).collect())
    }
}

/// Whether a chunk is of a table.
fn of_table(chunk: &ChunkView) -> bool {
    read::<Vec<plan::Piece>>(&chunk.spec).is_ok_and(|pieces| pieces.iter().any(|piece| piece.keys.is_some()))
}

/// A problem that keeps a backfill from being planned or run.
fn refused(problem: Problem) -> EngineError {
    EngineError::Definitions(vec![problem])
}

fn written(value: &impl Serialize) -> Result<String, EngineError> {
    serde_json::to_string(value).map_err(|error| EngineError::Internal(error.to_string()))
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, EngineError> {
    serde_json::from_str(text).map_err(|_| EngineError::Internal("a stored backfill does not read".into()))
}

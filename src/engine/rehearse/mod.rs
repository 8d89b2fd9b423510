//! What a run would do (试运行): the waiting files read and mapped as a run would, and nothing written.
//!
//! Guarantees: not a row, a position, a stream or a table is written, and no file is settled. As nothing is kept, a row
//! that comes in several files is held against what is stored, not against the file before; what came as new before is
//! counted as new once.

mod samples;
mod tally;

use std::collections::HashSet;
use std::time::Instant;

use roaring::RoaringTreemap;
use serde::Serialize;

pub use self::samples::{Sample, SampleField};
pub use self::tally::Affected;
pub(super) use self::tally::Tally;
use super::backfill::next_decoded;
use super::chunks::too_many_quarantined;
use super::flow::Flow;
use super::intake::{CHUNK_ROWS, Prepared};
use super::listed::Known;
use super::rows::digest_of;
use super::run::{Held, broken_check, too_many_vanished};
use super::take::{Passage, retract, take};
use super::{Engine, EngineError, FileReport, drift};
use crate::config::{Extract, Register};
use crate::linking::Departure;
use crate::source::{Item, Source};
use crate::store::{ChunkCounts, QuarantineFilter, StoreError};

/// Claims looked at together.
const PAGE: i64 = 4096;

/// What one run would do.
#[derive(Debug, Clone, Serialize)]
pub struct RunRehearsal {
    /// Pipeline.
    pub pipeline: String,
    /// Files in order: `would be taken`, `unchanged`, `superseded`, `held`, `would be held`, `would fail`, `writing`.
    pub files: Vec<FileReport>,
    /// Per register.
    pub registers: Vec<RegisterRehearsal>,
    /// Subscribers who hold records that would change.
    pub affected: Vec<Affected>,
    /// Why the run would be held, or why it cannot be rehearsed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Wall time.
    pub seconds: f64,
}

/// What would become of one register.
#[derive(Debug, Clone, Serialize)]
pub struct RegisterRehearsal {
    /// Register.
    pub register: String,
    /// Counts.
    #[serde(flatten)]
    pub counts: ChunkCounts,
    /// Rows that would be set aside by `column:code`, most first.
    pub quarantined_by: Vec<(String, u64)>,
    /// Repairs by `column:code`, most first.
    pub notes_by: Vec<(String, u64)>,
    /// A few rows, when asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

/// A rehearsal under way.
struct Stage {
    flow: Flow,
    tally: Tally,
    last: Option<(u64, u64)>,
    /// By lane; `None` when no samples are wanted.
    samples: Option<Vec<Vec<Sample>>>,
}

impl RunRehearsal {
    /// One that could not begin.
    pub fn failed(pipeline: &str, error: &EngineError) -> Self {
        let (files, registers, affected) = (Vec::new(), Vec::new(), Vec::new());
        Self { pipeline: pipeline.to_owned(), files, registers, affected, why: Some(error.to_string()), seconds: 0.0 }
    }

    /// Whether a person would be needed: something would be held, fail or be set aside.
    pub fn needs_a_person(&self) -> bool {
        let set_aside = |register: &RegisterRehearsal| register.counts.quarantined + register.counts.undecodable > 0;
        self.why.is_some() || self.registers.iter().any(set_aside)
    }
}

impl Engine {
    /// Works out what a run would do with the files that wait; with `samples`, also shows a few rows.
    pub async fn rehearse_run(&mut self, name: &str, samples: bool) -> Result<RunRehearsal, EngineError> {
        let started = Instant::now();
        let pipeline = self.pipeline(name)?;
        let into = pipeline.into.iter().filter_map(|register| self.workspace.registers.get(&register.value));
        let registers: Vec<&Register> = into.collect();
        if let Some(problem) = self.store.survey(&registers).await?.into_iter().find_map(|stored| stored.refused) {
            return Err(StoreError::Refused(Box::new(problem)).into());
        }
        let flow = Flow::suppose(&self.workspace, (&pipeline, self.today()), &mut *self.store).await?;
        let lanes = flow.lanes.len();
        let last = self.last_counts(&pipeline).await?;
        let samples = samples.then(|| vec![Vec::new(); lanes]);
        let mut stage = Stage { flow, tally: Tally::new(lanes), last, samples };
        let (files, why) = self.rehearse_waiting(&mut stage).await?;
        let Stage { flow, tally, samples, .. } = stage;
        let (mut registers, mut affected) = (Vec::new(), Vec::new());
        let mut samples = samples.unwrap_or_default().into_iter();
        for (lane, tallied) in flow.lanes.iter().zip(tally.lanes) {
            affected.extend(self.affected(&lane.register, &tallied.changed).await?);
            registers.push(RegisterRehearsal {
                register: lane.register.clone(),
                quarantined_by: tallied.codes_of("quarantined"),
                notes_by: tallied.codes_of("note"),
                counts: tallied.counts,
                samples: samples.next().unwrap_or_default(),
            });
        }
        let seconds = started.elapsed().as_secs_f64();
        Ok(RunRehearsal { pipeline: name.to_owned(), files, registers, affected, why, seconds })
    }

    async fn rehearse_waiting(&mut self, stage: &mut Stage) -> Result<(Vec<FileReport>, Option<String>), EngineError> {
        let from = stage.flow.from.clone();
        let mut source =
            crate::source::open(&self.workspace, &self.workspace.connectors[&from.system], &stage.flow.dataset)?;
        source.only_look();
        let listing = source.list(self.pulled(&from).await?.as_ref()).await?;
        let report =
            |name: &str, outcome, why: Option<String>, rows| FileReport { name: name.to_owned(), outcome, why, rows };
        let mut files: Vec<FileReport> =
            listing.still_writing.iter().map(|name| report(name, "writing", None, 0)).collect();
        let mut first = None;
        let mut newest = self.newest(&stage.flow).await?;
        for (i, item) in listing.items.iter().enumerate() {
            self.check_stop()?;
            let later = &listing.items[i + 1..];
            let again = match self.known(&stage.flow, (item, later), newest.as_deref()).await? {
                Known::Over(word) => {
                    files.push(report(&item.name, word, None, 0));
                    continue;
                }
                Known::Held(file) if stage.flow.replaces(item) && !later.is_empty() => {
                    files.push(report(&item.name, "held", file.why, 0));
                    continue;
                }
                Known::Held(_) => false,
                Known::Due { again } => again,
            };
            let read = |stage: &Stage| stage.tally.lanes.first().map_or(0, |lane| lane.counts.read);
            let before = read(stage);
            let outcome = self.rehearse_file(stage, (item, &*source, again)).await;
            let rows = read(stage) - before;
            let (word, why) = match outcome {
                Ok(None) => ("would be taken", None),
                Ok(Some(Held(why))) => ("would be held", Some(why)),
                Err(EngineError::Decode(error)) => ("would fail", Some(error.to_string())),
                Err(error) => return Err(error),
            };
            files.push(report(&item.name, word, why.clone(), rows));
            first = first.or_else(|| why.map(|why| format!("{}: {why}", item.name)));
            match word {
                "would be taken" => newest = Some(item.digest.clone()),
                "would be held" if stage.flow.replaces(item) => {}
                "would be held" => break, // as a run would: later extracts build on this one
                _ => {}
            }
        }
        Ok((files, first))
    }

    async fn rehearse_file(
        &mut self,
        stage: &mut Stage,
        (item, source, again): (&Item, &dyn Source, bool),
    ) -> Result<Option<Held>, EngineError> {
        let known = self.store.file(&stage.flow.from.to_string(), &item.digest).await?.filter(|_| !again);
        let (file, position) = known.map_or((0, None), |file| (file.id, file.position));
        let decoder = source.open(item, position.as_ref()).await?;
        let (mut decoder, offer) = drift::look(&stage.flow.dataset, decoder, position.is_some()).await?;
        if let Some(held) = self.would_drift(&stage.flow, offer).await? {
            return Ok(Some(held));
        }
        let (mut seen, mut counts) = (Vec::new(), self.whole_counts(&stage.flow, file).await?);
        let dismissed = self.dismissed(&stage.flow).await?;
        let mut unread = self.has_unread(&stage.flow, file).await?;
        for lane in stage.flow.lanes.iter() {
            seen.push(self.store.seen(lane.stream, file).await?);
        }
        let first_new = self.store.next_ids().await?.0;
        loop {
            self.check_stop()?;
            let (back, decoded) = next_decoded(decoder, CHUNK_ROWS).await?;
            decoder = back;
            let Some(decoded) = decoded else { break };
            unread |= decoded.undecodable.iter().any(|bad| !dismissed.contains(&digest_of(&bad.raw)));
            let prepared = stage.flow.reading().of(decoded)?;
            self.rehearse_chunk(stage, (file, item.whole, &prepared), &mut seen, &mut counts).await?;
        }
        if let Some(held) = too_many_quarantined(&stage.flow, &counts, true) {
            return Ok(Some(held));
        }
        self.rehearse_end(stage, (&seen, item.whole, unread), (first_new, &counts)).await
    }

    async fn rehearse_chunk(
        &mut self,
        stage: &mut Stage,
        (file, whole, prepared): (i64, bool, &Prepared),
        seen: &mut [RoaringTreemap],
        counts: &mut [ChunkCounts],
    ) -> Result<(), EngineError> {
        let mut next_ids = self.store.next_ids().await?;
        // Claims that this file would have made already have the ids after the stored ones.
        let taken = seen.iter().filter_map(RoaringTreemap::max).max().map_or(0, |id| id.cast_signed() + 1);
        next_ids.0 = next_ids.0.max(taken);
        let mut parts = Vec::new();
        for (i, seen) in seen.iter_mut().enumerate() {
            let passage =
                Passage { run: 0, file, at: self.now(), keeps_undecodable: i == 0, heals: false, guard: None, whole };
            let (part, _) = take(&mut *self.store, &stage.flow, (i, passage, next_ids), (prepared, None), seen).await?;
            if !part.counts.balanced() {
                return Err(EngineError::Unbalanced { register: part.register });
            }
            next_ids = part.next_ids;
            parts.push(part);
        }
        for (i, part) in parts.iter().enumerate() {
            counts[i].add(&part.counts);
            stage.tally.lanes[i].add(part);
            if let Some(samples) = &mut stage.samples {
                self.sample(part, &mut samples[i]).await?;
            }
        }
        Ok(self.store.rest().await?)
    }

    /// Rows that could not be read and that a person has set aside for good, by digest.
    async fn dismissed(&mut self, flow: &Flow) -> Result<HashSet<i64>, EngineError> {
        let filter = QuarantineFilter {
            dataset: Some(flow.from.to_string()),
            register: Some(String::new()),
            status: Some("dismissed".into()),
            limit: i64::MAX,
            ..QuarantineFilter::default()
        };
        Ok(self.store.quarantine(&filter).await?.iter().map(|entry| entry.digest).collect())
    }

    /// The checks over a whole file, and what a full extract no longer shows.
    async fn rehearse_end(
        &mut self,
        stage: &mut Stage,
        (seen, whole, unread): (&[RoaringTreemap], bool, bool),
        (first_new, counts): (i64, &[ChunkCounts]),
    ) -> Result<Option<Held>, EngineError> {
        let full = whole || stage.flow.dataset.extract == Extract::Full;
        let mut vanished = Vec::new();
        for (lane, seen) in stage.flow.lanes.iter().zip(seen) {
            let claims = self.store.claim_count(lane.stream).await?;
            let shown = if full { seen.rank(first_new.unsigned_abs().saturating_sub(1)) } else { claims };
            vanished.push((claims.saturating_sub(shown), claims));
        }
        let worst = vanished.iter().map(|(gone, _)| *gone).max().unwrap_or(0);
        let read = counts.first().cloned().unwrap_or_default();
        if let Some(held) = broken_check(&stage.flow, &read, (worst, stage.last))? {
            return Ok(Some(held));
        }
        for (lane, gone) in stage.flow.lanes.iter().zip(&vanished) {
            if let Some(held) = too_many_vanished(&stage.flow, &lane.register, *gone) {
                return Ok(Some(held));
            }
        }
        // Nothing is taken back by a file whose unread rows may be those that it seems not to have.
        if full && stage.flow.dataset.missing.retract && !unread {
            for (i, (gone, _)) in vanished.iter().enumerate().filter(|(_, (gone, _))| *gone > 0) {
                tracing::debug!(gone, "rows that a full extract no longer shows");
                self.rehearse_retraction(stage, i, &seen[i]).await?;
            }
        }
        Ok(None)
    }

    async fn rehearse_retraction(
        &mut self,
        stage: &mut Stage,
        i: usize,
        seen: &RoaringTreemap,
    ) -> Result<(), EngineError> {
        let mut after = 0;
        loop {
            self.check_stop()?;
            let stream = stage.flow.lanes[i].stream;
            // File 0 has shown nothing: all claims of the stream.
            let page = self.store.vanished(stream, 0, after, PAGE).await?;
            let Some(last) = page.last().map(|(claim, _)| *claim) else { return Ok(()) };
            after = last;
            let gone = page.into_iter().filter(|(claim, _)| !seen.contains(claim.unsigned_abs()));
            let departures: Vec<Departure> = gone.map(|(claim, entity)| Departure { claim, entity }).collect();
            if departures.is_empty() {
                continue;
            }
            let part = retract(&mut *self.store, &stage.flow, &stage.flow.lanes[i], &departures).await?;
            stage.tally.lanes[i].add(&part);
            if let Some(samples) = &mut stage.samples {
                self.sample(&part, &mut samples[i]).await?;
            }
        }
    }
}

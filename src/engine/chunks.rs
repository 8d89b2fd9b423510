//! A file, chunk by chunk: work out, commit, count; and what to do when the store refuses a value.

use std::time::{Duration, Instant};

use roaring::RoaringTreemap;

use super::flow::Flow;
use super::intake::{Intake, Laid, Prepared};
use super::run::{Held, Pass, RunOptions};
use super::take::{Passage, take};
use super::{Engine, EngineError, RunReport};
use crate::config::Rate;
use crate::decode::{Decode, Position};
use crate::mapping::Reason;
use crate::store::{ChangeSet, ChunkCounts, FileState, QuarantineFilter, RegisterPart, StoreError};

/// How carefully a file is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// The next chunk is worked out while the last one is written.
    Usual,
    /// One after the other; a chunk whose values the store refuses is halved until the row is found.
    RowByRow,
}

/// How long the next chunk may take to decode before others get the turn to write, and how often somebody who waits looks
/// whether to stop.
const WAITING: Duration = Duration::from_millis(200);

/// What is read of an item.
pub(super) struct Decoding {
    pub(super) decoder: Box<dyn Decode>,
    /// Whether it is everything there is.
    pub(super) whole: bool,
}

/// A file under way.
struct Taking<'a> {
    flow: &'a Flow,
    state: &'a FileState,
    passages: Vec<Passage>,
    /// By lane: claims that the file has shown.
    seen: Vec<RoaringTreemap>,
    /// By lane, also of what earlier runs read of it.
    counts: Vec<ChunkCounts>,
}

/// What a committed part adds to the report.
struct Counted {
    register: String,
    counts: ChunkCounts,
    codes: Vec<(&'static str, String, u64)>,
}

impl Counted {
    fn of(part: &RegisterPart) -> Self {
        Self { register: part.register.clone(), counts: part.counts.clone(), codes: part.codes.clone() }
    }

    fn add_to(self, report: &mut RunReport) {
        let Some(line) = report.registers.iter_mut().find(|line| line.register == self.register) else { return };
        line.counts.add(&self.counts);
        for (kind, code, n) in self.codes {
            let list = if kind == "note" { &mut line.notes_by } else { &mut line.quarantined_by };
            match list.iter_mut().find(|(known, _)| *known == code) {
                Some((_, total)) => *total += n,
                None => list.push((code, n)),
            }
        }
    }
}

impl Engine {
    pub(super) async fn take_chunks(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        state: &FileState,
        (decoder, options, care): (Decoding, &RunOptions, Care),
    ) -> Result<Option<Held>, EngineError> {
        let Decoding { decoder, whole } = decoder;
        let (mut taking, fresh) = self.begin_taking(flow, pass, (state, whole)).await?;
        let mut intake = Intake::start(decoder, flow, fresh);
        while let Some(prepared) = self.next_chunk(&mut intake).await? {
            let prepared = prepared?;
            self.check_stop()?;
            let (rows, position) = (prepared.decoded.rows.num_rows(), prepared.decoded.position.clone());
            let byte = position.resume.byte;
            let needed = match care {
                Care::Usual => self.take_chunk(&mut taking, pass, prepared, Some(position)).await?,
                Care::RowByRow => self.take_chunk_carefully(&mut taking, pass, prepared).await?,
            };
            intake.needed_mapping(needed, flow.lanes.len() * rows);
            self.progress.rows(rows as u64, byte);
            if let Some(rate) = flow.pipeline.limits.rate {
                let read = pass.report.registers.first().map_or(0, |register| register.counts.read);
                self.pace(rate, pass.started, read).await?;
            }
            if options.accept.is_none()
                && let Some(held) = too_many_quarantined(flow, &taking.counts, false)
            {
                return Ok(Some(held));
            }
        }
        if options.accept.is_none()
            && let Some(held) = too_many_quarantined(flow, &taking.counts, true)
        {
            return Ok(Some(held));
        }
        Ok(None)
    }

    /// What is known before the first chunk, and whether all rows will be new.
    async fn begin_taking<'a>(
        &mut self,
        flow: &'a Flow,
        pass: &Pass,
        (state, whole): (&'a FileState, bool),
    ) -> Result<(Taking<'a>, bool), EngineError> {
        let mut taking = Taking {
            flow,
            state,
            passages: Vec::new(),
            seen: Vec::new(),
            counts: self.whole_counts(flow, state.id).await?,
        };
        let mut fresh = true;
        for (i, lane) in flow.lanes.iter().enumerate() {
            taking.seen.push(self.store.seen(lane.stream, state.id).await?);
            fresh &= self.store.claim_count(lane.stream).await? == 0;
            let filter = QuarantineFilter {
                dataset: Some(flow.from.to_string()),
                register: Some(lane.register.clone()),
                status: Some("open".into()),
                limit: 1,
                ..QuarantineFilter::default()
            };
            let heals = !self.store.quarantine(&filter).await?.is_empty();
            let keeps_undecodable = i == 0;
            taking.passages.push(Passage {
                run: pass.run,
                file: state.id,
                at: state.at,
                keeps_undecodable,
                heals,
                guard: None,
                whole,
            });
        }
        Ok((taking, fresh))
    }

    /// The next chunk; while it takes its time, others may write.
    async fn next_chunk(&mut self, intake: &mut Intake) -> Result<Option<Result<Prepared, EngineError>>, EngineError> {
        if let Ok(prepared) = tokio::time::timeout(WAITING, intake.next()).await {
            return Ok(prepared);
        }
        self.store.rest().await?;
        Ok(intake.next().await)
    }

    /// Works out one chunk and commits it; says how many of its rows needed mapping. Without `position` the file's
    /// position stays where it is.
    async fn take_chunk(
        &mut self,
        taking: &mut Taking<'_>,
        pass: &mut Pass,
        mut prepared: Prepared,
        position: Option<Position>,
    ) -> Result<usize, EngineError> {
        let (mut parts, mut needed) = (Vec::new(), 0);
        let mut next_ids = self.store.next_ids().await?;
        let mut ahead = prepared.mapped.take().unwrap_or_default().into_iter();
        for (i, passage) in taking.passages.iter().enumerate() {
            let at = (i, *passage, next_ids);
            let laid = (&prepared, ahead.next());
            let (part, todo) = take(&mut *self.store, taking.flow, at, laid, &mut taking.seen[i]).await?;
            next_ids = part.next_ids;
            if !part.counts.balanced() {
                return Err(EngineError::Unbalanced { register: part.register });
            }
            needed += todo;
            parts.push(part);
        }
        for (total, part) in taking.counts.iter_mut().zip(&parts) {
            total.add(&part.counts);
        }
        self.commit(pass, Some((taking.state.id, position)), parts).await?;
        Ok(needed)
    }

    /// As [`Self::take_chunk`], waiting for the commit; what the store refuses is halved, and a single row that it
    /// refuses is set aside with the store's reason.
    async fn take_chunk_carefully(
        &mut self,
        taking: &mut Taking<'_>,
        pass: &mut Pass,
        prepared: Prepared,
    ) -> Result<usize, EngineError> {
        let whole = prepared.decoded.position.clone();
        let (mut waiting, mut needed) = (vec![prepared], 0);
        while let Some(part) = waiting.pop() {
            let position = waiting.is_empty().then(|| whole.clone());
            let (seen, counts) = (taking.seen.clone(), taking.counts.clone());
            let again = part.unmapped();
            let taken = match self.take_chunk(taking, pass, part, position.clone()).await {
                Ok(n) => self.store.rest().await.map(|()| n).map_err(EngineError::from),
                Err(error) => Err(error),
            };
            match taken {
                Ok(n) => needed += n,
                Err(EngineError::Store(StoreError::Data { state, place })) => {
                    (taking.seen, taking.counts) = (seen, counts);
                    self.recount(pass).await?;
                    match again.halves() {
                        (first, Some(second)) => waiting.extend([second, first]),
                        (row, None) => {
                            let reason = Reason { column: place, code: format!("store_{state}"), line: 0 };
                            let refused = row.refused(&reason, taking.flow.lanes.len());
                            self.take_chunk(taking, pass, refused, position).await?;
                            self.store.rest().await?;
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(needed)
    }

    #[tracing::instrument(name = "commit", skip_all)]
    pub(super) async fn commit(
        &mut self,
        pass: &mut Pass,
        place: Option<(i64, Option<Position>)>,
        parts: Vec<RegisterPart>,
    ) -> Result<(), EngineError> {
        let counted: Vec<Counted> = parts.iter().map(Counted::of).collect();
        let change = ChangeSet {
            run: pass.run,
            file: place.as_ref().map(|(file, _)| *file),
            at: self.now(),
            position: place.and_then(|(_, position)| position),
            parts,
        };
        self.store.commit(change).await?;
        for counted in counted {
            counted.add_to(&mut pass.report);
        }
        Ok(())
    }

    /// Makes the report say what the ledger says: what was counted and then not kept goes out of it again.
    pub(super) async fn recount(&mut self, pass: &mut Pass) -> Result<(), EngineError> {
        let lines = self.store.ledger(Some(pass.run)).await?;
        for register in &mut pass.report.registers {
            let line = lines.iter().find(|line| line.register == register.register);
            register.counts = line.map(|line| line.counts.clone()).unwrap_or_default();
            register.quarantined_by = line.map(|line| line.codes.clone()).unwrap_or_default();
            register.notes_by = line.map(|line| line.notes.clone()).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits so that no more rows a second are read than may be since `started`; others write meanwhile. Told to stop, it
    /// waits no longer.
    pub(super) async fn pace(&mut self, rate: Rate, started: Instant, rows: u64) -> Result<(), EngineError> {
        let due = Duration::from_secs_f64(rows as f64 / f64::from(rate.0));
        if started.elapsed() < due {
            self.store.rest().await?;
        }
        while let Some(early) = due.checked_sub(started.elapsed()).filter(|early| !early.is_zero()) {
            if self.check_stop().is_err() {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "a rate is kept by waiting")]
            tokio::time::sleep(early.min(WAITING)).await;
        }
        Ok(())
    }
}

impl Prepared {
    /// With this reason for every row, in every lane.
    fn refused(self, reason: &Reason, lanes: usize) -> Self {
        let rows = u32::try_from(self.decoded.rows.num_rows()).unwrap_or(u32::MAX);
        let laid = || Laid {
            rows: Vec::new(),
            refused: (0..rows).map(|row| (row, vec![reason.clone()])).collect(),
            notes: Vec::new(),
        };
        Self { mapped: Some((0..lanes).map(|_| laid()).collect()), ..self }
    }
}

/// The share of rows set aside so far; before the end of a file only once enough rows were read to judge.
pub(super) fn too_many_quarantined(flow: &Flow, counts: &[ChunkCounts], at_end: bool) -> Option<Held> {
    const ENOUGH: u64 = 50_000;
    let limit = flow.pipeline.limits.quarantine.0;
    let worst = counts.iter().max_by_key(|counts| counts.quarantined + counts.undecodable)?;
    let bad = worst.quarantined + worst.undecodable;
    let judged = at_end || worst.read >= ENOUGH;
    (judged && bad as f64 > limit * worst.read as f64).then(|| {
        Held(format!(
            "HL0512 {bad} of {} rows were set aside, more than the limit of {:.2}%",
            worst.read,
            limit * 100.0
        ))
    })
}

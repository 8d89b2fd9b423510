//! One pass of one pipeline over the files its source has.

use std::time::{Duration, Instant};

use super::flow::Flow;
use super::intake::Intake;
use super::take::{Passage, retract, take};
use super::{Engine, EngineError, FileReport, RegisterReport, RunReport};
use crate::config::{DriftPolicy, Extract, Pipeline, Rate};
use crate::decode::{Header, Wanted};
use crate::linking::Departure;
use crate::mapping::Facts;
use crate::source::Item;
use crate::store::{
    ChangeSet, ChunkCounts, FileStart, FileState, FileStatus, QuarantineFilter, RegisterPart, RunEnd, RunStart,
    RunStatus,
};

/// How a run treats checks.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// A person has looked and accepts what the checks would hold; the reason goes into the audit log.
    pub accept: Option<String>,
}

/// Claims retracted in one transaction.
const RETRACT_ROWS: i64 = 4096;

/// How often somebody who waits looks whether to stop.
const GLANCE: Duration = Duration::from_millis(200);

/// A run under way.
struct Pass {
    run: i64,
    report: RunReport,
    last: Option<(u64, u64)>,
    started: Instant,
}

/// A file waits for a person.
struct Held(String);

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
    /// Takes every file that the pipeline's source has and that was not taken before, oldest name first.
    ///
    /// Errors of one file do not stop the others; the report says which. `Err` only when nothing could be started.
    #[tracing::instrument(name = "run", skip_all, fields(pipeline = name))]
    pub async fn run(&mut self, name: &str, options: &RunOptions) -> Result<RunReport, EngineError> {
        let pipeline = self.pipeline(name)?;
        let flow = Flow::prepare(&self.workspace, (&pipeline, self.today()), &mut *self.store).await?;
        let last = self.store.runs(Some(name), 100).await?;
        let last = last
            .iter()
            .find(|run| run.kind == "run" && run.status == RunStatus::Succeeded.name() && run.read > 0)
            .map(|run| (run.read.unsigned_abs(), run.mapped.unsigned_abs()));
        let start =
            RunStart { pipeline: name.to_owned(), kind: "run", at: self.now(), definitions: self.workspace.digest() };
        let run = self.store.begin_run(start).await?;
        let mut pass = Pass { run, report: empty_report(&flow, run), last, started: Instant::now() };
        if let Some(why) = &options.accept {
            let at = self.now();
            self.store.audit(at, "run.accept", &format!("pipeline {name}, run {run}: {why}")).await?;
        }
        let outcome = self.take_files(&flow, &mut pass, options).await;
        self.close(pass, outcome).await
    }

    /// The pipeline of this name, or the problem that there is none.
    pub fn pipeline(&self, name: &str) -> Result<Pipeline, EngineError> {
        self.workspace.pipelines.get(name).cloned().ok_or_else(|| {
            let names = self.workspace.pipelines.keys().map(String::as_str);
            EngineError::Definitions(vec![
                crate::error::Problem::error("HL0501", format!("pipeline \"{name}\" is not defined"))
                    .detail(format!(
                        "there are {}",
                        self.workspace.pipelines.keys().cloned().collect::<Vec<_>>().join(", ")
                    ))
                    .did_you_mean(name, names),
            ])
        })
    }

    async fn take_files(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        options: &RunOptions,
    ) -> Result<RunStatus, EngineError> {
        let connector = &self.workspace.connectors[&flow.from.system];
        let mut source = crate::source::open(&self.workspace.dir, connector, &flow.dataset)?;
        let listing = source.list().await?;
        let mut status = RunStatus::Succeeded;
        for waiting in listing.still_writing {
            pass.report.files.push(FileReport { name: waiting, outcome: "writing", why: None, rows: 0 });
        }
        for item in listing.items {
            self.check_stop()?;
            let known = self.store.file(&flow.from.to_string(), &item.digest).await?;
            if known.as_ref().is_some_and(|file| file.status == FileStatus::Taken) {
                pass.report.files.push(FileReport {
                    name: item.name.clone(),
                    outcome: "unchanged",
                    why: None,
                    rows: 0,
                });
                source.settle(&item).await?;
                continue;
            }
            let before = pass.report.registers.first().map_or(0, |register| register.counts.read);
            let outcome = self.take_file(flow, pass, (&item, &*source), options).await;
            let rows = pass.report.registers.first().map_or(0, |register| register.counts.read) - before;
            let (outcome, why) = self.file_outcome(flow, &item, outcome, &mut status).await?;
            if outcome == "taken" {
                source.settle(&item).await?;
            }
            pass.report.files.push(FileReport { name: item.name.clone(), outcome, why: why.clone(), rows });
            if let Some(why) = why {
                pass.report.why.get_or_insert(format!("{}: {why}", item.name));
            }
            if status == RunStatus::Held {
                break; // later extracts build on this one
            }
        }
        Ok(status)
    }

    /// What became of one file, written down.
    async fn file_outcome(
        &mut self,
        flow: &Flow,
        item: &Item,
        outcome: Result<Option<Held>, EngineError>,
        status: &mut RunStatus,
    ) -> Result<(&'static str, Option<String>), EngineError> {
        let file = self.store.file(&flow.from.to_string(), &item.digest).await?;
        let (file_status, word, why) = match outcome {
            Ok(None) => (FileStatus::Taken, "taken", None),
            Ok(Some(Held(why))) => {
                *status = RunStatus::Held;
                (FileStatus::Held, "held", Some(why))
            }
            Err(EngineError::Decode(error)) if error.disposition() == crate::error::Disposition::Halt => {
                if *status == RunStatus::Succeeded {
                    *status = RunStatus::Failed;
                }
                (FileStatus::Failed, "failed", Some(error.to_string()))
            }
            Err(error) => return Err(error),
        };
        if let Some(file) = file {
            self.store.end_file(file.id, file_status, why.as_deref()).await?;
        }
        Ok((word, why))
    }

    async fn take_file(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        (item, source): (&Item, &dyn crate::source::Source),
        options: &RunOptions,
    ) -> Result<Option<Held>, EngineError> {
        let input = source.open(item).await?;
        let start = FileStart {
            dataset: flow.from.to_string(),
            name: item.name.clone(),
            digest: item.digest.clone(),
            bytes: item.bytes,
            at: self.now(),
        };
        let state = self.store.begin_file(start).await?;
        let wanted: Vec<Wanted> = flow
            .dataset
            .columns
            .iter()
            .map(|column| Wanted { name: column.name.clone(), path: column.path.clone() })
            .collect();
        self.progress.file(&flow.pipeline.name, &item.name, item.bytes);
        let (format, resume) = (flow.dataset.format.clone(), state.resume);
        let opened = tokio::task::spawn_blocking(move || {
            crate::decode::open(input, &format, &wanted, crate::decode::Limits::default(), resume)
        });
        let decoder = opened.await.map_err(|error| EngineError::Internal(error.to_string()))??;
        if options.accept.is_none()
            && let Some(held) = drifted(flow, decoder.header())
        {
            return Ok(Some(held));
        }
        let held = self.take_chunks(flow, pass, &state, (decoder, options)).await?;
        self.progress.done();
        if held.is_some() {
            return Ok(held);
        }
        self.finish_extract(flow, pass, &state, options).await
    }

    async fn take_chunks(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        state: &FileState,
        (decoder, options): (Box<dyn crate::decode::Decode>, &RunOptions),
    ) -> Result<Option<Held>, EngineError> {
        let mut seen = Vec::new();
        let mut passages = Vec::new();
        let mut fresh = true;
        for (i, lane) in flow.lanes.iter().enumerate() {
            seen.push(self.store.seen(lane.stream, state.id).await?);
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
            let (run, file) = (pass.run, state.id);
            passages.push(Passage { run, file, at: state.at, keeps_undecodable, heals, guard: None });
        }
        let mut intake = Intake::start(decoder, flow, fresh);
        let mut file_counts = vec![ChunkCounts::default(); flow.lanes.len()];
        while let Some(prepared) = intake.next().await {
            let mut prepared = prepared?;
            self.check_stop()?;
            let rows = prepared.decoded.rows.num_rows() as u64;
            let (mut parts, mut needed) = (Vec::new(), 0);
            let mut next_ids = self.store.next_ids().await?;
            let mut ahead = prepared.mapped.take().unwrap_or_default().into_iter();
            for (i, passage) in passages.iter().enumerate() {
                let at = (i, *passage, next_ids);
                let (part, todo) = take(&mut *self.store, flow, at, (&prepared, ahead.next()), &mut seen[i]).await?;
                next_ids = part.next_ids;
                if !part.counts.balanced() {
                    return Err(EngineError::Unbalanced { register: part.register });
                }
                needed += todo;
                parts.push(part);
            }
            intake.needed_mapping(needed, flow.lanes.len() * rows as usize);
            for (total, part) in file_counts.iter_mut().zip(&parts) {
                total.add(&part.counts);
            }
            let resume = prepared.decoded.resume;
            self.commit(pass, Some((state.id, resume)), parts).await?;
            self.progress.rows(rows, resume.byte);
            if let Some(rate) = flow.pipeline.limits.rate {
                let read = file_counts.first().map_or(0, |counts| counts.read);
                self.pace(rate, pass.started, read).await;
            }
            if options.accept.is_none()
                && let Some(held) = too_many_quarantined(flow, &file_counts, false)
            {
                return Ok(Some(held));
            }
        }
        if options.accept.is_none()
            && let Some(held) = too_many_quarantined(flow, &file_counts, true)
        {
            return Ok(Some(held));
        }
        Ok(None)
    }

    #[tracing::instrument(name = "commit", skip_all)]
    async fn commit(
        &mut self,
        pass: &mut Pass,
        place: Option<(i64, crate::decode::Resume)>,
        parts: Vec<RegisterPart>,
    ) -> Result<(), EngineError> {
        let counted: Vec<Counted> = parts.iter().map(Counted::of).collect();
        let change = ChangeSet {
            run: pass.run,
            file: place.map(|(file, _)| file),
            at: self.now(),
            resume: place.map(|(_, resume)| resume),
            parts,
        };
        self.store.commit(change).await?;
        for counted in counted {
            counted.add_to(&mut pass.report);
        }
        Ok(())
    }

    /// Checks over the whole file, then what a full extract no longer shows is retracted.
    async fn finish_extract(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        state: &FileState,
        options: &RunOptions,
    ) -> Result<Option<Held>, EngineError> {
        let full = flow.dataset.extract == Extract::Full;
        let mut vanished = Vec::new();
        for lane in flow.lanes.iter() {
            let claims = self.store.claim_count(lane.stream).await?;
            let shown = if full { self.store.seen(lane.stream, state.id).await?.len() } else { claims };
            vanished.push((claims.saturating_sub(shown), claims));
        }
        if options.accept.is_none() {
            let gone = vanished.iter().map(|(gone, _)| *gone).max().unwrap_or(0);
            if let Some(held) = self.broken_check(flow, pass, gone)? {
                return Ok(Some(held));
            }
            for ((gone, claims), lane) in vanished.iter().zip(flow.lanes.iter()) {
                let limit = flow.dataset.missing.hold_above.0;
                if full && *claims > 0 && *gone as f64 > limit * *claims as f64 {
                    return Ok(Some(Held(format!(
                        "HL0502 {gone} of {claims} rows known to {} vanished from a full extract, more than {:.1}%",
                        lane.register,
                        limit * 100.0
                    ))));
                }
            }
        }
        if full && flow.dataset.missing.retract {
            for ((gone, _), lane) in vanished.iter().zip(0..) {
                if *gone > 0 {
                    self.retract_vanished(flow, pass, (lane, state.id)).await?;
                }
            }
            self.store.quarantine_vanished(&flow.from.to_string(), state.id).await?;
        }
        Ok(None)
    }

    fn broken_check(&self, flow: &Flow, pass: &Pass, vanished: u64) -> Result<Option<Held>, EngineError> {
        let counts = pass.report.registers.first().map(|line| line.counts.clone()).unwrap_or_default();
        let facts = Facts {
            rows: counts.read,
            quarantined: counts.quarantined + counts.undecodable,
            mapped: counts.mapped,
            vanished,
            last: pass.last,
        };
        for check in &flow.pipeline.checks {
            if !crate::mapping::check_holds(check, &facts).map_err(EngineError::Definitions)? {
                return Ok(Some(Held(format!("HL0503 check \"{}\" is false: {}", check.name, check.predicate.value))));
            }
        }
        Ok(None)
    }

    async fn retract_vanished(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        (lane, file): (usize, i64),
    ) -> Result<(), EngineError> {
        let lane = &flow.lanes[lane];
        loop {
            let page = self.store.vanished(lane.stream, file, 0, RETRACT_ROWS).await?;
            if page.is_empty() {
                return Ok(());
            }
            let departures: Vec<Departure> =
                page.into_iter().map(|(claim, entity)| Departure { claim, entity }).collect();
            let part = retract(&mut *self.store, flow, lane, &departures).await?;
            self.commit(pass, None, vec![part]).await?;
        }
    }

    /// Waits so that no more rows a second are read than may be since `started`; told to stop, it waits no longer.
    pub(super) async fn pace(&mut self, rate: Rate, started: Instant, rows: u64) {
        let due = Duration::from_secs_f64(rows as f64 / f64::from(rate.0));
        while let Some(early) = due.checked_sub(started.elapsed()).filter(|early| !early.is_zero()) {
            if self.check_stop().is_err() {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "a rate is kept by waiting")]
            tokio::time::sleep(early.min(GLANCE)).await;
        }
    }

    async fn close(&mut self, pass: Pass, outcome: Result<RunStatus, EngineError>) -> Result<RunReport, EngineError> {
        let Pass { run, mut report, started, .. } = pass;
        let mut status = match &outcome {
            Ok(status) => *status,
            Err(EngineError::Unbalanced { .. }) => RunStatus::Unbalanced,
            Err(_) => RunStatus::Failed,
        };
        if let Err(error) = &outcome {
            report.why = Some(error.to_string());
        }
        for line in self.store.ledger(Some(run)).await? {
            let said = report.registers.iter_mut().find(|register| register.register == line.register);
            if let Some(register) = said {
                if outcome.is_err() {
                    register.counts = line.counts.clone(); // a commit that failed was counted before it failed
                }
                register.balanced = line.counts.balanced() && line.counts == register.counts;
                if !register.balanced {
                    status = RunStatus::Unbalanced;
                    report.why = Some(EngineError::Unbalanced { register: line.register }.to_string());
                }
                register.quarantined_by.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
                register.notes_by.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            }
        }
        let at = self.now();
        self.store.end_run(run, RunEnd { status, why: report.why.clone(), at }).await?;
        self.store.audit(at, "run", &format!("{} run {run}: {}", report.pipeline, status.name())).await?;
        report.status = status.name();
        report.seconds = started.elapsed().as_secs_f64();
        Ok(report)
    }
}

fn empty_report(flow: &Flow, run: i64) -> RunReport {
    let registers = flow.lanes.iter().map(|lane| RegisterReport {
        register: lane.register.clone(),
        counts: ChunkCounts::default(),
        balanced: true,
        quarantined_by: Vec::new(),
        notes_by: Vec::new(),
    });
    RunReport {
        pipeline: flow.pipeline.name.clone(),
        run,
        status: RunStatus::Succeeded.name(),
        why: None,
        files: Vec::new(),
        registers: registers.collect(),
        seconds: 0.0,
    }
}

/// Whether the file differs from the contract in a way that waits for a person.
fn drifted(flow: &Flow, header: &Header) -> Option<Held> {
    let columns = header.columns.as_ref()?;
    let contract: Vec<&str> = flow.dataset.columns.iter().map(|column| column.name.as_str()).collect();
    let lost: Vec<&str> = contract.iter().filter(|name| !columns.iter().any(|c| c == *name)).copied().collect();
    let new: Vec<&str> = columns.iter().map(String::as_str).filter(|name| !contract.contains(name)).collect();
    let waits = |policy: DriftPolicy| matches!(policy, DriftPolicy::Approve | DriftPolicy::Freeze);
    if !lost.is_empty() && waits(flow.dataset.drift.lost_column) {
        return Some(Held(format!("HL0510 contracted column(s) are not in the file: {}", lost.join(", "))));
    }
    if !new.is_empty() && waits(flow.dataset.drift.new_column) {
        return Some(Held(format!("HL0511 the file has column(s) that nobody contracted: {}", new.join(", "))));
    }
    None
}

/// The share of rows set aside so far; before the end of a file only once enough rows were read to judge.
fn too_many_quarantined(flow: &Flow, counts: &[ChunkCounts], at_end: bool) -> Option<Held> {
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

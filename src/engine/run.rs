//! One pass of one pipeline over the files its source has.

use std::time::Instant;

use super::chunks::{Care, Decoding};
use super::flow::Flow;
use super::take::{keep, retract};
use super::{Engine, EngineError, RegisterReport, RunReport, drift};
use crate::config::{DatasetRef, Extract, Pipeline};
use crate::failpoint::Boundary;
use crate::linking::Departure;
use crate::mapping::Facts;
use crate::source::{Before, Item, Source};
use crate::store::{
    ChunkCounts, FileCounts, FileStart, FileState, FileStatus, Note, QuarantineFilter, RunEnd, RunStart, RunStatus,
    StoreError,
};

/// How a run treats checks.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// A person has looked and accepts what the checks would hold; the reason goes into the audit log.
    pub accept: Option<String>,
}

/// Told of a file whose unread rows may be those that it seems not to have.
const MAY_BE_UNREAD: &str = "HL0519";

/// Claims retracted in one transaction.
const RETRACT_ROWS: i64 = 4096;

/// A run under way.
pub(super) struct Pass {
    pub(super) run: i64,
    pub(super) report: RunReport,
    last: Option<(u64, u64)>,
    /// What was counted of the files that this run took, also by runs before it.
    done: ChunkCounts,
    /// Why what a file did not show was not taken back.
    pub(super) kept: Option<String>,
    pub(super) started: Instant,
}

/// A file waits for a person.
pub(super) struct Held(pub(super) String);

impl Engine {
    /// Takes every file that the pipeline's source has and that was not taken before, oldest name first.
    ///
    /// Errors of one file do not stop the others; the report says which. `Err` only when nothing could be started.
    #[tracing::instrument(name = "run", skip_all, fields(pipeline = name))]
    pub async fn run(&mut self, name: &str, options: &RunOptions) -> Result<RunReport, EngineError> {
        let pipeline = self.pipeline(name)?;
        let flow = Flow::prepare(&self.workspace, (&pipeline, self.today()), &mut *self.store).await?;
        let last = self.last_counts(&pipeline).await?;
        let at = self.agreed_time().await?.timestamp_micros();
        let start = RunStart { pipeline: name.to_owned(), kind: "run", at, definitions: self.workspace.digest() };
        let run = self.store.begin_run(start).await?;
        self.note_pipeline(&flow).await?;
        self.note_versions(run, &flow).await?;
        let mut pass = Pass {
            run,
            report: empty_report(&flow, run),
            last,
            done: ChunkCounts::default(),
            kept: None,
            started: Instant::now(),
        };
        if let Some(why) = &options.accept {
            let at = self.now();
            self.store.audit(at, "run.accept", &format!("pipeline {name}, run {run}: {why}")).await?;
        }
        let outcome = self.take_files(&flow, &mut pass, options).await;
        self.close(pass, outcome).await
    }

    /// Rows read and mapped of what the last run took that succeeded and took any.
    pub(super) async fn last_counts(&mut self, pipeline: &Pipeline) -> Result<Option<(u64, u64)>, EngineError> {
        let Some(register) = pipeline.into.first() else { return Ok(None) };
        Ok(self.store.last_taken_rows(&pipeline.name, &register.value).await?)
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

    /// What was taken of a dataset last.
    pub(super) async fn pulled(&mut self, from: &DatasetRef) -> Result<Option<Before>, EngineError> {
        let pulled = self.store.pulled(&from.to_string()).await?;
        Ok(pulled.map(|last| Before {
            name: last.name,
            digest: last.digest,
            // What is held was read and waits for a person; the source may have been put right since.
            over: matches!(last.status, FileStatus::Taken | FileStatus::Held),
            held: last.status == FileStatus::Held,
            cursor: last.cursor,
        }))
    }

    async fn take_files(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        options: &RunOptions,
    ) -> Result<RunStatus, EngineError> {
        crate::pki::refresh(&self.workspace, self.clock.now()).await;
        let connector = &self.workspace.connectors[&flow.from.system];
        let mut source = crate::source::open(&self.workspace, connector, &flow.dataset)?;
        if options.accept.is_some() {
            source.accept();
        }
        let mut status = RunStatus::Succeeded;
        loop {
            let listing = source.list(self.pulled(&flow.from).await?.as_ref()).await?;
            let more = listing.more;
            pass.report.lag = pass.report.lag.or(source.lag());
            self.take_listed(flow, pass, (&mut *source, listing, options), &mut status).await?;
            if !more && status == RunStatus::Succeeded && options.accept.is_some() {
                // What was held and is no longer there need not be decided either.
                self.store.drop_held(&flow.from.to_string(), "accepted, and no longer there").await?;
            }
            if !more || status != RunStatus::Succeeded {
                return Ok(status);
            }
        }
    }

    pub(super) async fn take_file(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        (item, source, again): (&Item, &dyn Source, bool),
        options: &RunOptions,
    ) -> Result<Option<Held>, EngineError> {
        let start = FileStart {
            dataset: flow.from.to_string(),
            name: item.name.clone(),
            digest: item.digest.clone(),
            bytes: item.bytes,
            at: self.now(),
            again,
        };
        let state = self.store.begin_file(start.clone()).await?;
        self.progress.file(&flow.pipeline.name, &item.name, item.bytes);
        let decoder = source.open(item, state.position.as_ref()).await?;
        let (decoder, offer) = drift::look(&flow.dataset, decoder, state.position.is_some()).await?;
        if let Some(held) = self.drift(flow, offer, options.accept.is_some()).await? {
            return Ok(Some(held));
        }
        let whole = item.whole;
        let decoding = Decoding { decoder, whole };
        let mut taken = self.take_chunks(flow, pass, &state, (decoding, options, Care::Usual)).await;
        if matches!(&taken, Err(EngineError::Store(StoreError::Data { .. }))) {
            tracing::warn!(file = %item.name, "the store refused a value; the file goes on chunk by chunk to find its row");
            self.recount(pass).await?;
            let state = self.store.begin_file(FileStart { again: false, ..start }).await?;
            let decoder = source.open(item, state.position.as_ref()).await?;
            let decoding = Decoding { decoder, whole };
            taken = self.take_chunks(flow, pass, &state, (decoding, options, Care::RowByRow)).await;
        }
        let held = taken?;
        self.progress.done();
        if held.is_some() {
            return Ok(held);
        }
        self.finish_extract(flow, pass, (&state, whole), options).await
    }

    /// Checks over the whole file, then what a full extract no longer shows is retracted.
    async fn finish_extract(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        (state, whole): (&FileState, bool),
        options: &RunOptions,
    ) -> Result<Option<Held>, EngineError> {
        let full = whole || flow.dataset.extract == Extract::Full;
        let mut vanished = Vec::new();
        for lane in flow.lanes.iter() {
            let claims = self.store.claim_count(lane.stream).await?;
            let shown = if full { self.store.seen(lane.stream, state.id).await?.len() } else { claims };
            vanished.push((claims.saturating_sub(shown), claims));
        }
        let mut done = pass.done.clone();
        done.add(&self.whole_counts(flow, state.id).await?.into_iter().next().unwrap_or_default());
        if options.accept.is_none() {
            let gone = vanished.iter().map(|(gone, _)| *gone).max().unwrap_or(0);
            if let Some(held) = broken_check(flow, &done, (gone, pass.last))? {
                return Ok(Some(held));
            }
            for ((gone, claims), lane) in vanished.iter().zip(flow.lanes.iter()) {
                if let Some(held) = too_many_vanished(flow, &lane.register, (*gone, *claims)) {
                    return Ok(Some(held));
                }
            }
        }
        pass.done = done;
        if full && flow.dataset.missing.retract {
            if options.accept.is_none() && self.cannot_tell(flow, state.id, &vanished).await? {
                self.keep_vanished(flow, pass, &vanished).await?;
                return Ok(None);
            }
            for ((gone, _), lane) in vanished.iter().zip(0..) {
                if *gone > 0 {
                    self.retract_vanished(flow, pass, (lane, state.id)).await?;
                }
            }
            self.store.quarantine_vanished(&flow.from.to_string(), state.id).await?;
            Boundary::Retracted.reached();
        }
        Ok(None)
    }

    /// What was counted of a file, by lane, whichever runs read it and replayed what it had set aside.
    pub(super) async fn whole_counts(&mut self, flow: &Flow, file: i64) -> Result<Vec<ChunkCounts>, EngineError> {
        let counted = self.store.file_counts(file).await?;
        let of = |register: &str| counted.iter().find(|one| one.register == register).map(FileCounts::whole);
        Ok(flow.lanes.iter().map(|lane| of(&lane.register).unwrap_or_default()).collect())
    }

    /// Whether what a whole extract did not show may be among its rows that could not be read.
    async fn cannot_tell(&mut self, flow: &Flow, file: i64, vanished: &[(u64, u64)]) -> Result<bool, EngineError> {
        Ok(vanished.iter().any(|(gone, _)| *gone > 0) && self.has_unread(flow, file).await?)
    }

    /// Whether a file had rows that could not be read, and that nobody has set aside for good.
    pub(super) async fn has_unread(&mut self, flow: &Flow, file: i64) -> Result<bool, EngineError> {
        let unread = QuarantineFilter {
            dataset: Some(flow.from.to_string()),
            register: Some(String::new()),
            status: Some("open".into()),
            file: Some(file),
            limit: 1,
            ..QuarantineFilter::default()
        };
        Ok(!self.store.quarantine(&unread).await?.is_empty())
    }

    /// Takes nothing back, and says so in the ledger and the report.
    async fn keep_vanished(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        vanished: &[(u64, u64)],
    ) -> Result<(), EngineError> {
        for (lane, (gone, _)) in flow.lanes.iter().zip(vanished).filter(|(_, (gone, _))| *gone > 0) {
            let part = keep(&mut *self.store, flow, lane, *gone).await?;
            self.commit(pass, None, vec![part]).await?;
            let why = format!("{MAY_BE_UNREAD} {gone} rows known to {} are not in it", lane.register);
            pass.kept
                .get_or_insert(format!("{why}; rows of it that could not be read may be they: nothing was taken back"));
        }
        Ok(())
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
        let taken = report.files.iter().filter(|file| file.outcome == "taken").count();
        let told = format!("{} run {run}: {}, {taken} taken", report.pipeline, status.name());
        let note = Some(Note::new(at, "run", told));
        self.store.end_run(run, RunEnd { status, why: report.why.clone(), lag: report.lag, at, note }).await?;
        self.checkpoint_if_due().await;
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
        lag: None,
        seconds: 0.0,
    }
}

/// The first check of the pipeline that is false.
pub(super) fn broken_check(
    flow: &Flow,
    counts: &ChunkCounts,
    (vanished, last): (u64, Option<(u64, u64)>),
) -> Result<Option<Held>, EngineError> {
    let facts = Facts {
        rows: counts.read,
        quarantined: counts.quarantined + counts.undecodable,
        mapped: counts.mapped,
        vanished,
        last,
    };
    for check in &flow.pipeline.checks {
        if !crate::mapping::check_holds(check, &facts).map_err(EngineError::Definitions)? {
            return Ok(Some(Held(format!("HL0503 check \"{}\" is false: {}", check.name, check.predicate.value))));
        }
    }
    Ok(None)
}

/// Whether a whole extract lost more of a register's rows than may vanish without a person.
pub(super) fn too_many_vanished(flow: &Flow, register: &str, (gone, claims): (u64, u64)) -> Option<Held> {
    let limit = flow.dataset.missing.hold_above.0;
    (claims > 0 && gone as f64 > limit * claims as f64).then(|| {
        Held(format!(
            "HL0502 {gone} of {claims} rows known to {register} vanished from a full extract, more than {:.1}%",
            limit * 100.0
        ))
    })
}

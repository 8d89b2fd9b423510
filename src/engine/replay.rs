//! Set-aside rows through the present mapping once more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use roaring::RoaringTreemap;
use serde::Serialize;

use super::flow::Flow;
use super::intake::Prepared;
use super::rows::identify;
use super::take::{Passage, take};
use super::{Engine, EngineError};
use crate::config::{Dataset, Pipeline};
use crate::decode::{Decoded, Position, RowPlace};
use crate::mapping::Reason;
use crate::store::{ChangeSet, Note, QuarantineFilter, QuarantineView, Quarantined, RunEnd, RunStart, RunStatus};

/// Entries read at a time.
const PAGE: i64 = 2000;

/// Cells that a department put right, by contract column, for each entry they belong to.
pub type Corrections = Vec<(i64, BTreeMap<String, String>)>;

/// What a replay did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReplayReport {
    /// Entries tried.
    pub tried: u64,
    /// Entries that now pass: claimed, or left out by the mapping's `where`.
    pub passed: u64,
    /// Entries that are still refused, with fresh reasons.
    pub refused: u64,
    /// Entries that were never decoded: the file has to come again.
    pub undecodable: u64,
    /// Entries whose dataset or register no pipeline feeds any more.
    pub orphaned: u64,
    /// Corrected entries that are still refused, and why; empty for a replay without corrections.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<StillRefused>,
}

/// A corrected entry that the mapping refuses all the same. Nothing of the correction was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StillRefused {
    /// Entry.
    pub id: i64,
    /// What is wrong with the corrected cells.
    pub reasons: Vec<Reason>,
}

/// Entries of one file that one mapping refused.
struct Group {
    pipeline: Pipeline,
    register: String,
    file: i64,
    entries: Vec<QuarantineView>,
    /// Corrected cells by entry; `None` for a replay of what was delivered.
    corrected: Option<HashMap<i64, BTreeMap<String, String>>>,
}

impl Engine {
    /// Runs the present mappings over open entries that match; what passes leaves the quarantine.
    pub async fn replay(&mut self, filter: QuarantineFilter) -> Result<ReplayReport, EngineError> {
        let filter = QuarantineFilter { with_content: true, status: Some("open".into()), ..filter };
        let mut report = ReplayReport::default();
        let mut after = 0;
        loop {
            let page = QuarantineFilter { after, limit: PAGE, ..filter.clone() };
            let entries = self.store.quarantine(&page).await?;
            let Some(last) = entries.last() else { return Ok(report) };
            after = last.id;
            for group in self.groups(entries, &mut report) {
                self.replay_group(group, &mut report).await?;
            }
        }
    }

    /// Runs the present mappings over open entries with some of their cells replaced.
    ///
    /// What passes is claimed under the source's own key of the delivered row and leaves the quarantine as `corrected`;
    /// the entry keeps raw bytes and cells as they were delivered. The claim remembers the delivered row, so the same
    /// row in a later extract is known and does not undo the correction; a row that the source changes is judged anew.
    /// What is still refused stays as it was, and the report says why.
    pub async fn replay_corrected(&mut self, corrections: Corrections) -> Result<ReplayReport, EngineError> {
        let mut report = ReplayReport::default();
        for page in corrections.chunks(PAGE as usize) {
            let filter = QuarantineFilter {
                ids: page.iter().map(|(id, _)| *id).collect(),
                status: Some("open".into()),
                with_content: true,
                limit: PAGE,
                ..QuarantineFilter::default()
            };
            let entries = self.store.quarantine(&filter).await?;
            for mut group in self.groups(entries, &mut report) {
                let own: BTreeSet<i64> = group.entries.iter().map(|entry| entry.id).collect();
                group.corrected = Some(page.iter().filter(|(id, _)| own.contains(id)).cloned().collect());
                self.replay_group(group, &mut report).await?;
            }
        }
        Ok(report)
    }

    /// Entries by pipeline, register and file; what cannot be replayed is only counted.
    fn groups(&self, entries: Vec<QuarantineView>, report: &mut ReplayReport) -> Vec<Group> {
        report.tried += entries.len() as u64;
        let mut by_file: BTreeMap<(String, String, i64), Vec<QuarantineView>> = BTreeMap::new();
        for entry in entries {
            match (&entry.register, &entry.cells) {
                (Some(register), Some(_)) => {
                    by_file.entry((entry.dataset.clone(), register.clone(), entry.file_id)).or_default().push(entry);
                }
                _ => report.undecodable += 1,
            }
        }
        let mut groups = Vec::new();
        for ((dataset, register, file), entries) in by_file {
            match self.feeding(&dataset, &register) {
                Some(pipeline) => groups.push(Group { pipeline, register, file, entries, corrected: None }),
                None => report.orphaned += entries.len() as u64,
            }
        }
        groups
    }

    fn feeding(&self, dataset: &str, register: &str) -> Option<Pipeline> {
        let feeds =
            |p: &&Pipeline| p.from.value.to_string() == dataset && p.into.iter().any(|into| into.value == register);
        self.workspace.pipelines.values().find(feeds).cloned()
    }

    async fn replay_group(&mut self, group: Group, report: &mut ReplayReport) -> Result<(), EngineError> {
        let flow = Flow::prepare(&self.workspace, (&group.pipeline, self.today()), &mut *self.store).await?;
        let Some(lane) = flow.lanes.iter().position(|lane| lane.register == group.register) else { return Ok(()) };
        let prepared = prepared(&flow, &group)?;
        let at = self.now();
        let start = RunStart {
            pipeline: group.pipeline.name.clone(),
            kind: "replay",
            at,
            definitions: self.workspace.digest(),
        };
        let run = self.store.begin_run(start).await?;
        self.note_versions(run, &flow).await?;
        let passage =
            Passage { run, file: group.file, at, keeps_undecodable: false, heals: false, guard: None, whole: false };
        let next_ids = self.store.next_ids().await?;
        let (mut part, _) =
            take(&mut *self.store, &flow, (lane, passage, next_ids), (&prepared, None), &mut RoaringTreemap::new())
                .await?;
        if !part.counts.balanced() {
            return Err(EngineError::Unbalanced { register: part.register });
        }
        let refused: HashMap<u64, &Quarantined> = part.quarantined.iter().map(|bad| (bad.place.row, bad)).collect();
        let (kept, left): (Vec<&QuarantineView>, Vec<&QuarantineView>) =
            group.entries.iter().partition(|entry| refused.contains_key(&entry.row.unsigned_abs()));
        let passed: Vec<i64> = left.iter().map(|entry| entry.id).collect();
        report.refused += kept.len() as u64;
        report.passed += passed.len() as u64;
        let word = if group.corrected.is_some() { "corrected" } else { "replayed" };
        if group.corrected.is_some() {
            let still = |entry: &&QuarantineView| {
                let reasons = refused.get(&entry.row.unsigned_abs()).map(|bad| bad.reasons.clone());
                StillRefused { id: entry.id, reasons: reasons.unwrap_or_default() }
            };
            report.refusals.extend(kept.iter().map(still));
            part.quarantined.clear();
        }
        let detail = format!("{} run {run}: {} passed, {} refused", group.pipeline.name, passed.len(), kept.len());
        let file = (group.file > 0).then_some(group.file);
        self.store.commit(ChangeSet { run, file, at, position: None, parts: vec![part] }).await?;
        let action = if word == "corrected" { "quarantine.correct" } else { "quarantine.replay" };
        let note = Some(Note::new(at, action, detail));
        self.store.set_quarantine(&passed, word, &format!("run {run}"), note).await?;
        let end = RunEnd { status: RunStatus::Succeeded, why: None, lag: None, at: self.now(), note: None };
        Ok(self.store.end_run(run, end).await?)
    }
}

/// The group as a chunk. Keys and digests are those of the delivered rows, whatever was corrected in them.
fn prepared(flow: &Flow, group: &Group) -> Result<Prepared, EngineError> {
    let delivered = cells(&group.entries)?;
    let mut decoded = rebuilt(&flow.dataset, &group.entries, &delivered)?;
    let named = identify(&decoded.rows, &flow.key);
    if let Some(corrected) = &group.corrected {
        let mut present = delivered;
        for (entry, cells) in group.entries.iter().zip(&mut present) {
            for (column, text) in corrected.get(&entry.id).into_iter().flatten() {
                cells.insert(column.clone(), text.clone().into());
            }
        }
        decoded = rebuilt(&flow.dataset, &group.entries, &present)?;
    }
    Ok(Prepared { decoded, named, mapped: None })
}

type Cells = serde_json::Map<String, serde_json::Value>;

/// The stored cells of every entry.
fn cells(entries: &[QuarantineView]) -> Result<Vec<Cells>, EngineError> {
    let read = |entry: &QuarantineView| serde_json::from_str(entry.cells.as_deref().unwrap_or("{}"));
    let all: Result<Vec<Cells>, serde_json::Error> = entries.iter().map(read).collect();
    all.map_err(|error| EngineError::Internal(format!("stored cells do not read: line {}", error.line())))
}

/// Cells as a chunk, in contract order.
fn rebuilt(dataset: &Dataset, entries: &[QuarantineView], cells: &[Cells]) -> Result<Decoded, EngineError> {
    let columns: Vec<ArrayRef> = dataset
        .columns
        .iter()
        .map(|column| {
            let values: Vec<Option<&str>> =
                cells.iter().map(|row| row.get(&column.name).and_then(serde_json::Value::as_str)).collect();
            Arc::new(StringArray::from(values)) as ArrayRef
        })
        .collect();
    let fields: Vec<Field> = dataset.columns.iter().map(|c| Field::new(&c.name, DataType::Utf8, true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(entries.len()));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| EngineError::Internal(format!("stored cells do not fit the contract: {error}")))?;
    let places = entries.iter().map(|entry| RowPlace {
        row: entry.row.unsigned_abs(),
        line: entry.line.unsigned_abs(),
        byte: entry.byte.unsigned_abs(),
    });
    let mut raw = Vec::new();
    let mut raw_ends = Vec::with_capacity(entries.len());
    for entry in entries {
        raw.extend_from_slice(&entry.raw);
        raw_ends.push(raw.len());
    }
    Ok(Decoded {
        rows,
        places: places.collect(),
        raw,
        raw_ends,
        notes: Vec::new(),
        undecodable: Vec::new(),
        dropped: 0,
        members: None,
        gone: Vec::new(),
        position: Position::default(),
    })
}

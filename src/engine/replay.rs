//! Set-aside rows through the present mapping once more.

use std::collections::BTreeMap;
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
use crate::decode::{Decoded, Resume, RowPlace};
use crate::store::{ChangeSet, QuarantineFilter, QuarantineView, RunEnd, RunStart, RunStatus};

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
}

impl Engine {
    /// Runs the present mappings over open entries that match; what passes leaves the quarantine.
    pub async fn replay(&mut self, filter: QuarantineFilter) -> Result<ReplayReport, EngineError> {
        let filter = QuarantineFilter { with_content: true, status: Some("open".into()), ..filter };
        let mut report = ReplayReport::default();
        let mut after = 0;
        loop {
            let page = QuarantineFilter { after, limit: 2000, ..filter.clone() };
            let entries = self.store.quarantine(&page).await?;
            let Some(last) = entries.last() else { return Ok(report) };
            after = last.id;
            report.tried += entries.len() as u64;
            let mut groups: BTreeMap<(String, String, i64), Vec<QuarantineView>> = BTreeMap::new();
            for entry in entries {
                match (&entry.register, &entry.cells) {
                    (Some(register), Some(_)) => {
                        groups.entry((entry.dataset.clone(), register.clone(), entry.file_id)).or_default().push(entry);
                    }
                    _ => report.undecodable += 1,
                }
            }
            for ((dataset, register, file), entries) in groups {
                match self.feeding(&dataset, &register) {
                    Some(pipeline) => self.replay_group(&pipeline, (&register, file), &entries, &mut report).await?,
                    None => report.orphaned += entries.len() as u64,
                }
            }
        }
    }

    fn feeding(&self, dataset: &str, register: &str) -> Option<Pipeline> {
        let feeds = |p: &&Pipeline| {
            p.from.value.to_string() == dataset && p.into.iter().any(|into| into.value == register)
        };
        self.workspace.pipelines.values().find(feeds).cloned()
    }

    async fn replay_group(
        &mut self,
        pipeline: &Pipeline,
        (register, file): (&str, i64),
        entries: &[QuarantineView],
        report: &mut ReplayReport,
    ) -> Result<(), EngineError> {
        let flow = Flow::prepare(&self.workspace, (pipeline, self.today()), &mut *self.store).await?;
        let Some(lane) = flow.lanes.iter().position(|lane| lane.register == register) else { return Ok(()) };
        let decoded = rebuilt(&flow.dataset, entries)?;
        let named = identify(&decoded.rows, &flow.key);
        let prepared = Prepared { decoded, named, mapped: None };
        let at = self.now();
        let start = RunStart {
            pipeline: pipeline.name.clone(),
            kind: "replay",
            at,
            definitions: self.workspace.digest(),
        };
        let run = self.store.begin_run(start).await?;
        let passage = Passage { run, file, at, keeps_undecodable: false, heals: false };
        let (part, _) =
            take(&mut *self.store, &flow, (lane, passage), &prepared, &mut RoaringTreemap::new()).await?;
        if !part.counts.balanced() {
            return Err(EngineError::Unbalanced { register: part.register });
        }
        let refused: Vec<u64> = part.quarantined.iter().map(|bad| bad.place.row).collect();
        let passed: Vec<i64> =
            entries.iter().filter(|e| !refused.contains(&e.row.unsigned_abs())).map(|e| e.id).collect();
        report.refused += refused.len() as u64;
        report.passed += passed.len() as u64;
        self.store.commit(ChangeSet { run, file: None, at, resume: None, parts: vec![part] }).await?;
        self.store.set_quarantine(&passed, "replayed", &format!("run {run}")).await?;
        self.store.end_run(run, RunEnd { status: RunStatus::Succeeded, why: None, at: self.now() }).await?;
        let detail = format!("{}: {} passed, {} refused", pipeline.name, passed.len(), refused.len());
        self.store.audit(at, "quarantine.replay", &detail).await?;
        Ok(())
    }
}

/// The stored cells as a chunk, in contract order.
fn rebuilt(dataset: &Dataset, entries: &[QuarantineView]) -> Result<Decoded, EngineError> {
    let internal = |error: String| EngineError::Internal(format!("stored cells do not read: {error}"));
    let mut cells: Vec<serde_json::Map<String, serde_json::Value>> = Vec::with_capacity(entries.len());
    for entry in entries {
        let text = entry.cells.as_deref().unwrap_or("{}");
        cells.push(serde_json::from_str(text).map_err(|error| internal(error.to_string()))?);
    }
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
        .map_err(|error| internal(error.to_string()))?;
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
        resume: Resume::default(),
    })
}

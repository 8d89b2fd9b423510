//! Pipelines that would work otherwise: what their contracts promise now, and which claims an older mapping made.

use serde::Serialize;

use super::Change;
use super::past::{Past, of_pipeline, owner_of_pipeline, texts};
use crate::config::{Column, Dataset, Extract, Pipeline, Workspace};
use crate::engine::{Engine, EngineError};

/// One pipeline that would work otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineChange {
    /// Pipeline.
    pub pipeline: String,
    /// What becomes of it.
    pub change: Change,
    /// Files that differ from those last worked with.
    pub because: Vec<String>,
    /// What its department would promise otherwise.
    pub contract: Vec<ContractChange>,
    /// Claims that another version of a mapping made.
    pub remapping: Vec<Remapping>,
    /// Registers that it did not fill when it ran before.
    pub begins: Vec<String>,
    /// Whether the next extract, being full, fills those; otherwise it takes a backfill (补数).
    pub by_next_extract: bool,
}

/// A column of the contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContractChange {
    /// Column.
    pub column: String,
    /// `added`, `removed`, `required`, `type`.
    pub change: &'static str,
    /// Whether files that were good before may be held now.
    pub breaking: bool,
}

/// One register that a dataset goes into through another mapping than before.
#[derive(Debug, Clone, Serialize)]
pub struct Remapping {
    /// `system.dataset`.
    pub dataset: String,
    /// Register.
    pub register: String,
    /// Version in the files.
    pub mapping: String,
    /// Claims in all that an older version made.
    pub claims: u64,
    /// The same by the run that wrote them.
    pub by_run: Vec<Remapped>,
    /// Whether the next extract, being full, maps every row again; otherwise it takes a backfill (补数).
    pub by_next_extract: bool,
}

/// Claims that one run wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remapped {
    /// Run.
    pub run: i64,
    /// Version that made them; `None` when it is not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// How many.
    pub claims: u64,
    /// Earliest business time, microseconds.
    pub from: i64,
    /// Latest business time, microseconds.
    pub to: i64,
}

impl Engine {
    pub(super) async fn pipeline_changes(&mut self, past: &Past) -> Result<Vec<PipelineChange>, EngineError> {
        let mut changes = Vec::new();
        for pipeline in self.workspace.pipelines.clone().values() {
            let owner = owner_of_pipeline(&pipeline.name);
            let now = of_pipeline(&self.workspace, pipeline);
            let because = past.changed(&owner, &now);
            let contract = match past.files(&owner) {
                Some(files) => contract(&self.workspace.with_texts(&texts(files)), &self.workspace, pipeline),
                None => Vec::new(),
            };
            let remapping = self.remapping(pipeline).await?;
            if because.is_empty() && remapping.is_empty() {
                continue;
            }
            let begins = self.begins(pipeline).await?;
            let by_next_extract = dataset(&self.workspace, pipeline).is_some_and(|d| d.extract == Extract::Full);
            let change = if past.files(&owner).is_some() { Change::Changed } else { Change::New };
            let pipeline = pipeline.name.clone();
            changes.push(PipelineChange { pipeline, change, because, contract, remapping, begins, by_next_extract });
        }
        let gone = past.names("pipeline/").filter(|name| !self.workspace.pipelines.contains_key(name));
        changes.extend(gone.map(|pipeline| PipelineChange {
            pipeline,
            change: Change::Removed,
            because: Vec::new(),
            contract: Vec::new(),
            remapping: Vec::new(),
            begins: Vec::new(),
            by_next_extract: false,
        }));
        Ok(changes)
    }

    /// Registers into which the dataset of a pipeline that ran never went: what came before is not in them.
    async fn begins(&mut self, pipeline: &Pipeline) -> Result<Vec<String>, EngineError> {
        let from = &pipeline.from.value;
        let streams = self.store.streams().await?;
        let own = |(system, dataset, _): &&(String, String, String)| (system, dataset) == (&from.system, &from.dataset);
        let filled: Vec<&String> = streams.values().filter(own).map(|(_, _, into)| into).collect();
        let into = pipeline.into.iter().map(|register| &register.value);
        Ok(into.filter(|register| !filled.is_empty() && !filled.contains(register)).cloned().collect())
    }

    /// For each register of a pipeline, the claims that another version of the mapping made.
    async fn remapping(&mut self, pipeline: &Pipeline) -> Result<Vec<Remapping>, EngineError> {
        let from = &pipeline.from.value;
        let streams = self.store.streams().await?;
        let mut all = Vec::new();
        for register in pipeline.into.iter().map(|register| &register.value) {
            let Some(mapping) = self.workspace.mapping_digest(&from.system, &from.dataset, register) else { continue };
            let known = streams.iter().find(|(_, (system, dataset, into))| {
                (system, dataset, into) == (&from.system, &from.dataset, register)
            });
            let Some((&stream, _)) = known else { continue };
            let made = self.store.claims_made(stream).await?;
            let older = made.into_iter().filter(|made| made.mapping.as_ref() != Some(&mapping));
            let by_run: Vec<Remapped> = older
                .map(|m| Remapped { run: m.run, mapping: m.mapping, claims: m.claims, from: m.from, to: m.to })
                .collect();
            if by_run.is_empty() {
                continue;
            }
            all.push(Remapping {
                dataset: from.to_string(),
                register: register.clone(),
                mapping,
                claims: by_run.iter().map(|made| made.claims).sum(),
                by_run,
                by_next_extract: dataset(&self.workspace, pipeline).is_some_and(|d| d.extract == Extract::Full),
            });
        }
        Ok(all)
    }
}

fn dataset<'a>(workspace: &'a Workspace, pipeline: &Pipeline) -> Option<&'a Dataset> {
    workspace.connectors.get(&pipeline.from.value.system)?.datasets.get(&pipeline.from.value.dataset)
}

/// Columns of the contract that are promised otherwise.
fn contract(before: &Workspace, now: &Workspace, pipeline: &Pipeline) -> Vec<ContractChange> {
    let (Some(before), Some(now)) = (dataset(before, pipeline), dataset(now, pipeline)) else { return Vec::new() };
    let column = |dataset: &Dataset, name: &str| -> Option<Column> {
        dataset.columns.iter().find(|column| column.name == name).cloned()
    };
    let change = |name: &str, change, breaking| ContractChange { column: name.to_owned(), change, breaking };
    let kept = now.columns.iter().filter_map(|new| match column(before, &new.name) {
        None => Some(change(&new.name, "added", new.required)),
        Some(old) if old.kind != new.kind => Some(change(&new.name, "type", true)),
        Some(old) if new.required && !old.required => Some(change(&new.name, "required", true)),
        Some(_) => None,
    });
    let gone = before.columns.iter().filter(|old| column(now, &old.name).is_none());
    kept.chain(gone.map(|old| change(&old.name, "removed", true))).collect()
}

//! What an edit would do (变更预览): the definitions in the files held against those last worked with.
//!
//! Decides: what is affected, what would have to be mapped again, what is newly exposed or withdrawn, what breaks. Must
//! not know: how that is shown. Guarantees: nothing is written; the engine must have been made for questions
//! ([`Engine::for_questions`]).

mod feeds;
mod past;
mod pipelines;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::feeds::ScopeChange;
pub use self::past::Past;
pub use self::pipelines::{ContractChange, PipelineChange, Remapped, Remapping};
use super::{Engine, EngineError};
use crate::config::Register;
use crate::error::Problem;
use crate::record::FieldType;
use crate::store::Surveyed;

/// What became of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was never worked with.
    New,
    /// It is another than the one last worked with.
    Changed,
    /// Its file is gone.
    Removed,
}

/// Everything that an edit would do.
#[derive(Debug, Clone, Serialize)]
pub struct Impact {
    /// Whether nothing ever ran, so that everything is new.
    pub never_run: bool,
    /// Pipelines that would work otherwise.
    pub pipelines: Vec<PipelineChange>,
    /// Registers whose tables would change.
    pub registers: Vec<RegisterChange>,
    /// Feeds that would release otherwise.
    pub feeds: Vec<ScopeChange>,
}

/// One register whose table would change.
#[derive(Debug, Clone, Serialize)]
pub struct RegisterChange {
    /// Register.
    pub register: String,
    /// What becomes of it.
    pub change: Change,
    /// Fields that would be added.
    pub added: Vec<String>,
    /// Why the store would refuse it (HL0402), with the SQL that a person would have to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Problem>,
}

impl Impact {
    /// Whether nothing would be otherwise.
    pub fn is_nothing(&self) -> bool {
        self.pipelines.is_empty() && self.registers.is_empty() && self.feeds.is_empty()
    }

    /// Whether something needs a person: newly exposed, or breaking.
    pub fn needs_a_person(&self) -> bool {
        self.registers.iter().any(|register| register.refused.is_some())
            || self.pipelines.iter().any(|pipeline| pipeline.contract.iter().any(|change| change.breaking))
            || self.feeds.iter().any(ScopeChange::needs_a_person)
    }
}

impl Engine {
    /// What the definitions would do that did not happen yet.
    pub async fn impact(&mut self, past: &Past) -> Result<Impact, EngineError> {
        let (registers, stored) = self.register_changes().await?;
        let pipelines = self.pipeline_changes(past).await?;
        let feeds = self.scope_changes(past, &stored).await?;
        Ok(Impact { never_run: past.is_empty(), pipelines, registers, feeds })
    }

    /// What the definitions would expose and withdraw, and no more.
    pub async fn scope_impact(&mut self, past: &Past) -> Result<Vec<ScopeChange>, EngineError> {
        let (_, stored) = self.register_changes().await?;
        self.scope_changes(past, &stored).await
    }

    async fn register_changes(&mut self) -> Result<(Vec<RegisterChange>, BTreeMap<String, Surveyed>), EngineError> {
        let registers: Vec<&Register> = self.workspace.registers.values().collect();
        let surveyed = self.store.survey(&registers).await?;
        let changes = registers.iter().zip(&surveyed).filter_map(|(register, stored)| {
            let known = |name: &str| stored.fields.iter().any(|(field, _): &(String, FieldType)| field == name);
            let added = register.fields.iter().map(|field| field.name.clone()).filter(|name| !known(name)).collect();
            let change = if stored.fields.is_empty() { Change::New } else { Change::Changed };
            let change =
                RegisterChange { register: register.name.clone(), change, added, refused: stored.refused.clone() };
            (!change.added.is_empty() || change.refused.is_some()).then_some(change)
        });
        let changes = changes.collect();
        let names = registers.iter().map(|register| register.name.clone());
        Ok((changes, names.zip(surveyed).collect()))
    }
}

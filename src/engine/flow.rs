//! A pipeline made ready to run: its dataset, and one lane per register.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::NaiveDate;

use super::events::{self, Operation};
use crate::config::{Dataset, DatasetRef, Pipeline, Workspace};
use crate::decode::Decoded;
use crate::engine::EngineError;
use crate::engine::intake::Prepared;
use crate::engine::rows::identify;
use crate::error::Problem;
use crate::linking::{Layout, Row, StreamId, Survivorship};
use crate::mapping::{CompiledMapping, MappingSource};
use crate::record::Value;
use crate::store::Store;

/// One pipeline, compiled and known to the store.
pub(super) struct Flow {
    /// Definition.
    pub(super) pipeline: Pipeline,
    /// `system.dataset`.
    pub(super) from: DatasetRef,
    /// Contract.
    pub(super) dataset: Dataset,
    /// Indexes of the key columns in the contract.
    pub(super) key: Vec<usize>,
    /// Index of the business time column in the contract.
    pub(super) updated: Option<usize>,
    /// Whether rows are events (变更记录): the latest of a key stands.
    pub(super) events: bool,
    /// Whether rows come in the very order in which they happened: their business times decide nothing among them.
    pub(super) ordered: bool,
    /// How a row says that its key is gone.
    operation: Option<Operation>,
    /// One per register, in the pipeline's order.
    pub(super) lanes: Arc<Vec<Lane>>,
}

/// The way of a dataset's rows into one register.
pub(super) struct Lane {
    /// Register.
    pub(super) register: String,
    /// Compiled SQL.
    pub(super) mapping: CompiledMapping,
    /// Digest of SQL, register and code tables: the mapping's version.
    pub(super) version: String,
    /// Register field index of each mapped column.
    pub(super) fields: Vec<usize>,
    /// Names of the register's fields.
    pub(super) field_names: Vec<String>,
    /// Register fields in all.
    pub(super) width: usize,
    /// Register field index of each key, strongest first.
    pub(super) key_fields: Vec<usize>,
    /// Stored stream.
    pub(super) stream: StreamId,
    /// Stored layout of its claims.
    pub(super) layout: Layout,
    /// Who wins.
    pub(super) survivorship: Survivorship,
}

/// Whether what a flow rests on is noted in the store, or only supposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Footing {
    Noted,
    Supposed,
}

/// The id of a stream or layout that is only supposed.
const SUPPOSED: i64 = -1;

impl Flow {
    /// Compiles and registers everything that a run of this pipeline needs.
    pub(super) async fn prepare(
        workspace: &Workspace,
        of: (&Pipeline, NaiveDate),
        store: &mut dyn Store,
    ) -> Result<Self, EngineError> {
        Self::make(workspace, of, store, Footing::Noted).await
    }

    /// As [`Self::prepare`], for a rehearsal: the store is asked and not told. What such a flow takes must not be
    /// committed.
    pub(super) async fn suppose(
        workspace: &Workspace,
        of: (&Pipeline, NaiveDate),
        store: &mut dyn Store,
    ) -> Result<Self, EngineError> {
        Self::make(workspace, of, store, Footing::Supposed).await
    }

    async fn make(
        workspace: &Workspace,
        (pipeline, today): (&Pipeline, NaiveDate),
        store: &mut dyn Store,
        footing: Footing,
    ) -> Result<Self, EngineError> {
        let from = pipeline.from.value.clone();
        let dataset = workspace
            .connectors
            .get(&from.system)
            .and_then(|connector| connector.datasets.get(&from.dataset))
            .ok_or_else(|| missing("dataset", &from.to_string()))?
            .clone();
        let column = |name: &str| dataset.columns.iter().position(|column| column.name == name);
        let key = dataset.key.iter().filter_map(|name| column(&name.value)).collect();
        let (events, operation) = (events::are(&dataset), Operation::of(&dataset));
        let ordered = events::are_ordered(&dataset);
        let updated = dataset.updated.as_ref().and_then(|name| column(&name.value));
        if footing == Footing::Noted {
            note_streams(workspace, pipeline, store).await?;
        }
        let mut lanes = Vec::new();
        for register in &pipeline.into {
            lanes.push(Lane::make(workspace, &from, (&register.value, today), (store, footing)).await?);
        }
        let lanes = Arc::new(lanes);
        Ok(Self { pipeline: pipeline.clone(), from, dataset, key, updated, events, ordered, operation, lanes })
    }
}

impl Flow {
    /// Whether business times decide which of several rows of a key stands.
    pub(super) const fn timed(&self) -> bool {
        self.updated.is_some() && !self.ordered
    }

    /// How rows are read.
    pub(super) fn reading(&self) -> Reading {
        Reading { key: self.key.clone(), operation: self.operation.clone() }
    }
}

/// What rows say of themselves before they are mapped: whose they are, and whether they are gone.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    key: Vec<usize>,
    operation: Option<Operation>,
}

impl Reading {
    /// A decoded chunk, to be taken.
    pub(super) fn of(&self, decoded: Decoded) -> Result<Prepared, EngineError> {
        let decoded = match &self.operation {
            Some(operation) => operation.mark(decoded)?,
            None => decoded,
        };
        let named = identify(&decoded.rows, &self.key);
        Ok(Prepared { decoded, named, mapped: None })
    }
}

impl Lane {
    /// The identity keys of a row, strongest first.
    pub(super) fn keys_of(&self, values: &Row) -> Vec<Option<Arc<str>>> {
        let text = |field: &usize| match &values[*field] {
            Some(Value::Text(text)) => Some(Arc::from(text.as_str())),
            _ => None,
        };
        self.key_fields.iter().map(text).collect()
    }

    /// The name of a register field.
    pub(super) fn field_name(&self, field: usize) -> &str {
        self.field_names.get(field).map_or("", String::as_str)
    }

    async fn make(
        workspace: &Workspace,
        from: &DatasetRef,
        (register_name, today): (&str, NaiveDate),
        (store, footing): (&mut dyn Store, Footing),
    ) -> Result<Self, EngineError> {
        let register = workspace.registers.get(register_name).ok_or_else(|| missing("register", register_name))?;
        let source = MappingSource::find(workspace, from, register_name, today)
            .ok_or_else(|| missing("mapping", &format!("{from}.{register_name}")))?;
        let mapping = CompiledMapping::compile(&source).map_err(EngineError::Definitions)?;
        let version = workspace
            .mapping_digest(&from.system, &from.dataset, register_name)
            .ok_or_else(|| missing("mapping", &format!("{from}.{register_name}")))?;
        let index = |name: &str| register.fields.iter().position(|field| field.name == name);
        let names: Vec<String> = mapping.fields().map(|(name, _)| name.to_owned()).collect();
        let fields: Vec<usize> = names.iter().filter_map(|name| index(name)).collect();
        let key_fields = register.keys.iter().filter_map(|key| index(&key.value)).collect();
        let mut own: HashMap<StreamId, (String, String)> = HashMap::new();
        for (id, (system, dataset, into)) in store.streams().await? {
            if into == register_name {
                own.insert(id, (system, dataset));
            }
        }
        let this = (from.system.clone(), from.dataset.clone());
        let known = own.iter().find(|(_, stream)| **stream == this).map(|(id, _)| *id);
        let stream = known.unwrap_or(SUPPOSED);
        own.insert(stream, this);
        let layout = match footing {
            Footing::Noted => store.layout(register_name, &names).await?,
            Footing::Supposed => Layout { id: SUPPOSED, fields: fields.clone() },
        };
        Ok(Self {
            register: register_name.to_owned(),
            mapping,
            version,
            fields,
            field_names: register.fields.iter().map(|field| field.name.clone()).collect(),
            width: register.fields.len(),
            key_fields,
            stream,
            layout,
            survivorship: Survivorship::new(register, own),
        })
    }
}

/// Notes all streams that these definitions bring into the pipeline's registers: one of them may begin while this
/// pipeline runs, and who wins over whom is settled before.
async fn note_streams(workspace: &Workspace, pipeline: &Pipeline, store: &mut dyn Store) -> Result<(), EngineError> {
    let shared = |into: &str| pipeline.into.iter().any(|register| register.value == into);
    for other in workspace.pipelines.values() {
        let from = &other.from.value;
        for register in other.into.iter().filter(|register| shared(&register.value)) {
            store.stream(&from.system, &from.dataset, &register.value).await?;
        }
    }
    Ok(())
}

fn missing(kind: &str, name: &str) -> EngineError {
    EngineError::Definitions(vec![
        Problem::error("HL0501", format!("{kind} \"{name}\" is not defined")).hint("run `huiliu check`"),
    ])
}

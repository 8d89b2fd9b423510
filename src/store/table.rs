//! What every store knows of a register's table, and the texts that they all write alike.

use std::collections::{BTreeSet, HashMap};

use super::{Result, StoreError, Surveyed};
use crate::config::Register;
use crate::error::Problem;
use crate::linking::ClaimId;
use crate::record::FieldType;

/// One register's physical table.
#[derive(Debug, Clone)]
pub(super) struct RegisterTable {
    /// Fields in register file order: name, type.
    pub(super) fields: Vec<(String, FieldType)>,
    /// Names of the key fields, strongest first.
    pub(super) keys: Vec<String>,
    /// Stored id of each key field; [`UNKNOWN`] when there is none.
    pub(super) key_ids: Vec<i64>,
    /// Fields that the file has and the store has not; only after a survey.
    pub(super) absent: BTreeSet<String>,
}

/// The id of a field that is not stored.
const UNKNOWN: i64 = -1;

impl RegisterTable {
    /// As stored, seen through the register's file; when the file is refused, as stored. `existing` is what is stored,
    /// oldest first: name, kind, id.
    pub(super) fn surveyed(
        register: &Register,
        existing: &[(String, String, i64)],
        declared: fn(FieldType) -> &'static str,
    ) -> (Self, Surveyed) {
        let kinds: HashMap<String, String> =
            existing.iter().map(|(name, kind, _)| (name.clone(), kind.clone())).collect();
        let stored: Vec<(String, FieldType)> =
            existing.iter().filter_map(|(name, kind, _)| Some((name.clone(), FieldType::from_name(kind)?))).collect();
        let refused = match refuse_losses(register, &kinds, declared) {
            Err(StoreError::Refused(problem)) => Some(*problem),
            _ => None,
        };
        let id = |name: &str| existing.iter().find(|(known, ..)| known == name).map_or(UNKNOWN, |(.., id)| *id);
        let asked = || register.fields.iter().map(|field| (field.name.clone(), field.kind)).collect();
        let table = Self {
            fields: if refused.is_some() { stored.clone() } else { asked() },
            keys: register.keys.iter().map(|key| key.value.clone()).collect(),
            key_ids: register.keys.iter().map(|key| id(&key.value)).collect(),
            absent: register
                .fields
                .iter()
                .map(|field| &field.name)
                .filter(|name| !kinds.contains_key(*name))
                .cloned()
                .collect(),
        };
        (table, Surveyed { fields: stored, refused })
    }

    /// The stored id of a key, by the field's name.
    pub(super) fn key_id(&self, key: &str) -> Option<i64> {
        let place = self.keys.iter().position(|name| name == key)?;
        self.key_ids.get(place).copied().filter(|id| *id != UNKNOWN)
    }

    /// The column of a field, or null for one that is not stored.
    pub(super) fn column_or_null(&self, name: &str, column: String) -> String {
        if self.absent.contains(name) { "null".to_owned() } else { column }
    }
}

/// `"name"`, quoted for SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Dropped fields and changed types would lose data: say the SQL, do nothing.
pub(super) fn refuse_losses(
    register: &Register,
    existing: &HashMap<String, String>,
    declared: fn(FieldType) -> &'static str,
) -> Result<()> {
    let table = quoted(&register.name);
    let mut losses: Vec<String> = Vec::new();
    let mut names: Vec<&String> = existing.keys().collect();
    names.sort();
    for name in names {
        match register.field(name) {
            None => losses.push(format!("alter table {table} drop column {};", quoted(name))),
            Some(field) if existing[name] != field.kind.name() => losses.push(format!(
                "-- {name}: {} becomes {}\nalter table {table} drop column {col}; alter table {table} add column {col} {kind};",
                existing[name],
                field.kind,
                col = quoted(name),
                kind = declared(field.kind),
            )),
            Some(_) => {}
        }
    }
    if losses.is_empty() {
        return Ok(());
    }
    Err(StoreError::Refused(Box::new(
        Problem::error("HL0402", format!("register \"{}\" would lose data", register.name))
            .detail(format!("its file asks for:\n    {}", losses.join("\n    ")))
            .hint("put the field back, or add a new field beside it"),
    )))
}

/// The one claim that says everything, if there is one.
pub(super) fn only_source(sources: &[Option<ClaimId>]) -> Option<ClaimId> {
    let mut claims = sources.iter().flatten();
    let first = claims.next()?;
    claims.all(|claim| claim == first).then_some(*first)
}

/// Winning claims as text: `12` when one claim says everything, else `name:12 address:13`.
pub(super) fn sources_text(fields: &[(String, FieldType)], sources: &[Option<ClaimId>]) -> String {
    if let Some(only) = only_source(sources) {
        return only.to_string();
    }
    fields
        .iter()
        .zip(sources)
        .filter_map(|((name, _), claim)| claim.map(|claim| format!("{name}:{claim}")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Reads what `sources_text` wrote: a function from field to winning claim.
pub(super) fn winners(sources: &str) -> impl Fn(&str) -> Option<ClaimId> {
    let only: Option<ClaimId> = sources.parse().ok();
    let by_field: HashMap<String, ClaimId> = sources
        .split(' ')
        .filter_map(|entry| entry.split_once(':'))
        .filter_map(|(field, claim)| Some((field.to_owned(), claim.parse().ok()?)))
        .collect();
    move |field| only.or_else(|| by_field.get(field).copied())
}

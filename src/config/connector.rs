//! `connectors/<system>.yaml`: how to reach one system, and the contract of each of its datasets.

use std::collections::BTreeMap;

use super::{At, Format, Percent};
use crate::record::FieldType;

/// One department's system.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Name from the file name: `market-regulation`.
    pub system: String,
    /// 部门.
    pub department: String,
    /// Whom to call.
    pub contact: Option<String>,
    /// How to reach it.
    pub source: SourceKind,
    /// Its datasets by name.
    pub datasets: BTreeMap<String, Dataset>,
}

/// How a system is reached. More kinds join here (database, http, amqp, cdc).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory of files, `file:` URL or a path relative to the workspace.
    Files {
        /// Root directory or URL.
        root: At<String>,
    },
}

/// One table, file family or endpoint, with what the department promised about it.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Name within its system.
    pub name: String,
    /// Where it is defined.
    pub place: crate::error::Place,
    /// Chinese title, if any.
    pub title: Option<String>,
    /// File name pattern below the root: `QYDJ_*.csv`.
    pub path: String,
    /// How bytes become rows.
    pub format: Format,
    /// Source columns that name a row; empty means the whole row does.
    pub key: Vec<At<String>>,
    /// Source column with the business time of a row (更新时间), which orders claims of one source.
    pub updated: Option<At<String>>,
    /// What a file means for rows it does not contain.
    pub extract: Extract,
    /// What happens when a full extract lost rows.
    pub missing: Missing,
    /// The contract, in file order.
    pub columns: Vec<Column>,
    /// When a file differs from the contract.
    pub drift: Drift,
}

/// One contracted column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Source name, exactly.
    pub name: String,
    /// Where it is written.
    pub place: crate::error::Place,
    /// Type after decoding; anything but text converts fallibly, row by row.
    pub kind: FieldType,
    /// A blank cell breaks the contract.
    pub required: bool,
    /// Path of this field inside a record (XML, JSON); defaults to the name.
    pub path: Option<String>,
}

/// What a file says about rows that it does not contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extract {
    /// Everything there is: what is not in it is gone.
    Full,
    /// More rows: nothing is said about others.
    Append,
}

/// When a full extract has lost rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Missing {
    /// Whether vanished rows retract their claims.
    pub retract: bool,
    /// More than this share vanished: hold the run for a person.
    pub hold_above: Percent,
}

/// What to do when a file differs from the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// A column nobody contracted.
    pub new_column: DriftPolicy,
    /// A contracted column that is not there.
    pub lost_column: DriftPolicy,
}

/// One answer to drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftPolicy {
    /// Take it and note it (a new column is not mapped; a lost one is null).
    Accept,
    /// Hold the file until a person edits the contract.
    Approve,
    /// Hold the file.
    Freeze,
    /// Take it without a note.
    Ignore,
}

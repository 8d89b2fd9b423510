//! A whole workspace: every definition file, loaded together and checked against each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Connector, Feed, Installation, Pipeline, Register};

/// All definitions of one directory.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Directory.
    pub dir: PathBuf,
    /// This installation.
    pub installation: Installation,
    /// By system.
    pub connectors: BTreeMap<String, Connector>,
    /// By name.
    pub registers: BTreeMap<String, Register>,
    /// By name.
    pub pipelines: BTreeMap<String, Pipeline>,
    /// By name.
    pub feeds: BTreeMap<String, Feed>,
    /// By `(system, dataset, register)`.
    pub mappings: BTreeMap<(String, String, String), MappingFile>,
    /// By table name.
    pub codes: BTreeMap<String, CodeTable>,
}

/// `system.dataset`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetRef {
    /// System.
    pub system: String,
    /// Dataset.
    pub dataset: String,
}

impl std::fmt::Display for DatasetRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.system, self.dataset)
    }
}

/// `mappings/<system>/<dataset>.<register>.sql`, as text; the mapping module compiles it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingFile {
    /// Path relative to the workspace.
    pub file: String,
    /// The SQL.
    pub sql: String,
    /// `….cases.yaml` beside it, if there: path and text.
    pub cases: Option<(String, String)>,
}

/// `mappings/codes/<table>.csv`: columns `code,name[,aliases][,note]`, aliases separated by `|`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeTable {
    /// Path relative to the workspace.
    pub file: String,
    /// Code → name, in file order of codes sorted.
    pub codes: BTreeMap<String, String>,
    /// Name or alias → code.
    pub names: BTreeMap<String, String>,
}

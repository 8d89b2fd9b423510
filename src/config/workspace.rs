//! A whole workspace: every definition file, loaded together and checked against each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::secret::{self, Surroundings};
use super::{Case, Connector, Feed, Installation, Pipeline, PublishedYear, Register, check, load};
use crate::clock::Clock;
use crate::error::{Problem, Severity};

/// The installation's own file.
const INSTALLATION: &str = "huiliu.yaml";

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
    /// Years whose working days were published.
    pub calendar: Vec<PublishedYear>,
    /// Every definition file, by path relative to the workspace, and the SHA-256 of its bytes in hexadecimal.
    pub files: BTreeMap<String, String>,
    /// The same files' texts, byte for byte, as far as they are UTF-8.
    pub texts: BTreeMap<String, String>,
    /// References to secrets and addresses that lead nowhere: whoever needs what they stand for cannot go on.
    pub unset: Vec<Problem>,
}

impl Workspace {
    /// A reference of this definition file that leads nowhere, as the error that it is for whoever uses the file.
    pub fn unset_in(&self, file: &str) -> Option<Problem> {
        let of_file = |problem: &&Problem| problem.place.as_ref().is_some_and(|place| place.file == file);
        let unset = self.unset.iter().find(of_file)?;
        Some(Problem { severity: Severity::Error, ..unset.clone() })
    }

    /// What may be worked with although these problems are there: not with secrets of the installation itself missing,
    /// which are warnings as long as nobody opens what they are for.
    pub fn needs(problems: Vec<Problem>) -> Vec<Problem> {
        let own = |problem: &Problem| problem.place.as_ref().is_some_and(|place| place.file == INSTALLATION);
        let needed = |problem: Problem| match secret::is_unset(&problem) && own(&problem) {
            true => Problem { severity: Severity::Error, ..problem },
            false => problem,
        };
        problems.into_iter().map(needed).collect()
    }

    /// Definitions out of texts by path, such as a store keeps of what was run: read as far as they can be, not held
    /// against each other. The directory and the installation are those of `self`.
    #[must_use]
    pub fn with_texts(&self, texts: &BTreeMap<String, String>) -> Self {
        let env = |name: &str| std::env::var(name).ok();
        let loaded = load::load_from(&Surroundings { dir: &self.dir, env: &env }, Some(texts));
        Self { installation: self.installation.clone(), ..loaded.workspace }
    }

    /// Loads a workspace whose definitions are right by themselves and against each other, but for their SQL.
    /// Warnings are left out; the errors are all there are, in all files.
    pub fn load(dir: &Path) -> Result<Self, Vec<Problem>> {
        let (workspace, problems) = load_and_check(dir, &Clock::System);
        let errors: Vec<Problem> = Self::needs(problems).into_iter().filter(Problem::is_error).collect();
        if errors.is_empty() { Ok(workspace) } else { Err(errors) }
    }

    /// Loads what can be read, with the problems of each file by itself. What is malformed reads as its default, so
    /// that the SQL of a mapping can be checked beside it; a workspace with errors must not be run.
    pub fn load_partial(dir: &Path) -> (Self, Vec<Problem>) {
        let env = |name: &str| std::env::var(name).ok();
        let loaded = load::load(&Surroundings { dir, env: &env });
        (loaded.workspace, loaded.problems)
    }
}

/// Loads what can be read, with every problem of every file by itself and of the files against each other, sorted by
/// place. The clock tells which grants have expired. SQL is not compiled here.
pub fn load_and_check(dir: &Path, clock: &Clock) -> (Workspace, Vec<Problem>) {
    let env = |name: &str| std::env::var(name).ok();
    let loaded = load::load(&Surroundings { dir, env: &env });
    let today = clock.today(loaded.workspace.installation.zone);
    let found = check::check(&loaded, today);
    let mut problems: Vec<Problem> = loaded.problems.into_iter().chain(found).collect();
    problems.sort_by(|a, b| a.place.cmp(&b.place).then(a.code.cmp(b.code)));
    (loaded.workspace, problems)
}

/// Reads the examples of a mapping from [`MappingFile::cases`], with the problems of the file by itself.
pub fn read_cases(file: &str, text: &str) -> (Vec<Case>, Vec<Problem>) {
    let mut problems = Vec::new();
    let nowhere = Surroundings { dir: Path::new(""), env: &|_| None };
    let cases = load::read_cases(file, text, &nowhere, &mut problems);
    (cases, problems)
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

/// `mappings/codes/<table>.csv`: columns `code,name` and optionally `aliases` (separated by `|`), `since`, `until`,
/// `successor`, `parent`, `note`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeTable {
    /// Path relative to the workspace.
    pub file: String,
    /// Code → name, in file order of codes sorted.
    pub codes: BTreeMap<String, String>,
    /// Name or alias → code.
    pub names: BTreeMap<String, String>,
    /// Codes that are no longer given out, and what took their place.
    pub historic: BTreeMap<String, Option<String>>,
}

//! The other side of a comparison: definitions in another directory, or in a git revision of this one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::cli::{Context, Problems};
use crate::config::{Workspace, load_and_check};
use crate::error::Problem;

/// Where definitions lie.
const DIRS: [&str; 3] = ["connectors", "mappings", "pipelines"];

/// The definitions that `against` names.
pub(super) fn definitions_at(against: &str, here: &Workspace, context: &Context) -> anyhow::Result<Workspace> {
    let dir = Path::new(against);
    if !dir.is_dir() {
        return Ok(here.with_texts(&texts_at(against, &context.dir)?));
    }
    let (workspace, problems) = load_and_check(dir, &context.clock);
    let errors: Vec<Problem> = problems.into_iter().filter(Problem::is_error).collect();
    if errors.is_empty() { Ok(workspace) } else { Err(Problems(errors).into()) }
}

/// The definition files of a revision, by path relative to the workspace.
fn texts_at(revision: &str, dir: &Path) -> Result<BTreeMap<String, String>, Problem> {
    let commit = format!("{revision}^{{commit}}");
    let commit = git(dir, &["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]);
    let commit = commit.map_err(|_| {
        Problem::error("HL0931", format!("\"{revision}\" is neither a directory nor a git revision of this workspace"))
            .hint("name a directory with connectors/, mappings/ and pipelines/, or a branch, tag or commit")
    })?;
    let commit = commit.trim();
    let listed = git(dir, &[&["ls-tree", "-r", "-z", "--name-only", commit, "--"][..], &DIRS].concat())?;
    let mut texts = BTreeMap::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        // `./` makes git read the path from here, not from the top of the repository.
        texts.insert(path.to_owned(), git(dir, &["show", &format!("{commit}:./{path}")])?);
    }
    Ok(texts)
}

fn git(dir: &Path, args: &[&str]) -> Result<String, Problem> {
    let failed = |why: String| Problem::error("HL0931", "git cannot read the revision").detail(why);
    let output =
        Command::new("git").arg("-C").arg(dir).args(args).output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    String::from_utf8(output.stdout).map_err(|_| failed("a file of the revision is not UTF-8".to_owned()))
}

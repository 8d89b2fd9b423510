//! The SQL of all feeds, compiled for `huiliu check`.

use chrono::NaiveDate;

use super::Release;
use crate::config::Workspace;
use crate::error::Problem;

/// Every problem of row filters and SQL masks. What a grant may name and mask is checked where definitions are loaded.
pub fn check_workspace(workspace: &Workspace, today: NaiveDate) -> Vec<Problem> {
    let mut problems = Vec::new();
    for feed in workspace.feeds.values() {
        let Some(register) = workspace.registers.get(&feed.register.value) else { continue };
        let found = Release::compile(feed, register, &workspace.codes, today).err().into_iter().flatten();
        // An unknown field (HL0651) is found when definitions are loaded, too.
        problems.extend(found.filter(|problem| problem.code != "HL0651"));
    }
    problems
}

//! `huiliu.yaml`: stores that this version does not have.

use super::super::yaml::Mark;
use super::Ground;
use crate::error::Problem;

/// Checks the installation.
pub(super) fn check(ground: &Ground<'_>) -> Option<Problem> {
    let scheme = ground.workspace.installation.store.split(':').next().unwrap_or_default();
    if scheme == "sqlite" || !ground.trusts("huiliu.yaml") {
        return None;
    }
    let problem = match scheme {
        "postgres" | "postgresql" => {
            Problem::error("HL0110", "a PostgreSQL store is not supported by this version yet")
        }
        _ => Problem::error("HL0109", "the store of this installation is of no known kind"),
    };
    Some(problem.at(Mark::START.place("huiliu.yaml")).hint("write store: sqlite:PATH, or leave it out"))
}

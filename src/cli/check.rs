//! `huiliu check`: every definition file, offline, all problems at once.

use super::workspace::checked;
use super::{Context, Exit};
use crate::config;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Checks the workspace. Warnings are shown and do not fail.
pub fn run(_args: Args, context: &Context) -> anyhow::Result<Exit> {
    let (workspace, problems) = checked(context);
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    context.report(&problems)?;
    if !context.json {
        context.note(&summary(&workspace, errors, problems.len() - errors))?;
    }
    Ok(if errors == 0 { Exit::Done } else { Exit::Failed })
}

/// One line: what was looked at and how many problems there are.
fn summary(workspace: &config::Workspace, errors: usize, warnings: usize) -> String {
    let datasets: usize = workspace.connectors.values().map(|connector| connector.datasets.len()).sum();
    let looked_at = [
        counted(workspace.connectors.len(), "system"),
        counted(datasets, "dataset"),
        counted(workspace.registers.len(), "register"),
        counted(workspace.mappings.len(), "mapping"),
        counted(workspace.pipelines.len(), "pipeline"),
        counted(workspace.feeds.len(), "feed"),
        counted(workspace.codes.len(), "code table"),
    ]
    .join(", ");
    let found = match (errors, warnings) {
        (0, 0) => "no problems".to_owned(),
        (0, warnings) => counted(warnings, "warning"),
        (errors, 0) => counted(errors, "error"),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    };
    format!("{looked_at}: {found}")
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

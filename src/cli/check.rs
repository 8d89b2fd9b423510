//! `huiliu check`: every definition file, offline, all problems at once.

use super::workspace::checked;
use super::{Context, Exit};
use crate::config::{self, DeliveryEncryption};
use crate::crypto::{Certificate, Recipient};
use crate::error::Problem;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Checks the workspace. Warnings are shown and do not fail.
pub fn run(_args: Args, context: &Context) -> anyhow::Result<Exit> {
    let (workspace, mut problems) = checked(context);
    problems.extend(certificates(&workspace));
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    context.report(&problems)?;
    if !context.json {
        context.note(&summary(&workspace, errors, problems.len() - errors))?;
        context.note(at_rest(workspace.installation.at_rest.is_some()))?;
    }
    Ok(if errors == 0 { Exit::Done } else { Exit::Failed })
}

/// Certificates that feeds encrypt to (加密证书): they are there, and one can encrypt to them.
fn certificates(workspace: &config::Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    for feed in workspace.feeds.values() {
        let DeliveryEncryption::To(file) = &feed.delivery.encryption else { continue };
        let read = Certificate::load_all(&workspace.dir.join(&file.value));
        if let Err(error) = read.and_then(|mut chain| Recipient::new(chain.remove(0))) {
            let problem = Problem::from(&error).detail(format!("encrypt_to: {}", file.value));
            problems.push(problem.at(file.place.clone()).hint("put the subscriber's certificate there, as PEM"));
        }
    }
    problems
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

/// Whether sensitive values are stored encrypted (落盘加密), in one line.
pub(super) const fn at_rest(on: bool) -> &'static str {
    if on {
        "落盘加密 at rest: on, fields of level 3 and 4 are stored encrypted"
    } else {
        "落盘加密 at rest: off, every field is stored in plain (at_rest: in huiliu.yaml)"
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn the_last_line_says_what_was_looked_at_and_what_was_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let (workspace, problems) = config::load_and_check(dir.path(), &Clock::System);
        assert_eq!(problems.len(), 1);
        let line = |errors, warnings| summary(&workspace, errors, warnings).split(": ").last().map(str::to_owned);
        assert_eq!(line(0, 0).as_deref(), Some("no problems"));
        assert_eq!(line(1, 2).as_deref(), Some("1 error, 2 warnings"));
        assert_eq!(line(0, 1).as_deref(), Some("1 warning"));
        assert!(summary(&workspace, 0, 0).starts_with("0 systems, 0 datasets, 0 registers"));
    }

    #[test]
    fn a_directory_without_definitions_fails() {
        let dir = tempfile::tempdir().expect("a directory");
        let context = Context { dir: dir.path().to_owned(), json: false, clock: Clock::System };
        assert_eq!(run(Args {}, &context).expect("reported"), Exit::Failed);
    }
}

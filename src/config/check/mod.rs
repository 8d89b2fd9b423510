//! Definitions against each other: names that lead nowhere, settings that contradict, grants that give too much.
//!
//! Pure. Must not know: SQL (the mapping module compiles it), files. Guarantees: everything is reported once, at the
//! place where a person would correct it; what stands in a file that is itself broken is not held against others.

mod bonds;
mod calendar;
mod cases;
mod connector;
mod feed;
mod files;
mod installation;
mod mapping;
mod offer;
mod pipeline;
mod register;

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::load::Loaded;
use super::names::confusable;
use super::yaml::Mark;
use super::{At, Workspace};
use crate::error::Problem;

/// Every problem between the definitions; `today` is the civil date of the installation.
pub(super) fn check(loaded: &Loaded, today: NaiveDate) -> Vec<Problem> {
    let ground = Ground { workspace: &loaded.workspace, broken: &loaded.broken, today };
    let mut problems = file_names(&loaded.workspace);
    problems.extend(installation::check(&ground));
    problems.extend(loaded.workspace.connectors.values().flat_map(|connector| connector::check(connector, &ground)));
    problems.extend(loaded.workspace.registers.values().flat_map(|register| register::check(register, &ground)));
    problems.extend(loaded.workspace.pipelines.values().flat_map(|pipeline| pipeline::check(pipeline, &ground)));
    problems.extend(calendar::check(&loaded.workspace));
    problems.extend(mapping::check(&ground));
    problems.extend(cases::check(&loaded.cases, &ground));
    problems.extend(loaded.workspace.feeds.values().flat_map(|feed| feed::check(feed, &ground)));
    problems
}

/// What a definition is checked against.
struct Ground<'a> {
    workspace: &'a Workspace,
    broken: &'a BTreeSet<String>,
    today: NaiveDate,
}

impl Ground<'_> {
    /// Whether the file has no error of its own.
    fn trusts(&self, file: &str) -> bool {
        !self.broken.contains(file)
    }

    /// Whether what was written here is a reference that leads nowhere.
    fn is_unset(&self, written: &At<String>) -> bool {
        self.workspace.unset.iter().any(|unset| unset.place.as_ref() == Some(&written.place))
    }

    fn trusts_register(&self, register: &str) -> bool {
        self.trusts(&format!("mappings/registers/{register}.yaml"))
    }

    fn trusts_connector(&self, system: &str) -> bool {
        self.trusts(&format!("connectors/{system}.yaml"))
    }
}

/// `kind "name" leads nowhere`, with the names there are.
fn dangling<'a>(code: &'static str, what: String, given: &At<String>, valid: impl Iterator<Item = &'a str>) -> Problem {
    let valid: Vec<&str> = valid.collect();
    let detail = match valid.len() {
        0 => "there are none".to_owned(),
        1..=30 => format!("there are {}", valid.join(", ")),
        many => format!("there are {many} others"),
    };
    Problem::error(code, what).at(given.place.clone()).detail(detail).did_you_mean(&given.value, valid)
}

/// File names that differ only in case or width: one of them is lost on some file systems.
fn file_names(workspace: &Workspace) -> Vec<Problem> {
    let named = |dir: &'static str, names: Vec<&'_ String>, ext: &'static str| {
        names
            .into_iter()
            .map(move |name| (name.clone(), Mark::START.place(&format!("{dir}/{name}{ext}"))))
            .collect::<Vec<_>>()
    };
    [
        ("system", named("connectors", workspace.connectors.keys().collect(), ".yaml")),
        ("register", named("mappings/registers", workspace.registers.keys().collect(), ".yaml")),
        ("code table", named("mappings/codes", workspace.codes.keys().collect(), ".csv")),
        ("pipeline", named("pipelines", workspace.pipelines.keys().collect(), ".yaml")),
        ("feed", named("pipelines/feeds", workspace.feeds.keys().collect(), ".yaml")),
    ]
    .iter()
    .flat_map(|(kind, named)| {
        confusable(kind, named.iter().map(|(name, place)| (name.as_str(), place.clone())), Problem::error)
    })
    .collect()
}

/// A problem for each value that is listed twice.
fn repeated(what: &str, listed: &[At<String>]) -> Vec<Problem> {
    let named = listed.iter().map(|name| (name.value.as_str(), name.place.clone()));
    confusable(what, named, Problem::error)
}

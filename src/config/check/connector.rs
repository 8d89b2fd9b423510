//! A connector by itself: columns that its datasets name, roots it cannot reach, settings without effect.

use super::super::names::confusable;
use super::super::{At, Connector, Dataset, Extract, Format, SourceKind};
use super::{dangling, repeated};
use crate::error::Problem;

/// Checks one connector.
pub(super) fn check(connector: &Connector) -> Vec<Problem> {
    let SourceKind::Files { root } = &connector.source;
    let mut problems = reachable(root);
    let named = connector.datasets.values().map(|dataset| (dataset.name.as_str(), dataset.place.clone()));
    problems.extend(confusable("dataset", named, Problem::error));
    problems.extend(connector.datasets.values().flat_map(|dataset| of_dataset(&connector.system, dataset)));
    problems
}

/// Schemes of a root, and whether this version has them. A path without a scheme is local.
fn reachable(root: &At<String>) -> Vec<Problem> {
    let Some((scheme, _)) = root.value.split_once("://") else { return Vec::new() };
    let problem = match scheme {
        "file" => return Vec::new(),
        "sftp" | "ftp" | "s3" | "webdav" | "http" | "https" => {
            Problem::error("HL0110", format!("{scheme}: roots are not supported by this version yet"))
        }
        _ => Problem::error("HL0109", "the root of this source has an unknown scheme"),
    };
    vec![problem.at(root.place.clone()).hint("write a local directory, and let another program bring the files there")]
}

fn of_dataset(system: &str, dataset: &Dataset) -> Vec<Problem> {
    let mut problems = repeated("key column", &dataset.key);
    let columns = || dataset.columns.iter().map(|column| column.name.as_str());
    let named = dataset.columns.iter().map(|column| (column.name.as_str(), column.place.clone()));
    problems.extend(confusable("column", named, Problem::warning));
    let name = format!("{system}.{}", dataset.name);
    for column in dataset.key.iter().chain(&dataset.updated) {
        if !columns().any(|name| name == column.value) {
            let what = format!("column \"{}\" is not in the contract of \"{name}\"", column.value);
            problems.push(dangling("HL0137", what, column, columns()));
        }
    }
    if dataset.columns.is_empty() {
        let problem = Problem::error("HL0138", format!("the contract of \"{name}\" has no columns"));
        problems.push(problem.at(dataset.place.clone()));
    }
    if dataset.extract == Extract::Full && dataset.key.is_empty() && dataset.missing.retract {
        let message = format!("rows of \"{name}\" have no key, so a corrected row reads as one gone and one new");
        let problem = Problem::warning("HL0122", message).at(dataset.place.clone());
        problems.push(problem.hint("name the columns that identify a row: key: […]"));
    }
    let with_path = dataset.columns.iter().filter(|column| column.path.is_some());
    for column in with_path.filter(|_| matches!(dataset.format, Format::Csv { .. } | Format::Excel { .. })) {
        let message = format!("path of column \"{}\" has no effect: rows of this format have no inside", column.name);
        problems.push(Problem::warning("HL0122", message).at(column.place.clone()));
    }
    problems
}

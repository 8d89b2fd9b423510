//! A connector by itself: columns that its datasets name, roots it cannot reach, settings without effect.

use super::super::names::confusable;
use super::super::{At, Connector, Dataset, Extract, SourceKind};
use super::{Ground, dangling, repeated};
use crate::error::Problem;

/// Checks one connector.
pub(super) fn check(connector: &Connector, ground: &Ground<'_>) -> Vec<Problem> {
    let SourceKind::Files { root } = &connector.source;
    let mut problems = reachable(root);
    let named = connector.datasets.values().map(|dataset| (dataset.name.as_str(), dataset.place.clone()));
    problems.extend(confusable("dataset", named, Problem::error));
    if ground.trusts_connector(&connector.system) {
        problems.extend(connector.datasets.values().flat_map(|dataset| of_dataset(&connector.system, dataset)));
    }
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
    for column in with_path.filter(|_| !dataset.format.has_paths()) {
        let message = format!("path of column \"{}\" has no effect: rows of this format have no inside", column.name);
        problems.push(Problem::warning("HL0122", message).at(column.place.clone()));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::check;

    const FILE: &str = "connectors/";

    #[test]
    fn columns_that_a_dataset_names_are_in_its_contract() {
        let problems = check(FILE, "key: [统一社会信用代码]", "key: [统一社会信用码]", &["HL0137 13:11"]);
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean 统一社会信用代码?"));
        check(FILE, "    extract: full", "    updated: 更新时间\n    extract: full", &["HL0137 14:14"]);
        check(FILE, "key: [统一社会信用代码]", "key: [统一社会信用代码, 统一社会信用代码]", &["HL0115 13:21"]);
    }

    #[test]
    fn settings_without_effect_are_warned_about() {
        check(FILE, "企业名称: text", "企业名称: { type: text, path: a/b }", &["HL0122 18:7 warning"]);
        check(FILE, "    key: [统一社会信用代码]", "    # no key", &["HL0122 10:3 warning"]);
    }

    #[test]
    fn columns_that_differ_only_in_width_are_warned_about() {
        check(FILE, "企业名称: text", "ID: text\n      ＩＤ: text", &["HL0115 19:7 warning"]);
    }

    #[test]
    fn an_empty_contract_is_an_error() {
        let columns =
            "{ type: text, required: true }\n      企业名称: text\n      注册资本: text\n      成立日期: text\n";
        let from = format!(
            "columns:                           # the contract: what the department promised\n      统一社会信用代码: {columns}"
        );
        check(
            FILE,
            &from,
            "columns: {}\n",
            &["HL0138 10:3", "HL0137 13:11", "HL0141 3:9", "HL0141 3:39", "HL0141 3:55"],
        );
    }

    #[test]
    fn roots_with_unknown_schemes_are_refused() {
        check(FILE, "root: out", "root: gopher://x", &["HL0109 7:9"]);
        check(FILE, "root: out", "root: file:///srv/out", &[]);
    }
}

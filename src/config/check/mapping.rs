//! Mapping files: what their names say must exist, and somebody should run them.

use super::super::At;
use super::super::yaml::Mark;
use super::{Ground, dangling};
use crate::error::Problem;

/// Checks the names of all mapping files.
pub(super) fn check(ground: &Ground<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((system, dataset, register), mapping) in &ground.workspace.mappings {
        let before = problems.len();
        let given = |name: &str| At { value: name.to_owned(), place: Mark::START.place(&mapping.file) };
        let nowhere =
            |kind: &str, name: &str| format!("{} is about {kind} \"{name}\", which does not exist", mapping.file);
        let workspace = ground.workspace;
        match workspace.connectors.get(system) {
            None => {
                let systems = workspace.connectors.keys().map(String::as_str);
                problems.push(dangling("HL0134", nowhere("system", system), &given(system), systems));
            }
            Some(connector) if !connector.datasets.contains_key(dataset) && ground.trusts_connector(system) => {
                let datasets = connector.datasets.keys().map(String::as_str);
                problems.push(dangling("HL0134", nowhere("dataset", dataset), &given(dataset), datasets));
            }
            Some(_) => {}
        }
        if !workspace.registers.contains_key(register) {
            let registers = workspace.registers.keys().map(String::as_str);
            problems.push(dangling("HL0134", nowhere("register", register), &given(register), registers));
        }
        if problems.len() == before && !is_run(ground, system, dataset, register) {
            let problem = Problem::warning("HL0123", format!("no pipeline runs {}", mapping.file));
            let hint = format!("write a pipeline from: {system}.{dataset} into: [{register}], or remove the mapping");
            problems.push(problem.at(Mark::START.place(&mapping.file)).hint(hint));
        }
    }
    problems
}

fn is_run(ground: &Ground<'_>, system: &str, dataset: &str, register: &str) -> bool {
    ground.workspace.pipelines.values().any(|pipeline| {
        let source = &pipeline.from.value;
        source.system == system && source.dataset == dataset && pipeline.into.iter().any(|into| into.value == register)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::sample::{load_and_check, put, summary, write};

    const SQL: &str = "mappings/market-regulation/enterprise.enterprise.sql";

    /// Problems, with their files, after a mapping appeared at `path`.
    fn with(path: &str) -> Vec<String> {
        let dir = write();
        put(dir.path(), path, b"select 1 as uscc from source");
        summary(&load_and_check(dir.path()).1)
    }

    #[test]
    fn a_mapping_is_about_things_that_exist() {
        assert_eq!(with("mappings/market-regulations/enterprise.enterprise.sql"), ["HL0134 1:1"]);
        assert_eq!(with("mappings/market-regulation/enterprises.enterprise.sql"), ["HL0134 1:1"]);
        assert_eq!(with("mappings/market-regulation/enterprise.person.sql"), ["HL0134 1:1"]);
        assert_eq!(with("mappings/market-regulation/enterprise.sql"), ["HL0117 1:1"]);
        assert_eq!(with("mappings/market-regulation/a.b.c.sql"), ["HL0117 1:1"]);
    }

    #[test]
    fn a_pipeline_without_its_mapping_says_which_file_to_write() {
        let dir = write();
        fs::remove_file(dir.path().join(SQL)).expect("removed");
        let (_, problems) = load_and_check(dir.path());
        assert_eq!(summary(&problems), ["HL0139 1:1", "HL0133 3:8"]);
        assert_eq!(problems[1].hint.as_deref(), Some(format!("write {SQL}").as_str()));
    }
}

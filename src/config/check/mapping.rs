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

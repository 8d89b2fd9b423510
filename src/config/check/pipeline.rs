//! A pipeline: the dataset it reads, the registers and mappings it feeds.

use std::collections::BTreeMap;

use super::super::{At, Connector, Pipeline};
use super::{Ground, dangling, repeated};
use crate::error::Problem;

/// Checks one pipeline.
pub(super) fn check(pipeline: &Pipeline, ground: &Ground<'_>) -> Vec<Problem> {
    let mut problems = repeated("register", &pipeline.into);
    problems.extend(from(pipeline, ground));
    let source = &pipeline.from.value;
    for register in &pipeline.into {
        let key = (source.system.clone(), source.dataset.clone(), register.value.clone());
        if !ground.workspace.registers.contains_key(&register.value) {
            let what =
                format!("pipeline \"{}\" feeds register \"{}\", which does not exist", pipeline.name, register.value);
            problems.push(dangling("HL0132", what, register, ground.workspace.registers.keys().map(String::as_str)));
        } else if exists(pipeline, &ground.workspace.connectors) && !ground.workspace.mappings.contains_key(&key) {
            let file = format!("mappings/{}/{}.{}.sql", source.system, source.dataset, register.value);
            let message = format!("there is no mapping from \"{source}\" onto register \"{}\"", register.value);
            problems.push(Problem::error("HL0133", message).at(register.place.clone()).hint(format!("write {file}")));
        }
    }
    if pipeline.into.is_empty() && ground.trusts(&pipeline.from.place.file) {
        let message = format!("pipeline \"{}\" feeds no register", pipeline.name);
        problems.push(Problem::error("HL0138", message).at(pipeline.from.place.clone()));
    }
    problems
}

fn exists(pipeline: &Pipeline, connectors: &BTreeMap<String, Connector>) -> bool {
    let source = &pipeline.from.value;
    connectors.get(&source.system).is_some_and(|system| system.datasets.contains_key(&source.dataset))
}

/// The dataset that `from` names, or what it may have meant.
fn from(pipeline: &Pipeline, ground: &Ground<'_>) -> Option<Problem> {
    let source = &pipeline.from.value;
    if source.system.is_empty() || exists(pipeline, &ground.workspace.connectors) {
        return None; // an absent `from` has been reported
    }
    let known = |system: &str| ground.workspace.connectors.contains_key(system);
    if known(&source.system) && !ground.trusts_connector(&source.system) {
        return None; // the dataset may be in the part that cannot be read
    }
    let all: Vec<String> = ground
        .workspace
        .connectors
        .values()
        .flat_map(|connector| connector.datasets.keys().map(|dataset| format!("{}.{dataset}", connector.system)))
        .collect();
    let written = if source.dataset.is_empty() { source.system.clone() } else { source.to_string() };
    let what = format!("pipeline \"{}\" reads dataset \"{written}\", which does not exist", pipeline.name);
    let given = At { value: written, place: pipeline.from.place.clone() };
    Some(dangling("HL0130", what, &given, all.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::check;

    const FILE: &str = "enterprise-registration";

    #[test]
    fn a_pipeline_reads_a_dataset_and_feeds_registers_that_exist() {
        let problems = check(
            FILE,
            "market-regulation.enterprise",
            "market-regulation.entreprise",
            &["HL0123 1:1 warning", "HL0130 2:7"],
        );
        assert_eq!(problems[1].hint.as_deref(), Some("did you mean market-regulation.enterprise?"));
        check(FILE, "market-regulation.enterprise", "market-regulation", &["HL0123 1:1 warning", "HL0130 2:7"]);
        check(FILE, "into: [enterprise]", "into: [enterprise, persons]", &["HL0132 3:20"]);
        check(FILE, "into: [enterprise]", "into: [enterprise, enterprise]", &["HL0115 3:20"]);
        check(FILE, "into: [enterprise]", "into: []", &["HL0123 1:1 warning", "HL0138 2:7"]);
    }
}

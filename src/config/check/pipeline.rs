//! A pipeline: the dataset it reads, the registers and mappings it feeds, the limit of its lag.

use std::collections::BTreeMap;

use super::super::{At, Connector, LagLimit, Pipeline, SourceKind};
use super::{Ground, dangling, repeated};
use crate::error::Problem;

/// Checks one pipeline.
pub(super) fn check(pipeline: &Pipeline, ground: &Ground<'_>) -> Vec<Problem> {
    let mut problems = repeated("register", &pipeline.into);
    problems.extend(from(pipeline, ground));
    problems.extend(lag(pipeline, ground));
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

/// A limit that would never be reached: nothing is limited, or the source does not say how far behind it we are.
fn lag(pipeline: &Pipeline, ground: &Ground<'_>) -> Option<Problem> {
    let limit = pipeline.lag.as_ref()?;
    let problem = |message: String, hint: &str| {
        Some(Problem::error("HL0390", message).at(limit.place.clone()).hint(hint.to_owned()))
    };
    if limit.value == LagLimit::default() && ground.trusts(&limit.place.file) {
        return problem("lag limits neither time nor bytes".to_owned(), "lag: { time: 15m, bytes: 2GiB }");
    }
    let system = &pipeline.from.value.system;
    let connector = ground.workspace.connectors.get(system).filter(|_| ground.trusts_connector(system))?;
    if matches!(connector.source, SourceKind::Cdc(_)) {
        return None;
    }
    let message =
        format!("lag has no effect: \"{}\" is no log, and does not say how far behind we are", connector.system);
    problem(message, "within: is the promise for every kind of source")
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
    use super::super::super::sample::{FILES, check, load_and_check, put, summary, write};
    use crate::error::render;

    const FROM_FILES: &str = "    path: QYDJ_*.csv
    format: { kind: csv, encoding: auto }      # auto = BOM, then strict UTF-8, then GB18030
";

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

    #[test]
    fn a_limit_of_lag_limits_something_that_is_told() {
        let limit = |text: &str| format!("lag: {text}\ncheck:");
        check(FILE, "check:", &limit("{ time: 15m }"), &["HL0390 6:6"]);
        check(FILE, "check:", &limit("{}"), &["HL0390 6:6"]);
        check(FILE, "check:", &limit("{ time: 15, size: 2GiB }"), &["HL0390 6:6", "HL0111 6:14", "HL0106 6:18"]);
        let log = "  kind: cdc\n  url: postgres://x/y\n";
        for (written, expect) in [("{ time: 15m, bytes: 2GiB }", ""), ("{}", "HL0390 6:6")] {
            let dir = write();
            for (path, text) in FILES {
                let text = text.replace("  kind: files\n  root: out\n", log).replace(FROM_FILES, "    table: qy\n");
                let text = text.replace("check:\n  drop_guard", &format!("{}\n  drop_guard", limit(written)));
                put(dir.path(), path, text.replace("extract: full", "extract: log").as_bytes());
            }
            let problems = load_and_check(dir.path()).1;
            let lag: Vec<String> = summary(&problems).into_iter().filter(|told| told.contains("HL0390")).collect();
            assert_eq!(lag.concat(), expect, "{}", render(&problems));
            assert!(!problems.iter().any(|problem| problem.code == "HL0106"), "{}", render(&problems));
        }
    }
}

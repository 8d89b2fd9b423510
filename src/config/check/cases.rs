//! Examples of mappings: each asserts something, and about things that exist.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::names::confusable;
use super::super::{At, Case, Dataset, Given, Register};
use super::{Ground, dangling};
use crate::error::Problem;

/// Checks all examples.
pub(super) fn check(cases: &BTreeMap<(String, String, String), Vec<Case>>, ground: &Ground<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((system, dataset, register), cases) in cases {
        let named = cases.iter().map(|case| (case.name.value.as_str(), case.name.place.clone()));
        problems.extend(confusable("case", named, Problem::error));
        problems.extend(cases.iter().flat_map(asserts_something));
        problems.extend(cases.iter().flat_map(|case| given_file(case, &ground.workspace.dir)));
        let contract = ground.workspace.connectors.get(system).and_then(|connector| connector.datasets.get(dataset));
        if let (Some(contract), true) = (contract, ground.trusts_connector(system)) {
            problems.extend(cases.iter().flat_map(|case| given_columns(case, contract)));
        }
        if let (Some(register), true) = (ground.workspace.registers.get(register), ground.trusts_register(register)) {
            problems.extend(cases.iter().flat_map(|case| expected_fields(case, register)));
        }
    }
    problems
}

fn asserts_something(case: &Case) -> Vec<Problem> {
    let mut problems = Vec::new();
    if case.expect.is_none() && case.quarantine.is_empty() {
        let problem = Problem::error("HL0140", format!("case \"{}\" asserts nothing", case.name.value));
        problems.push(problem.at(case.name.place.clone()).hint("say what comes out: expect: or quarantine:"));
    }
    if let Given::Rows(rows) = &case.given {
        if rows.is_empty() {
            let problem = Problem::error("HL0140", format!("case \"{}\" has no rows to map", case.name.value));
            problems.push(problem.at(case.name.place.clone()).hint("give some: given: or given_file:"));
        }
        for refused in case.quarantine.iter().filter(|refused| refused.row.value > rows.len() as u64) {
            let message =
                format!("case \"{}\" has {} rows, there is no row {}", case.name.value, rows.len(), refused.row.value);
            problems.push(Problem::error("HL0141", message).at(refused.row.place.clone()));
        }
    }
    problems
}

fn given_file(case: &Case, dir: &Path) -> Option<Problem> {
    let Given::File(path) = &case.given else { return None };
    let beside = Path::new(&path.place.file).parent().unwrap_or(Path::new(""));
    if dir.join(beside).join(&path.value).is_file() {
        return None;
    }
    let message = format!("case \"{}\" reads \"{}\", which is not there", case.name.value, path.value);
    let detail = format!("it is looked for in {}", beside.display());
    Some(Problem::error("HL0141", message).at(path.place.clone()).detail(detail))
}

fn given_columns(case: &Case, contract: &Dataset) -> Vec<Problem> {
    let columns = || contract.columns.iter().map(|column| column.name.as_str());
    let rows = if let Given::Rows(rows) = &case.given { rows.as_slice() } else { &[] };
    let unknown = rows.iter().flatten().filter(|cell| !columns().any(|name| name == cell.name.value));
    unknown
        .map(|cell| {
            let what = format!("column \"{}\" is not in the contract of \"{}\"", cell.name.value, contract.name);
            dangling("HL0141", what, &cell.name, columns())
        })
        .collect()
}

fn expected_fields(case: &Case, register: &Register) -> Vec<Problem> {
    let fields = || register.fields.iter().map(|field| field.name.as_str());
    let unknown = |name: &&At<String>| register.field(&name.value).is_none();
    let expected = case.expect.iter().flatten().flatten().map(|cell| &cell.name);
    expected
        .filter(unknown)
        .map(|name| {
            let what = format!("\"{}\" is not a field of register \"{}\"", name.value, register.name);
            dangling("HL0141", what, name, fields())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::check;

    const FILE: &str = "cases.yaml";

    #[test]
    fn a_case_asserts_something_about_things_that_exist() {
        for (from, to, expect) in [
            ("  quarantine:\n    - { row: 1, column: uscc, code: uscc_check_digit }\n", "", &["HL0140 7:9"][..]),
            ("  given_file: cases/bad_uscc.gbk.csv ", "  # none ", &["HL0140 7:9", "HL0141 12:14"]),
            ("bad_uscc.gbk.csv", "bad.csv", &["HL0141 8:15"]),
            ("注册资本:", "注册资金:", &["HL0141 3:39"]),
            ("{ name:", "{ nmae:", &["HL0141 5:9"]),
            ("row: 1", "row: 0", &["HL0108 12:14"]),
            ("given_file", "given_fiel", &["HL0140 7:9", "HL0106 8:3", "HL0141 12:14"]),
            (
                "- case: a wrong check digit waits in quarantine",
                "- case: 万元, brackets and a Chinese date",
                &["HL0115 7:9"],
            ),
        ] {
            check(FILE, from, to, expect);
        }
    }
}

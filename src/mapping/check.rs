//! All SQL of a workspace except its feeds, compiled for `huiliu check`: mappings, register rules, pipeline checks.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::{CompiledCheck, CompiledMapping, MappingSource, Rules};
use crate::config::{DatasetRef, Workspace};
use crate::error::Problem;

/// Compiles everything and returns every problem once; unused contract columns are warnings (HL0213). What a mapping
/// needs and the workspace lacks is not reported here: that is a dangling reference, which loading the workspace finds.
pub fn check_workspace(workspace: &Workspace, today: NaiveDate) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut used: BTreeMap<DatasetRef, Option<BTreeSet<String>>> = BTreeMap::new();
    for (system, dataset, register) in workspace.mappings.keys() {
        let from = DatasetRef { system: system.clone(), dataset: dataset.clone() };
        let Some(source) = MappingSource::find(workspace, &from, register, today) else { continue };
        let columns = used.entry(from).or_insert_with(|| Some(BTreeSet::new()));
        match CompiledMapping::compile(&source) {
            Ok(mapping) => columns.iter_mut().for_each(|c| c.extend(mapping.used_columns().iter().cloned())),
            Err(found) => {
                *columns = None; // what it reads is not known
                problems.extend(found);
            }
        }
    }
    problems.extend(unused_columns(workspace, &used));
    for register in workspace.registers.values() {
        problems.extend(Rules::compile(register, &workspace.codes, today).err().into_iter().flatten());
    }
    let checks = workspace.pipelines.values().flat_map(|pipeline| &pipeline.checks);
    problems.extend(checks.filter_map(|check| CompiledCheck::compile(check).err()).flatten());
    once(problems)
}

/// Columns that no mapping of their dataset reads, of datasets all of whose mappings compile.
fn unused_columns(workspace: &Workspace, used: &BTreeMap<DatasetRef, Option<BTreeSet<String>>>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, used) in used {
        let dataset = workspace.connectors.get(&name.system).and_then(|c| c.datasets.get(&name.dataset));
        let (Some(dataset), Some(used)) = (dataset, used) else { continue };
        let named: BTreeSet<&str> = dataset.named_columns().map(|c| c.value.as_str()).collect();
        let idle = dataset.columns.iter().filter(|c| !used.contains(&c.name) && !named.contains(c.name.as_str()));
        problems.extend(idle.map(|column| {
            let message =
                format!("column \"{}\" of \"{name}\" is in the contract and no mapping reads it", column.name);
            Problem::warning("HL0213", message)
                .at(column.place.clone())
                .hint("map it, or take it out of the contract: what nobody needs should not be sent")
        }));
    }
    problems
}

/// The rules of a register are compiled with each of its mappings; their problems are told once.
fn once(problems: Vec<Problem>) -> Vec<Problem> {
    let mut told = Vec::with_capacity(problems.len());
    for problem in problems {
        if !told.contains(&problem) {
            told.push(problem);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::super::tests::workspace;
    use super::*;

    #[test]
    fn a_workspace_is_compiled_whole_and_each_problem_told_once() {
        let check = |sql: &[&str], rule: &str| {
            let workspace = workspace(sql, rule);
            let today = NaiveDate::from_ymd_opt(2026, 3, 1).expect("a date");
            let problems = check_workspace(&workspace, today);
            problems.iter().map(|p| format!("{} {}", p.code, p.message)).collect::<Vec<_>>()
        };
        let all = "select uscc(代码) as uscc, 企业名称 as name, cn_amount(注册资本, '元') as capital,\n\
                   cn_date(成立日期) as established_on, 人数 as people, ID号码 as type_code from source where 状态 <> ''";
        assert_eq!(check(&[all], "uscc_valid(uscc)"), [""; 0]);
        let few = "select uscc(代码) as uscc, concat(企业名称, 注册资本, 成立日期, ID号码) as name from source where 状态 <> ''";
        let unused = "HL0213 column \"人数\" of \"market.enterprise\" is in the contract and no mapping reads it";
        assert_eq!(check(&[few], "uscc_valid(uscc)"), [unused]);
        assert_eq!(check(&[few, all], "uscc_valid(uscc)"), [""; 0]);
        let wrong = check(&[few], "uscc_valid(usc)");
        assert_eq!(wrong.len(), 1, "the rule is wrong for the mapping and for the register: {wrong:?}");
        assert_eq!(
            check(&["delete from source", few], "uscc_valid(uscc)").len(),
            1,
            "nothing is said about unused columns"
        );
    }
}

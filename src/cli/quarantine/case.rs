//! `huiliu quarantine export --as-case`: real failures as cases for `huiliu test`, with nothing real left in them.
//!
//! Guarantees: every case was run through the present mapping and fails for the reasons it names; a cell is empty,
//! masked, or one of a few made-up specimens — where only the delivered text would fail the same way, there is no case.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;

use super::super::{Context, Exit, Problems, audit};
use super::export::{cells, one_dataset};
use super::reasons;
use super::sheet::write_new;
use super::show::mapping_key;
use crate::config::DatasetRef;
use crate::engine::Engine;
use crate::error::Problem;
use crate::mapping::{CompiledMapping, MappingSource, Reason};
use crate::store::{QuarantineFilter, QuarantineView};

/// Examples published in the standards, and made-up values that are wrong in ways masks cannot imitate.
const SPECIMENS: &[&str] = &[
    "11010519491231002X", // GB 11643-1999 §6: valid
    "91350100M000100Y43", // GB 32100-2015: valid
    "D2143569X",          // GB 11714-1997: valid
    "2015-07-03",
    "100",
    "长期",
    "37020219900101123X",
    "370202199001011230",
    "370202199002301234",
    "91370200MA3ABCDE10",
    "91370200MA3ABCDE11",
    "123456782",
    "370200200000011",
    "2015-02-30",
];

/// Column and code of every reason.
type Verdict = BTreeSet<(String, String)>;

/// Writes one case for every different set of reasons.
pub(super) async fn run(
    engine: &mut Engine,
    filter: QuarantineFilter,
    file: &Path,
    context: &Context,
) -> anyhow::Result<Exit> {
    if file.extension().is_none_or(|ext| ext != "yaml") {
        let problem = Problem::error("HL0816", format!("{} does not end in .yaml", file.display()));
        return Err(problem.hint("cases are YAML: --as-case FILE.yaml").into());
    }
    let filter = QuarantineFilter { with_content: true, ..filter };
    let entries = one_dataset(engine, &filter).await?;
    let by_reason = first_of_each(&entries);
    let registers: BTreeSet<&str> = by_reason.iter().filter_map(|entry| entry.register.as_deref()).collect();
    if registers.len() > 1 {
        let names: Vec<&str> = registers.into_iter().collect();
        let problem = Problem::error("HL0818", "the rows that match were refused by several registers' mappings");
        return Err(problem.detail(format!("they are {}", names.join(", "))).hint("choose one with --register").into());
    }
    let Some((system, dataset, register)) = by_reason.first().and_then(|entry| mapping_key(entry)) else {
        context.note("no decoded row matches; no case was written 没有可用的问题数据")?;
        return Ok(Exit::Done);
    };
    let workspace = engine.workspace();
    let today = context.clock.today(workspace.installation.zone);
    let from = DatasetRef { system: system.clone(), dataset: dataset.clone() };
    let Some(source) = MappingSource::find(workspace, &from, &register, today) else {
        let problem = Problem::error("HL0812", format!("there is no mapping of {from} onto \"{register}\" any more"));
        return Err(problem.into());
    };
    let mapping = CompiledMapping::compile(&source).map_err(Problems)?;
    let mut out = format!("# mappings/{system}/{dataset}.{register}.cases.yaml\n");
    let (mut written, mut skipped) = (0_u64, Vec::new());
    for entry in by_reason {
        match masked(&mapping, entry) {
            Some(row) => {
                out.push_str(&case_text(entry, &row));
                written += 1;
            }
            None => skipped.push(entry.id.to_string()),
        }
    }
    if written > 0 {
        write_new(file, out.as_bytes())?;
    }
    audit::note(engine, "quarantine.export", &format!("{written} masked cases of {from}"), context).await?;
    if context.json {
        context.print_json(&serde_json::json!({ "file": file, "cases": written, "skipped": skipped }))?;
    } else {
        context.note(&format!("{written} cases written to {}", file.display()))?;
        if !skipped.is_empty() {
            context
                .note(&format!("no mask keeps the reasons of #{}; write those cases by hand", skipped.join(", #")))?;
        }
    }
    Ok(Exit::Done)
}

/// One decoded entry for every set of reasons.
fn first_of_each(entries: &[QuarantineView]) -> Vec<&QuarantineView> {
    let mut seen: BTreeSet<(Option<&String>, Verdict)> = BTreeSet::new();
    let decoded = entries.iter().filter(|entry| entry.cells.is_some() && entry.register.is_some());
    decoded.filter(|entry| seen.insert((entry.register.as_ref(), verdict(&entry.reasons)))).collect()
}

fn verdict(reasons: &[Reason]) -> Verdict {
    reasons.iter().map(|reason| (reason.column.clone(), reason.code.clone())).collect()
}

/// The row with every cell replaced by what keeps the verdict; `None` when the row does not fail this way now, or when
/// some cell would have to stay as it was delivered.
fn masked(mapping: &CompiledMapping, entry: &QuarantineView) -> Option<BTreeMap<String, String>> {
    let target = verdict(&entry.reasons);
    let delivered = cells(entry);
    let text = |cell: &serde_json::Value| cell.as_str().map(str::to_owned);
    let mut row: BTreeMap<String, Option<String>> =
        delivered.iter().map(|(name, cell)| (name.clone(), text(cell))).collect();
    if judge(mapping, &row)? != target {
        return None;
    }
    let names: Vec<String> = row.keys().cloned().collect();
    for name in names {
        let Some(original) = row.get(&name).cloned().flatten() else { continue };
        let kept = candidates(&original).into_iter().find(|candidate| {
            let mut tried = row.clone();
            tried.insert(name.clone(), candidate.clone());
            judge(mapping, &tried).as_ref() == Some(&target)
        });
        row.insert(name, kept?);
    }
    Some(row.into_iter().filter_map(|(name, cell)| Some((name, cell?))).collect())
}

/// What may stand in a case instead of a cell, the emptiest first; never the cell itself.
fn candidates(original: &str) -> Vec<Option<String>> {
    let shape = |digit: char| -> String {
        let masked = original.chars().map(|c| match c {
            '0'..='9' | '０'..='９' => digit,
            'A'..='Z' => 'X',
            'a'..='z' => 'x',
            c if c.is_alphabetic() => '某',
            other => other,
        });
        masked.collect()
    };
    let mut all = vec![None, Some(String::new())];
    all.extend([shape('0'), shape('1')].into_iter().filter(|mask| mask != original).map(Some));
    all.extend(SPECIMENS.iter().filter(|specimen| **specimen != original).map(|specimen| Some((*specimen).to_owned())));
    all
}

/// How the mapping judges one row; `None` when the row does not fit into columns.
fn judge(mapping: &CompiledMapping, row: &BTreeMap<String, Option<String>>) -> Option<Verdict> {
    let columns = row
        .iter()
        .map(|(name, cell)| (name.as_str(), Arc::new(StringArray::from(vec![cell.as_deref()])) as ArrayRef, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).ok()?;
    let mapped = mapping.apply(&batch);
    Some(mapped.refused.first().map(|(_, reasons)| verdict(reasons)).unwrap_or_default())
}

/// One case as YAML; texts are quoted as JSON, which YAML reads.
fn case_text(entry: &QuarantineView, row: &BTreeMap<String, String>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let all: Vec<String> = entry.reasons.iter().map(|reason| reasons::chinese(&reason.column, &reason.code)).collect();
    let cells: Vec<String> = row.iter().map(|(name, cell)| format!("{}: {}", quoted(name), quoted(cell))).collect();
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("writing to a string cannot fail");
    line(format!("\n- case: {}", quoted(&all.join("; "))));
    line("  given:".to_owned());
    line(format!("    - {{ {} }}", cells.join(", ")));
    line("  quarantine:".to_owned());
    for (column, code) in verdict(&entry.reasons) {
        let column = if column.is_empty() { String::new() } else { format!(", column: {}", quoted(&column)) };
        line(format!("    - {{ row: 1{column}, code: {code} }}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_never_what_was_delivered() {
        for delivered in ["海蓝科技", "0000", "1111", "XX", "某某", "100", "——"] {
            let all = candidates(delivered);
            assert!(all.iter().flatten().all(|mask| mask != delivered), "{delivered}: {all:?}");
        }
    }
}

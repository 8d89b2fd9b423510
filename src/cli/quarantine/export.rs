//! `huiliu quarantine export`: rows of one dataset as a file that its department can correct.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::{Context, Exit, audit};
use super::sheet::{Kind, Sheet, SheetRow, write_new};
use super::show::Suspects;
use super::{each_page, reasons};
use crate::config::Workspace;
use crate::engine::Engine;
use crate::error::Problem;
use crate::mapping::Reason;
use crate::store::{QuarantineFilter, QuarantineView};

/// More rows than this are not for a person's hands.
const MOST: usize = 200_000;

/// Writes the file.
pub(super) async fn run(
    engine: &mut Engine,
    filter: QuarantineFilter,
    (file, why): (&Path, Option<&str>),
    context: &Context,
) -> anyhow::Result<Exit> {
    let kind = Kind::of(file)?;
    let filter = QuarantineFilter { with_content: true, ..filter };
    let entries = one_dataset(engine, &filter).await?;
    let Some(dataset) = entries.first().map(|entry| entry.dataset.clone()) else {
        context.note("nothing is set aside that matches; no file was written 没有符合条件的问题数据")?;
        return Ok(Exit::Done);
    };
    let undecodable = entries.iter().filter(|entry| entry.cells.is_none()).count();
    let sheet = sheet(engine.workspace(), &entries, context);
    write_new(file, &sheet.to_bytes(kind)?)?;
    let why = why.map(|why| format!(", why: {why}")).unwrap_or_default();
    let detail = format!("{} rows of {dataset}{why}", sheet.rows.len());
    audit::note(engine, "quarantine.export", &detail, context).await?;
    if context.json {
        let told = serde_json::json!({ "file": file, "dataset": dataset, "rows": sheet.rows.len(), "undecodable": undecodable });
        context.print_json(&told)?;
        return Ok(Exit::Done);
    }
    context.note(&format!("{} rows of {dataset} written to {}", sheet.rows.len(), file.display()))?;
    if undecodable > 0 {
        context.note(&format!("{undecodable} of them could not be decoded and have no cells: they need a new file"))?;
    }
    if kind == Kind::Csv {
        context.note(
            "note: Excel rounds long numbers when it opens a .csv; give the department an .xlsx if it uses Excel",
        )?;
    }
    Ok(Exit::Done)
}

/// The entries that match, if they are of one dataset: only then do they have the same columns.
pub(super) async fn one_dataset(engine: &mut Engine, filter: &QuarantineFilter) -> anyhow::Result<Vec<QuarantineView>> {
    let (mut entries, mut datasets, mut total) = (Vec::new(), BTreeSet::new(), 0);
    each_page(engine.store(), filter, |page| {
        total += page.len();
        for entry in page {
            datasets.insert(entry.dataset.clone());
            if datasets.len() == 1 && entries.len() < MOST {
                entries.push(entry);
            }
        }
    })
    .await?;
    if datasets.len() > 1 {
        let names: Vec<String> = datasets.into_iter().collect();
        let problem = Problem::error("HL0818", "the rows that match are of several datasets, with different columns");
        return Err(problem.detail(format!("they are {}", names.join(", "))).hint("choose one with --dataset").into());
    }
    if total > MOST {
        let problem = Problem::error("HL0818", format!("{total} rows match, more than a person can correct"));
        let hint = "choose some with --register or --code; so many alike want a mapping or the source corrected";
        return Err(problem.detail(format!("a file holds at most {MOST}")).hint(hint).into());
    }
    Ok(entries)
}

fn sheet(workspace: &Workspace, entries: &[QuarantineView], context: &Context) -> Sheet {
    let columns = columns(workspace, entries);
    let mut suspects = Suspects::new(workspace, context);
    let rows = entries.iter().map(|entry| {
        let cells = cells(entry);
        let named = suspects.of(entry);
        let suspect = |(i, column): (usize, &String)| named.contains(column).then_some(i);
        let told =
            |reason: &Reason| reasons::chinese(&suspects.of_reason(entry, &reason.column).join("、"), &reason.code);
        let all: Vec<String> = entry.reasons.iter().map(told).collect();
        SheetRow {
            id: entry.id,
            file: entry.file.clone(),
            row: entry.row,
            reasons: all.join("; "),
            cells: columns
                .iter()
                .map(|column| cells.get(column).and_then(|cell| cell.as_str()).map(str::to_owned))
                .collect(),
            suspects: columns.iter().enumerate().filter_map(suspect).collect(),
        }
    });
    let rows = rows.collect();
    Sheet { rows, columns }
}

/// The contract's columns; where the contract is gone, those that the rows had.
fn columns(workspace: &Workspace, entries: &[QuarantineView]) -> Vec<String> {
    let dataset = entries.first().and_then(|entry| entry.dataset.split_once('.'));
    let contract = dataset
        .and_then(|(system, dataset)| workspace.connectors.get(system)?.datasets.get(dataset))
        .map(|dataset| dataset.columns.iter().map(|column| column.name.clone()).collect());
    contract.unwrap_or_else(|| {
        entries
            .iter()
            .map(cells)
            .find(|c| !c.is_empty())
            .unwrap_or_default()
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    })
}

/// The decoded cells of an entry; empty when it could not be decoded.
pub(super) fn cells(entry: &QuarantineView) -> serde_json::Map<String, serde_json::Value> {
    entry.cells.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

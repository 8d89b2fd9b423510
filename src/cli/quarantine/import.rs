//! `huiliu quarantine import`: the department's corrections, compared with what it delivered, and replayed.
//!
//! Guarantees: only cells that were really changed count as corrections; a file in which a spreadsheet program rounded
//! a long number is refused as a whole, before anything is replayed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::super::{Context, Exit, Problems, audit};
use super::export::cells;
use super::sheet::{Returned, read};
use super::{each_page, replay_text};
use crate::config::Workspace;
use crate::engine::{Corrections, Engine, ReplayReport};
use crate::error::Problem;
use crate::store::{QuarantineFilter, QuarantineView};

/// What an import did.
#[derive(Debug, Serialize)]
struct Imported {
    /// Rows in the file.
    rows: usize,
    /// Rows without a changed cell.
    unchanged: usize,
    /// Entries that are not open, or not there at all.
    not_open: Vec<i64>,
    /// Changed cells by column.
    corrected: BTreeMap<String, u64>,
    replay: ReplayReport,
}

/// Compares, replays, reports.
pub(super) async fn run(engine: &mut Engine, file: &Path, context: &Context) -> anyhow::Result<Exit> {
    let returned = read(file)?;
    let ids: Vec<i64> = returned.rows.iter().map(|(id, _)| *id).collect();
    let open = open_entries(engine, &ids).await?;
    let difference = compare(engine.workspace(), &returned, &open)?;
    let mut corrected: BTreeMap<String, u64> = BTreeMap::new();
    for column in difference.corrections.iter().flat_map(|(_, cells)| cells.keys()) {
        *corrected.entry(column.clone()).or_default() += 1;
    }
    let changed = difference.corrections.len();
    let replay = Box::pin(engine.replay_corrected(difference.corrections)).await?;
    let detail = audit_detail(file, changed, &corrected)?;
    audit::note(engine, "quarantine.import", &detail, context).await?;
    let imported = Imported {
        rows: returned.rows.len(),
        unchanged: difference.unchanged,
        not_open: ids.into_iter().filter(|id| !open.contains_key(id)).collect(),
        corrected,
        replay,
    };
    report(&imported, context)?;
    let waiting = imported.replay.refused + imported.replay.undecodable + imported.replay.orphaned;
    Ok(if waiting > 0 || imported.unchanged > 0 { Exit::Held } else { Exit::Done })
}

/// Which file (by digest) brought how many corrections in which columns.
fn audit_detail(file: &Path, changed: usize, corrected: &BTreeMap<String, u64>) -> anyhow::Result<String> {
    let digest = Sha256::digest(std::fs::read(file)?);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let columns: Vec<String> = corrected.iter().map(|(column, n)| format!("{column} {n}")).collect();
    Ok(format!("{changed} rows of a file with SHA-256 {digest}: {}", columns.join(", ")))
}

async fn open_entries(engine: &mut Engine, ids: &[i64]) -> anyhow::Result<HashMap<i64, QuarantineView>> {
    let mut open = HashMap::with_capacity(ids.len());
    for some in ids.chunks(2000) {
        let filter = QuarantineFilter {
            ids: some.to_vec(),
            status: Some("open".into()),
            with_content: true,
            ..QuarantineFilter::default()
        };
        each_page(engine.store(), &filter, |page| open.extend(page.into_iter().map(|entry| (entry.id, entry)))).await?;
    }
    Ok(open)
}

/// What differs from what was delivered.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    corrections: Corrections,
    unchanged: usize,
}

fn compare(
    workspace: &Workspace,
    returned: &Returned,
    open: &HashMap<i64, QuarantineView>,
) -> Result<Difference, Problems> {
    let (mut difference, mut problems) = (Difference::default(), Vec::new());
    problems.extend(unknown_columns(workspace, returned, open));
    for (id, given) in &returned.rows {
        let Some(entry) = open.get(id) else { continue };
        let delivered = cells(entry);
        let mut changed = BTreeMap::new();
        for (column, given) in returned.columns.iter().zip(given) {
            let stored = delivered.get(column).and_then(|cell| cell.as_str()).unwrap_or_default();
            if same(stored, given) {
                continue;
            }
            if rounded(stored, given) {
                problems.push(rounded_problem(*id, column));
            }
            changed.insert(column.clone(), given.clone());
        }
        if changed.is_empty() {
            difference.unchanged += 1;
        } else {
            difference.corrections.push((*id, changed));
        }
    }
    if problems.is_empty() { Ok(difference) } else { Err(Problems(problems)) }
}

/// Columns that the contracts of these entries do not have: a renamed column would lose its corrections silently.
fn unknown_columns(workspace: &Workspace, returned: &Returned, open: &HashMap<i64, QuarantineView>) -> Option<Problem> {
    let datasets: BTreeSet<&str> = open.values().map(|entry| entry.dataset.as_str()).collect();
    let contract = |name: &&str| {
        let (system, dataset) = name.split_once('.')?;
        workspace.connectors.get(system)?.datasets.get(dataset)
    };
    let known: BTreeSet<&str> = datasets
        .iter()
        .filter_map(contract)
        .flat_map(|dataset| dataset.columns.iter().map(|c| c.name.as_str()))
        .collect();
    if known.is_empty() {
        return None;
    }
    let unknown: Vec<&str> = returned.columns.iter().map(String::as_str).filter(|name| !known.contains(name)).collect();
    let first = unknown.first()?;
    let problem = Problem::error("HL0817", format!("the contract does not have the column(s) {}", unknown.join(", ")));
    let names: Vec<&str> = known.iter().copied().collect();
    Some(
        problem
            .detail(format!("it has {}", names.join(", ")))
            .hint("remove added columns, rename renamed ones back")
            .did_you_mean(first, known),
    )
}

/// The same text but for blanks around it and the line breaks that a spreadsheet program writes.
fn same(stored: &str, given: &str) -> bool {
    let plain = |text: &str| text.replace("\r\n", "\n").trim().to_owned();
    stored == given || plain(stored) == plain(given)
}

/// Whether a long number came back in scientific notation.
fn rounded(stored: &str, given: &str) -> bool {
    let long = stored.chars().filter(char::is_ascii_digit).count() >= 12;
    let upper = given.trim().to_ascii_uppercase();
    let scientific = upper.split_once("E+").is_some_and(|(mantissa, exponent)| {
        mantissa.parse::<f64>().is_ok() && !exponent.is_empty() && exponent.bytes().all(|b| b.is_ascii_digit())
    });
    long && scientific
}

fn rounded_problem(id: i64, column: &str) -> Problem {
    Problem::error("HL0817", format!("entry {id}: a long number in column \"{column}\" was rounded"))
        .detail("a spreadsheet program opened the .csv and wrote the number in scientific notation")
        .hint("export an .xlsx and correct that; nothing of this file was imported")
}

fn report(imported: &Imported, context: &Context) -> anyhow::Result<()> {
    if context.json {
        return Ok(context.print_json(imported)?);
    }
    context.print(&replay_text(&imported.replay))?;
    for (column, n) in &imported.corrected {
        context.print(&format!("  更正 corrected {column}: {n}\n"))?;
    }
    if imported.unchanged > 0 {
        context.note(&format!("{} rows came back unchanged and stay as they were", imported.unchanged))?;
    }
    if !imported.not_open.is_empty() {
        let ids: Vec<String> = imported.not_open.iter().take(20).map(i64::to_string).collect();
        context.note(&format!("{} entries are not open any more: {} …", imported.not_open.len(), ids.join(", ")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_line_breaks_are_no_corrections() {
        let check =
            |stored: &str, given: &str, expect: bool| assert_eq!(same(stored, given), expect, "{stored:?} {given:?}");
        check("海蓝", "海蓝", true);
        check(" 海蓝 ", "海蓝", true);
        check("a\r\nb", "a\nb", true);
        check("", " ", true);
        check("海蓝", "海兰", false);
        check("海蓝", "", false);
    }

    #[test]
    fn a_number_that_excel_rounded_is_seen() {
        let check = |stored: &str, given: &str, expect: bool| {
            assert_eq!(rounded(stored, given), expect, "{stored:?} {given:?}")
        };
        check("370202199001011234", "3.70202E+17", true);
        check("913702001234567890", "9.13702e+17", true);
        check("12", "1.2E+1", false);
        check("370202199001011234", "370202199001011235", false);
        check("370202199001011234", "E+", false);
    }
}

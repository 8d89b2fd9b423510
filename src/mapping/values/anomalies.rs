//! The 1,448 real anomalies of a national register export, each against the table in `docs/anomalies.md`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Notes, Outcome, clean_text, org_name, person_name, uscc, vectors};

/// Notes that say the value was changed; all others say that it is doubtful and was kept.
const REPAIRS: [&str; 11] = [
    "lower_case",
    "full_width",
    "brackets",
    "blanks",
    "dash",
    "html_entity",
    "private_use",
    "nfc",
    "control",
    "invisible",
    "separator",
];

/// What happened to the rows of one tag.
#[derive(Default)]
struct Tally {
    rows: usize,
    undecodable: usize,
    quarantined: usize,
    without_code: usize,
    noted: usize,
    cleaned: usize,
    untouched: usize,
    /// Rows per refusal or note, with the column it came from.
    codes: BTreeMap<String, usize>,
}

#[test]
fn every_anomaly_meets_the_documented_fate() {
    let Some(table) = vectors::text("registry/anomalies.csv") else { return };
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let cells = cells(line);
        tallies.entry(cells[0].clone()).or_default().add(&cells);
    }
    let expected: Vec<String> = tallies.iter().map(|(tag, tally)| tally.line(tag)).collect();
    let documented: Vec<String> = include_str!("../../../docs/anomalies.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.rsplit_once(" | ").expect("a last column, for people").0.to_owned())
        .collect();
    assert_eq!(documented, expected, "docs/anomalies.md should say:\n{}", expected.join("\n"));
}

impl Tally {
    fn add(&mut self, cells: &[String]) {
        self.rows += 1;
        if cells.len() != 12 {
            self.undecodable += 1;
            return self.count(["column_count".to_owned()]);
        }
        let mut notes = BTreeSet::new();
        let code = judge("code", uscc(&cells[3]), &mut notes);
        let name = judge("name", org_name(&cells[2]), &mut notes);
        let person = judge("person", person_name(&cells[6]), &mut notes);
        let texts = [&cells[5], &cells[8], &cells[11]].map(|cell| judge("text", clean_text(cell), &mut notes));
        let refusals: Vec<String> =
            [&code, &name, &person].into_iter().chain(&texts).filter_map(|verdict| verdict.clone().err()).collect();
        if !refusals.is_empty() {
            self.quarantined += 1;
            return self.count(refusals);
        }
        if code == Ok(false) {
            self.without_code += 1;
            return;
        }
        let doubtful = |note: &String| note.split_once(' ').is_some_and(|(_, code)| !REPAIRS.contains(&code));
        if notes.iter().any(doubtful) {
            self.noted += 1;
        } else if notes.is_empty() {
            self.untouched += 1;
        } else {
            self.cleaned += 1;
        }
        self.count(notes);
    }

    fn count(&mut self, codes: impl IntoIterator<Item = String>) {
        for code in codes {
            *self.codes.entry(code).or_default() += 1;
        }
    }

    fn line(&self, tag: &str) -> String {
        let codes: Vec<String> = self.codes.iter().map(|(code, rows)| format!("{code} {rows}")).collect();
        let Self { rows, undecodable, quarantined, without_code, noted, cleaned, untouched, .. } = self;
        format!(
            "| `{tag}` | {rows} | {undecodable} | {quarantined} | {without_code} | {noted} | {cleaned} | {untouched} | {}",
            codes.join(", ")
        )
    }
}

/// Whether there is a value, or why not; collects notes as `column note`. That the copy's names of persons are masked
/// is no property of the rows.
fn judge<T>(column: &str, outcome: Outcome<T>, all: &mut BTreeSet<String>) -> Result<bool, String> {
    let converted = outcome.map_err(|refusal| refusal.code.to_owned())?;
    let notes: Notes = converted.notes;
    all.extend(notes.into_iter().filter(|note| *note != "masked").map(|note| format!("{column} {note}")));
    Ok(converted.value.is_some())
}

/// Splits one CSV line; quotes may enclose commas and doubled quotes.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.trim_end_matches('\r').chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            _ => cells.last_mut().expect("never empty").push(c),
        }
    }
    cells
}

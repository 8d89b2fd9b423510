//! Real rows: the 1,448 anomalies of a national register export, each against the table in `docs/anomalies.md`, and
//! Qingdao's register.

use std::collections::{BTreeMap, BTreeSet};

use super::{Notes, Outcome, clean_text, cn_amount, cn_date, org_name, person_name, region, uscc, vectors};

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
        let cells = vectors::cells(line);
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

#[test]
fn qingdaos_register_passes_with_five_lower_case_letters() {
    let Some(table) = vectors::text("registry/qingdao_2019.csv") else { return };
    let mut notes: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows = 0;
    for line in table.lines().skip(1) {
        let cells = vectors::cells(line);
        rows += 1;
        let mut of_row = BTreeSet::new();
        assert_eq!(judge("code", uscc(&cells[1]), &mut of_row), Ok(true), "row {rows}");
        assert_eq!(judge("name", org_name(&cells[0]), &mut of_row), Ok(true), "row {rows}");
        assert_eq!(judge("date", cn_date(&cells[2]), &mut of_row), Ok(true), "row {rows}");
        if let Err(refusal) = judge("amount", cn_amount(&cells[5], Some("万元")), &mut of_row) {
            of_row.insert(refusal);
        }
        assert!(region("青岛市市场监督管理局", Some(&cells[9])).is_ok_and(|c| c.value.is_some()), "row {rows}");
        of_row.into_iter().for_each(|note| *notes.entry(note).or_default() += 1);
    }
    let expected = [
        ("amount zero", 1792),
        ("amount_unreadable", 1),
        ("code lower_case", 5),
        ("name blanks", 7),
        ("name brackets", 69),
        ("name former_name", 16),
    ];
    assert_eq!(rows, 13_642);
    assert_eq!(notes, expected.map(|(note, rows)| (note.to_owned(), rows)).into());
}

/// Whoever meets a refusal in quarantine finds it in the documentation.
#[test]
fn every_refusal_is_explained() {
    let explained = include_str!("../../../docs/refusals.md");
    let sources = std::path::Path::new("src/mapping/values");
    let mut seen = 0;
    for entry in std::fs::read_dir(sources).expect("the sources are here") {
        let source = std::fs::read_to_string(entry.expect("an entry").path()).expect("UTF-8");
        let source = source.split("#[cfg(test)]\nmod tests").next().expect("a first part");
        for code in source.split('"').filter(|literal| is_refusal(literal)) {
            assert!(explained.contains(&format!("| `{code}` |")), "docs/refusals.md does not explain {code}");
            seen += 1;
        }
    }
    assert!(seen > 60, "only {seen} refusals found");
}

fn is_refusal(literal: &str) -> bool {
    const PREFIXES: [&str; 10] = [
        "uscc_",
        "org_code_",
        "registration_no_",
        "citizen_id_",
        "cert_id_",
        "phone_",
        "name_is_",
        "date_",
        "period_",
        "amount_",
    ];
    let prefix = PREFIXES.iter().find(|prefix| literal.starts_with(**prefix));
    prefix.is_some_and(|prefix| literal.len() > prefix.len())
        && literal.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
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

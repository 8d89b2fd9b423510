//! `mappings/codes/<table>.csv`: code tables (GB/T 2260, GB/T 4754, enterprise types, …).
//!
//! Columns `code,name` and optionally `aliases` (separated by `|`), `since`, `until`, `successor` (a code of the same
//! table), `parent` (a code of a wider table) and `note`, found by their header; other columns are refused, so that a
//! misspelt one is not overlooked. CSV as in RFC 4180, UTF-8. Lines before the header that begin with `#` say where the
//! table comes from.
//!
//! A code with `until` or `successor` is historic: records of its time carry it rightly, so it is recognised and noted.

use std::collections::{BTreeMap, BTreeSet};

use csv_core::{ReadFieldResult, Reader};

use super::CodeTable;
use crate::error::{Place, Problem, nearest};

/// Bytes of the largest table that is read.
pub(super) const LARGEST: usize = 64 << 20;

const COLUMNS: [&str; 8] = ["code", "name", "aliases", "since", "until", "successor", "parent", "note"];

/// Reads one table; what cannot be used is reported and left out.
pub(super) fn read(file: &str, text: &str, problems: &mut Vec<Problem>) -> CodeTable {
    let mut table = Table {
        file,
        problems,
        codes: BTreeMap::new(),
        names: BTreeMap::new(),
        ambiguous: BTreeSet::new(),
        historic: BTreeMap::new(),
    };
    let remarks = text.lines().take_while(|line| line.starts_with('#')).count();
    let mut rows = rows(text).into_iter().skip(remarks);
    if let Some(columns) = table.header(rows.next()) {
        for (line, cells) in rows {
            table.row(line, &cells, &columns);
        }
    }
    table.successors();
    let Table { codes, mut names, ambiguous, historic, .. } = table;
    names.retain(|name, _| !ambiguous.contains(name));
    let historic = historic.into_iter().map(|(code, (_, successor))| (code, successor)).collect();
    CodeTable { file: file.to_owned(), codes, names, historic }
}

struct Table<'a> {
    file: &'a str,
    problems: &'a mut Vec<Problem>,
    codes: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
    ambiguous: BTreeSet<String>,
    /// Line and successor of codes that are no longer given out.
    historic: BTreeMap<String, (u32, Option<String>)>,
}

/// Where the columns stand: index of code, name and aliases, and how many there are.
struct Columns {
    code: usize,
    name: usize,
    aliases: Option<usize>,
    until: Option<usize>,
    successor: Option<usize>,
    count: usize,
}

impl Table<'_> {
    fn header(&mut self, row: Option<(u32, Vec<String>)>) -> Option<Columns> {
        let (line, cells) = row.unwrap_or((1, Vec::new()));
        for unknown in cells.iter().filter(|cell| !COLUMNS.contains(&cell.as_str())) {
            let problem = Problem::error("HL0120", format!("code tables have no column \"{unknown}\""));
            let problem = problem.detail(format!("columns are {}", COLUMNS.join(", "))).did_you_mean(unknown, COLUMNS);
            self.report(line, problem);
        }
        let index = |name: &str| cells.iter().position(|cell| cell == name);
        for missing in ["code", "name"].into_iter().filter(|name| index(name).is_none()) {
            let problem = Problem::error("HL0120", format!("this code table has no column \"{missing}\""));
            let hint = nearest(missing, cells.iter().map(String::as_str)).map(|near| format!("rename \"{near}\""));
            self.report(
                line,
                problem.hint(hint.unwrap_or("the first row names the columns: code,name,aliases,note".to_owned())),
            );
        }
        Some(Columns {
            code: index("code")?,
            name: index("name")?,
            aliases: index("aliases"),
            until: index("until"),
            successor: index("successor"),
            count: cells.len(),
        })
    }

    fn row(&mut self, line: u32, cells: &[String], columns: &Columns) {
        if let [only] = cells
            && only.trim().is_empty()
        {
            return;
        }
        if cells.len() != columns.count {
            let message = format!("this row has {} cells, the header has {}", cells.len(), columns.count);
            return self.report(line, Problem::error("HL0120", message));
        }
        let cell = |index: usize| cells.get(index).map(|cell| cell.trim()).unwrap_or_default();
        let (code, name) = (cell(columns.code), cell(columns.name));
        if code.is_empty() || name.is_empty() {
            return self.report(line, Problem::error("HL0120", "a row needs a code and a name"));
        }
        if self.codes.contains_key(code) {
            return self.report(line, Problem::error("HL0121", format!("code {code} is in this table twice")));
        }
        self.codes.insert(code.to_owned(), name.to_owned());
        let (until, successor) =
            (columns.until.map(cell).unwrap_or_default(), columns.successor.map(cell).unwrap_or_default());
        if !until.is_empty() || !successor.is_empty() {
            let successor = (!successor.is_empty()).then(|| successor.to_owned());
            self.historic.insert(code.to_owned(), (line, successor));
        }
        let aliases = columns.aliases.map(cell).unwrap_or_default().split('|').map(str::trim);
        for name in [name].into_iter().chain(aliases.filter(|alias| !alias.is_empty())) {
            self.name(line, name, code);
        }
    }

    /// What took the place of a code is a code of the table.
    fn successors(&mut self) {
        let unknown = self.historic.values().filter_map(|(line, successor)| Some((*line, successor.clone()?)));
        let unknown: Vec<(u32, String)> = unknown.filter(|(_, code)| !self.codes.contains_key(code)).collect();
        for (line, code) in unknown {
            self.report(line, Problem::error("HL0120", format!("successor {code} is no code of this table")));
        }
    }

    fn name(&mut self, line: u32, name: &str, code: &str) {
        match self.names.get(name) {
            Some(other) if other != code => {
                let message = format!("name \"{name}\" stands for code {other} and for code {code}");
                self.ambiguous.insert(name.to_owned());
                self.report(
                    line,
                    Problem::warning("HL0121", message).hint("only the codes will be recognised, not the name"),
                );
            }
            Some(_) => {}
            None => {
                self.names.insert(name.to_owned(), code.to_owned());
            }
        }
    }

    fn report(&mut self, line: u32, problem: Problem) {
        self.problems.push(problem.at(Place::new(self.file, line, 1)));
    }
}

/// Every row with the line on which it begins.
fn rows(text: &str) -> Vec<(u32, Vec<String>)> {
    let mut reader = Reader::new();
    let (mut input, mut cell, mut filled) = (text.as_bytes(), vec![0; 256], 0);
    let (mut rows, mut cells) = (Vec::new(), Vec::new());
    let mut line = 1;
    loop {
        let (result, read, written) = reader.read_field(input, &mut cell[filled..]);
        input = &input[read..];
        filled += written;
        match result {
            ReadFieldResult::OutputFull => cell.resize(cell.len() * 2, 0),
            ReadFieldResult::InputEmpty => {} // the next call, with no input left, ends the last field
            ReadFieldResult::Field { record_end } => {
                cells.push(String::from_utf8_lossy(&cell[..filled]).into_owned());
                filled = 0;
                if record_end {
                    rows.push((line, std::mem::take(&mut cells)));
                    line = u32::try_from(reader.line()).unwrap_or(u32::MAX);
                }
            }
            ReadFieldResult::End => return rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, codes: &[&str]) -> CodeTable {
        let mut problems = Vec::new();
        let table = read("t.csv", text, &mut problems);
        let line = |p: &Problem| p.place.as_ref().map_or(0, |at| at.line);
        let found: Vec<String> = problems.iter().map(|p| format!("{} {}", p.code, line(p))).collect();
        assert_eq!(found, codes, "{text}\n{problems:#?}");
        table
    }

    #[test]
    fn codes_names_and_aliases_are_found() {
        let table = check(
            "code,name,aliases,note\r\n1130,有限责任公司(自然人独资),自然人独资|一人公司,\"a, b\"\r\n1100,有限责任公司,,\r\n",
            &[],
        );
        assert_eq!(table.codes.get("1130").map(String::as_str), Some("有限责任公司(自然人独资)"));
        for name in ["有限责任公司(自然人独资)", "自然人独资", "一人公司"] {
            assert_eq!(table.names.get(name).map(String::as_str), Some("1130"), "{name}");
        }
        assert_eq!(table.names.len(), 4);
    }

    #[test]
    fn broken_tables_say_which_line() {
        check("", &["HL0120 1", "HL0120 1"]);
        check("编码,name\n1,x\n", &["HL0120 1", "HL0120 1"]);
        check("code,name\n1,x\n2\n,y\n", &["HL0120 3", "HL0120 4"]);
        check("code,name\n1,x\n1,y\n", &["HL0121 3"]);
        check("code,name\n\"1\n2\",x\n3\n", &["HL0120 4"]);
    }

    #[test]
    fn a_table_has_a_source_and_a_history() {
        let text = "# source: GB/T 2260\n# 2024\ncode,name,since,until,successor\n370203,市北区,,,\n370205,四方区,,2012,370203\n1,x,,2012,\n";
        let table = check(text, &[]);
        assert_eq!(table.codes.len(), 3);
        assert_eq!(table.historic.get("370205"), Some(&Some("370203".to_owned())));
        assert_eq!(table.historic.get("1"), Some(&None));
        assert!(!table.historic.contains_key("370203"));
        check("code,name,successor\n1,x,2\n", &["HL0120 2"]);
    }

    #[test]
    fn a_name_with_two_codes_is_no_name() {
        let table = check("code,name\n011,谷物种植\n0110,谷物种植\n02,林业\n", &["HL0121 3"]);
        assert_eq!(table.names.len(), 1);
        assert_eq!(table.codes.len(), 3);
    }
}

//! What an example expected against what came out.

use super::{Difference, Got};
use crate::config::{Case, Cell, Refused};
use crate::error::Place;
use crate::mapping::{CompiledMapping, Reason};
use crate::record::{FieldType, Value};

/// Every difference, in the order of the example.
pub(super) fn differences(mapping: &CompiledMapping, case: &Case, got: &Got) -> Vec<Difference> {
    let mut found = Vec::new();
    if case.expect.is_none() && case.quarantine.is_empty() {
        found.push(at(&case.name.place, "the example asserts nothing: say expect: or quarantine:".to_owned()));
    }
    let kind = |name: &str| mapping.fields().find(|(field, _)| *field == name).map(|(_, kind)| kind);
    match &case.expect {
        Some(expected) if expected.len() != got.rows.len() => {
            let message = format!("{} rows came out, {} were expected", got.rows.len(), expected.len());
            found.push(at(&case.name.place, message));
        }
        Some(expected) => {
            for (number, (cells, row)) in (1..).zip(expected.iter().zip(&got.rows)) {
                found.extend(cells.iter().filter_map(|cell| wrong_cell(number, cell, row, kind(&cell.name.value))));
                if case.exact {
                    found.extend(unexpected_cells(&case.name.place, number, cells, row));
                }
            }
        }
        None if case.exact && !got.rows.is_empty() => {
            let message = format!("{} rows came out, and the example is exact and expects none", got.rows.len());
            found.push(at(&case.name.place, message));
        }
        None => {}
    }
    found.extend(case.quarantine.iter().filter_map(|refused| missing_refusal(refused, got)));
    found.extend(got.refused.iter().flat_map(|(row, reasons)| unexpected_refusals(case, *row, reasons)));
    found
}

fn at(place: &Place, message: String) -> Difference {
    Difference { place: place.clone(), message }
}

fn wrong_cell(
    number: usize,
    cell: &Cell,
    row: &[(String, Option<String>)],
    kind: Option<FieldType>,
) -> Option<Difference> {
    let name = &cell.name.value;
    let Some((_, value)) = row.iter().find(|(field, _)| field == name) else {
        return Some(at(&cell.name.place, format!("row {number}: the mapping does not set {name}")));
    };
    // `5000000.00` and `5000000` are one amount.
    let canonical = |text: &String| {
        let value = kind.and_then(|kind| Value::from_text(kind, text));
        value.map_or_else(|| text.clone(), |value| value.to_text())
    };
    let expected = cell.value.as_ref().map(canonical);
    (expected != *value).then(|| {
        at(&cell.name.place, format!("row {number}: {name} is {}, expected {}", shown(value), shown(&expected)))
    })
}

/// Values that an exact example does not name.
fn unexpected_cells(place: &Place, number: usize, cells: &[Cell], row: &[(String, Option<String>)]) -> Vec<Difference> {
    let unnamed = row.iter().filter(|(field, value)| value.is_some() && !cells.iter().any(|c| c.name.value == *field));
    unnamed
        .map(|(field, value)| at(place, format!("row {number}: {field} is {}, not expected", shown(value))))
        .collect()
}

fn missing_refusal(expected: &Refused, got: &Got) -> Option<Difference> {
    let row = expected.row.value;
    let reasons = got.refused.iter().find(|(number, _)| *number == row).map(|(_, reasons)| reasons.as_slice());
    let said = match reasons {
        Some(reasons) if reasons.iter().any(|reason| names(expected, reason)) => return None,
        Some(reasons) => format!("it was refused for {}", listed(reasons)),
        None => "it was not refused".to_owned(),
    };
    let column = expected.column.as_ref().map(|c| format!("{} ", c.value)).unwrap_or_default();
    Some(at(&expected.row.place, format!("row {row} should be refused for {column}{}; {said}", expected.code)))
}

/// Refused rows that the example does not list; an exact example lists every reason.
fn unexpected_refusals(case: &Case, row: u64, reasons: &[Reason]) -> Option<Difference> {
    let mut listed_here = case.quarantine.iter().filter(|expected| expected.row.value == row).peekable();
    let unlisted: Vec<Reason> = if listed_here.peek().is_none() {
        reasons.to_vec()
    } else if case.exact {
        let expected: Vec<_> = listed_here.collect();
        reasons.iter().filter(|reason| !expected.iter().any(|e| names(e, reason))).cloned().collect()
    } else {
        return None;
    };
    let message = || format!("row {row} was refused for {}, not expected", listed(&unlisted));
    (!unlisted.is_empty()).then(|| at(&case.name.place, message()))
}

fn names(expected: &Refused, reason: &Reason) -> bool {
    expected.code == reason.code && expected.column.as_ref().is_none_or(|column| column.value == reason.column)
}

fn listed(reasons: &[Reason]) -> String {
    reasons.iter().map(|r| format!("{} {}", r.column, r.code).trim().to_owned()).collect::<Vec<_>>().join(", ")
}

fn shown(value: &Option<String>) -> String {
    value.clone().unwrap_or_else(|| "null".to_owned())
}

//! The 1,448 real anomalies of a national register export, each against the answer that `docs/anomalies.md` gives.

use std::collections::BTreeMap;

use super::{Outcome, org_name, uscc, vectors};

/// What happens to a row: `code:…` and `name:…` notes, or the refusal of its code.
#[test]
fn survey() {
    let Some(table) = vectors::text("registry/anomalies.csv") else { return };
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let key =
            (cells[0].to_owned(), format!("uscc {} | name {}", answer(uscc(cells[3])), answer(org_name(cells[2]))));
        *seen.entry(key).or_default() += 1;
    }
    for ((tag, answer), count) in seen {
        println!("{tag} {count} {answer}");
    }
}

fn answer<T>(outcome: Outcome<T>) -> String {
    match outcome {
        Ok(converted) if converted.value.is_none() => "nothing".to_owned(),
        Ok(converted) if converted.notes.is_empty() => "clean".to_owned(),
        Ok(converted) => converted.notes.join("+"),
        Err(refusal) => refusal.code.to_owned(),
    }
}

//! Outside test vectors, read when they lie beside the checkout; never part of the project.

use serde_json::Value;

/// A file of the shared data directory as text; `None` (said on stderr) when there is no such directory.
pub(super) fn text(path: &str) -> Option<String> {
    let root = crate::testing::shared("data")?;
    Some(std::fs::read_to_string(root.join(path)).expect("the shared data directory is complete"))
}

/// One of `vectors/*.json`.
pub(super) fn json(name: &str) -> Option<Value> {
    text(&format!("vectors/{name}.json")).map(|text| serde_json::from_str(&text).expect("vectors are JSON"))
}

/// The strings of an array, or the first strings of an array of arrays.
pub(super) fn strings<'a>(vectors: &'a Value, key: &str) -> Vec<&'a str> {
    let list = vectors[key].as_array().expect("a list");
    assert!(!list.is_empty(), "{key} is empty");
    list.iter().map(|v| v.as_str().unwrap_or_else(|| v[0].as_str().expect("a string"))).collect()
}

/// Splits one CSV line; quotes may enclose commas and doubled quotes.
pub(super) fn cells(line: &str) -> Vec<String> {
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

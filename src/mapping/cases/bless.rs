//! `huiliu test --bless`: writes what came out into the cases file, for a person to review.
//!
//! Only `expect` and `quarantine` of examples that do not hold are rewritten; everything else keeps its text and its
//! comments. An expected row keeps the fields it named, so that a partial example stays partial.

use std::fmt::Write as _;

use super::{CaseOutcome, Got};
use crate::config::Case;

/// The text of the cases file with what came out. `None` when an example that must be rewritten is not written as a
/// block (`- case: …` with one key per line).
pub fn bless(text: &str, cases: &[Case], outcomes: &[CaseOutcome]) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = lines.iter().find(|line| line.trim_start().starts_with("- ")).map(|line| indentation(line))?;
    let mut edits = Vec::new();
    for (case, outcome) in cases.iter().zip(outcomes).filter(|(_, outcome)| !outcome.holds()) {
        edits.push(Item::around(&lines, indent, case.name.place.line as usize)?.edit(&lines, case, &outcome.got)?);
    }
    let mut out: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    // From the end, so that line numbers stay right.
    edits.sort_by_key(|(first, ..)| std::cmp::Reverse(*first));
    for (first, end, replacement) in edits {
        out.splice(first..end, replacement);
    }
    Some(out.join("\n") + "\n")
}

/// One example: its lines, and the indentation of its keys.
struct Item {
    first: usize,
    end: usize,
    keys: usize,
}

impl Item {
    fn around(lines: &[&str], indent: usize, line: usize) -> Option<Self> {
        let starts =
            |at: &usize| lines.get(*at).is_some_and(|l| indentation(l) == indent && l.trim_start().starts_with("- "));
        let first = (0..line).rev().find(starts)?;
        let end = (first + 1..lines.len()).find(starts).unwrap_or(lines.len());
        // Blank lines and comments before the next example belong to that one.
        let belongs = |at: &usize| !matches!(lines[*at].trim_start().chars().next(), None | Some('#'));
        let end = (first..end).rev().find(belongs)? + 1;
        let dash = lines[first].chars().skip(indent + 1).take_while(|c| *c == ' ').count();
        Some(Self { first, end, keys: indent + 1 + dash })
    }

    /// The lines that take the place of the example's.
    fn edit(&self, lines: &[&str], case: &Case, got: &Got) -> Option<(usize, usize, Vec<String>)> {
        let mut kept = Vec::new();
        let mut at = self.first;
        while at < self.end {
            let key = key_of(lines[at], self.keys, at == self.first)?;
            let mut next = at + 1;
            while next < self.end && key_of(lines[next], self.keys, false).is_none() {
                next += 1;
            }
            match key {
                "expect" | "quarantine" if at == self.first => return None,
                "expect" | "quarantine" => {}
                _ => kept.extend(lines[at..next].iter().map(|line| (*line).to_owned())),
            }
            at = next;
        }
        let pad = " ".repeat(self.keys);
        if case.expect.is_some() || got.refused.is_empty() {
            kept.push(format!("{pad}expect:{}", if got.rows.is_empty() { " []" } else { "" }));
            kept.extend(
                got.rows.iter().enumerate().map(|(n, row)| format!("{pad}  - {}", flow(&wanted(case, n, row)))),
            );
        }
        if !got.refused.is_empty() {
            kept.push(format!("{pad}quarantine:"));
            for (row, reasons) in &got.refused {
                for reason in reasons {
                    let column = if reason.column.is_empty() {
                        String::new()
                    } else {
                        format!("column: {}, ", scalar(&reason.column))
                    };
                    kept.push(format!("{pad}  - {{ row: {row}, {column}code: {} }}", reason.code));
                }
            }
        }
        Some((self.first, self.end, kept))
    }
}

fn indentation(line: &str) -> usize {
    line.chars().take_while(|c| *c == ' ').count()
}

/// The key that a line of an example begins with, when it stands at the keys' indentation.
fn key_of<'a>(line: &'a str, keys: usize, first: bool) -> Option<&'a str> {
    let content = line.trim_start();
    let content: &'a str = if first { content.strip_prefix('-')?.trim_start() } else { content };
    if !first && indentation(line) != keys || content.starts_with('#') || content.starts_with('-') {
        return None;
    }
    content.split_once(':').map(|(key, _)| key)
}

/// The fields that row `n` of the example named, or every field with a value.
fn wanted(case: &Case, n: usize, row: &[(String, Option<String>)]) -> Vec<(String, Option<String>)> {
    let named = case.expect.as_ref().and_then(|rows| rows.get(n).or(rows.first())).filter(|_| !case.exact);
    let keep = |(field, value): &&(String, Option<String>)| match named {
        Some(cells) => cells.iter().any(|cell| cell.name.value == *field),
        None => value.is_some(),
    };
    row.iter().filter(keep).cloned().collect()
}

fn flow(cells: &[(String, Option<String>)]) -> String {
    let cell = |(name, value): &(String, Option<String>)| {
        format!("{}: {}", scalar(name), value.as_deref().map_or_else(|| "null".to_owned(), scalar))
    };
    format!("{{ {} }}", cells.iter().map(cell).collect::<Vec<_>>().join(", "))
}

/// A YAML scalar that reads back as this text: plain where that is safe, quoted where not.
pub(super) fn scalar(text: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || matches!(c, '_' | '(' | ')' | '·' | '.' | '/' | '-' | ' ');
    let starts_well = text.chars().next().is_some_and(char::is_alphanumeric);
    let word = matches!(text.to_lowercase().as_str(), "null" | "true" | "false" | "yes" | "no" | "on" | "off");
    let leading_zero = text.starts_with('0') && text.len() > 1;
    if starts_well && !word && !leading_zero && text.chars().all(safe) && text.trim() == text {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

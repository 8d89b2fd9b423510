//! `huiliu quarantine show`: one row with everything known about it.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use chrono::NaiveDate;
use serde::Serialize;

use super::super::table::{shown, table, text};
use super::super::{Context, Exit, audit, purpose};
use super::reasons;
use crate::config::{DatasetRef, Workspace};
use crate::engine::Engine;
use crate::error::Problem;
use crate::mapping::{CompiledMapping, MappingSource};
use crate::store::{QuarantineFilter, QuarantineView};

/// Raw bytes shown; the rest are counted.
const SHOWN_BYTES: usize = 4096;

/// One entry in full.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    entry: &'a QuarantineView,
    reasons_explained: Vec<Told>,
    raw: Raw,
    /// Decoded cells in contract order; absent when the row could not be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    cells: Option<Vec<Cell>>,
    /// The present version of the mapping, if it is another one than refused the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping_now: Option<String>,
}

/// One reason.
#[derive(Debug, Serialize)]
struct Told {
    column: String,
    code: String,
    chinese: &'static str,
    english: &'static str,
    /// `file:line` of the mapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

/// One cell as delivered.
#[derive(Debug, Serialize)]
struct Cell {
    column: String,
    /// `***` where it is hidden.
    text: Option<String>,
    /// Whether a reason is about it.
    suspect: bool,
    /// Whether nobody said why it should be shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    hidden: bool,
}

/// Raw bytes in a form that can be looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Raw {
    bytes: usize,
    /// `utf-8`, `gb18030` or `hex`; `hidden` while nobody said why.
    shown_as: &'static str,
    text: String,
}

/// Prints one entry.
pub(super) async fn run(
    engine: &mut Engine,
    (id, why): (i64, Option<&str>),
    context: &Context,
) -> anyhow::Result<Exit> {
    let filter = QuarantineFilter { ids: vec![id], with_content: true, limit: 1, ..QuarantineFilter::default() };
    let mut found = engine.store().quarantine(&filter).await?;
    let Some(entry) = found.first_mut() else {
        let problem = Problem::error("HL0815", format!("there is no quarantine entry {id}"));
        return Err(problem.hint("`huiliu quarantine list` shows those that are open").into());
    };
    let open = match why {
        Some(_) => None,
        None => Some(open_columns(engine.workspace(), &entry.dataset, context)),
    };
    let told = why.map_or_else(|| ", what is open of it".to_owned(), |why| format!(", with its raw bytes, why: {why}"));
    audit::note(engine, "quarantine.show", &format!("entry {id} of {}{told}", entry.dataset), context).await?;
    if open.is_some() {
        entry.key = None; // of cells that may be hidden
    }
    let shown = look_at(engine.workspace(), entry, open.as_ref(), context);
    purpose::hint(shown.raw.shown_as == HIDDEN_RAW, context)?;
    if context.json {
        context.print_json(&shown)?;
    } else {
        context.print(&text_of(&shown))?;
    }
    Ok(Exit::Done)
}

/// Columns of a dataset whose cells need no reason: mappings read them, for nothing but fields below level 3; and the time of
/// change. What no mapping reads may be anything. With a mapping that does not compile, all are closed.
fn open_columns(workspace: &Workspace, dataset: &str, context: &Context) -> BTreeSet<String> {
    let (mut open, mut closed) = (BTreeSet::new(), BTreeSet::new());
    let today = context.clock.today(workspace.installation.zone);
    let of_this = |key: &&(String, String, String)| format!("{}.{}", key.0, key.1) == dataset;
    for key in workspace.mappings.keys().filter(of_this) {
        let read = columns_by_field(workspace, key, today);
        if read.is_empty() {
            return BTreeSet::new();
        }
        let register = workspace.registers.get(&key.2);
        for (field, columns) in read {
            let opens = purpose::opens(None, register.and_then(|register| register.field(&field)));
            if opens { &mut open } else { &mut closed }.extend(columns);
        }
    }
    let contract =
        dataset.split_once('.').and_then(|(system, own)| workspace.connectors.get(system)?.datasets.get(own));
    open.extend(contract.and_then(|own| own.updated.as_ref()).map(|column| column.value.clone()));
    open.retain(|column| !closed.contains(column));
    open
}

/// Of these columns only, where nobody said why.
fn look_at<'a>(
    workspace: &Workspace,
    entry: &'a QuarantineView,
    open: Option<&BTreeSet<String>>,
    context: &Context,
) -> Shown<'a> {
    let cells = cells(workspace, entry, open, context);
    let shows_raw = open.is_none() || cells.as_ref().is_some_and(|cells| !cells.iter().any(|cell| cell.hidden));
    let file = mapping_key(entry).and_then(|key| workspace.mappings.get(&key)).map(|mapping| &mapping.file);
    let told = entry.reasons.iter().map(|reason| {
        let meaning = reasons::meaning(&reason.code);
        Told {
            column: reason.column.clone(),
            code: reason.code.clone(),
            chinese: meaning.map_or("不符合要求", |meaning| meaning.chinese),
            english: meaning.map_or("not explained by this version", |meaning| meaning.english),
            place: file.filter(|_| reason.line > 0).map(|file| format!("{file}:{}", reason.line)),
        }
    });
    let now = mapping_key(entry).and_then(|(system, dataset, into)| workspace.mapping_digest(&system, &dataset, &into));
    Shown {
        entry,
        reasons_explained: told.collect(),
        raw: if shows_raw { raw(&entry.raw) } else { Raw::hidden(&entry.raw) },
        cells,
        mapping_now: now.filter(|now| !entry.mapping.is_empty() && !now.starts_with(&entry.mapping)),
    }
}

/// The mapping that refused the row.
pub(super) fn mapping_key(entry: &QuarantineView) -> Option<(String, String, String)> {
    let (system, dataset) = entry.dataset.split_once('.')?;
    Some((system.to_owned(), dataset.to_owned(), entry.register.clone()?))
}

/// Which contract columns a reason is about.
pub(super) struct Suspects<'a> {
    workspace: &'a Workspace,
    today: NaiveDate,
    /// By mapping: register field → contract columns that it reads.
    read: HashMap<(String, String, String), HashMap<String, Vec<String>>>,
}

impl<'a> Suspects<'a> {
    /// For entries of this workspace.
    pub(super) fn new(workspace: &'a Workspace, context: &Context) -> Self {
        Self { workspace, today: context.clock.today(workspace.installation.zone), read: HashMap::new() }
    }

    /// All contract columns that the entry's reasons are about.
    pub(super) fn of(&mut self, entry: &QuarantineView) -> BTreeSet<String> {
        entry.reasons.iter().flat_map(|reason| self.of_reason(entry, &reason.column)).collect()
    }

    /// Contract columns that a field reads whose conversion failed; the column itself where a reason names one.
    pub(super) fn of_reason(&mut self, entry: &QuarantineView, column: &str) -> Vec<String> {
        let itself = || vec![column.to_owned()];
        let Some(key) = mapping_key(entry) else { return itself() };
        let (workspace, today) = (self.workspace, self.today);
        let read = self.read.entry(key).or_insert_with_key(|key| columns_by_field(workspace, key, today));
        read.get(column).filter(|columns| !columns.is_empty()).cloned().unwrap_or_else(itself)
    }
}

/// Empty for a mapping that is gone or does not compile now.
fn columns_by_field(
    workspace: &Workspace,
    (system, dataset, register): &(String, String, String),
    today: NaiveDate,
) -> HashMap<String, Vec<String>> {
    let from = DatasetRef { system: system.clone(), dataset: dataset.clone() };
    let compiled = MappingSource::find(workspace, &from, register, today)
        .and_then(|source| CompiledMapping::compile(&source).ok());
    let lineage = compiled.map(|mapping| mapping.lineage().to_vec()).unwrap_or_default();
    lineage.into_iter().map(|line| (line.field, line.columns)).collect()
}

fn cells(
    workspace: &Workspace,
    entry: &QuarantineView,
    open: Option<&BTreeSet<String>>,
    context: &Context,
) -> Option<Vec<Cell>> {
    let stored: serde_json::Map<String, serde_json::Value> = serde_json::from_str(entry.cells.as_deref()?).ok()?;
    let suspects = Suspects::new(workspace, context).of(entry);
    let cells = stored.into_iter().map(|(column, cell)| {
        let hidden = open.is_some_and(|open| !open.contains(&column)) && cell.as_str().is_some_and(|c| !c.is_empty());
        let text = if hidden { Some(purpose::HIDDEN) } else { cell.as_str() };
        Cell { suspect: suspects.contains(&column), text: text.map(str::to_owned), hidden, column }
    });
    Some(cells.collect())
}

/// How raw bytes are shown that are not shown.
const HIDDEN_RAW: &str = "hidden";

impl Raw {
    fn hidden(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len(), shown_as: HIDDEN_RAW, text: purpose::HIDDEN.to_owned() }
    }
}

/// Bytes as text where they are text: UTF-8, else GB18030, else hexadecimal.
fn raw(bytes: &[u8]) -> Raw {
    let shown = bytes.get(..SHOWN_BYTES).unwrap_or(bytes);
    let readable = |text: &str| !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\r' | '\n'));
    let (shown_as, text) = match readable_text(shown, shown.len() < bytes.len()) {
        Some((name, text)) if readable(&text) => (name, text),
        _ => ("hex", hex_lines(shown)),
    };
    Raw { bytes: bytes.len(), shown_as, text }
}

/// Text of a known encoding; where more bytes follow, the last character may be cut.
fn readable_text(bytes: &[u8], cut: bool) -> Option<(&'static str, String)> {
    match std::str::from_utf8(bytes) {
        Ok(text) => return Some(("utf-8", text.to_owned())),
        Err(error) if cut && error.error_len().is_none() => {
            let whole = bytes.get(..error.valid_up_to()).unwrap_or_default();
            return Some(("utf-8", String::from_utf8_lossy(whole).into_owned()));
        }
        Err(_) => {}
    }
    let tries = if cut { 4.min(bytes.len()) } else { 1 };
    (0..tries).find_map(|n| {
        let whole = bytes.get(..bytes.len() - n)?;
        let (text, failed) = encoding_rs::GB18030.decode_without_bom_handling(whole);
        (!failed).then(|| ("gb18030", text.into_owned()))
    })
}

fn hex_lines(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(32) {
        let line: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        out.push_str(&line.join(" "));
        out.push('\n');
    }
    out
}

fn text_of(all: &Shown<'_>) -> String {
    let Shown { entry, reasons_explained, raw, cells, mapping_now } = all;
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("writing to a string cannot fail");
    let register = entry.register.as_deref().unwrap_or("—");
    line(format!("问题数据 #{} · {} → {register} · {}", entry.id, entry.dataset, entry.status));
    line(format!(
        "文件 file: {} · 行 row {} (line {}, byte {})",
        shown(&entry.file),
        entry.row,
        entry.line,
        entry.byte
    ));
    line(format!("批次 runs: first {}, last {}", entry.first_run, entry.last_run));
    if !entry.mapping.is_empty() {
        let now =
            mapping_now.as_ref().map(|_| " (the mapping has changed since 映射已变: replay it)").unwrap_or_default();
        let version: String = entry.mapping.chars().take(16).collect();
        line(format!("映射 mapping version: {version}{now}"));
    }
    line("\n原因 reasons".to_owned());
    for told in reasons_explained {
        let column = if told.column.is_empty() { String::new() } else { format!("{}: ", shown(&told.column)) };
        line(format!("  ✗ {column}{} {} ({})", told.chinese, told.english, told.code));
        if let Some(place) = &told.place {
            line(format!("    {place}"));
        }
    }
    if let Some(cells) = cells {
        let columns = [text(""), text("列 column"), text("内容 cell")];
        let rows = cells.iter().map(|cell| {
            let mark = if cell.suspect { "✗" } else { "" };
            [mark.to_owned(), cell.column.clone(), cell.text.clone().unwrap_or_else(|| "∅".to_owned())]
        });
        line(format!("\n{}", table(&columns, rows).trim_end()));
    }
    line(format!("\n原文 raw: {} bytes, shown as {}", raw.bytes, raw.shown_as));
    for raw_line in raw.text.lines() {
        line(format!("  {}", shown(raw_line)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bytes_are_shown_as_what_they_are() {
        let check = |bytes: &[u8], shown_as: &str, text: &str| {
            assert_eq!(
                raw(bytes),
                Raw {
                    bytes: bytes.len(),
                    shown_as: match shown_as {
                        "utf-8" => "utf-8",
                        "gb18030" => "gb18030",
                        _ => "hex",
                    },
                    text: text.into()
                },
                "{bytes:?}"
            );
        };
        check("青岛,1\r\n".as_bytes(), "utf-8", "青岛,1\r\n");
        check(&[0xc7, 0xe0, 0xb5, 0xba, b',', b'1'], "gb18030", "青岛,1");
        check(&[0, 1, 0xff], "hex", "00 01 ff\n");
        check(b"", "utf-8", "");
    }

    #[test]
    fn a_character_cut_by_the_limit_does_not_turn_text_into_hex() {
        let long = "企".repeat(2000);
        let seen = raw(long.as_bytes());
        assert_eq!((seen.shown_as, seen.bytes), ("utf-8", 6000));
        assert_eq!(seen.text.chars().count(), SHOWN_BYTES / 3);
    }
}

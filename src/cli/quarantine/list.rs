//! `huiliu quarantine list`: how many rows for which reason, then the rows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::table::{count, number, table, text};
use super::super::{Context, Exit};
use super::{each_page, reasons};
use crate::engine::Engine;
use crate::store::{QuarantineFilter, QuarantineView};

/// Rows with one reason.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Counted {
    dataset: String,
    /// Empty for rows that could not be decoded.
    register: String,
    column: String,
    code: String,
    rows: u64,
}

/// Prints counts and rows.
pub(super) async fn run(
    engine: &mut Engine,
    filter: &QuarantineFilter,
    limit: i64,
    context: &Context,
) -> anyhow::Result<Exit> {
    let mut counts: BTreeMap<[String; 4], u64> = BTreeMap::new();
    let (mut total, mut entries) = (0_u64, Vec::new());
    each_page(engine.store(), filter, |page| {
        for entry in page {
            total += 1;
            for reason in &entry.reasons {
                let register = entry.register.clone().unwrap_or_default();
                let key = [entry.dataset.clone(), register, reason.column.clone(), reason.code.clone()];
                *counts.entry(key).or_default() += 1;
            }
            if (entries.len() as i64) < limit {
                entries.push(QuarantineView { key: None, ..entry }); // it may be anything; `show --why` has it
            }
        }
    })
    .await?;
    let counts = most_first(counts);
    if context.json {
        context.print_json(&serde_json::json!({ "total": total, "by_reason": counts, "entries": entries }))?;
        return Ok(Exit::Done);
    }
    if total == 0 {
        context.note("nothing is set aside 没有问题数据")?;
        return Ok(Exit::Done);
    }
    context.print(&(counts_text(&counts) + "\n" + &entries_text(&entries)))?;
    let hidden = total - entries.len() as u64;
    if hidden > 0 {
        context.note(&format!("{} more rows 另有; --limit shows more", count(hidden)))?;
    }
    Ok(Exit::Done)
}

fn most_first(counts: BTreeMap<[String; 4], u64>) -> Vec<Counted> {
    let mut all: Vec<Counted> = counts
        .into_iter()
        .map(|([dataset, register, column, code], rows)| Counted { dataset, register, column, code, rows })
        .collect();
    all.sort_by_key(|counted| std::cmp::Reverse(counted.rows));
    all
}

fn counts_text(counts: &[Counted]) -> String {
    let columns = [
        number("行数 rows"),
        text("数据集 dataset"),
        text("基础库 register"),
        text("字段 column"),
        text("原因 code"),
        text("说明"),
    ];
    let rows = counts.iter().map(|c| {
        let meaning = reasons::meaning(&c.code).map_or("", |meaning| meaning.chinese);
        [count(c.rows), c.dataset.clone(), c.register.clone(), c.column.clone(), c.code.clone(), meaning.to_owned()]
    });
    table(&columns, rows)
}

fn entries_text(entries: &[QuarantineView]) -> String {
    let columns = [
        number("编号 id"),
        text("数据集 dataset"),
        text("文件 file"),
        number("行 row"),
        text("状态 status"),
        text("原因 reasons"),
    ];
    let rows = entries.iter().map(|entry| {
        let reason = |r: &crate::mapping::Reason| match r.column.as_str() {
            "" => r.code.clone(),
            column => format!("{column}:{}", r.code),
        };
        let all: Vec<String> = entry.reasons.iter().map(reason).collect();
        [
            entry.id.to_string(),
            entry.dataset.clone(),
            entry.file.clone(),
            entry.row.to_string(),
            entry.status.clone(),
            all.join(" "),
        ]
    });
    table(&columns, rows)
}

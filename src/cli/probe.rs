//! `huiliu probe [SYSTEM]`: reach the real systems and compare them with their contracts, on one screen.

use super::table::{count, number, table, text};
use super::workspace::{Access, open};
use super::{Context, Exit};
use crate::engine::Probed;

/// Arguments of `probe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// System to reach; all when absent.
    pub system: Option<String>,
    /// Also print, for every column, how many sampled rows have a value and what its values look like.
    #[arg(long)]
    pub columns: bool,
}

/// Probes; fails when a system cannot be reached or read, held (3) when one differs from its contract.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = open(context, Access::Read).await?.engine;
    let probed = engine.probe(args.system.as_deref()).await?;
    if context.json {
        context.print_json(&probed)?;
    } else {
        context.print(&text_of(&probed, args.columns || args.system.is_some()))?;
    }
    let any = |outcome: &str| probed.iter().any(|one| one.outcome == outcome);
    Ok(if any("failed") {
        Exit::Failed
    } else if any("differs") {
        Exit::Held
    } else {
        Exit::Done
    })
}

fn text_of(probed: &[Probed], columns: bool) -> String {
    let head = [
        text("数据集 dataset"),
        text("结果 outcome"),
        number("毫秒 ms"),
        number("待取 items"),
        number("抽样 rows"),
        text("说明 what"),
    ];
    let rows = probed.iter().map(|one| {
        let outcome = match one.outcome {
            "reached" => "正常 reached",
            "nothing new" => "无新数据 nothing new",
            "differs" => "与约定不符 differs",
            _ => "失败 failed",
        };
        let cells = [count(one.milliseconds), count(one.items as u64), count(one.rows)];
        let [ms, items, rows] = cells;
        [one.dataset.clone(), outcome.to_owned(), ms, items, rows, what(one)]
    });
    let mut out = table(&head, rows);
    for one in probed.iter().filter(|one| columns && !one.columns.is_empty()) {
        out += &format!("\n{}\n", one.dataset);
        let head = [text("字段 column"), number("有值 filled"), text("样式 shape")];
        let rows = one.columns.iter().map(|column| {
            let mark = if column.breaks { " ← 必填 required" } else { "" };
            [column.name.clone(), count(column.filled), format!("{}{mark}", column.shape.as_deref().unwrap_or("–"))]
        });
        out += &table(&head, rows);
    }
    out
}

fn what(one: &Probed) -> String {
    let mut parts: Vec<String> = one.why.iter().cloned().collect();
    if let Some(lag) = one.lag {
        parts.push(format!("滞后 behind: {} bytes, {} s", count(lag.bytes), count(lag.seconds)));
    }
    let list = |names: &[String]| names.join(", ");
    if !one.lost.is_empty() {
        parts.push(format!("缺少 lost: {}", list(&one.lost)));
    }
    if !one.new.is_empty() {
        parts.push(format!("新增 new: {}", list(&one.new)));
    }
    let missing: Vec<String> = one.columns.iter().filter(|c| c.breaks).map(|c| c.name.clone()).collect();
    if !missing.is_empty() {
        parts.push(format!("必填为空 required and blank: {}", list(&missing)));
    }
    if one.undecodable > 0 {
        parts.push(format!("{} 行不可解码 not decodable", one.undecodable));
    }
    parts.join("; ")
}

//! `huiliu plan`: what the definitions would do that has not happened yet, before they are merged.

use super::scope::scope_text;
use super::table::{count, local, number, table, text};
use super::workspace::ask;
use super::{Context, Exit};
use crate::engine::{Change, Impact, PipelineChange, RegisterChange, Remapped};

/// What the definitions in the files would do that the last runs and releases did not: affected pipelines, registers and
/// feeds; claims to be mapped again; fields and records newly exposed or withdrawn; what breaks. Writes nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 nothing that needs a person · 1 failed, or the definitions have errors · \
3 something is newly exposed, or breaks a register, a contract or a feed's schema")]
pub struct Args {}

/// Runs the verb.
pub async fn run(_: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = ask(context).await?;
    let past = engine.past().await?;
    let impact = engine.impact(&past).await?;
    if context.json {
        context.print_json(&impact)?;
    } else if impact.is_nothing() {
        context.note("nothing would change 没有变更")?;
    } else {
        let zone = engine.workspace().installation.zone;
        context.print(&impact_text(&impact, |at| local(zone, at)))?;
    }
    Ok(if impact.needs_a_person() { Exit::Held } else { Exit::Done })
}

fn impact_text(impact: &Impact, day: impl Fn(i64) -> String) -> String {
    let mut parts = Vec::new();
    if impact.never_run {
        parts.push("nothing ran here yet: everything is new 尚未运行，全部为新增\n".to_owned());
    }
    parts.extend(impact.registers.iter().map(register_text));
    parts.extend(impact.pipelines.iter().map(|pipeline| pipeline_text(pipeline, &day)));
    parts.extend(impact.feeds.iter().map(scope_text));
    let end = if impact.needs_a_person() {
        "needs a person: something is newly exposed or breaks 需人工确认\n"
    } else {
        "nothing is newly exposed, nothing breaks 无新增提供，无破坏性变更\n"
    };
    parts.push(end.to_owned());
    parts.join("\n")
}

/// `~ changed`, as lists of changes write it.
pub(super) fn sign(change: Change) -> &'static str {
    match change {
        Change::New => "+ 新增 new",
        Change::Changed => "~ 变更 changed",
        Change::Removed => "- 移除 removed",
    }
}

fn register_text(register: &RegisterChange) -> String {
    let mut out = format!("基础库 register {} {}\n", register.register, sign(register.change));
    if !register.added.is_empty() {
        out += &format!("  新增字段 new fields: {}\n", register.added.join(", "));
    }
    if let Some(problem) = &register.refused {
        out += &format!("  ✗ 破坏性 breaking: {}\n", problem.to_string().replace('\n', "\n  "));
    }
    out
}

fn pipeline_text(pipeline: &PipelineChange, day: &impl Fn(i64) -> String) -> String {
    let mut out = format!("流程 pipeline {} {}\n", pipeline.pipeline, sign(pipeline.change));
    if !pipeline.because.is_empty() {
        out += &format!("  因 because of: {}\n", pipeline.because.join(", "));
    }
    for column in &pipeline.contract {
        let breaking = if column.breaking { "✗ 破坏性 breaking: " } else { "" };
        out += &format!("  {breaking}契约列 column {} {}\n", column.column, column.change);
    }
    let backfill =
        format!("needs a backfill 需补数: huiliu backfill start {} --files '…' --dry-run", pipeline.pipeline);
    for register in &pipeline.begins {
        let how =
            if pipeline.by_next_extract { "the next full extract fills it 下一次全量补齐" } else { &backfill };
        out += &format!("  新入库 begins to fill {register}: what came before is not in it; {how}\n");
    }
    for again in &pipeline.remapping {
        let how = if again.by_next_extract {
            "the next full extract maps every row again 下一次全量自动重映射"
        } else {
            &backfill
        };
        let (claims, version) = (count(again.claims), again.mapping.get(..16).unwrap_or_default());
        out += &format!(
            "  {} → {}: {claims} claims 断言 by an older mapping than {version}; {how}\n",
            again.dataset, again.register
        );
        out += &runs_text(&again.by_run, day);
    }
    out
}

fn runs_text(runs: &[Remapped], day: &impl Fn(i64) -> String) -> String {
    let columns =
        [number("运行 run"), text("映射版本 mapping"), number("断言 claims"), text("业务时间自 from"), text("至 to")];
    let rows = runs.iter().map(|run| {
        let version = run.mapping.as_deref().and_then(|version| version.get(..16)).unwrap_or("—");
        [run.run.to_string(), version.to_owned(), count(run.claims), day(run.from), day(run.to)]
    });
    table(&columns, rows)
}

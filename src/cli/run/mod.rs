//! `huiliu run`: one pass now — pipelines, then the feeds they touch.

mod rehearse;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::cli::lease::Held;
use crate::cli::progress::Bars;
use crate::cli::table::{count, number, table, text};
use crate::cli::workspace::{Access, open};
use crate::cli::{Context, Exit};
use crate::engine::{Engine, EngineError, FeedReport, RunOptions, RunReport};

/// One pass now: take new files, then release the feeds of the registers they feed
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pipelines to run; none means all of them, and all feeds
    pub pipelines: Vec<String>,
    /// Accept what the checks would hold (a person has looked); the reason goes into the audit log
    #[arg(long, value_name = "WHY")]
    pub accept: Option<String>,
    /// Take files only; release no feed
    #[arg(long)]
    pub no_release: bool,
    /// Read and map the waiting files, say what would become of them, and write nothing 试运行
    #[arg(long, conflicts_with_all = ["accept", "no_release"])]
    pub dry_run: bool,
    /// With --dry-run: show a few added, changed and removed rows field by field, values masked 脱敏
    #[arg(long, requires = "dry_run")]
    pub diff: bool,
}

/// Everything one pass did.
#[derive(Debug, Serialize)]
pub struct PassReport {
    /// Pipelines, in order.
    pub runs: Vec<RunReport>,
    /// Feeds, in order.
    pub feeds: Vec<FeedReport>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    if args.dry_run {
        return rehearse::run(&args.pipelines, args.diff, context).await;
    }
    let opened = open(context, Access::Write).await?;
    let mut engine = opened.engine.with_progress(Arc::new(Bars::new()));
    stop_on_interrupt(&engine);
    let options = RunOptions { accept: args.accept };
    let report = pass(&mut engine, (&args.pipelines, context), &options, !args.no_release).await?;
    if context.json {
        context.print_json(&report)?;
    } else {
        context.print(&ledger_text(&report.runs))?;
        if !report.feeds.is_empty() {
            context.print(&format!("\n{}", feeds_text(&report.feeds)))?;
        }
        print_reasons(context, &report)?;
    }
    Ok(exit_of(&report))
}

/// Ctrl-C stops at the next commit boundary; nothing is lost.
pub fn stop_on_interrupt(engine: &Engine) {
    let stop = engine.stop_flag();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.store(true, Ordering::Relaxed);
        }
    });
}

/// Runs these pipelines (all when none is named), each to its own end, then the feeds they touch. What goes wrong with
/// one of them is in its report; an unknown name stops everything before it starts.
pub async fn pass(
    engine: &mut Engine,
    (names, context): (&[String], &Context),
    options: &RunOptions,
    release: bool,
) -> anyhow::Result<PassReport> {
    let all: Vec<String> = engine.workspace().pipelines.keys().cloned().collect();
    let chosen = if names.is_empty() { &all } else { names };
    let mut report = PassReport { runs: Vec::new(), feeds: Vec::new() };
    let mut registers: BTreeSet<String> = BTreeSet::new();
    for name in chosen {
        engine.pipeline(name)?;
    }
    for name in chosen {
        let held = Held::where_shared(engine, &format!("pipeline/{name}"), context).await?;
        report.runs.push(match engine.run(name, options).await {
            Ok(run) => run,
            Err(EngineError::Stopped) => return Err(EngineError::Stopped.into()),
            Err(error) => RunReport::failed(name, &error),
        });
        Held::end(held, engine).await?;
        let pipeline = engine.workspace().pipelines.get(name);
        registers.extend(pipeline.iter().flat_map(|p| p.into.iter().map(|into| into.value.clone())));
    }
    if !release {
        return Ok(report);
    }
    let feeds: Vec<String> = engine
        .workspace()
        .feeds
        .values()
        .filter(|feed| names.is_empty() || registers.contains(&feed.register.value))
        .map(|feed| feed.name.clone())
        .collect();
    for feed in feeds {
        let held = Held::where_shared(engine, &format!("feed/{feed}"), context).await?;
        report.feeds.push(match engine.release(&feed).await {
            Ok(released) => released,
            Err(EngineError::Stopped) => return Err(EngineError::Stopped.into()),
            Err(error) => FeedReport::failed(&feed, &error),
        });
        Held::end(held, engine).await?;
    }
    Ok(report)
}

/// The worst of what happened.
pub fn exit_of(report: &PassReport) -> Exit {
    let codes: Vec<u8> = report.runs.iter().map(RunReport::exit_code).collect();
    if codes.contains(&4) {
        Exit::Unbalanced
    } else if codes.contains(&1) || report.feeds.iter().any(|feed| feed.status == "failed") {
        Exit::Failed
    } else if codes.contains(&3) || report.feeds.iter().any(|feed| feed.status == "waiting") {
        Exit::Held
    } else {
        Exit::Done
    }
}

/// The ledger of a pass as a table.
pub fn ledger_text(runs: &[RunReport]) -> String {
    let columns = [
        text("流程 pipeline"),
        text("基础库 register"),
        text("状态 status"),
        number("读入 read"),
        number("坏行 undecodable"),
        number("筛去 filtered"),
        number("问题 quarantined"),
        number("映射 mapped"),
        number("新增 new"),
        number("变更 changed"),
        number("未变 unchanged"),
        number("落选 superseded"),
        number("撤销 retracted"),
    ];
    let rows = runs.iter().flat_map(|run| run.registers.iter().map(move |line| (run, line))).map(|(run, line)| {
        let c = &line.counts;
        let status = if line.balanced { run.status } else { "unbalanced" };
        let numbers = [
            c.read,
            c.undecodable,
            c.filtered,
            c.quarantined,
            c.mapped,
            c.new,
            c.changed,
            c.unchanged,
            c.superseded,
            c.retracted,
        ];
        let words = [run.pipeline.clone(), line.register.clone(), status.to_owned()];
        words.into_iter().chain(numbers.map(count)).collect::<Vec<_>>()
    });
    table(&columns, rows)
}

/// Feeds of a pass as a table.
pub fn feeds_text(feeds: &[FeedReport]) -> String {
    let columns = [
        text("订阅 feed"),
        text("状态 status"),
        number("考虑 considered"),
        number("发送 released"),
        number("不予 withheld"),
        number("不涉 unaffected"),
        number("批 batches"),
        number("更新 upserts"),
        number("撤回 withdrawals"),
        number("到达 durable"),
    ];
    let rows = feeds.iter().map(|feed| {
        let c = &feed.counts;
        let numbers = [
            c.considered,
            c.released,
            c.withheld,
            c.unaffected,
            feed.batches,
            feed.upserts,
            feed.withdrawals,
            feed.durable,
        ];
        [feed.feed.clone(), feed.status.to_owned()].into_iter().chain(numbers.map(count)).collect::<Vec<_>>()
    });
    table(&columns, rows)
}

fn print_reasons(context: &Context, report: &PassReport) -> io::Result<()> {
    for run in &report.runs {
        for file in run.files.iter().filter(|file| file.outcome != "taken") {
            let why = file.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            context.note(&format!("{}: {} {}{why}", run.pipeline, file.name, file.outcome))?;
        }
        if run.files.is_empty() && run.why.is_none() {
            context.note(&format!("{}: nothing there to take 没有可取的文件或数据", run.pipeline))?;
        }
        if let Some(why) = run.why.as_deref().filter(|_| run.files.iter().all(|file| file.why.is_none())) {
            context.note(&format!("{}: {} {why}", run.pipeline, run.status))?;
        }
    }
    for feed in &report.feeds {
        if let Some(why) = &feed.why {
            context.note(&format!("{}: {} {why}", feed.feed, feed.status))?;
        }
    }
    Ok(())
}

//! How backfills are shown.

use std::time::Duration;

use serde::Serialize;

use crate::cli::table::{count, local, number, rfc3339, table, text};
use crate::cli::workspace::open_as_it_is;
use crate::cli::{Context, Exit};
use crate::engine::schedule::BackfillLane;
use crate::engine::{Comparison, Engine, Rehearsal};
use crate::error::Problem;
use crate::store::{BackfillState, BackfillView, ChunkState, ChunkView};

/// Chunks listed at most.
const CHUNKS: i64 = 200;

/// One backfill, whole.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    backfill: BackfillView,
    /// Rows a second since it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// Seconds left at that rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<f64>,
    chunks: Vec<ChunkView>,
    comparison: Comparison,
}

/// `backfill list`.
pub(super) async fn list(context: &Context) -> anyhow::Result<Exit> {
    let mut opened = open_as_it_is(context).await?;
    let all = opened.engine.store().backfills(None).await?;
    if context.json {
        context.print_json(&all)?;
        return Ok(Exit::Done);
    }
    let zone = opened.engine.workspace().installation.zone;
    let columns = [
        number("编号 id"),
        text("种类 kind"),
        text("对象 target"),
        text("状态 state"),
        number("切片 chunks"),
        number("完成 done"),
        number("失败 failed"),
        number("行 rows"),
        text("提出 asked"),
        text("事由 why"),
    ];
    let rows = all.iter().map(|b| {
        [
            b.id.to_string(),
            b.kind.clone(),
            b.target.clone(),
            b.state.name().to_owned(),
            count(b.pending + b.done + b.failed),
            count(b.done),
            count(b.failed),
            count(b.rows),
            local(zone, b.asked),
            b.why.clone().unwrap_or_default(),
        ]
    });
    context.print(&table(&columns, rows))?;
    Ok(Exit::Done)
}

/// `backfill status`.
pub(super) async fn status(id: Option<i64>, watch: bool, context: &Context) -> anyhow::Result<Exit> {
    let mut opened = open_as_it_is(context).await?;
    let newest = match id {
        Some(id) => Some(id),
        None => opened.engine.store().backfills(None).await?.first().map(|backfill| backfill.id),
    };
    let Some(id) = newest else {
        return Err(Problem::error("HL0924", "there is no backfill yet").hint("huiliu backfill start --help").into());
    };
    if watch {
        follow(&mut opened.engine, id, context).await?;
    }
    ended(&mut opened.engine, id, context).await
}

/// A line a second until it is over or waits for a person.
async fn follow(engine: &mut Engine, id: i64, context: &Context) -> anyhow::Result<()> {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let mut said = false;
    loop {
        seconds.tick().await;
        let backfill = engine.backfill(id).await?;
        context.note(&line(&backfill, context))?;
        if !backfill.state.works() {
            return Ok(());
        }
        let beside = BackfillLane::of(&backfill).beside.to_string();
        let worked_on = super::held(engine, |lease| lease.starts_with("daemon/") || lease == beside, context).await?;
        if !worked_on && !said {
            context.note(&format!("nobody works on it 无人处理: no daemon runs; huiliu backfill resume {id}"))?;
        }
        said = !worked_on;
    }
}

/// A daemon will do it.
pub(super) async fn handed_over(engine: &mut Engine, id: i64, context: &Context) -> anyhow::Result<Exit> {
    let backfill = engine.backfill(id).await?;
    if context.json {
        context.print_json(&backfill)?;
        return Ok(Exit::Done);
    }
    context.print(&format!("{}\n", line(&backfill, context)))?;
    context.note(&format!("the daemon works on it 已交守护进程: huiliu backfill status {id} --watch"))?;
    Ok(Exit::Done)
}

/// One line, or one JSON object.
pub(super) async fn state(engine: &mut Engine, id: i64, context: &Context) -> anyhow::Result<Exit> {
    let backfill = engine.backfill(id).await?;
    if context.json {
        context.print_json(&backfill)?
    } else {
        context.print(&format!("{}\n", line(&backfill, context)))?
    }
    Ok(Exit::Done)
}

/// Everything about it; the exit code says whether it went well.
pub(super) async fn ended(engine: &mut Engine, id: i64, context: &Context) -> anyhow::Result<Exit> {
    let backfill = engine.backfill(id).await?;
    let comparison = engine.compare_backfill(&backfill).await?;
    let chunks = engine.store().backfill_chunks(id, None, CHUNKS).await?;
    let exit = match backfill.state {
        BackfillState::Failed => Exit::Failed,
        BackfillState::Done | BackfillState::Stopped => Exit::Done,
        BackfillState::Pending | BackfillState::Running | BackfillState::Paused => Exit::Held,
    };
    let unbalanced = comparison.ledger.iter().any(|line| !line.counts.balanced());
    let (rate, left) = pace(&backfill, context);
    if context.json {
        context.print_json(&Shown { backfill, rate, left, chunks, comparison })?;
    } else {
        context.print(&format!("{}\n", line(&backfill, context)))?;
        let failed: Vec<&ChunkView> = chunks.iter().filter(|chunk| chunk.state == ChunkState::Failed).collect();
        if !failed.is_empty() {
            context.print(&chunk_table(&failed))?;
        }
        if !comparison.ledger.is_empty() {
            context.print(&ledger(&comparison))?;
        }
    }
    Ok(if unbalanced { Exit::Unbalanced } else { exit })
}

/// Rows a second since it began, and the seconds left.
fn pace(backfill: &BackfillView, context: &Context) -> (Option<f64>, Option<f64>) {
    let Some(started) = backfill.started else { return (None, None) };
    let until = backfill.ended.unwrap_or_else(|| context.clock.now().timestamp_micros());
    let seconds = (until - started) as f64 / 1e6;
    let rate = (seconds > 0.0 && backfill.rows_done > 0).then(|| backfill.rows_done as f64 / seconds);
    let rest = backfill.rows.saturating_sub(backfill.rows_done) as f64;
    (rate, rate.filter(|_| backfill.state.works()).map(|rate| rest / rate))
}

fn line(backfill: &BackfillView, context: &Context) -> String {
    let b = backfill;
    let all = b.pending + b.done + b.failed;
    let mut line = format!(
        "补数 backfill {} · {} {} · {} · {}/{} chunks · {}/{} rows",
        b.id,
        b.kind,
        b.target,
        b.state.name(),
        b.done,
        all,
        count(b.rows_done),
        count(b.rows)
    );
    let (rate, left) = pace(backfill, context);
    if let Some(rate) = rate {
        line += &format!(" · {rate:.0}/s");
    }
    if let Some(left) = left {
        line += &format!(" · {left:.0} s left");
    }
    if b.failed > 0 {
        line += &format!(" · {} failed", b.failed);
    }
    line
}

fn chunk_table(chunks: &[&ChunkView]) -> String {
    let columns = [number("切片 chunk"), text("范围 covers"), number("行 rows"), text("结束 ended"), text("原因 why")];
    let rows = chunks.iter().map(|chunk| {
        [
            chunk.n.to_string(),
            chunk.label.clone(),
            count(chunk.rows),
            chunk.ended.map(rfc3339).unwrap_or_default(),
            chunk.why.clone().unwrap_or_default(),
        ]
    });
    table(&columns, rows)
}

fn ledger(comparison: &Comparison) -> String {
    let columns = [
        text("基础库 register"),
        number("读入 read"),
        number("坏行 undecodable"),
        number("筛去 filtered"),
        number("问题 quarantined"),
        number("新增 new"),
        number("变更 changed"),
        number("未变 unchanged"),
        number("落选 superseded"),
        number("前 before"),
        number("后 after"),
    ];
    let of = |rows: &[crate::engine::RegisterRows], register: &str| {
        rows.iter().find(|line| line.register == register).map(|line| count(line.rows)).unwrap_or_default()
    };
    let rows = comparison.ledger.iter().map(|line| {
        let c = &line.counts;
        let numbers =
            [c.read, c.undecodable, c.filtered, c.quarantined, c.new, c.changed, c.unchanged, c.superseded].map(count);
        let (before, after) = (of(&comparison.before, &line.register), of(&comparison.after, &line.register));
        [line.register.clone()].into_iter().chain(numbers).chain([before, after]).collect::<Vec<_>>()
    });
    table(&columns, rows)
}

/// `backfill start --dry-run`.
pub(super) fn rehearsal(rehearsal: &Rehearsal, context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        context.print_json(rehearsal)?;
        return Ok(Exit::Done);
    }
    let r = rehearsal;
    context.print(&format!(
        "试算 dry run · {} {} · {} files or batches · {} chunks · {} rows · about {:.0} s\n",
        r.kind,
        r.target,
        r.sources,
        r.chunks,
        count(r.rows),
        r.seconds
    ))?;
    if !r.registers.is_empty() {
        let columns = [
            text("基础库 register"),
            number("读入 read"),
            number("坏行 undecodable"),
            number("筛去 filtered"),
            number("问题 quarantined"),
            number("新增 new"),
            number("变更 changed"),
            number("未变 unchanged"),
            number("落选 superseded"),
        ];
        let rows = r.registers.iter().map(|(register, c)| {
            let numbers =
                [c.read, c.undecodable, c.filtered, c.quarantined, c.new, c.changed, c.unchanged, c.superseded]
                    .map(count);
            [register.clone()].into_iter().chain(numbers).collect::<Vec<_>>()
        });
        context.print(&table(&columns, rows))?;
    }
    let columns = [text("订阅 feed"), text("部门 subscriber"), number("涉及 records affected")];
    let rows = r.affected.iter().map(|a| [a.feed.clone(), a.subscriber.clone(), count(a.records)]);
    context.print(&table(&columns, rows))?;
    context.note("nothing was written 未写入任何内容")?;
    Ok(Exit::Done)
}

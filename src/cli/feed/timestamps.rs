//! `huiliu feed timestamps`: what waits for its token of time, and every token that came, as files.

use std::path::PathBuf;

use serde::Serialize;

use super::super::table::{count, local, number, rfc3339, table, text};
use super::super::workspace::{Access, open};
use super::super::{Context, Exit, named};
use crate::outlet::{Outlet as _, Spool};

/// Tokens read at a time.
const PAGE: i64 = 1_000;

/// Arguments of `feed timestamps`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Feeds; none means all
    feeds: Vec<String>,
    /// Write every token to DIR/FEED/SEQ.tsr, as `huiliu verify` and `openssl ts` read it; what is there is kept 导出
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Line {
    feed: String,
    /// Batches that have no token yet.
    waiting: u64,
    /// When the oldest of them was sealed.
    since: Option<String>,
    /// HL0778: longer than the installation allows.
    late: bool,
    /// Tokens written now, or there already.
    written: Option<u64>,
    #[serde(skip)]
    since_micros: Option<i64>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = open(context, Access::Read).await?.engine;
    for feed in &args.feeds {
        named::feed(engine.workspace(), feed)?;
    }
    let workspace = engine.workspace().clone();
    let feeds = if args.feeds.is_empty() { workspace.feeds.keys().cloned().collect() } else { args.feeds };
    let now = context.clock.now().timestamp_micros();
    let mut lines = Vec::with_capacity(feeds.len());
    for feed in feeds {
        let waiting = engine.store().unstamped(&feed).await?;
        let written = match &args.into {
            None => None,
            Some(dir) => {
                let (spool, mut after, mut written) = (Spool::new(context.dir.join(dir)), 0, 0);
                loop {
                    let page = engine.store().stamps(&feed, after, PAGE).await?;
                    let Some(last) = page.last() else { break };
                    after = last.seq;
                    for stamp in &page {
                        spool.stamp((&feed, stamp.seq.unsigned_abs()), &stamp.token).await?;
                        written += 1;
                    }
                }
                Some(written)
            }
        };
        let late = waiting.late(workspace.installation.timestamps.as_ref(), now);
        let (since, since_micros) = (waiting.since.map(rfc3339), waiting.since);
        lines.push(Line { feed, waiting: waiting.batches, since, late, written, since_micros });
    }
    if context.json {
        context.print_json(&lines)?;
        return Ok(Exit::Done);
    }
    let zone = workspace.installation.zone;
    let columns = [
        text("订阅 feed"),
        number("待补时间戳 waiting"),
        text("最早 since"),
        text("时限 window"),
        number("导出 written"),
    ];
    let rows = lines.iter().map(|line| {
        [
            line.feed.clone(),
            count(line.waiting),
            line.since_micros.map(|since| local(zone, since)).unwrap_or_default(),
            if line.late { "逾期 HL0778 LATE" } else { "" }.to_owned(),
            line.written.map(count).unwrap_or_default(),
        ]
    });
    context.print(&table(&columns, rows))?;
    if workspace.installation.timestamps.is_none() {
        context.note("no time-stamping authority is configured: timestamps: in huiliu.yaml 未配置时间戳")?;
    }
    Ok(Exit::Done)
}

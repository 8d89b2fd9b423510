//! `huiliu feed`: what goes to whom, and sending it now.

mod chase;
mod provision;
mod receipts;
mod status;
mod timestamps;

use std::sync::Arc;

use clap::Subcommand;

use super::lease::Held;
use super::progress::Bars;
use super::run::{feeds_text, stop_on_interrupt};
use super::table::{count, number, table, text};
use super::workspace::{Access, open, open_as_it_is};
use super::{Context, Exit, named};
use crate::batch::Kind;
use crate::engine::Engine;
use crate::store::Side;

/// Feeds (订阅): what goes to whom
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every feed: batches, records held by the subscriber, what waits
    List,
    /// Release and deliver now what these feeds (or all) have waiting
    Release {
        /// Feeds; none means all
        feeds: Vec<String>,
    },
    /// Send nothing but recalls under this grant from the next pass on, whoever of the two sides wants it 中止
    Suspend(Suspend),
    /// Send again, beginning with what has waited 恢复
    Resume(Resume),
    /// Send a corrected record again to everybody who has or had it, with the reason 更正
    Correct(chase::Args),
    /// Have everybody who has or had a record give it back; it goes out to nobody until it is corrected 撤回
    Recall(chase::Args),
    /// Say who has or had a record, and who still has a stale copy for how long 持有方
    Holders(chase::Holders),
    /// How far every feed is: sealed, durable with the outlet, received; and how full its queue is 进度
    Status,
    /// Make exchange, queues and users on RabbitMQ; safe to call again 建队列
    Provision(provision::Args),
    /// Which batches wait for their token of time, and the tokens that came, as files 时间戳
    Timestamps(timestamps::Args),
    /// Read what subscribers answered, and compare it with what was sent 回执
    Receipts(receipts::Args),
}

#[derive(Debug, clap::Args)]
struct Suspend {
    #[command(flatten)]
    of: Resume,
    /// Which side wants it 提出方
    #[arg(long, value_enum, default_value_t = Wanted::Office)]
    side: Wanted,
}

#[derive(Debug, clap::Args)]
struct Resume {
    /// Feed: housing.enterprise
    feed: String,
    /// Who wants it, and why; it goes into the audit log
    #[arg(long, value_name = "WHY")]
    why: String,
}

/// Which side wants a suspension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Wanted {
    /// The data office 主管方: recalls still go out 撤回照发
    Office,
    /// The subscriber 需求方: it takes nothing, recalls wait too 一律不发
    Subscriber,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::List => list(context).await,
        Verb::Release { feeds } => release(feeds, context).await,
        Verb::Suspend(suspension) => suspend(&suspension, context).await,
        Verb::Resume(of) => resume(&of, context).await,
        Verb::Correct(args) => chase::demand(&args, Kind::Correction, context).await,
        Verb::Recall(args) => chase::demand(&args, Kind::Recall, context).await,
        Verb::Holders(args) => chase::holders(&args, context).await,
        Verb::Status => status::run(context).await,
        Verb::Provision(args) => provision::run(args, context).await,
        Verb::Timestamps(args) => timestamps::run(args, context).await,
        Verb::Receipts(args) => receipts::run(&args, context).await,
    }
}

async fn list(context: &Context) -> anyhow::Result<Exit> {
    let mut opened = open_as_it_is(context).await?;
    let feeds = opened.engine.store().feeds().await?;
    if context.json {
        context.print_json(&feeds)?;
        return Ok(Exit::Done);
    }
    let columns = [
        text("订阅 feed"),
        number("批 batches"),
        number("待送 undelivered"),
        number("持有 holding"),
        number("已发 released"),
        number("不予 withheld"),
        number("到达 durable"),
    ];
    let unsigned = |n: i64| count(n.unsigned_abs());
    let rows = feeds.iter().map(|feed| {
        [
            feed.feed.clone(),
            unsigned(feed.seq),
            unsigned(feed.undelivered),
            unsigned(feed.holding),
            count(feed.counts.released),
            count(feed.counts.withheld),
            unsigned(feed.durable),
        ]
    });
    context.print(&table(&columns, rows))?;
    Ok(Exit::Done)
}

async fn suspend(args: &Suspend, context: &Context) -> anyhow::Result<Exit> {
    let Suspend { of: Resume { feed, why }, side } = args;
    let (side, still) = match side {
        Wanted::Office => (Side::Office, "nothing but recalls goes out from the next pass on 撤回照发"),
        Wanted::Subscriber => (Side::Subscriber, "nothing goes out from the next pass on, not even recalls 撤回也不发"),
    };
    let mut engine = at_once(feed, context).await?;
    engine.suspend_feed(feed, (side, why), &super::audit::who()).await?;
    context.note(&format!("已中止 {feed}: suspended; {still}"))?;
    Ok(Exit::Done)
}

async fn resume(Resume { feed, why }: &Resume, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = at_once(feed, context).await?;
    engine.resume_feed(feed, why, &super::audit::who()).await?;
    context.note(&format!("已恢复 {feed}: resumed; what has waited goes out with the next pass"))?;
    Ok(Exit::Done)
}

/// Beside a daemon, and at once: neither the store's lock nor the feed's lease is waited for.
async fn at_once(feed: &str, context: &Context) -> anyhow::Result<Engine> {
    let mut engine = open_as_it_is(context).await?.engine;
    // One whose definition does not read just now is at work all the same.
    if !engine.store().feeds().await?.iter().any(|known| known.feed == *feed) {
        named::feed(engine.workspace(), feed)?;
    }
    Ok(engine)
}

async fn release(feeds: Vec<String>, context: &Context) -> anyhow::Result<Exit> {
    let opened = open(context, Access::Write).await?;
    let mut engine = opened.engine.with_progress(Arc::new(Bars::new()));
    stop_on_interrupt(&engine);
    for feed in &feeds {
        named::feed(engine.workspace(), feed)?;
    }
    let chosen = if feeds.is_empty() { engine.workspace().feeds.keys().cloned().collect() } else { feeds };
    let mut reports = Vec::new();
    for feed in chosen {
        let held = Held::where_shared(&mut engine, &format!("feed/{feed}"), context).await?;
        let released = engine.release(&feed).await;
        Held::end(held, &mut engine).await?;
        reports.push(released?);
    }
    if context.json {
        context.print_json(&reports)?;
    } else {
        context.print(&feeds_text(&reports))?;
        for report in &reports {
            if let Some(why) = &report.why {
                context.note(&format!("{}: {} {why}", report.feed, report.status))?;
            }
            if let Some(why) = &report.unstamped {
                context.note(&format!("{}: 时间戳待补 waits for a time stamp: {why}", report.feed))?;
            }
        }
    }
    let waiting = reports.iter().any(|report| report.status == "waiting");
    Ok(if waiting { Exit::Held } else { Exit::Done })
}

//! `huiliu feed status`: how far every feed is, and how full its queue.

use serde::Serialize;

use super::super::table::{count, number, table, text};
use super::super::workspace::open_as_it_is;
use super::super::{Context, Exit};
use crate::config::{Feed, OutletKind, Workspace};
use crate::outlet::rabbitmq::{Address, BrokerError, Depth, Manager};
use crate::store::{DeliveryView, FeedLag, Found, Suspension};

const MICROS_PER_MINUTE: i64 = 60_000_000;

/// One feed.
#[derive(Debug, Serialize)]
struct Line {
    feed: String,
    outlet: &'static str,
    #[serde(flatten)]
    delivery: DeliveryView,
    /// What the subscriber's queue or directory does not have, sealed or not.
    lag: FeedLag,
    /// Minutes that the oldest of it waits.
    lag_minutes: Option<i64>,
    /// Minutes since the oldest batch without a receipt was sealed.
    unanswered_minutes: Option<i64>,
    /// Corrections and recalls that are not settled, and minutes since the oldest was demanded.
    unsettled: u64,
    unsettled_minutes: Option<i64>,
    /// The suspension of its grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended: Option<Suspension>,
    /// Numbers of persons found in free text, by field.
    found: Vec<Found>,
    /// The queue; `None` without one, or when nobody tells.
    queue: Option<Depth>,
}

/// Runs the verb.
pub async fn run(context: &Context) -> anyhow::Result<Exit> {
    let mut opened = open_as_it_is(context).await?;
    let now = context.clock.now().timestamp_micros();
    let minutes = |since: Option<i64>| since.map(|since| (now - since).max(0) / MICROS_PER_MINUTE);
    let of = |feed: &Feed| (feed.name.clone(), feed.register.value.clone(), feed.delivery.outlet.value);
    let feeds: Vec<_> = opened.engine.workspace().feeds.values().map(of).collect();
    let open_chases = opened.engine.open_chases().await?;
    let mut lines = Vec::with_capacity(feeds.len());
    for (feed, register, outlet) in feeds {
        let delivery = opened.engine.store().delivery(&feed).await?;
        let lag = opened.engine.store().feed_lag(&feed, &register).await?;
        let open = open_chases.iter().find(|open| open.feed == feed);
        lines.push(Line {
            outlet: if outlet == OutletKind::Rabbitmq { "rabbitmq" } else { "spool" },
            lag_minutes: minutes(lag.since),
            lag,
            unanswered_minutes: minutes(delivery.unanswered_since).filter(|_| outlet == OutletKind::Rabbitmq),
            unsettled: open.map_or(0, |open| open.open),
            unsettled_minutes: minutes(open.map(|open| open.since)),
            suspended: opened.engine.store().feed(&feed).await?.suspended,
            found: opened.engine.store().found_in_text(&feed).await?,
            feed,
            delivery,
            queue: None,
        });
    }
    if let Err(error) = depths(opened.engine.workspace(), &mut lines).await {
        context.note(&format!("queues are not shown: {} {error}", error.code()))?;
    }
    if context.json {
        context.print_json(&lines)?;
    } else {
        context.print(&shown(&lines))?;
    }
    Ok(Exit::Done)
}

/// Asks the broker's management API; the first failure is told, and nobody is asked again.
async fn depths(workspace: &Workspace, lines: &mut [Line]) -> Result<(), BrokerError> {
    let Some(broker) = &workspace.installation.broker else { return Ok(()) };
    let address = Address::parse(&broker.url, broker.ca.as_deref())?;
    let manager = Manager::new(&address, broker.api.as_deref())?;
    for line in lines.iter_mut().filter(|line| line.outlet == "rabbitmq") {
        line.queue = manager.depth(&line.feed).await?;
    }
    Ok(())
}

fn shown(lines: &[Line]) -> String {
    let columns = [
        text("订阅 feed"),
        text("出口 outlet"),
        number("已封 sealed"),
        number("到达 durable"),
        number("回执 received"),
        number("待送 waiting records"),
        number("bytes"),
        number("滞后 lag min"),
        number("队列 in queue"),
        number("死信 dead"),
        number("不符 false receipts"),
        number("未答 unanswered min"),
        number("未结更正 unsettled"),
    ];
    let n = |n: i64| count(n.unsigned_abs());
    let maybe = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), count);
    let rows = lines.iter().map(|line| {
        let DeliveryView { sealed, durable, received, mismatches, .. } = line.delivery;
        [
            line.feed.clone(),
            line.outlet.to_owned(),
            n(sealed),
            n(durable),
            if line.outlet == "rabbitmq" { n(received) } else { "-".to_owned() },
            count(line.lag.records),
            count(line.lag.bytes),
            maybe(line.lag_minutes.map(i64::unsigned_abs)),
            maybe(line.queue.map(|queue| queue.ready + queue.unacknowledged)),
            maybe(line.queue.map(|queue| queue.dead)),
            n(mismatches),
            maybe(line.unanswered_minutes.map(i64::unsigned_abs)),
            count(line.unsettled),
        ]
    });
    let mut out = table(&columns, rows);
    for line in lines {
        out += &super::super::status::suspended_text(&line.feed, line.suspended.as_ref());
        out += &super::super::status::found_text(&line.feed, &line.found);
    }
    out
}

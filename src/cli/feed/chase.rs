//! `huiliu feed correct`, `recall` and `holders`: a wrong record is chased to everybody who has or had it.

use serde::Serialize;

use super::super::audit;
use super::super::table::{count, local, number, table, text};
use super::super::workspace::{Access, open};
use super::super::{Context, Exit, named};
use crate::batch::Kind;
use crate::config::{OutletKind, Workspace};
use crate::engine::{Engine, Open};
use crate::store::NewChase;

/// Arguments of `feed correct` and `feed recall`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Register 基础库: enterprise
    register: String,
    /// Value of any key, or #42 for the entity of this number
    key: String,
    /// What was wrong; every holder reads it, and it goes into the audit log 事由
    #[arg(long, value_name = "WHY")]
    why: String,
    /// Number of the document that demands it 文号
    #[arg(long, value_name = "NUMBER")]
    reference: String,
}

/// Arguments of `feed holders`.
#[derive(Debug, clap::Args)]
pub struct Holders {
    /// Register 基础库: enterprise
    register: String,
    /// Value of any key, or #42 for the entity of this number
    key: String,
}

/// Demands that every holder corrects or gives back a record.
pub(super) async fn demand(args: &Args, kind: Kind, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = open(context, Access::Read).await?.engine;
    let register = named::register(engine.workspace(), &args.register)?.clone();
    let entity = named::id(engine.store(), &register, &args.key).await?;
    let chase = NewChase {
        kind,
        register: register.name,
        entity,
        why: args.why.clone(),
        reference: args.reference.clone(),
        at: context.clock.now().timestamp_micros(),
    };
    let feeds = engine.demand(chase, &audit::who()).await?;
    if context.json {
        context.print_json(&serde_json::json!({ "entity": entity, "kind": kind.name(), "feeds": feeds }))?;
        return Ok(Exit::Done);
    }
    let whom = if feeds.is_empty() { "nobody has or had it 无人持有".to_owned() } else { feeds.join(", ") };
    context.note(&format!("#{entity} {}: {whom}", kind.name()))?;
    context.note("随下一次提供发出 it goes out with the next pass; `huiliu feed holders` says who has answered")?;
    Ok(Exit::Done)
}

/// One subscriber.
#[derive(Debug, Serialize)]
struct Line {
    feed: String,
    subscriber: String,
    /// `holds`, `held`, `gone` (the feed's file is no more).
    copy: &'static str,
    /// Version of the copy, and the one the register has.
    version: i64,
    present: Option<i64>,
    /// The batch that brought it.
    batch: i64,
    /// The last correction or recall.
    #[serde(skip_serializing_if = "Option::is_none")]
    chased: Option<Chased>,
}

#[derive(Debug, Serialize)]
struct Chased {
    kind: String,
    reference: String,
    since: i64,
    batch: Option<i64>,
    /// `waits`, `sealed`, `sent`, `settled`.
    state: &'static str,
    /// Minutes that the stale copy has been there since, unless settled.
    minutes: Option<i64>,
}

/// Lists who has or had a record, and who still has a stale copy for how long.
pub(super) async fn holders(args: &Holders, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = open(context, Access::Read).await?.engine;
    let register = named::register(engine.workspace(), &args.register)?.clone();
    let id = named::id(engine.store(), &register, &args.key).await?;
    let detail = audit::looked_up(&engine, (&register.name, &args.key), &format!("holders of #{id}"), None)?;
    audit::note(&mut engine, "feed.holders", &detail, context).await?;
    let present = engine.store().entity(&register.name, &format!("#{id}")).await?.map(|entity| entity.version);
    let lines = lines(&mut engine, id, present, context).await?;
    if context.json {
        context.print_json(&lines)?;
    } else {
        context.print(&shown(&lines, engine.workspace().installation.zone))?;
    }
    let stale = lines.iter().any(|line| line.chased.as_ref().is_some_and(|chased| chased.minutes.is_some()));
    Ok(if stale { Exit::Held } else { Exit::Done })
}

async fn lines(engine: &mut Engine, id: i64, present: Option<i64>, context: &Context) -> anyhow::Result<Vec<Line>> {
    let workspace = engine.workspace().clone();
    let now = context.clock.now().timestamp_micros();
    let chases = engine.store().chases(None, Some(id)).await?;
    let line = |holder: crate::store::HolderView| {
        let feed = workspace.feeds.get(&holder.feed);
        let last = chases.iter().rfind(|chase| chase.feed == holder.feed);
        let chased = last.map(|chase| {
            let state = Open::state(chase, over_broker(&workspace, &holder.feed));
            Chased {
                kind: chase.kind.clone(),
                reference: chase.reference.clone(),
                since: chase.at,
                batch: chase.seq,
                state,
                minutes: (state != "settled").then(|| (now - chase.at).max(0) / 60_000_000),
            }
        });
        Line {
            subscriber: feed.map_or_else(String::new, |f| f.title.clone().unwrap_or_else(|| f.subscriber.clone())),
            copy: match (feed, holder.withdrawn) {
                (None, _) => "gone",
                (Some(_), Some(_)) => "held",
                (Some(_), None) => "holds",
            },
            feed: holder.feed,
            version: holder.version,
            present,
            batch: holder.batch,
            chased,
        }
    };
    Ok(engine.store().ever_holding(id).await?.into_iter().map(line).collect())
}

fn over_broker(workspace: &Workspace, feed: &str) -> bool {
    workspace.feeds.get(feed).is_some_and(|feed| feed.delivery.outlet.value == OutletKind::Rabbitmq)
}

fn shown(lines: &[Line], zone: chrono_tz::Tz) -> String {
    if lines.is_empty() {
        return "没有部门持有或曾持有 nobody has or had it\n".to_owned();
    }
    let columns = [
        text("订阅 feed"),
        text("部门 subscriber"),
        text("持有 copy"),
        number("版本 version"),
        number("批 batch"),
        text("更正撤回 demand"),
        text("起始 since"),
        text("状态 state"),
        number("未结 stale min"),
    ];
    let rows = lines.iter().map(|line| {
        let chased = line.chased.as_ref();
        let copy = match line.copy {
            "holds" => "持有 holds",
            "held" => "已撤回 withdrawn",
            _ => "订阅已删除 feed is gone",
        };
        [
            line.feed.clone(),
            line.subscriber.clone(),
            copy.to_owned(),
            line.version.to_string(),
            line.batch.to_string(),
            chased.map_or_else(String::new, |chased| format!("{} {}", chased.kind, chased.reference)),
            chased.map_or_else(String::new, |chased| local(zone, chased.since)),
            chased.map_or("", |chased| state(chased.state)).to_owned(),
            chased.and_then(|chased| chased.minutes).map_or_else(String::new, |n| count(n.unsigned_abs())),
        ]
    });
    table(&columns, rows)
}

fn state(state: &str) -> &'static str {
    match state {
        "waits" => "待发 waits",
        "sealed" => "已封 sealed",
        "sent" => "已送未答 sent, no receipt",
        _ => "已结 settled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_copy_shows_its_age() {
        let chased = |state, minutes| Chased {
            kind: "recall".into(),
            reference: "9号".into(),
            since: 1_772_294_400_000_000,
            batch: Some(4),
            state,
            minutes,
        };
        let line = |feed: &str, copy, chased| Line {
            feed: feed.into(),
            subscriber: "住建局".into(),
            copy,
            version: 1,
            present: Some(2),
            batch: 2,
            chased: Some(chased),
        };
        let lines = [line("a.e", "held", chased("sent", Some(1440))), line("b.e", "holds", chased("settled", None))];
        let text = shown(&lines, chrono_tz::Asia::Shanghai);
        assert!(text.contains("已送未答 sent, no receipt") && text.contains("1 440"), "{text}");
        assert!(text.contains("已结 settled") && text.contains("2026-03-01 00:00:00"), "{text}");
    }
}

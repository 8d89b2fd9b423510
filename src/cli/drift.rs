//! `huiliu drift`: what sources offer now against their contracts, and a person's word on it 结构变化.

use chrono_tz::Tz;

use super::table::{local, number, shown, table, text};
use super::workspace::{Access, open};
use super::{Context, Exit, audit};
use crate::engine::{Difference, Drifted};
use crate::store::ShapeView;

/// Arguments of `drift`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Option<Act>,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Datasets whose source differs from its contract (the default) 清单
    List {
        /// Also those that fit
        #[arg(long)]
        all: bool,
    },
    /// Every shape a dataset had, and what changed when 详情
    Show {
        /// tax.taxpayer
        #[arg(value_name = "SYSTEM.DATASET")]
        dataset: String,
    },
    /// Take the dataset as its source offers it now 批准
    Approve {
        /// tax.taxpayer
        #[arg(value_name = "SYSTEM.DATASET")]
        dataset: String,
        /// Why; it is kept with the shape and in the audit log
        #[arg(long, value_name = "WHY")]
        why: String,
    },
}

/// Lists, shows or approves; held (3) when something waits for a person.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let act = args.act.unwrap_or(Act::List { all: false });
    let access = if matches!(act, Act::Approve { .. }) { Access::Write } else { Access::Read };
    let mut engine = open(context, access).await?.engine;
    let zone = engine.workspace().installation.zone;
    match act {
        Act::List { all } => {
            let mut drifts = engine.drifts().await?;
            drifts.retain(|drifted| all || drifted.state != "fits");
            if context.json {
                context.print_json(&drifts)?;
            } else {
                context.print(&list(&drifts, zone))?;
            }
            let waits = drifts.iter().any(|drifted| matches!(drifted.state, "waits" | "stops"));
            Ok(if waits { Exit::Held } else { Exit::Done })
        }
        Act::Show { dataset } => {
            let drifted = engine.drifted(&dataset).await?;
            if context.json {
                context.print_json(&drifted)?;
            } else {
                context.print(&(list(std::slice::from_ref(&drifted), zone) + "\n" + &versions(&drifted, zone)))?;
            }
            Ok(Exit::Done)
        }
        Act::Approve { dataset, why } => {
            let drifted = engine.approve_drift(&dataset, &why, &audit::who()).await?;
            if context.json {
                context.print_json(&drifted)?;
            } else {
                context.note(&format!("已批准 {dataset}: approved; the next run takes it"))?;
            }
            Ok(Exit::Done)
        }
    }
}

fn list(drifts: &[Drifted], zone: Tz) -> String {
    if drifts.is_empty() {
        return "所有数据集与约定一致 every dataset fits its contract\n".to_owned();
    }
    let columns = [
        text("数据集 dataset"),
        number("版本 version"),
        text("起始 since"),
        text("状态 state"),
        text("差异 difference"),
    ];
    let rows = drifts.iter().map(|drifted| {
        let present = drifted.versions.first();
        [
            drifted.dataset.clone(),
            present.map(|shape| shape.version.to_string()).unwrap_or_default(),
            present.map(|shape| local(zone, shape.since)).unwrap_or_default(),
            state(drifted.state).to_owned(),
            differs(&drifted.difference),
        ]
    });
    let mut out = table(&columns, rows);
    for drifted in drifts {
        if let Some(why) = &drifted.why {
            out += &format!("  {}: {}\n", drifted.dataset, shown(why));
        }
    }
    out
}

/// A state, Chinese first.
pub(super) fn state(state: &str) -> &'static str {
    match state {
        "fits" => "一致 fits",
        "accepted" => "已接受 accepted",
        "ignored" => "忽略 ignored",
        "approved" => "已批准 approved",
        "waits" => "待批准 waits for approval",
        _ => "停止 stops",
    }
}

/// What differs, in one line.
pub(super) fn differs(difference: &Difference) -> String {
    let retyped = difference.retyped.iter().map(|(name, was, is)| format!("{name} {was} → {is}"));
    let retyped: Vec<String> = retyped.collect();
    let parts = [
        ("缺少 lost", difference.lost.join(", ")),
        ("新增 new", difference.new.join(", ")),
        ("类型 type", retyped.join(", ")),
    ];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    parts.map(|(word, names)| format!("{word}: {names}")).collect::<Vec<_>>().join(" · ")
}

/// Each version with what came and went since the one before it.
fn versions(drifted: &Drifted, zone: Tz) -> String {
    let columns =
        [number("版本 version"), text("起始 since"), text("最后 last"), text("变化 change"), text("批准 approved")];
    let rows = drifted.versions.iter().enumerate().map(|(i, shape)| {
        let change = match drifted.versions.get(i + 1) {
            Some(before) => changed(before, shape),
            None => format!("{} 列 columns", shape.columns.len()),
        };
        let approved = shape.approved.map(|at| format!("{} {}", local(zone, at), shape.why.as_deref().unwrap_or("")));
        let last =
            if shape.used { local(zone, shape.last) } else { format!("{} 未取 not taken", local(zone, shape.last)) };
        [shape.version.to_string(), local(zone, shape.since), last, change, approved.unwrap_or_default()]
    });
    table(&columns, rows)
}

fn changed(before: &ShapeView, after: &ShapeView) -> String {
    let has = |shape: &ShapeView, name: &str| shape.columns.iter().any(|column| column.name == name);
    let kind = |shape: &ShapeView, name: &str| {
        shape.columns.iter().find(|column| column.name == name).and_then(|column| column.kind.clone())
    };
    let gone = before.columns.iter().filter(|c| !has(after, &c.name)).map(|c| format!("−{}", c.name));
    let come = after.columns.iter().filter(|c| !has(before, &c.name)).map(|c| format!("+{}", c.name));
    let retyped = after.columns.iter().filter_map(|column| {
        let (was, is) = (kind(before, &column.name)?, column.kind.clone()?);
        (was != is).then(|| format!("{} {was} → {is}", column.name))
    });
    let all: Vec<String> = gone.chain(come).chain(retyped).collect();
    if all.is_empty() { "列序 order of columns".to_owned() } else { all.join(", ") }
}

//! `huiliu scope diff`: what an edit newly exposes and withdraws, for which subscriber, for how many records.

use super::against::definitions_at;
use crate::cli::plan::sign;
use crate::cli::table::{count, number, table, text};
use crate::cli::workspace::ask;
use crate::cli::{Context, Exit};
use crate::engine::{Past, ScopeChange};
use crate::share::Direction;

/// Fields and records that an edit newly exposes and withdraws, per subscriber: the files against what is in force, or
/// against other files. Writes nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 nothing is newly exposed · 1 failed, or the definitions have errors · \
3 something is newly exposed, or a feed's schema changes")]
pub(super) struct Args {
    /// Another workspace's directory, or a git revision of this one, instead of what was last released under
    #[arg(long, value_name = "REV|DIR")]
    against: Option<String>,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = ask(context).await?;
    let past = match &args.against {
        Some(against) => Past::of(&definitions_at(against, engine.workspace(), context)?),
        None => engine.past().await?,
    };
    let changes = engine.scope_impact(&past).await?;
    if context.json {
        context.print_json(&changes)?;
    } else if changes.is_empty() {
        context.note("no feed would release anything otherwise 共享范围无变更")?;
    } else {
        let all: Vec<String> = changes.iter().map(scope_text).collect();
        context.print(&all.join("\n"))?;
    }
    Ok(if changes.iter().any(ScopeChange::needs_a_person) { Exit::Held } else { Exit::Done })
}

/// One feed's change, for people.
pub(in crate::cli) fn scope_text(scope: &ScopeChange) -> String {
    let ScopeChange { feed, subscriber, register, .. } = scope;
    let mut out = format!("订阅 feed {feed} · {subscriber} ← {register} {}\n", sign(scope.change));
    if !scope.because.is_empty() {
        out += &format!("  因 because of: {}\n", scope.because.join(", "));
    }
    match &scope.records {
        Some(records) => {
            let [considered, before, after, entering, leaving, exposed, withdrawn] = [
                records.considered,
                records.before,
                records.after,
                records.entering,
                records.leaving,
                records.exposed,
                records.withdrawn,
            ]
            .map(count);
            out += &format!("  记录 records: {before} → {after} of {considered}, +{entering} −{leaving}\n");
            out += &format!("  新增提供 newly exposed: {exposed} records · 收回 withdrawn: {withdrawn} records\n");
        }
        None => out += "  记录 records: cannot be counted over the register as it is stored 无法统计\n",
    }
    if scope.schema_changes {
        out += "  ✗ 结构变更 its schema changes: the subscriber must be told before\n";
    }
    if !scope.fields.is_empty() {
        out += &fields_text(scope);
    }
    out
}

fn fields_text(scope: &ScopeChange) -> String {
    let columns = [
        text("字段 field"),
        text("变化 change"),
        text("原 before"),
        text("现 after"),
        number("新增提供 exposed"),
        number("收回 withdrawn"),
    ];
    let rows = scope.fields.iter().map(|field| {
        let direction = match field.direction {
            Direction::Exposed => "✗ 新增提供 exposed",
            Direction::Withdrawn => "收回 withdrawn",
            Direction::Remasked => "✗ 改脱敏 remasked",
        };
        let (before, after) = (field.before.clone(), field.after.clone());
        [field.field.clone(), direction.to_owned(), before, after, count(field.exposed), count(field.withdrawn)]
    });
    table(&columns, rows)
}

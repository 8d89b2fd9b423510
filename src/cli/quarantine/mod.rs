//! `huiliu quarantine`: rows set aside (问题数据) — looked at, sent back to the department, corrected, replayed.
//!
//! Cells are data and go to stdout or into files that a person asked for; the audit log gets ids and counts only.

mod case;
mod export;
mod import;
mod list;
mod reasons;
mod sheet;
mod show;

use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;

use super::workspace::{Access, open};
use super::{Context, Exit, audit, named};
use crate::config::Workspace;
use crate::engine::{Engine, ReplayReport};
use crate::error::Problem;
use crate::store::{QuarantineFilter, QuarantineView, Store, StoreError};

/// A reason code in the department's words; empty for a code that is not ours.
pub(super) fn chinese_meaning(code: &str) -> &'static str {
    reasons::meaning(code).map_or("", |meaning| meaning.chinese)
}

/// Arguments of `quarantine`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Count what is set aside by reason, and list it 清单
    List {
        #[command(flatten)]
        filters: Filters,
        /// Status 状态
        #[arg(long, value_enum, default_value_t = Status::Open)]
        status: Status,
        /// List at most so many rows (the counts are of all)
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(0..=100_000))]
        limit: i64,
    },
    /// Show one row: place, raw bytes, cells, all reasons 详情
    Show {
        /// Number of the entry
        id: i64,
        /// Why; it goes into the audit log, and opens cells of level 3 and above, and the raw bytes 事由
        #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
        why: Option<String>,
    },
    /// Write rows to a file that the department corrects and sends back 导出
    Export {
        /// FILE.xlsx (recommended: Excel keeps long numbers) or FILE.csv; with --as-case FILE.yaml
        file: PathBuf,
        #[command(flatten)]
        filters: Filters,
        /// Status 状态
        #[arg(long, value_enum, default_value_t = Status::Open)]
        status: Status,
        /// Write masked cases for `huiliu test` instead
        #[arg(long)]
        as_case: bool,
        /// Why; it goes into the audit log, beside how many rows left 事由
        #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
        why: Option<String>,
    },
    /// Take back an exported file with corrected cells and replay the rows that changed 导入更正
    Import {
        /// The corrected FILE.xlsx or FILE.csv
        file: PathBuf,
    },
    /// Run the present mappings over open rows; what passes leaves the quarantine 重放
    Replay {
        /// Numbers of entries; none means all that match
        ids: Vec<i64>,
        #[command(flatten)]
        filters: Filters,
    },
    /// Close entries that will not be corrected 不予处理
    Dismiss {
        /// Numbers of entries
        #[arg(required = true)]
        ids: Vec<i64>,
        /// Why; it goes into the audit log
        #[arg(long, value_name = "WHY")]
        why: String,
    },
}

#[derive(Debug, Clone, Default, clap::Args)]
struct Filters {
    /// Only this dataset 数据集: tax.taxpayer
    #[arg(long, value_name = "SYSTEM.DATASET")]
    dataset: Option<String>,
    /// Only what this register 基础库 refused
    #[arg(long)]
    register: Option<String>,
    /// Only rows with this reason: uscc_check_digit
    #[arg(long)]
    code: Option<String>,
}

/// States of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    /// 待处理
    Open,
    /// 已重放
    Replayed,
    /// 已更正
    Corrected,
    /// 源数据已不再提供
    Vanished,
    /// 不予处理
    Dismissed,
    /// 全部
    All,
}

impl Status {
    fn stored(self) -> Option<String> {
        let name = match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Corrected => "corrected",
            Self::Vanished => "vanished",
            Self::Dismissed => "dismissed",
            Self::All => return None,
        };
        Some(name.to_owned())
    }
}

impl Filters {
    /// As the store wants it; names that no definition has are a problem.
    fn checked(&self, workspace: &Workspace, status: Status) -> Result<QuarantineFilter, Problem> {
        if let Some(dataset) = &self.dataset {
            named::dataset(workspace, dataset)?;
        }
        if let Some(register) = &self.register {
            named::register(workspace, register)?;
        }
        // Reports write `column:code`; the code is what is asked for.
        let code = self.code.as_deref().map(|code| code.rsplit(':').next().unwrap_or(code).to_owned());
        Ok(QuarantineFilter {
            dataset: self.dataset.clone(),
            register: self.register.clone(),
            code,
            status: status.stored(),
            ..QuarantineFilter::default()
        })
    }
}

/// Does what is asked.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let access = match &args.act {
        Act::List { .. } | Act::Show { .. } | Act::Export { .. } => Access::Read,
        Act::Import { .. } | Act::Replay { .. } | Act::Dismiss { .. } => Access::Write,
    };
    let mut engine = open(context, access).await?.engine;
    match args.act {
        Act::List { filters, status, limit } => {
            let filter = filters.checked(engine.workspace(), status)?;
            list::run(&mut engine, &filter, limit, context).await
        }
        Act::Show { id, why } => show::run(&mut engine, (id, why.as_deref()), context).await,
        Act::Export { file, filters, status, as_case, why } => {
            let filter = filters.checked(engine.workspace(), status)?;
            if as_case {
                return case::run(&mut engine, filter, &file, context).await;
            }
            export::run(&mut engine, filter, (&file, why.as_deref()), context).await
        }
        Act::Import { file } => import::run(&mut engine, &file, context).await,
        Act::Replay { ids, filters } => {
            let filter = QuarantineFilter { ids, ..filters.checked(engine.workspace(), Status::Open)? };
            let report = Box::pin(engine.replay(filter)).await?;
            print_replay(&report, context)
        }
        Act::Dismiss { ids, why } => dismiss(&mut engine, &ids, &why, context).await,
    }
}

/// Entries of one page.
const PAGE: i64 = 2000;

/// Calls `each` with every entry that matches, page by page.
pub(super) async fn each_page(
    store: &mut dyn Store,
    filter: &QuarantineFilter,
    mut each: impl FnMut(Vec<QuarantineView>),
) -> Result<(), StoreError> {
    let mut after = filter.after;
    loop {
        let page = store.quarantine(&QuarantineFilter { after, limit: PAGE, ..filter.clone() }).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        each(page);
    }
}

async fn dismiss(engine: &mut Engine, ids: &[i64], why: &str, context: &Context) -> anyhow::Result<Exit> {
    let filter = QuarantineFilter { ids: ids.to_vec(), status: Some("open".into()), ..QuarantineFilter::default() };
    let mut open = Vec::new();
    each_page(engine.store(), &filter, |page| open.extend(page.into_iter().map(|entry| entry.id))).await?;
    let others: Vec<String> = ids.iter().filter(|id| !open.contains(id)).map(i64::to_string).collect();
    if !others.is_empty() {
        let problem = Problem::error("HL0815", format!("there is no open entry {}", others.join(", ")));
        return Err(problem.hint("`huiliu quarantine list` shows the open ones; nothing was dismissed").into());
    }
    let numbers: Vec<String> = open.iter().map(i64::to_string).collect();
    let note = audit::noted("quarantine.dismiss", &format!("{}: {why}", numbers.join(", ")), context);
    let dismissed = engine.store().set_quarantine(&open, "dismissed", why, Some(note)).await?;
    if context.json {
        context.print_json(&serde_json::json!({ "dismissed": dismissed }))?;
    } else {
        context.note(&format!("{dismissed} dismissed 不予处理"))?;
    }
    Ok(Exit::Done)
}

fn print_replay(report: &ReplayReport, context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        context.print_json(report)?;
    } else {
        context.print(&replay_text(report))?;
    }
    let waiting = report.refused + report.undecodable + report.orphaned;
    Ok(if waiting > 0 { Exit::Held } else { Exit::Done })
}

fn replay_text(report: &ReplayReport) -> String {
    let ReplayReport { tried, passed, refused, undecodable, orphaned, refusals } = report;
    let mut out = format!("重放 tried {tried}: 通过 passed {passed} · 仍有问题 refused {refused}\n");
    if *undecodable > 0 {
        out += &format!("  {undecodable} could not even be decoded: the department has to send the file again\n");
    }
    if *orphaned > 0 {
        out += &format!("  {orphaned} belong to a dataset or register that no pipeline feeds any more\n");
    }
    for still in refusals {
        let all: Vec<String> =
            still.reasons.iter().map(|reason| reasons::chinese(&reason.column, &reason.code)).collect();
        out += &format!("  #{} {}\n", still.id, all.join("; "));
    }
    out
}

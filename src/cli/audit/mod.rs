//! `huiliu audit`: who did what, when and why — asked, verified, archived 审计日志.

mod append;
mod text;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::NaiveDate;

use super::workspace::open_as_it_is;
use super::{Context, Exit};
use crate::audit::{SegmentReport, verify_archive};
use crate::config::Workspace;
use crate::crypto::Trust;
use crate::engine::Engine;
use crate::error::Problem;
use crate::store::{AuditFilter, Note, StoreError};

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Print entries, newest first 查询
    Search {
        /// From this day on
        #[arg(long, value_name = "DAY")]
        from: Option<NaiveDate>,
        /// Up to this day
        #[arg(long, value_name = "DAY")]
        until: Option<NaiveDate>,
        /// Only this action, or those below it: feed, feed.release
        #[arg(long)]
        action: Option<String>,
        /// Only look-ups of this key 查询标识
        #[arg(long, conflicts_with = "text")]
        key: Option<String>,
        /// Only entries that mention this: a feed, a pipeline, an account
        text: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
    },
    /// Walk along the whole log, or an archive, and pin down whatever was altered, removed, slipped in or reordered 验证
    Verify {
        /// An archive, or one segment of it; the log of this workspace when absent
        archive: Option<PathBuf>,
        /// CA certificate(s) under which checkpoints and segments are signed, PEM; the installation's when absent
        #[arg(long, value_name = "FILE")]
        trust: Option<PathBuf>,
    },
    /// Write what an archive does not have yet into it, in signed segments that need nothing else to be verified 归档
    Export {
        /// The archive's directory; kept for twenty years, best elsewhere
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Take over entries of other programs (sign-ins of a console, of a bastion): a line {"action": …, "detail": …} each from
    /// stdin, answered on stdout with the number of lines that are durable 并入
    Append,
    /// Let go of entries that are older than twenty years and that an archive has 清理
    Prune {
        /// Entries before this day
        #[arg(long, value_name = "DAY")]
        before: NaiveDate,
        /// The archive that `export` wrote
        #[arg(long, value_name = "DIR")]
        archive: PathBuf,
    },
    /// Verify the oldest segments of an archive again and note the outcome: the yearly duty 年度复验
    Prove {
        /// The archive's directory
        archive: PathBuf,
        /// How many of the oldest
        #[arg(long, default_value_t = 12)]
        segments: usize,
        /// CA certificate(s), PEM; the installation's when absent
        #[arg(long, value_name = "FILE")]
        trust: Option<PathBuf>,
    },
}

/// Searches, verifies, exports or proves; failed (1) when anything is not what it was.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.act {
        Act::Search { from, until, action, key, text, limit } => {
            let mut engine = open_as_it_is(context).await?.engine;
            let zone = engine.workspace().installation.zone;
            let start = |day: NaiveDate| {
                let at = day.and_time(chrono::NaiveTime::MIN).and_local_timezone(zone).earliest();
                at.map(|at| at.timestamp_micros())
            };
            let until = until.and_then(|day| day.succ_opt());
            let (from, until) = (from.and_then(start), until.and_then(start));
            let text = match key {
                Some(key) => Some(engine.key_digest(&key)?),
                None => text,
            };
            let filter = AuditFilter { after: None, from, until, action, text, limit };
            let entries = engine.search_audit(&filter).await?;
            if context.json {
                context.print_json(&entries)?;
            } else {
                context.print(&text::entries(&entries, zone))?;
            }
            Ok(Exit::Done)
        }
        Act::Verify { archive: Some(archive), trust } => {
            let reports = archived(&archive, &believed(trust.as_deref(), context)?, usize::MAX, context)?;
            print_segments(&reports, context)
        }
        Act::Verify { archive: None, trust } => {
            let mut engine = open_as_it_is(context).await?.engine;
            let trust = match trust {
                Some(_) => Some(believed(trust.as_deref(), context)?),
                None => own_trust(engine.workspace())?,
            };
            let report = engine.verify_audit(trust.as_ref()).await?;
            if context.json {
                context.print_json(&report)?;
            } else {
                context.print(&text::report(&report))?;
            }
            Ok(if report.faults.is_empty() { Exit::Done } else { Exit::Failed })
        }
        Act::Export { to } => {
            // Only the log is written to, and everybody may at any time.
            let mut engine = open_as_it_is(context).await?.engine;
            let written = engine.export_audit(&to).await?;
            if context.json {
                context.print_json(&written)?;
            } else {
                context.print(&text::exported(&written))?;
            }
            Ok(Exit::Done)
        }
        Act::Append => append::run(context).await,
        Act::Prune { before, archive } => {
            let mut engine = open_as_it_is(context).await?.engine;
            let gone = engine.prune_audit(before, &archive, &who()).await?;
            if context.json {
                context.print_json(&serde_json::json!({ "gone": gone }))?;
            } else {
                context.note(&format!("{gone} entries let go of 已清理"))?;
            }
            Ok(Exit::Done)
        }
        Act::Prove { archive, segments, trust } => {
            let reports = archived(&archive, &believed(trust.as_deref(), context)?, segments, context)?;
            let bad = reports.iter().filter(|report| !report.holds()).count();
            let mut engine = open_as_it_is(context).await?.engine;
            let detail = format!("{} segments of {}, {bad} do not hold", reports.len(), archive.display());
            note(&mut engine, "audit.prove", &detail, context).await?;
            print_segments(&reports, context)
        }
    }
}

fn archived(archive: &Path, trust: &Trust, most: usize, context: &Context) -> anyhow::Result<Vec<SegmentReport>> {
    let reports = verify_archive(archive, trust, context.clock.now(), most)
        .map_err(|error| Problem::error(error.code(), error.to_string()))?;
    if reports.is_empty() {
        let problem = Problem::error("HL0823", format!("{}: there is no segment in it", archive.display()));
        return Err(problem.hint("name the directory that `huiliu audit export --to` wrote").into());
    }
    Ok(reports)
}

fn print_segments(reports: &[SegmentReport], context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        context.print_json(&reports)?;
    } else {
        context.print(&text::segments(reports))?;
    }
    Ok(if reports.iter().all(SegmentReport::holds) { Exit::Done } else { Exit::Failed })
}

/// The roots of a file, or of the installation.
fn believed(file: Option<&Path>, context: &Context) -> anyhow::Result<Trust> {
    let Some(path) = file else {
        let workspace = Workspace::load(&context.dir).map_err(super::Problems)?;
        return own_trust(&workspace)?.ok_or_else(|| {
            let problem = Problem::error("HL0825", "nobody says under which roots the log is signed");
            problem.hint("give --trust FILE, or name trust.own in huiliu.yaml").into()
        });
    };
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Trust::from_pem(&pem).map_err(|error| Problem::from(&error).detail(path.display().to_string()))?)
}

/// What the installation signs under; `None` when it names no roots.
fn own_trust(workspace: &Workspace) -> anyhow::Result<Option<Trust>> {
    Ok(crate::engine::own_trust(workspace).map_err(|error| Problem::from(&error))?)
}

/// Notes what a person does at this terminal: who, what, how many — never a value.
pub(super) async fn note(
    engine: &mut Engine,
    action: &'static str,
    detail: &str,
    context: &Context,
) -> Result<(), StoreError> {
    engine.store().audit_all(&[noted(action, detail, context)]).await
}

/// The same, to be written with the act itself.
pub(super) fn noted(action: &'static str, detail: &str, context: &Context) -> Note {
    Note::new(context.clock.now().timestamp_micros(), action, format!("{detail}, by {}", who()))
}

/// What a look-up of one entity or by one text tells: register, digest of what was asked for — never the value —, what was
/// found, why.
pub(super) fn looked_up(
    engine: &Engine,
    (register, key): (&str, &str),
    found: &str,
    why: Option<&str>,
) -> anyhow::Result<String> {
    let key = engine.key_digest(key)?;
    let why = why.map(|why| format!(", why: {why}")).unwrap_or_default();
    Ok(format!("{register} by key {key}: {found}{why}"))
}

/// The account that runs this command.
pub(super) fn who() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".into())
}

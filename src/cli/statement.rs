//! `huiliu statement`: what a subscriber should hold as of a batch, signed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::workspace::{Access, open};
use super::{Context, Exit, named};
use crate::batch::pages::write_pages;
use crate::batch::ranges::{Range, STEP};
use crate::config::{OutletKind, Workspace};
use crate::engine::{SignedStatement, spool_dir, state_dir};
use crate::error::Problem;
use crate::outlet::{RangesWriter, StatementFiles, write_ranges};

/// Arguments of `statement`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Feed: housing.enterprise
    pub feed: String,
    /// As of this batch [default: the newest]
    #[arg(long, value_name = "SEQ")]
    pub as_of: Option<u64>,
    /// Where to write: FILE, its signature as .p7s and the ranges as .ranges beside it [default: beside the batches]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Without the file of ranges: some fifty kilobytes in all
    #[arg(long)]
    pub brief: bool,
    /// Write to --out only these ranges, as a comparison asked for them: 4096/12,69632/12
    #[arg(long, value_name = "RANGES", value_delimiter = ',', value_parser = range, requires = "out", conflicts_with = "brief")]
    pub ranges: Vec<Range>,
}

/// Signs and writes a statement, or answers with some of its ranges.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = open(context, Access::Read).await?.engine;
    named::feed(engine.workspace(), &args.feed)?;
    let made = engine.statement(&args.feed, args.as_of).await?;
    let SignedStatement { statement, bytes, signature, records } = &made;
    if let (false, Some(out)) = (args.ranges.is_empty(), &args.out) {
        let pages = |file: &mut dyn Write| write_pages(file, statement, records, args.ranges.iter().copied());
        write_ranges(out, &pages).map_err(|error| cannot_write(out, &error))?;
        let told = format!("{} 的 {} 个区间 ranges → {}\n", statement.id(), args.ranges.len(), out.display());
        return said(&made, out, told, context);
    }
    let file = args.out.clone().unwrap_or_else(|| usual_place(engine.workspace(), &args.feed, statement.as_of));
    let files = StatementFiles::at(&file);
    let all = statement.ranges.iter().map(|entry| Range { from: entry.0, bits: statement.range_bits });
    let pages = |out: &mut dyn Write| write_pages(out, statement, records, all.clone());
    let ranges: Option<RangesWriter<'_>> = if args.brief { None } else { Some(&pages) };
    files.write(bytes, signature, ranges).map_err(|error| cannot_write(&file, &error))?;
    let told = format!(
        "{} 应持有 {} 条 records, root {} ({})\n{}\n",
        statement.id(),
        statement.records,
        statement.root,
        statement.algorithm.name(),
        files.statement.display()
    );
    said(&made, &file, told, context)
}

fn said(made: &SignedStatement, file: &Path, told: String, context: &Context) -> anyhow::Result<Exit> {
    let statement = &made.statement;
    if context.json {
        context.print_json(&json!({
            "feed": statement.feed, "as_of": statement.as_of, "records": statement.records, "root": statement.root,
            "algorithm": statement.algorithm.name(), "bytes": made.bytes.len() + made.signature.len(), "file": file,
        }))?;
    } else {
        context.print(&told)?;
    }
    Ok(Exit::Done)
}

/// Beside the batches where they are files, else in the state directory.
fn usual_place(workspace: &Workspace, feed: &str, seq: u64) -> PathBuf {
    let spooled = workspace.feeds.get(feed).is_some_and(|feed| feed.delivery.outlet.value == OutletKind::Spool);
    let root = if spooled { spool_dir(workspace) } else { state_dir(workspace).join("statements") };
    StatementFiles::in_feed(&root.join(feed), seq).statement
}

/// `from/bits`.
fn range(text: &str) -> Result<Range, String> {
    let parsed = text.split_once('/').and_then(|(from, bits)| Some((from.parse().ok()?, bits.parse().ok()?)));
    match parsed {
        Some((from, bits)) if bits > 0 && bits <= 60 && bits % STEP == 0 && Range::around(from, bits).from == from => {
            Ok(Range { from, bits })
        }
        _ => Err("a range is written as the comparison named it: 4096/12".to_owned()),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Problem {
    Problem::error("HL0756", format!("cannot write {}: {error}", path.display()))
        .hint("give --out FILE in a directory that you may write to")
}

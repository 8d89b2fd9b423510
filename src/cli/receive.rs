//! `huiliu receive`: batches from a spool, verified and loaded.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::{Context, Exit};
use crate::crypto::Trust;
use crate::error::Problem;
use crate::receive::{Inbox, ReceiveError, Received, Target, receive_feed};

/// Arguments of `receive`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where batches lie: spool:DIR
    #[arg(long, value_name = "spool:DIR")]
    pub from: String,
    /// Only this feed; may be given again
    #[arg(long, value_name = "NAME")]
    pub feed: Vec<String>,
    /// CA certificate(s) of the issuing office, PEM
    #[arg(long, value_name = "FILE")]
    pub trust: PathBuf,
    /// Where records go: sqlite:FILE, csv:DIR or ndjson:-
    #[arg(long, value_name = "TARGET")]
    pub to: String,
    /// Where ndjson:- keeps its cursor [default: ndjson.cursor.json]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

/// Loads what is there. Feeds that stop at a bad batch are reported, the others go on; any stop makes it fail.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let trust = Arc::new(read_trust(&args.trust)?);
    let inbox = Inbox::parse(&args.from).map_err(problem)?;
    let target = Target::parse(&args.to).map_err(problem)?;
    let feeds = choose(&inbox, &args.feed).map_err(problem)?;
    let mut sink = target.open(args.state.as_deref()).await.map_err(problem)?;
    let mut all = Vec::with_capacity(feeds.len());
    for feed in feeds {
        all.push(receive_feed(&inbox, &feed, &trust, sink.as_mut(), context.clock.now()).await);
    }
    // Records on stdout leave no room for a report there.
    report(&all, context, target == Target::Ndjson)?;
    Ok(if all.iter().any(|received| received.stopped.is_some()) { Exit::Failed } else { Exit::Done })
}

/// The roots to believe, from a PEM file.
pub(super) fn read_trust(path: &std::path::Path) -> anyhow::Result<Trust> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Trust::from_pem(&pem).map_err(|error| Problem::from(&error).detail(path.display().to_string()).into())
}

fn problem(error: ReceiveError) -> Problem {
    Problem::from(&error)
}

fn choose(inbox: &Inbox, wanted: &[String]) -> Result<Vec<String>, ReceiveError> {
    let present = inbox.feeds()?;
    if wanted.is_empty() {
        return Ok(present.into_iter().collect());
    }
    match wanted.iter().find(|feed| !present.contains(*feed)) {
        None => Ok(wanted.to_vec()),
        Some(missing) => Err(ReceiveError::Usage {
            what: format!("there is no feed {missing}"),
            hint: format!("there is: {}", present.into_iter().collect::<Vec<_>>().join(", ")),
        }),
    }
}

fn report(all: &[Received], context: &Context, stdout_is_taken: bool) -> anyhow::Result<()> {
    if context.json && !stdout_is_taken {
        return Ok(context.print_json(&serde_json::json!({ "feeds": all }))?);
    }
    let text = text(all);
    match (context.json, stdout_is_taken) {
        (true, _) => context.note(&serde_json::json!({ "feeds": all }).to_string())?,
        (false, true) => context.note(text.trim_end())?,
        (false, false) => context.print(&text)?,
    }
    let stops: Vec<Problem> = all.iter().filter_map(|received| received.stopped.clone()).collect();
    if !context.json && !stops.is_empty() {
        context.report(&stops)?;
    }
    Ok(())
}

fn text(all: &[Received]) -> String {
    let mut out = String::new();
    let width = all.iter().map(|received| received.feed.chars().count()).max().unwrap_or(0);
    for received in all {
        let Received { feed, batches, records, upserts, withdrawals, .. } = received;
        let through = received.through.map_or_else(|| "nothing yet".to_owned(), |seq| format!("through batch {seq}"));
        let line = if *batches == 0 {
            format!("{feed:width$}  nothing new, {through}")
        } else {
            format!(
                "{feed:width$}  {batches} batches, {records} records ({upserts} upserts, {withdrawals} withdrawals), {through}"
            )
        };
        let stopped = if received.stopped.is_some() { "  STOPPED" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{line}{stopped}");
    }
    if all.is_empty() {
        out.push_str("no feeds\n");
    }
    out
}

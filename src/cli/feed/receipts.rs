//! `huiliu feed receipts`: what subscribers answered.

use std::time::Duration;

use super::super::workspace::{Access, open};
use super::super::{Context, Exit};
use crate::engine::ReceiptsReport;
use crate::error::Problem;

/// Time between two looks at the queue.
const EVERY: Duration = Duration::from_secs(5);

/// Arguments of `feed receipts`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Read what is there and end; without it, look again every five seconds until interrupted
    #[arg(long)]
    once: bool,
}

/// Runs the verb. Receipts that do not fit make it end with 3.
pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut bad = false;
    loop {
        match read(context).await {
            Ok(report) => {
                bad |= !report.mismatches.is_empty();
                if args.once || report.read > 0 {
                    tell(&report, context)?;
                }
            }
            // A run that holds the workspace ends some time.
            Err(error) if !args.once && busy(&error) => {}
            Err(error) => return Err(error),
        }
        // Waiting for an interrupt, but no longer than until the next look.
        if args.once || tokio::time::timeout(EVERY, tokio::signal::ctrl_c()).await.is_ok() {
            return Ok(if bad { Exit::Held } else { Exit::Done });
        }
    }
}

/// One look. The workspace is free for others between two.
async fn read(context: &Context) -> anyhow::Result<ReceiptsReport> {
    let mut opened = open(context, Access::Write).await?;
    match opened.engine.read_receipts().await {
        Err(crate::engine::EngineError::Broker(error)) => Err(Problem::from(&error).into()),
        other => Ok(other?),
    }
}

fn busy(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Problem>().is_some_and(|problem| problem.code == "HL0810")
}

fn tell(report: &ReceiptsReport, context: &Context) -> anyhow::Result<()> {
    if context.json {
        return Ok(context.print_json(report)?);
    }
    let ReceiptsReport { read, recorded, again, mismatches } = report;
    context.print(&format!(
        "回执 receipts: {read} read, {recorded} recorded, {again} known before, {} do not fit\n",
        mismatches.len()
    ))?;
    let problems: Vec<Problem> = mismatches
        .iter()
        .map(|wrong| {
            let sender = wrong.sender.as_deref().unwrap_or("nobody named");
            Problem::error("HL0750", format!("a receipt for {} does not fit: {}", wrong.batch, wrong.why))
                .detail(format!("sent by {sender}"))
        })
        .collect();
    if !problems.is_empty() {
        context.report(&problems)?;
    }
    Ok(())
}

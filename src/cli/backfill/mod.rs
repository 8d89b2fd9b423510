//! `huiliu backfill`: files read again, batches sent again, beside the live flow.
//!
//! A running daemon does the work; the command hands it over through the store. Where none runs, the command does it.

mod ask;
mod show;
mod work;

use clap::Subcommand;

use super::workspace::{Access, Opened, open, open_as_it_is};
use super::{Context, Exit, audit};
use crate::engine::Engine;
use crate::error::Problem;
use crate::store::{BackfillState, Note};

/// Backfills (补数): governed re-reading and re-sending
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Plan a backfill and begin it: of a pipeline's files, or of a feed's batches
    Start(Box<ask::Start>),
    /// How a backfill stands: progress, rate, time left, chunks; ended ones with their ledger
    Status {
        /// Number; none means the newest
        id: Option<i64>,
        /// Until it is over
        #[arg(long)]
        watch: bool,
    },
    /// Every backfill, newest first
    List,
    /// Let it wait after the chunk at work
    Pause {
        /// Number
        id: i64,
    },
    /// Go on with one that waits, or that broke off
    Resume {
        /// Number
        id: i64,
    },
    /// End it after the chunk at work; what is committed stays
    Stop {
        /// Number
        id: i64,
    },
    /// Try its failed chunks once more
    Retry {
        /// Number
        id: i64,
    },
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    use BackfillState::{Failed, Paused, Pending, Running, Stopped};
    match args.verb {
        Verb::Start(start) => Box::pin(begin(*start, context)).await,
        Verb::Status { id, watch } => show::status(id, watch, context).await,
        Verb::List => show::list(context).await,
        Verb::Pause { id } => change(id, (&[Pending, Running], Paused), context).await,
        Verb::Stop { id } => change(id, (&[Pending, Running, Paused], Stopped), context).await,
        Verb::Resume { id } => Box::pin(go_on(id, &[Pending, Running, Paused, Stopped], context)).await,
        Verb::Retry { id } => Box::pin(retry(id, &[Failed, Pending, Running], context)).await,
    }
}

/// Failed chunks are to be done again. One that a person made wait, or ended, waits for that person all the same.
async fn retry(id: i64, goes_on: &[BackfillState], context: &Context) -> anyhow::Result<Exit> {
    let mut opened = open(context, Access::Read).await?;
    let state = opened.engine.backfill(id).await?.state;
    let failed = opened.engine.store().retry_chunks(id).await?;
    if failed == 0 {
        let problem = Problem::error("HL0924", format!("no chunk of backfill {id} failed; it is {}", state.name()));
        return Err(problem
            .hint(format!("what is left of one that waits is done by: huiliu backfill resume {id}"))
            .into());
    }
    if goes_on.contains(&state) {
        drop(opened);
        return Box::pin(go_on(id, goes_on, context)).await;
    }
    context.note(&format!(
        "{failed} chunks are to be done again; it stays {}: huiliu backfill resume {id}",
        state.name()
    ))?;
    show::state(&mut opened.engine, id, context).await
}

async fn begin(start: ask::Start, context: &Context) -> anyhow::Result<Exit> {
    let mut opened = open(context, Access::Read).await?;
    let asked = start.asked()?;
    let plan = asked.plan(&mut opened.engine).await?;
    if start.dry_run {
        let rehearsal = opened.engine.rehearse(&plan).await?;
        return show::rehearsal(&rehearsal, context);
    }
    let writer = writer(opened, context).await?;
    let (mut engine, daemon) = (writer.opened.engine, writer.daemon);
    let id = engine.keep_backfill(plan, start.why).await?;
    if daemon { show::handed_over(&mut engine, id, context).await } else { work::off(engine, id, context).await }
}

/// Somebody who may write: this process, or the daemon that this process tells.
struct Writer {
    opened: Opened,
    daemon: bool,
}

/// The workspace for writing; where a daemon runs, the workspace as it is, to leave word for it.
async fn writer(reader: Opened, context: &Context) -> anyhow::Result<Writer> {
    let mut reader = reader;
    if daemon_runs(&mut reader.engine, context).await? {
        return Ok(Writer { opened: reader, daemon: true });
    }
    drop(reader);
    Ok(Writer { opened: open(context, Access::Write).await?, daemon: false })
}

/// Whether a daemon holds its lease now.
async fn daemon_runs(engine: &mut Engine, context: &Context) -> anyhow::Result<bool> {
    held(engine, |lease| lease.starts_with("daemon/"), context).await
}

/// Whether somebody holds such a lease now.
async fn held(engine: &mut Engine, meant: impl Fn(&str) -> bool, context: &Context) -> anyhow::Result<bool> {
    let now = context.clock.now().timestamp_micros();
    let leases = engine.store().leases().await?;
    Ok(leases.iter().any(|lease| meant(&lease.name) && lease.until > now))
}

async fn go_on(id: i64, from: &[BackfillState], context: &Context) -> anyhow::Result<Exit> {
    let reader = open(context, Access::Read).await?;
    let writer = writer(reader, context).await?;
    let mut engine = writer.opened.engine;
    moved(&mut engine, id, (from, BackfillState::Pending), context).await?;
    if writer.daemon { show::handed_over(&mut engine, id, context).await } else { work::off(engine, id, context).await }
}

/// Leaves word in the store; whoever works on it looks there between two chunks.
async fn change(id: i64, to: (&[BackfillState], BackfillState), context: &Context) -> anyhow::Result<Exit> {
    let mut opened = open_as_it_is(context).await?;
    moved(&mut opened.engine, id, to, context).await?;
    show::state(&mut opened.engine, id, context).await
}

async fn moved(
    engine: &mut Engine,
    id: i64,
    (from, to): (&[BackfillState], BackfillState),
    context: &Context,
) -> anyhow::Result<()> {
    let at = context.clock.now().timestamp_micros();
    let before = engine.backfill(id).await?;
    let note = Note::new(at, "backfill.state", format!("backfill {id}: {}, by {}", to.name(), audit::who()));
    if !engine.store().move_backfill(id, from, (to, None, at), Some(note)).await? {
        let problem = Problem::error("HL0924", format!("backfill {id} is {}", before.state.name()));
        return Err(problem.detail(format!("it cannot become {}", to.name())).into());
    }
    Ok(())
}

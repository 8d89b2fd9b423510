//! `huiliu receive`: batches from a spool or a queue, verified and loaded.

mod statement;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::belief::{Belief, signer};
use super::table::shown;
use super::{Context, Exit};
use crate::batch::Reader;
use crate::config::{Password, TokenUri};
use crate::crypto::{CryptoError, Signer};
use crate::error::Problem;
use crate::outlet::rabbitmq::{Address, Link, Patience};
use crate::receive::{
    Answering, Demand, Following, QueuedFeed, ReceiveError, Received, Sink, Spool, Target, receive_feed,
};

/// Arguments of `receive`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Where batches are: spool:DIR, or amqps://user:password@host:port/vhost, best from the environment
    #[arg(long, value_name = "FROM", env = "HUILIU_RECEIVE_FROM", hide_env_values = true, required = true)]
    pub from: Option<String>,
    /// Only this feed; may be given again. A queue needs at least one
    #[arg(long, value_name = "NAME")]
    pub feed: Vec<String>,
    #[command(flatten)]
    belief: Belief,
    /// Where records go: sqlite:FILE, postgres://user:password@host/database, csv:DIR or ndjson:-
    #[arg(long, value_name = "TARGET", env = "HUILIU_RECEIVE_TO", hide_env_values = true, required = true)]
    pub to: Option<String>,
    /// Where ndjson:- keeps its cursor [default: ndjson.cursor.json]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Queue: keep listening until interrupted; without it, end when the broker says that nothing is left
    #[arg(long)]
    pub follow: bool,
    /// Queue: CA certificate(s) of the broker, PEM, believed beside the public ones
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Queue: sign receipts 回执 with this key (PEM, or pkcs11:…) and certificate chain; without it they say they are not signed
    #[arg(long, value_name = "KEY,CHAIN")]
    pub sign: Option<String>,
    /// PIN of a PKCS#11 token 令牌, best from the environment
    #[arg(long, value_name = "PIN", env = "HUILIU_TOKEN_PIN", hide_env_values = true)]
    pub token_pin: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Verify a statement 对账单, and compare what was loaded with it
    Statement(Box<statement::Args>),
}

/// Loads what is there. Feeds that stop at a bad batch are reported, the others go on; any stop makes it fail.
pub async fn run(mut args: Args, context: &Context) -> anyhow::Result<Exit> {
    if let Some(Verb::Statement(asked)) = args.verb.take() {
        return statement::run(*asked, context).await;
    }
    let reader = Arc::new(args.belief.reader().await?);
    let target = Target::parse(args.to.as_deref().unwrap_or_default()).map_err(problem)?;
    let from = args.from.take().unwrap_or_default();
    let queue = ["amqp://", "amqps://"].iter().any(|scheme| from.starts_with(scheme));
    if !queue && (args.follow || args.ca.is_some() || args.sign.is_some()) {
        return Err(usage("--follow, --ca and --sign are for queues", "give --from amqps://user:password@host/vhost"));
    }
    let all = if queue {
        from_queue((&from, &args), &reader, &target, context).await?
    } else {
        from_spool((&from, &args), &reader, &target, context).await?
    };
    // Records on stdout leave no room for a report there.
    report(&all, context, target == Target::Ndjson)?;
    Ok(if all.iter().any(|received| received.stopped.is_some()) { Exit::Failed } else { Exit::Done })
}

async fn from_spool(
    (from, args): (&str, &Args),
    reader: &Arc<Reader>,
    target: &Target,
    context: &Context,
) -> anyhow::Result<Vec<Received>> {
    let spool = Spool::parse(from).map_err(problem)?;
    let feeds = choose(&spool, &args.feed).map_err(problem)?;
    let mut sink = target.open(args.state.as_deref()).await.map_err(problem)?;
    let mut all = Vec::with_capacity(feeds.len());
    for feed in feeds {
        all.push(receive_feed(&mut spool.feed(&feed), &feed, reader, sink.as_mut(), context.clock).await);
    }
    Ok(all)
}

async fn from_queue(
    (from, args): (&str, &Args),
    reader: &Arc<Reader>,
    target: &Target,
    context: &Context,
) -> anyhow::Result<Vec<Received>> {
    if args.feed.is_empty() {
        return Err(usage(
            "a queue belongs to a feed, and none is named",
            "give --feed NAME, as the issuing office calls it",
        ));
    }
    let address = Address::parse(from, args.ca.as_deref()).map_err(|error| problem(error.into()))?;
    let signer = args.sign.as_deref().map(|files| read_signer(files, args)).transpose()?;
    let answering = Answering { user: address.user().to_owned(), signer, clock: context.clock };
    let mut sink = target.open(args.state.as_deref()).await.map_err(problem)?;
    if args.follow {
        let following = Following {
            address: &address,
            patience: Patience::default(),
            feeds: &args.feed,
            reader,
            answering: &answering,
        };
        let told = |received: &Received| tracing::info!(feed = received.feed, through = received.through, "loaded");
        return Ok(following.follow(sink.as_mut(), interrupted(), told).await);
    }
    let link = Link::open(&address, Patience::default()).await.map_err(|error| problem(error.into()))?;
    let mut all = Vec::with_capacity(args.feed.len());
    for feed in &args.feed {
        all.push(drain(&link, feed, reader, &answering, sink.as_mut()).await);
    }
    Ok(all)
}

async fn drain(link: &Link, feed: &str, reader: &Arc<Reader>, answering: &Answering, sink: &mut dyn Sink) -> Received {
    match QueuedFeed::open(link.clone(), feed, answering.clone()).await {
        Ok(mut queue) => receive_feed(&mut queue, feed, reader, sink, answering.clock).await,
        Err(error) => {
            let stopped = Some(Problem::from(&ReceiveError::from(error)));
            Received { stopped, ..Received::nothing(feed) }
        }
    }
}

/// Ends when a person interrupts, or the system ends the process gently.
async fn interrupted() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await, // then only an interrupt ends it
        }
    };
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => drop(interrupt),
        () = terminated => {}
    }
}

/// `KEY,CHAIN` → a signer.
fn read_signer(files: &str, args: &Args) -> anyhow::Result<Arc<Signer>> {
    let Some((uri, chain)) = files.rsplit_once(',').filter(|_| TokenUri::is_meant_by(files)) else {
        return Ok(Arc::new(signer(files, "--sign", args.belief.key_password.as_deref())?));
    };
    let uri = TokenUri::parse(uri).map_err(|what| Problem::from(&CryptoError::TokenUri { what }))?;
    let signer = Signer::on_token(uri, chain.as_ref(), args.token_pin.clone().map(Password::new).as_ref());
    Ok(Arc::new(signer.map_err(|error| Problem::from(&error))?))
}

fn usage(what: &str, hint: &str) -> anyhow::Error {
    problem(ReceiveError::Usage { what: what.to_owned(), hint: hint.to_owned() }).into()
}

fn problem(error: ReceiveError) -> Problem {
    Problem::from(&error)
}

fn choose(spool: &Spool, wanted: &[String]) -> Result<Vec<String>, ReceiveError> {
    let present = spool.feeds()?;
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
        let again = if received.again > 0 { format!(", {} came again", received.again) } else { String::new() };
        let stopped = if received.stopped.is_some() { "  STOPPED" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{line}{again}{stopped}");
        for demand in &received.demands {
            let Demand { batch, kind, records, reason, reference } = demand;
            let what = if *kind == "recall" { "撤回" } else { "更正" };
            let (reason, reference) = (shown(reason), shown(reference));
            let _ = writeln!(out, "  {what} {kind} {batch}: {records} records, {reason}, {reference}");
        }
    }
    if all.is_empty() {
        out.push_str("no feeds\n");
    }
    out
}

//! `huiliu serve`: the daemon.

use std::sync::Arc;

use super::workspace::{Access, Lock, checked, definitions, open_store};
use super::{Context, Exit, telemetry};
use crate::config::Installation;
use crate::error::Problem;
use crate::outlet::rabbitmq::{Address, Link, Patience};
use crate::serve::{Daemon, Probe, Setup, Stores};
use crate::store::StoreError;

/// The daemon: schedules, feeds, backfills, health and metrics
///
/// Reads the definitions again on SIGHUP, if they check; stops at a commit boundary on SIGTERM.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where /healthz, /readyz and /metrics are answered; `serve: { listen: … }` when absent
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// End as soon as nothing is due and nothing is at work
    #[arg(long)]
    pub until_idle: bool,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let (workspace, warnings) = definitions(context)?;
    let traces = telemetry::begin_daemon(&workspace.installation)?;
    for warning in &warnings {
        let place = warning.place.as_ref().map(|at| format!("{}:{}:{}", at.file, at.line, at.column));
        tracing::warn!(code = warning.code, place, "{}", warning.message);
    }
    let installation = workspace.installation.clone();
    // SQLite lets one process write; what several daemons share is told apart by leases.
    let embedded = installation.store.starts_with("sqlite:");
    let _lock = if embedded { Some(Lock::take(&installation.state_dir)?) } else { None };
    drop(open_store(&installation, Access::Write).await?); // what is wrong with it is said in full before anything begins
    let setup = Setup {
        definitions: read_again(context),
        stores: stores(&installation),
        backfill_worker: !embedded,
        workers: if embedded { 1 } else { usize::try_from(installation.serve.workers).unwrap_or(1) },
        clock: context.clock,
        listen: Some(args.listen.unwrap_or_else(|| installation.serve.listen.clone())),
        until_idle: args.until_idle,
        probes: probes(&installation),
        workspace,
    };
    let worked = match Daemon::begin(setup).await {
        Ok(daemon) => daemon.work().await,
        Err(error) => Err(error),
    };
    traces.finish().await;
    worked?;
    Ok(Exit::Done)
}

/// What `/readyz` asks beside the store.
fn probes(installation: &Installation) -> Vec<Probe> {
    let broker = installation.broker.as_ref().map(|broker| {
        let (url, ca) = (broker.url.clone(), broker.ca.clone());
        Probe {
            name: "broker",
            ask: Arc::new(move || {
                let address = Address::parse(&url, ca.as_deref());
                Box::pin(async move {
                    let address = address.map_err(|error| error.to_string())?;
                    Link::open(&address, Patience::default()).await.map(drop).map_err(|error| error.to_string())
                })
            }),
        }
    });
    broker.into_iter().collect()
}

/// Checks the definitions as `huiliu check` does.
fn read_again(context: &Context) -> crate::serve::Definitions {
    let context = context.clone();
    Arc::new(move || {
        let (workspace, problems) = checked(&context);
        let problems = crate::config::Workspace::needs(problems);
        if problems.iter().any(Problem::is_error) { Err(problems) } else { Ok(workspace) }
    })
}

/// Further connections to the same store.
pub(super) fn stores(installation: &Installation) -> Stores {
    let installation = installation.clone();
    Arc::new(move || {
        let installation = installation.clone();
        Box::pin(async move {
            let opened = open_store(&installation, Access::Write).await;
            opened.map_err(|error| match error.downcast::<StoreError>() {
                Ok(error) => error,
                Err(other) => StoreError::Unavailable(other.to_string()),
            })
        })
    })
}

//! The lease of a pipeline or feed while a command, and no daemon, works on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::Context;
use super::serve::stores;
use crate::engine::Engine;
use crate::error::Problem;
use crate::serve::holder::{give_back_of_the_dead, this_process};
use crate::store::{Lease, for_backfill};

/// How long after this process's death others may take the work over. Short, for the one who starts it again waits; a
/// store that is away longer costs nothing, as long as nobody else takes the lease.
const LEASE: Duration = Duration::from_secs(5);

/// The lease of the pipeline or feed, held by a task of its own while chunks run.
pub(super) struct Held {
    lease: Lease,
    renewing: JoinHandle<()>,
}

impl Held {
    /// Takes the lease, waiting for one whose holder died, and puts everything the engine writes under it. Should somebody
    /// else get it all the same, `stop` is set, and the store refuses the rest.
    pub(super) async fn take(
        engine: &mut Engine,
        name: &str,
        (stop, context): (&Arc<AtomicBool>, &Context),
    ) -> anyhow::Result<Self> {
        Self::hold(engine, (name, &this_process()), (stop, context)).await
    }

    /// The same, told apart from live work.
    pub(super) async fn for_backfill(
        engine: &mut Engine,
        name: &str,
        (stop, context): (&Arc<AtomicBool>, &Context),
    ) -> anyhow::Result<Self> {
        Self::hold(engine, (name, &for_backfill(&this_process())), (stop, context)).await
    }

    async fn hold(
        engine: &mut Engine,
        (name, holder): (&str, &str),
        (stop, context): (&Arc<AtomicBool>, &Context),
    ) -> anyhow::Result<Self> {
        give_back_of_the_dead(engine.store()).await?;
        let lease = Self::wait_for(engine, (name, holder), stop, context).await?;
        engine.store().set_fence(Some(lease.clone())).await?;
        let mut store = (stores(&engine.workspace().installation))().await?;
        let (renewed, stop) = (lease.clone(), Arc::clone(stop));
        let renewing = tokio::spawn(async move {
            let mut turns = tokio::time::interval(LEASE / 3);
            loop {
                turns.tick().await;
                match store.renew_lease(&renewed, LEASE).await {
                    Ok(true) => {}
                    Ok(false) => return stop.store(true, Ordering::Relaxed),
                    Err(error) => tracing::warn!(%error, "the lease could not be renewed"),
                }
            }
        });
        Ok(Self { lease, renewing })
    }

    /// The lease, where several processes may work over one store; SQLite lets in one, which the workspace's lock sees to.
    pub(super) async fn where_shared(
        engine: &mut Engine,
        name: &str,
        context: &Context,
    ) -> anyhow::Result<Option<Self>> {
        if engine.workspace().installation.store.starts_with("sqlite:") {
            return Ok(None);
        }
        let stop = engine.stop_flag();
        Self::take(engine, name, (&stop, context)).await.map(Some)
    }

    /// Gives back what [`Self::where_shared`] took.
    pub(super) async fn end(held: Option<Self>, engine: &mut Engine) -> anyhow::Result<()> {
        match held {
            Some(held) => held.give_back(engine).await,
            None => Ok(()),
        }
    }

    /// The lease, once it is free: that of a process that died ends by time.
    async fn wait_for(
        engine: &mut Engine,
        (name, holder): (&str, &str),
        stop: &AtomicBool,
        context: &Context,
    ) -> anyhow::Result<Lease> {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        for second in 0..LEASE.as_secs() + 25 {
            seconds.tick().await;
            if let Some(lease) = engine.store().acquire_lease(name, holder, LEASE).await? {
                return Ok(lease);
            }
            if second == 0 {
                context.note(&format!("{name} is at work elsewhere; waits"))?;
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        let problem = Problem::error("HL0930", format!("{name} is at work elsewhere"));
        Err(problem.hint("try again when it is not; what a daemon works on, it works off by itself").into())
    }

    /// Gives it back.
    pub(super) async fn give_back(self, engine: &mut Engine) -> anyhow::Result<()> {
        self.renewing.abort();
        engine.store().set_fence(None).await?;
        Ok(engine.store().release_lease(&self.lease).await?)
    }
}

//! Working a backfill off in this process, because no daemon runs.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use super::show;
use crate::cli::run::stop_on_interrupt;
use crate::cli::serve::stores;
use crate::cli::{Context, Exit};
use crate::engine::schedule::BackfillLane;
use crate::engine::{BackfillStep, Engine, Progress};
use crate::error::Problem;
use crate::store::{BackfillState, Lease};

/// How long after this process's death others may take the work over.
const LEASE: Duration = Duration::from_secs(30);

/// Works until it is over, somebody makes it wait, or a person stops this process.
pub(super) async fn off(engine: Engine, id: i64, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = engine;
    let backfill = engine.backfill(id).await?;
    let bar = Arc::new(Bar::new(backfill.rows, backfill.rows_done));
    let progress: Arc<dyn Progress> = Arc::<Bar>::clone(&bar);
    engine = engine.with_progress(progress);
    stop_on_interrupt(&engine);
    let stop = engine.stop_flag();
    let lane = BackfillLane::of(&backfill);
    let held = Held::take(&mut engine, &lane.beside.to_string(), (&stop, context)).await?;
    let worked = steps(&mut engine, (id, &lane), (&bar, &stop), context).await;
    held.give_back(&mut engine).await?;
    bar.finish();
    worked?;
    show::ended(&mut engine, id, context).await
}

async fn steps(
    engine: &mut Engine,
    (id, lane): (i64, &BackfillLane),
    (bar, stop): (&Bar, &AtomicBool),
    context: &Context,
) -> anyhow::Result<()> {
    loop {
        wait_for_window(engine, lane, stop, context).await?;
        match engine.backfill_step(id).await? {
            BackfillStep::Chunk { n, rows, .. } => {
                tracing::info!(backfill = id, chunk = n, rows, "done");
                let backfill = engine.backfill(id).await?;
                bar.reached(backfill.rows_done);
            }
            BackfillStep::Refused { n, why } => context.note(&format!("chunk {n}: {why}"))?,
            BackfillStep::Waits { why } => {
                context.note(&format!("waits: {why}"))?;
                return Ok(());
            }
            BackfillStep::Yielded => {
                context.note(&format!("stopped; `huiliu backfill resume {id}` goes on where it is"))?;
                return Ok(());
            }
            BackfillStep::Over(BackfillState::Paused) => {
                context.note("paused")?;
                return Ok(());
            }
            BackfillStep::Over(_) => return Ok(()),
        }
    }
}

/// Waits for the hours in which it may work.
async fn wait_for_window(
    engine: &Engine,
    lane: &BackfillLane,
    stop: &AtomicBool,
    context: &Context,
) -> anyhow::Result<()> {
    let zone = engine.workspace().installation.zone;
    let Some(window) = lane.window else { return Ok(()) };
    let closed = || !window.open(context.clock.now(), zone) && !stop.load(Ordering::Relaxed);
    if closed() {
        context.note(&format!("waits for its hours, {window}"))?;
    }
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    while closed() {
        seconds.tick().await;
    }
    Ok(())
}

/// The lease of the pipeline or feed, held by a task of its own while chunks run.
struct Held {
    lease: Lease,
    renewing: JoinHandle<()>,
}

impl Held {
    async fn take(
        engine: &mut Engine,
        name: &str,
        (stop, context): (&Arc<AtomicBool>, &Context),
    ) -> anyhow::Result<Self> {
        let holder = format!("backfill:{}:{}", std::process::id(), context.clock.now().timestamp_micros());
        let lease = Self::wait_for(engine, (name, &holder), stop, context).await?;
        engine.store().set_fence(Some(lease.clone())).await?;
        let mut store = (stores(&engine.workspace().installation))().await?;
        let (renewed, stop, clock) = (lease.clone(), Arc::clone(stop), context.clock);
        let renewing = tokio::spawn(async move {
            let mut turns = tokio::time::interval(LEASE / 3);
            loop {
                turns.tick().await;
                match store.renew_lease(&renewed, LEASE, clock.now().timestamp_micros()).await {
                    Ok(true) => {}
                    Ok(false) => return stop.store(true, Ordering::Relaxed),
                    Err(error) => tracing::warn!(%error, "the lease could not be renewed"),
                }
            }
        });
        Ok(Self { lease, renewing })
    }

    /// The lease, once it is free: that of a process that died ends by time.
    async fn wait_for(
        engine: &mut Engine,
        (name, holder): (&str, &str),
        stop: &AtomicBool,
        context: &Context,
    ) -> anyhow::Result<Lease> {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        for second in 0..LEASE.as_secs() + 5 {
            seconds.tick().await;
            let now = context.clock.now().timestamp_micros();
            if let Some(lease) = engine.store().acquire_lease(name, holder, LEASE, now).await? {
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
        Err(problem.hint("`huiliu backfill resume ID` goes on when it is not; a daemon does that by itself").into())
    }

    async fn give_back(self, engine: &mut Engine) -> anyhow::Result<()> {
        self.renewing.abort();
        engine.store().set_fence(None).await?;
        Ok(engine.store().release_lease(&self.lease).await?)
    }
}

/// Rows done of all rows, on a terminal.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(rows: u64, done: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(rows);
        let style = "补数 backfill {wide_bar} {human_pos}/{human_len} {per_sec} {eta}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(done);
        Self(Some(bar))
    }

    fn reached(&self, rows: u64) {
        self.0.iter().for_each(|bar| bar.set_position(rows));
    }

    fn finish(&self) {
        self.0.iter().for_each(ProgressBar::finish_and_clear);
    }
}

impl Progress for Bar {
    fn file(&self, pipeline: &str, file: &str, bytes: u64) {
        tracing::info!(pipeline, file, bytes, "reading again");
    }

    fn rows(&self, rows: u64, _: u64) {
        self.0.iter().for_each(|bar| bar.inc(rows));
    }

    fn records(&self, _: &str, records: u64) {
        self.0.iter().for_each(|bar| bar.inc(records));
    }

    fn done(&self) {}
}

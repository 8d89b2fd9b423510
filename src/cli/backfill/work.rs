//! Working a backfill off in this process, because no daemon runs.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::show;
use crate::cli::lease::Held;
use crate::cli::run::stop_on_interrupt;
use crate::cli::{Context, Exit};
use crate::engine::schedule::BackfillLane;
use crate::engine::{BackfillStep, Engine, Progress};
use crate::store::BackfillState;

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
    let held = Held::for_backfill(&mut engine, &lane.beside.to_string(), (&stop, context)).await?;
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

//! One worker: an engine of its own, one job at a time, under the lease that comes with it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use tokio::sync::mpsc;

use super::Stores;
use super::health::{Pulse, Pulsing};
use super::job::Outcome;
use crate::clock::Clock;
use crate::config::Workspace;
use crate::engine::schedule::Job;
use crate::engine::{Engine, EngineError, RunOptions};
use crate::error::Disposition;
use crate::store::{Lease, StoreError};

/// What a worker is told.
pub(super) struct Order {
    pub(super) job: Job,
    /// `None` for a job that writes nothing.
    pub(super) lease: Option<Lease>,
    pub(super) workspace: Arc<Workspace>,
}

/// What it answers.
pub(super) struct Report {
    pub(super) worker: usize,
    pub(super) job: Job,
    pub(super) outcome: Outcome,
}

/// A worker's place.
pub(super) struct Worker {
    pub(super) n: usize,
    pub(super) stores: Stores,
    pub(super) clock: Clock,
    pub(super) pulse: Arc<Pulse>,
    pub(super) stop: Arc<AtomicBool>,
    /// When receipts were last read.
    pub(super) receipts: Option<Instant>,
}

/// How often a worker reads what subscribers answered.
const RECEIPTS: Duration = Duration::from_secs(10);

impl Worker {
    /// Works until nobody sends orders any more.
    pub(super) async fn work(mut self, mut orders: mpsc::Receiver<Order>, reports: mpsc::Sender<Report>) {
        let mut engine: Option<Engine> = None;
        while let Some(Order { job, lease, workspace }) = orders.recv().await {
            self.at(Some(job.clone()));
            let doing = AssertUnwindSafe(self.serve(&mut engine, (&job, lease), &workspace)).catch_unwind();
            let outcome = doing.await.unwrap_or_else(|_| {
                let error = EngineError::Internal(format!("a fault in {job}"));
                (Outcome::error(&error), false)
            });
            let (outcome, usable) = outcome;
            if !usable {
                engine = None; // the next job finds a fresh connection
            }
            self.at(None);
            if reports.send(Report { worker: self.n, job, outcome }).await.is_err() {
                return;
            }
        }
    }

    fn at(&self, job: Option<Job>) {
        if let Some(beat) = self.pulse.worker(self.n) {
            beat.at(job);
        }
    }

    /// Does one job; says too whether the engine may be used again.
    async fn serve(
        &mut self,
        engine: &mut Option<Engine>,
        (job, lease): (&Job, Option<Lease>),
        workspace: &Arc<Workspace>,
    ) -> (Outcome, bool) {
        let ready = match engine.take() {
            Some(engine) => self.redefined(engine, workspace).await,
            None => self.fresh(workspace).await,
        };
        let mut ready = match ready {
            Ok(ready) => ready,
            Err(error) => return (Outcome::error(&error), false),
        };
        let outcome = match ready.store().set_fence(lease).await {
            Ok(()) => perform(&mut ready, job, self.clock).await,
            Err(error) => Outcome::error(&error.into()),
        };
        let freed = ready.store().set_fence(None).await;
        if matches!(job, Job::Feed(_)) && self.receipts.is_none_or(|last| last.elapsed() >= RECEIPTS) {
            self.receipts = Some(Instant::now());
            read_receipts(&mut ready).await;
        }
        let usable = freed.is_ok() && !matches!(outcome, Outcome::Error { disposition: Disposition::Retry, .. });
        *engine = Some(ready);
        (outcome, usable)
    }

    async fn fresh(&self, workspace: &Arc<Workspace>) -> Result<Engine, EngineError> {
        let store = (self.stores)().await?;
        let engine = Engine::new(Workspace::clone(workspace), store, self.clock).await?;
        let progress = Arc::new(Pulsing { pulse: Arc::clone(&self.pulse), worker: self.n });
        Ok(engine.with_progress(progress).with_stop(Arc::clone(&self.stop)))
    }

    async fn redefined(&self, mut engine: Engine, workspace: &Arc<Workspace>) -> Result<Engine, EngineError> {
        if engine.workspace().digest() != workspace.digest() {
            engine.redefine(Workspace::clone(workspace)).await?;
        }
        Ok(engine)
    }
}

async fn perform(engine: &mut Engine, job: &Job, clock: Clock) -> Outcome {
    let done = match job {
        Job::Pipeline(name) => engine.run(name, &RunOptions::default()).await.map(Outcome::Run),
        Job::Feed(name) => release(engine, name, clock).await,
        Job::Backfill(id) => engine.backfill_step(*id).await.map(Outcome::Chunk),
        Job::Review(register) => engine.review(Some(register), 0).await.map(Outcome::Review),
    };
    done.unwrap_or_else(|error| Outcome::error(&error))
}

async fn release(engine: &mut Engine, name: &str, clock: Clock) -> Result<Outcome, EngineError> {
    let Some(feed) = engine.workspace().feeds.get(name) else {
        return Err(EngineError::Internal(format!("feed {name} is not defined any more")));
    };
    let register = feed.register.value.clone();
    // A first release brings what has been there for years: that is no latency.
    let first = engine.store().feed(name).await?.cursor == 0;
    let waits = engine.store().feed_lag(name, &register).await?.since.filter(|_| !first);
    let report = engine.release(name).await?;
    let durable = report.durable > 0;
    let waited = waits.filter(|_| durable).map(|since| clock.now().timestamp_micros().saturating_sub(since));
    Ok(Outcome::Feed(report, waited.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs()))))
}

/// What subscribers answered, where there is a broker. A broker that is away is a matter of the feeds, not of receipts.
async fn read_receipts(engine: &mut Engine) {
    if engine.broker().is_none() {
        return;
    }
    match engine.read_receipts().await {
        Ok(report) if report.read > 0 => tracing::info!(read = report.read, recorded = report.recorded, "receipts"),
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "receipts were not read"),
    }
}

impl From<StoreError> for Outcome {
    fn from(error: StoreError) -> Self {
        Self::error(&error.into())
    }
}

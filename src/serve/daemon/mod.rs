//! The daemon's loop: what the schedule says is due is handed to an idle worker under a lease, and what comes back is told
//! to the schedule and the metrics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::health::Pulse;
use super::http::{self, Shared};
use super::worker::{Order, Report, Worker};
use super::{ServeError, Setup, notify};
use crate::engine::schedule::{Job, Schedule};
use crate::serve::holder::this_process;
use crate::store::{Lease, Store, StoreError};

mod alerts;
mod backfills;
mod jobs;
mod leases;
mod reload;
mod retention;

/// The longest time between two rounds.
const ROUND: Duration = Duration::from_secs(1);

/// A clock that goes back further than this was set; less is how clocks are kept right.
const BACKWARDS: TimeDelta = TimeDelta::seconds(2);

/// What a worker is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    All,
    Live,
    /// Reviews and backfills.
    Beside,
}

/// A worker as the daemon sees it.
struct Seat {
    takes: Takes,
    orders: mpsc::Sender<Order>,
    stop: Arc<AtomicBool>,
    /// Its job, and the lease of one that writes.
    at: Option<(Job, Option<Lease>)>,
    task: JoinHandle<()>,
}

/// One process at work.
pub struct Daemon {
    setup: Setup,
    shared: Arc<Shared>,
    schedule: Schedule,
    /// For everything that the daemon itself asks and notes.
    store: Box<dyn Store>,
    seats: Vec<Seat>,
    reports: mpsc::Receiver<Report>,
    own: Lease,
    /// The last round, to notice a clock that goes back.
    went_round: DateTime<Utc>,
    renewed: DateTime<Utc>,
    housekept: Option<DateTime<Utc>>,
    let_go: Option<DateTime<Utc>>,
    asked_for_backfills: Option<DateTime<Utc>>,
    /// Feeds whose quota of the day is used up, which is said once.
    spent: BTreeSet<String>,
    alerts: alerts::Alerts,
    http: Option<(oneshot::Sender<()>, JoinHandle<std::io::Result<()>>)>,
}

/// What a round woke up for.
enum Event {
    Report(Option<Box<Report>>),
    Time,
    Reload,
    Stop,
}

/// The signals that a daemon listens to.
struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, ServeError> {
        let listen = |kind| signal(kind).map_err(|error| StoreError::Unavailable(error.to_string()));
        Ok(Self {
            hang_up: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }
}

impl Daemon {
    /// Binds its address, opens its connections, takes its own lease and remembers what ran before.
    pub async fn begin(setup: Setup) -> Result<Self, ServeError> {
        let listener = match &setup.listen {
            Some(address) => Some(http::bind(address).await?),
            None => None,
        };
        let mut store = (setup.stores)().await?;
        let registers: Vec<_> = setup.workspace.registers.values().collect();
        store.prepare(&registers).await?;
        let now = setup.clock.now();
        let holder = this_process();
        let own = leases::announce(&mut *store, &holder, &setup).await?;
        let seats = match setup.backfill_worker {
            true => [vec![Takes::Live; setup.workers], vec![Takes::Beside]].concat(),
            false => vec![Takes::All; setup.workers],
        };
        let pulse = Arc::new(Pulse::new(seats.len(), setup.clock));
        let shared = Arc::new(Shared::new(&setup, Arc::clone(&pulse), holder.clone()));
        shared.metrics.defined(&setup.workspace);
        let seed = xxhash_rust::xxh3::xxh3_64(holder.as_bytes());
        let schedule = Schedule::new(&setup.workspace, seed, now);
        let (sender, reports) = mpsc::channel(seats.len().max(1));
        let seats = seats.into_iter().enumerate().map(|at| seat(at, &setup, (&pulse, &sender))).collect();
        let http = listener.map(|listener| answering(listener, &shared));
        let mut daemon = Self {
            setup,
            shared,
            schedule,
            store,
            seats,
            reports,
            own,
            went_round: now,
            renewed: now,
            housekept: None,
            let_go: None,
            asked_for_backfills: None,
            spent: BTreeSet::new(),
            alerts: alerts::Alerts::default(),
            http,
        };
        daemon.recall(now).await?;
        Ok(daemon)
    }

    /// Works until it is told to stop, or is idle and was asked to end then.
    pub async fn work(mut self) -> Result<(), ServeError> {
        let mut signals = Signals::listen()?;
        notify::ready();
        let mut told_alive = Instant::now();
        let worked = loop {
            let now = self.setup.clock.now();
            self.shared.pulse.round(now.timestamp_micros());
            if notify::rhythm().is_some_and(|rhythm| told_alive.elapsed() >= rhythm) {
                notify::alive();
                told_alive = Instant::now();
            }
            self.round(now).await;
            if self.setup.until_idle && self.idle(now) {
                break Ok(());
            }
            match self.event(now, &mut signals).await {
                Event::Report(Some(report)) => self.ended(*report).await,
                Event::Report(None) => break Err(StoreError::Unavailable("no worker is left".into()).into()),
                Event::Time => {}
                Event::Reload => self.reload().await,
                Event::Stop => break Ok(()),
            }
        };
        let stopped = self.stop().await;
        worked.and(stopped)
    }

    async fn round(&mut self, now: DateTime<Utc>) {
        self.notice_the_clock(now);
        self.renew(now).await;
        self.look_for_backfills(now).await;
        self.begin_what_is_due(now).await;
        self.alert(now).await;
        self.keep_house(now).await;
        self.let_go_of_old_months(now).await;
    }

    /// What was planned by a clock that was ahead would come when that time comes round again: it is planned anew.
    fn notice_the_clock(&mut self, now: DateTime<Utc>) {
        let before = std::mem::replace(&mut self.went_round, now);
        if before - now > BACKWARDS {
            let seconds = (before - now).num_seconds();
            tracing::warn!(code = "HL0933", seconds, "the clock went back; what is due is reckoned anew");
            self.schedule.clock_went_back(now);
            (self.housekept, self.let_go, self.asked_for_backfills) = (None, None, None);
            self.alerts = alerts::Alerts::default();
        }
    }

    async fn event(&mut self, now: DateTime<Utc>, signals: &mut Signals) -> Event {
        let live = self.schedule.next_live().filter(|_| self.free(Takes::Live).is_some());
        let beside = self.schedule.next_beside(now).filter(|_| self.free(Takes::Beside).is_some());
        let next = [live, beside].into_iter().flatten().min();
        let wait = next.map_or(ROUND, |next| (next - now).to_std().unwrap_or_default());
        // A due job that no lease was free for must not make the loop spin.
        let until = Instant::now() + wait.clamp(Duration::from_millis(20), ROUND);
        tokio::select! {
            report = timeout_at(until, self.reports.recv()) => report.map_or(Event::Time, |report| Event::Report(report.map(Box::new))),
            _ = signals.hang_up.recv() => Event::Reload,
            _ = signals.terminate.recv() => Event::Stop,
            _ = signals.interrupt.recv() => Event::Stop,
        }
    }

    fn idle(&self, now: DateTime<Utc>) -> bool {
        self.seats.iter().all(|seat| seat.at.is_none()) && self.schedule.next(now).is_none_or(|next| next > now)
    }

    /// Asks all work to stop at its next commit boundary and waits for it, at most as long as the installation says.
    async fn stop(mut self) -> Result<(), ServeError> {
        notify::stopping();
        let patience = self.setup.workspace.installation.serve.stop_within;
        tracing::info!(seconds = patience.as_secs(), "stopping at the next commit boundary");
        self.seats.iter().for_each(|seat| seat.stop.store(true, Ordering::Relaxed));
        for seat in self.seats.iter_mut().filter(|seat| matches!(seat.at, Some((Job::Review(_), _)))) {
            seat.task.abort(); // it writes nothing
            seat.at = None;
        }
        let until = Instant::now() + patience;
        while self.seats.iter().any(|seat| seat.at.is_some()) {
            match timeout_at(until, self.reports.recv()).await {
                Ok(Some(report)) => self.ended(report).await,
                Ok(None) | Err(_) => break,
            }
        }
        let left: Vec<String> =
            self.seats.iter().filter_map(|seat| seat.at.as_ref().map(|(job, _)| job.to_string())).collect();
        if let Err(error) = self.store.release_lease(&self.own).await {
            tracing::warn!(%error, "the daemon's lease could not be given back; it ends by itself");
        }
        if let Some((over, task)) = self.http.take() {
            over.send(()).ok();
            task.abort(); // whoever still asks gets no answer; a scrape must not hold up the end
        }
        for seat in self.seats {
            drop(seat.orders);
            if left.is_empty() {
                seat.task.await.ok();
            } else {
                seat.task.abort();
            }
        }
        if left.is_empty() {
            tracing::info!("stopped");
            return Ok(());
        }
        Err(ServeError::Stuck { jobs: left.join(", "), seconds: patience.as_secs() })
    }

    /// What the store remembers of every pipeline.
    async fn recall(&mut self, now: DateTime<Utc>) -> Result<(), ServeError> {
        let names: Vec<String> = self.setup.workspace.pipelines.keys().cloned().collect();
        for name in names {
            let runs = self.store.runs(Some(&name), 100).await?;
            self.schedule.recall(&name, &runs, now);
            self.shared.metrics.failures(&name, self.schedule.failures(&Job::Pipeline(name.clone())));
        }
        Ok(())
    }

    /// Once an hour: what is kept only for a while.
    async fn keep_house(&mut self, now: DateTime<Utc>) {
        const KEEP: TimeDelta = TimeDelta::days(30);
        if self.housekept.is_some_and(|last| now - last < TimeDelta::hours(1)) {
            return;
        }
        self.housekept = Some(now);
        match self.store.drop_bodies((now - KEEP).timestamp_micros()).await {
            Ok(0) => {}
            Ok(batches) => tracing::info!(batches, "dropped the bodies of old batches; manifests and signatures stay"),
            Err(error) => tracing::warn!(%error, "old batches could not be dropped"),
        }
    }
}

fn seat((n, takes): (usize, Takes), setup: &Setup, (pulse, reports): (&Arc<Pulse>, &mpsc::Sender<Report>)) -> Seat {
    let (orders, received) = mpsc::channel(1);
    let stop = Arc::new(AtomicBool::new(false));
    let worker = Worker {
        n,
        stores: Arc::clone(&setup.stores),
        clock: setup.clock,
        pulse: Arc::clone(pulse),
        stop: Arc::clone(&stop),
        receipts: None,
    };
    let task = tokio::spawn(worker.work(received, reports.clone()));
    Seat { takes, orders, stop, at: None, task }
}

fn answering(
    listener: tokio::net::TcpListener,
    shared: &Arc<Shared>,
) -> (oneshot::Sender<()>, JoinHandle<std::io::Result<()>>) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "listening");
    }
    let (over, told) = oneshot::channel();
    let answering = http::answer(listener, Arc::clone(shared), async {
        told.await.ok();
    });
    (over, tokio::spawn(answering))
}

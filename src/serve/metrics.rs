//! The numbers that Prometheus scrapes. Names and labels are a contract with the dashboards.
//!
//! Counters count what this process did. Gauges about state are read from the store when somebody scrapes, so that every
//! daemon over one store tells the same.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::config::{LagLimit, OutletKind, Workspace};
use crate::engine::{FeedReport, Open, ReviewLine, RunReport};
use crate::store::{RunView, Store, StoreError};

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Gauges = Family<Labels, Gauge>;
type Floats = Family<Labels, Gauge<f64, AtomicU64>>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Seconds from the commit of a change until it is durable at the outlet.
const LATENCIES: [f64; 14] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0];
/// Runs looked at for the last success.
const RUNS: i64 = 100;
/// Backfills shown besides those that are not over.
const BACKFILLS: usize = 20;

/// Everything that is told.
pub(super) struct Metrics {
    registry: Registry,
    rows: Counters,
    runs: Counters,
    unbalanced: Counters,
    records: Counters,
    latency: Histograms,
    failures: Gauges,
    last_success: Floats,
    within: Floats,
    quarantine: Gauges,
    quarantine_age: Floats,
    lag_records: Gauges,
    lag_seconds: Floats,
    lag_bytes: Gauges,
    unstamped: Gauges,
    unstamped_seconds: Floats,
    stamps_within: Floats,
    behind_seconds: Floats,
    behind_bytes: Gauges,
    behind_most_seconds: Floats,
    behind_most_bytes: Gauges,
    reviews: Reviews,
    lease_held: Gauges,
    lease_token: Gauges,
    definitions: Gauges,
    chunks: Gauges,
    certificates: Floats,
    unanswered: Floats,
    unsettled: Gauges,
    unsettled_age: Floats,
    found: Gauges,
}

/// What the hourly reviews found.
struct Reviews {
    broken: Gauges,
    overdue: Gauges,
}

impl Reviews {
    fn new(registry: &mut Registry) -> Self {
        let broken = "Links that dangle, entities too many, totals that do not add up, deadlines missed, at the last hourly review";
        let overdue = "Deadlines that passed and nothing was done, at the last hourly review";
        Self {
            broken: gauges(registry, "huiliu_review_broken", broken),
            overdue: gauges(registry, "huiliu_deadlines_overdue", overdue),
        }
    }
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let build = Gauges::default();
        build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        registry.register("huiliu_build_info", "The program", build);
        let latency: Histograms = Family::new_with_constructor(|| Histogram::new(LATENCIES));
        let metrics = Self {
            rows: counters(&mut registry, "huiliu_rows", "Rows read, by what became of them"),
            runs: counters(&mut registry, "huiliu_runs", "Passes of a pipeline, by how they ended"),
            unbalanced: counters(&mut registry, "huiliu_ledger_unbalanced_runs", "Runs whose ledger did not balance"),
            records: counters(&mut registry, "huiliu_feed_records", "Records put into batches"),
            failures: gauges(&mut registry, "huiliu_pipeline_consecutive_failures", "Failures since the last success"),
            last_success: floats(
                &mut registry,
                "huiliu_pipeline_last_success_timestamp_seconds",
                "End of the last run that succeeded",
            ),
            within: floats(&mut registry, "huiliu_pipeline_within_seconds", "Promised freshness"),
            quarantine: gauges(&mut registry, "huiliu_quarantine_open", "Rows set aside that wait for somebody"),
            quarantine_age: floats(&mut registry, "huiliu_quarantine_oldest_seconds", "Age of the oldest of them"),
            lag_records: gauges(&mut registry, "huiliu_feed_lag_records", "Changes and records not yet durable"),
            lag_seconds: floats(&mut registry, "huiliu_feed_lag_seconds", "Age of the oldest of them"),
            lag_bytes: gauges(&mut registry, "huiliu_feed_lag_bytes", "Bytes of them, of changes an estimate"),
            unstamped: gauges(&mut registry, "huiliu_feed_unstamped_batches", "Batches that wait for their time stamp"),
            unstamped_seconds: floats(&mut registry, "huiliu_feed_unstamped_seconds", "Age of the oldest of them"),
            stamps_within: floats(
                &mut registry,
                "huiliu_timestamps_within_seconds",
                "How long a batch may be without its time stamp; absent where none is stamped",
            ),
            behind_seconds: floats(
                &mut registry,
                "huiliu_source_lag_seconds",
                "Age of the oldest change that a source's log had for us when the pipeline last looked",
            ),
            behind_bytes: gauges(
                &mut registry,
                "huiliu_source_lag_bytes",
                "Bytes of a source's log not yet taken when the pipeline last looked, those of other tables included",
            ),
            behind_most_seconds: floats(
                &mut registry,
                "huiliu_source_lag_limit_seconds",
                "What the pipeline allows of huiliu_source_lag_seconds; absent where it says nothing",
            ),
            behind_most_bytes: gauges(
                &mut registry,
                "huiliu_source_lag_limit_bytes",
                "What the pipeline allows of huiliu_source_lag_bytes; absent where it says nothing",
            ),
            reviews: Reviews::new(&mut registry),
            lease_held: gauges(&mut registry, "huiliu_lease_held", "Whether this daemon holds the lease"),
            lease_token: gauges(&mut registry, "huiliu_lease_token", "Fencing token of the lease"),
            definitions: gauges(&mut registry, "huiliu_definitions_info", "The definitions in force"),
            chunks: gauges(&mut registry, "huiliu_backfill_chunks", "Chunks of a backfill, by state"),
            certificates: floats(
                &mut registry,
                "huiliu_certificate_expires_timestamp_seconds",
                "End of the certificates that we sign with and encrypt to; 0 when one cannot be read",
            ),
            unanswered: floats(
                &mut registry,
                "huiliu_feed_unanswered_seconds",
                "Age of the oldest batch without a receipt, of feeds whose subscribers answer",
            ),
            unsettled: gauges(
                &mut registry,
                "huiliu_feed_unsettled_demands",
                "Corrections and recalls that a subscriber has not answered yet",
            ),
            unsettled_age: floats(&mut registry, "huiliu_feed_unsettled_oldest_seconds", "Age of the oldest of them"),
            found: gauges(
                &mut registry,
                "huiliu_feed_found_in_text",
                "Numbers of persons found in released free text that the grant does not cover",
            ),
            latency: latency.clone(),
            registry,
        };
        metrics.with(latency)
    }

    fn with(mut self, latency: Histograms) -> Self {
        let help = "Seconds from the commit of a change until it is durable at the outlet";
        self.registry.register("huiliu_batch_latency_seconds", help, latency);
        self
    }

    /// What Prometheus reads.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }

    /// A pipeline's pass ended.
    pub(super) fn ran(&self, report: &RunReport) {
        let pipeline = ("pipeline", report.pipeline.clone());
        for line in &report.registers {
            let c = &line.counts;
            let outcomes = [
                ("undecodable", c.undecodable),
                ("filtered", c.filtered),
                ("quarantined", c.quarantined),
                ("new", c.new),
                ("changed", c.changed),
                ("unchanged", c.unchanged),
                ("superseded", c.superseded),
                ("retracted", c.retracted),
            ];
            for (outcome, rows) in outcomes {
                let register = ("register", line.register.clone());
                self.rows
                    .get_or_create(&vec![pipeline.clone(), register, ("outcome", outcome.to_owned())])
                    .inc_by(rows);
            }
        }
        self.runs.get_or_create(&vec![pipeline.clone(), ("status", report.status.to_owned())]).inc();
        if report.status == "unbalanced" {
            self.unbalanced.get_or_create(&vec![pipeline]).inc();
        }
    }

    /// A pipeline's pass could not begin.
    pub(super) fn did_not_run(&self, pipeline: &str) {
        self.runs.get_or_create(&vec![("pipeline", pipeline.to_owned()), ("status", "failed".to_owned())]).inc();
    }

    /// How often in a row a pipeline failed.
    pub(super) fn failures(&self, pipeline: &str, failures: u32) {
        self.failures.get_or_create(&vec![("pipeline", pipeline.to_owned())]).set(failures.into());
    }

    /// A feed's pass ended.
    pub(super) fn released(&self, report: &FeedReport, waited: Option<Duration>) {
        let feed = ("feed", report.feed.clone());
        for (op, records) in [("upsert", report.upserts), ("withdraw", report.withdrawals)] {
            self.records.get_or_create(&vec![feed.clone(), ("op", op.to_owned())]).inc_by(records);
        }
        if let Some(waited) = waited {
            let latency = self.latency.get_or_create(&vec![feed]);
            (0..report.batches.max(1)).for_each(|_| latency.observe(waited.as_secs_f64()));
        }
    }

    /// A register was reviewed.
    pub(super) fn reviewed(&self, lines: &[ReviewLine]) {
        for line in lines {
            let of = |name: &'static str| vec![("register", line.register.clone()), (name, line.name.clone())];
            let kind = ("kind", line.kind.to_owned());
            self.reviews.broken.get_or_create(&of("name").into_iter().chain([kind]).collect()).set(signed(line.broken));
            if line.kind == "deadline" {
                self.reviews.overdue.get_or_create(&of("deadline")).set(signed(line.overdue));
            }
        }
    }

    /// Definitions are in force; counters that alerts look at begin at zero.
    pub(super) fn defined(&self, workspace: &Workspace) {
        self.definitions.clear();
        self.definitions.get_or_create(&vec![("digest", workspace.digest())]).set(1);
        self.within.clear();
        self.behind_most_seconds.clear();
        self.behind_most_bytes.clear();
        self.stamps_within.clear();
        self.reviews.broken.clear();
        self.reviews.overdue.clear();
        if let Some(asked) = &workspace.installation.timestamps {
            self.stamps_within.get_or_create(&Vec::new()).set(asked.within.as_secs_f64());
        }
        for pipeline in workspace.pipelines.values() {
            let label = vec![("pipeline", pipeline.name.clone())];
            self.unbalanced.get_or_create(&label).inc_by(0);
            if let Some(within) = pipeline.within {
                self.within.get_or_create(&label).set(within.as_secs_f64());
            }
            let limit = pipeline.lag.as_ref().map_or_else(LagLimit::default, |limit| limit.value);
            if let Some(time) = limit.time {
                self.behind_most_seconds.get_or_create(&label).set(time.as_secs_f64());
            }
            if let Some(bytes) = limit.bytes {
                self.behind_most_bytes.get_or_create(&label).set(signed(bytes.0));
            }
        }
        for feed in workspace.feeds.values() {
            drop(self.latency.get_or_create(&vec![("feed", feed.name.clone())]));
        }
    }

    /// Reads the state of everything from the store.
    pub(super) async fn look(
        &self,
        store: &mut dyn Store,
        workspace: &Workspace,
        (now, ours): (i64, &str),
    ) -> Result<(), StoreError> {
        for pipeline in workspace.pipelines.keys() {
            let runs = store.runs(Some(pipeline), RUNS).await?;
            if let Some(at) = last_success(&runs) {
                self.last_success.get_or_create(&vec![("pipeline", pipeline.clone())]).set(at as f64 / 1e6);
            }
            if let Some(lag) = RunView::last_lag(&runs) {
                let label = vec![("pipeline", pipeline.clone())];
                self.behind_seconds.get_or_create(&label).set(lag.seconds as f64);
                self.behind_bytes.get_or_create(&label).set(signed(lag.bytes));
            }
        }
        for feed in workspace.feeds.values() {
            let lag = store.feed_lag(&feed.name, &feed.register.value).await?;
            let label = vec![("feed", feed.name.clone())];
            self.lag_records.get_or_create(&label).set(signed(lag.records));
            self.lag_bytes.get_or_create(&label).set(signed(lag.bytes));
            self.lag_seconds.get_or_create(&label).set(lag.since.map_or(0.0, |since| age(now, since)));
            let waiting = store.unstamped(&feed.name).await?;
            self.unstamped.get_or_create(&label).set(signed(waiting.batches));
            self.unstamped_seconds.get_or_create(&label).set(waiting.since.map_or(0.0, |since| age(now, since)));
        }
        self.look_at_demands(store, workspace, now).await?;
        self.look_at_quarantine(store, workspace, now).await?;
        self.certificates.clear();
        for (purpose, found) in crate::engine::certificates(workspace) {
            let end = found.map_or(0.0, |certificate| certificate.not_after().timestamp() as f64);
            self.certificates.get_or_create(&vec![("use", purpose)]).set(end);
        }
        self.lease_held.clear();
        for lease in store.leases().await? {
            let held = lease.holder_process() == ours && lease.until > now;
            let label = vec![("name", lease.name)];
            self.lease_held.get_or_create(&label).set(held.into());
            self.lease_token.get_or_create(&label).set(lease.token);
        }
        self.chunks.clear();
        let shown = store.backfills(None).await?.into_iter().enumerate();
        for (_, backfill) in shown.filter(|(n, backfill)| *n < BACKFILLS || !backfill.state.over()) {
            for (state, n) in [("pending", backfill.pending), ("done", backfill.done), ("failed", backfill.failed)] {
                let label = vec![("backfill", backfill.id.to_string()), ("state", state.to_owned())];
                self.chunks.get_or_create(&label).set(signed(n));
            }
        }
        Ok(())
    }

    /// What subscribers have not answered, and what stood in their text.
    async fn look_at_demands(&self, store: &mut dyn Store, workspace: &Workspace, now: i64) -> Result<(), StoreError> {
        let open = Open::among(&store.chases(None, None).await?, workspace);
        for feed in workspace.feeds.values() {
            let label = vec![("feed", feed.name.clone())];
            let open = open.iter().find(|open| open.feed == feed.name);
            self.unsettled.get_or_create(&label).set(open.map_or(0, |open| signed(open.open)));
            self.unsettled_age.get_or_create(&label).set(open.map_or(0.0, |open| age(now, open.since)));
            if feed.delivery.outlet.value == OutletKind::Rabbitmq {
                let since = store.delivery(&feed.name).await?.unanswered_since;
                self.unanswered.get_or_create(&label).set(since.map_or(0.0, |since| age(now, since)));
            }
            for found in store.found_in_text(&feed.name).await? {
                for (kind, n) in [("citizen_id", found.citizen_ids), ("mobile", found.mobiles)] {
                    let of =
                        [("field", found.field.clone()), ("kind", kind.to_owned()), ("policy", found.policy.clone())];
                    self.found.get_or_create(&label.iter().cloned().chain(of).collect()).set(n);
                }
            }
        }
        Ok(())
    }

    async fn look_at_quarantine(
        &self,
        store: &mut dyn Store,
        workspace: &Workspace,
        now: i64,
    ) -> Result<(), StoreError> {
        let backlog = store.quarantine_backlog().await?;
        let datasets = workspace.pipelines.values().map(|pipeline| pipeline.from.value.to_string());
        let known = backlog.iter().map(|waiting| waiting.dataset.clone());
        for dataset in datasets.chain(known) {
            let waiting = backlog.iter().find(|waiting| waiting.dataset == dataset);
            let label = vec![("dataset", dataset)];
            self.quarantine.get_or_create(&label).set(waiting.map_or(0, |waiting| signed(waiting.open)));
            self.quarantine_age.get_or_create(&label).set(waiting.map_or(0.0, |waiting| age(now, waiting.oldest)));
        }
        Ok(())
    }
}

/// When the last run that succeeded ended.
fn last_success(runs: &[RunView]) -> Option<i64> {
    runs.iter().find(|run| run.kind == "run" && run.status == "succeeded").and_then(|run| run.ended)
}

/// Seconds since an instant.
fn age(now: i64, since: i64) -> f64 {
    now.saturating_sub(since).max(0) as f64 / 1e6
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn counters(registry: &mut Registry, name: &str, help: &str) -> Counters {
    let family = Counters::default();
    registry.register(name, help, family.clone());
    family
}

fn gauges(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let family = Gauges::default();
    registry.register(name, help, family.clone());
    family
}

fn floats(registry: &mut Registry, name: &str, help: &str) -> Floats {
    let family = Floats::default();
    registry.register(name, help, family.clone());
    family
}

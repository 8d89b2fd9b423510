//! `huiliu status`: where everything stands — registers, pipelines, feeds, quarantine.

mod text;

pub(super) use text::{found_text, suspended_text};

use std::collections::BTreeMap;

use serde::Serialize;

use super::table::rfc3339;
use super::workspace::open_as_it_is;
use super::{Context, Exit};
use crate::config::{OutletKind, Pipeline, Workspace};
use crate::crypto::{Certificate, CryptoError, RENEWAL_DAYS, renewal_urgency};
use crate::engine::{Difference, Due, Engine, Open, ReviewLine};
use crate::source::Lag;
use crate::store::{BackfillView, FeedView, Found, LeaseView, RunView, Suspension};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Everything at a glance.
#[derive(Debug, Serialize)]
struct Status {
    at: String,
    registers: Vec<RegisterStatus>,
    /// Links that lead to nothing yet.
    dangling: Vec<ReviewLine>,
    pipelines: Vec<PipelineStatus>,
    feeds: Vec<FeedStatus>,
    quarantine: Vec<QuarantineStatus>,
    /// Datasets whose source differs from its contract, and is not ignored.
    drift: Vec<DriftStatus>,
    /// Daemons that hold their lease now.
    daemons: Vec<DaemonStatus>,
    /// Backfills that are not over.
    backfills: Vec<BackfillView>,
    /// What we sign with and encrypt to.
    certificates: Vec<CertificateStatus>,
    /// Whether sensitive values are stored encrypted.
    at_rest: bool,
}

#[derive(Debug, Serialize)]
struct CertificateStatus {
    /// `signing`, `encrypting FEED`.
    #[serde(rename = "use")]
    purpose: String,
    subject: String,
    until: String,
    days_left: i64,
    /// Of the warnings at 60, 30 and 10 days before its end, how many are due.
    urgency: usize,
    /// Why it cannot be read, if so.
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct DriftStatus {
    dataset: String,
    /// Since when, of which version.
    since: String,
    version: i64,
    /// `accepted`, `approved`, `waits`, `stops`.
    state: &'static str,
    #[serde(flatten)]
    difference: Difference,
    #[serde(skip)]
    since_micros: i64,
}

#[derive(Debug, Serialize)]
struct DaemonStatus {
    /// `host:pid:…`
    daemon: String,
    /// Jobs at work: `pipeline/…`, `feed/…`.
    works_on: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RegisterStatus {
    register: String,
    title: String,
    rows: u64,
}

#[derive(Debug, Serialize)]
struct PipelineStatus {
    pipeline: String,
    title: Option<String>,
    from: String,
    /// Last run, of any outcome.
    last: Option<LastRun>,
    /// Next time the schedule names.
    next: Option<String>,
    /// Whether the promised freshness is broken.
    late: bool,
    /// How far behind its source it was when it last looked, where the source says so.
    lag: Option<Lag>,
    /// Whether that is more than the pipeline's limit.
    behind: bool,
    #[serde(skip)]
    next_micros: Option<i64>,
}

#[derive(Debug, Serialize)]
struct LastRun {
    run: i64,
    kind: String,
    status: String,
    why: Option<String>,
    started: String,
    ended: Option<String>,
    rows: i64,
    /// Undecodable and quarantined rows.
    set_aside: u64,
    /// How far it was behind its source when it began, where the source says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<Lag>,
    #[serde(skip)]
    started_micros: i64,
}

#[derive(Debug, Serialize)]
struct FeedStatus {
    feed: String,
    subscriber: String,
    register: String,
    /// Changes of the register that the feed has not looked at; `None` before the first release.
    behind: Option<i64>,
    /// Last sealed batch; 0 is none.
    last_batch: i64,
    /// Sealed batches that no outlet has made durable yet.
    undelivered: i64,
    /// Records that the subscriber holds.
    holding: i64,
    /// Since when, why and at whose wish nothing but recalls goes out, where somebody suspended the grant.
    suspended: Option<Suspension>,
    /// Batches that wait for their token of time.
    unstamped: u64,
    /// HL0778: since when (RFC 3339) one has waited longer than the installation allows.
    unstamped_late: Option<String>,
    /// Why the last pass was refused, in whole or in part.
    refused: Option<String>,
    /// Numbers of persons found in the free text that was released, by field.
    found: Vec<Found>,
    /// Since when the oldest batch waits for a receipt; `None` where all are answered or nobody can answer.
    unanswered_since: Option<String>,
    #[serde(skip)]
    unanswered_minutes: Option<i64>,
    /// Corrections and recalls that are not settled.
    unsettled: Option<Open>,
    #[serde(skip)]
    unsettled_minutes: Option<i64>,
}

#[derive(Debug, Serialize)]
struct QuarantineStatus {
    dataset: String,
    department: String,
    open: u64,
}

/// Prints the status.
pub async fn run(_args: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = open_as_it_is(context).await?.engine;
    let status = gather(&mut engine, context).await?;
    if context.json {
        context.print_json(&status)?;
    } else {
        context.print(&text::text(&status, engine.workspace().installation.zone))?;
    }
    Ok(Exit::Done)
}

async fn gather(engine: &mut Engine, context: &Context) -> anyhow::Result<Status> {
    let workspace = engine.workspace().clone();
    let mut registers = Vec::new();
    for register in workspace.registers.values() {
        let rows = engine.store().count(&register.name).await?;
        registers.push(RegisterStatus { register: register.name.clone(), title: register.title.clone(), rows });
    }
    let mut pipelines = Vec::new();
    for pipeline in workspace.pipelines.values() {
        pipelines.push(pipeline_status(engine, pipeline, context).await?);
    }
    let feeds = feeds(engine, context).await?;
    let mut dangling = engine.review(None, 0).await?;
    dangling.retain(|line| line.kind == "link" && line.broken > 0);
    let quarantine = quarantine(engine).await?;
    let mut backfills = engine.store().backfills(None).await?;
    backfills.retain(|backfill| !backfill.state.over());
    let now = context.clock.now().timestamp_micros();
    let daemons = daemons(&engine.store().leases().await?, now);
    let drift = drift(engine).await?;
    let certificates = certificates(&workspace, context);
    Ok(Status {
        at: rfc3339(now),
        registers,
        dangling,
        pipelines,
        feeds,
        quarantine,
        drift,
        daemons,
        backfills,
        certificates,
        at_rest: workspace.installation.at_rest.is_some(),
    })
}

async fn feeds(engine: &mut Engine, context: &Context) -> anyhow::Result<Vec<FeedStatus>> {
    let workspace = engine.workspace().clone();
    let known = engine.store().feeds().await?;
    let open = engine.open_chases().await?;
    let now = context.clock.now().timestamp_micros();
    let minutes = |since: i64| (now - since).max(0) / 60_000_000;
    let mut feeds = Vec::new();
    for feed in workspace.feeds.values() {
        let horizon = engine.store().horizon(&feed.register.value).await?;
        let unstamped = engine.store().unstamped(&feed.name).await?;
        let asked = workspace.installation.timestamps.as_ref();
        let late = unstamped.late(asked, context.clock.now().timestamp_micros());
        let view = known.iter().find(|view| view.feed == feed.name);
        let number = |pick: fn(&FeedView) -> i64| view.map_or(0, pick);
        let (refused, delivery) = match view {
            Some(_) => {
                let state = engine.store().feed(&feed.name).await?;
                (state.refused, Some(engine.store().delivery(&feed.name).await?))
            }
            None => (None, None),
        };
        let answers = feed.delivery.outlet.value == OutletKind::Rabbitmq;
        let unanswered = delivery.and_then(|delivery| delivery.unanswered_since).filter(|_| answers);
        let unsettled = open.iter().find(|open| open.feed == feed.name).cloned();
        feeds.push(FeedStatus {
            feed: feed.name.clone(),
            subscriber: feed.title.clone().unwrap_or_else(|| feed.subscriber.clone()),
            register: feed.register.value.clone(),
            behind: view.map(|view| (horizon - view.cursor).max(0)),
            last_batch: number(|view| view.seq),
            undelivered: number(|view| view.undelivered),
            holding: number(|view| view.holding),
            suspended: view.and_then(|view| view.suspended.clone()),
            unstamped: unstamped.batches,
            unstamped_late: unstamped.since.filter(|_| late).map(rfc3339),
            refused,
            found: engine.store().found_in_text(&feed.name).await?,
            unanswered_since: unanswered.map(rfc3339),
            unanswered_minutes: unanswered.map(minutes),
            unsettled_minutes: unsettled.as_ref().map(|open| minutes(open.since)),
            unsettled,
        });
    }
    Ok(feeds)
}

async fn drift(engine: &mut Engine) -> anyhow::Result<Vec<DriftStatus>> {
    let mut drifts = engine.drifts().await?;
    drifts.retain(|drifted| !matches!(drifted.state, "fits" | "ignored"));
    let status = |drifted: crate::engine::Drifted| {
        let present = drifted.versions.into_iter().next()?;
        Some(DriftStatus {
            dataset: drifted.dataset,
            since: rfc3339(present.since),
            version: present.version,
            state: drifted.state,
            difference: drifted.difference,
            since_micros: present.since,
        })
    };
    Ok(drifts.into_iter().filter_map(status).collect())
}

/// When what we sign with and encrypt to ends.
fn certificates(workspace: &Workspace, context: &Context) -> Vec<CertificateStatus> {
    let now = context.clock.now();
    let told = |(purpose, found): (String, Result<Certificate, CryptoError>)| match found {
        Ok(certificate) => CertificateStatus {
            purpose,
            subject: certificate.subject(),
            until: rfc3339(certificate.not_after().timestamp_micros()),
            days_left: certificate.not_after().signed_duration_since(now).num_days(),
            urgency: renewal_urgency(&certificate, now),
            problem: None,
        },
        Err(error) => CertificateStatus {
            purpose,
            subject: String::new(),
            until: String::new(),
            days_left: 0,
            urgency: RENEWAL_DAYS.len(),
            problem: Some(format!("{} {error}", error.code())),
        },
    };
    crate::engine::certificates(workspace).into_iter().map(told).collect()
}

/// Who says now that they are alive, and what they hold besides.
fn daemons(leases: &[LeaseView], now: i64) -> Vec<DaemonStatus> {
    let alive = || leases.iter().filter(|lease| lease.until > now);
    let job = |lease: &&LeaseView| !lease.name.starts_with("daemon/");
    let works_on = |holder: &str| {
        let held = alive().filter(job).filter(|lease| lease.holder == holder);
        held.map(|lease| lease.name.clone()).collect()
    };
    let daemons = alive().filter(|lease| !job(lease));
    daemons.map(|lease| DaemonStatus { daemon: lease.holder.clone(), works_on: works_on(&lease.holder) }).collect()
}

async fn pipeline_status(
    engine: &mut Engine,
    pipeline: &Pipeline,
    context: &Context,
) -> anyhow::Result<PipelineStatus> {
    let zone = engine.workspace().installation.zone;
    let runs = engine.store().runs(Some(&pipeline.name), 50).await?;
    let due = Due::new(pipeline, zone);
    let now = context.clock.now();
    let next = due.next(now).map(|at| at.timestamp_micros());
    Ok(PipelineStatus {
        pipeline: pipeline.name.clone(),
        title: pipeline.title.clone(),
        from: pipeline.from.value.to_string(),
        late: due.late(now, &runs),
        lag: RunView::last_lag(&runs),
        behind: due.behind(&runs).is_some(),
        last: match runs.into_iter().next() {
            Some(run) => Some(last_run(engine, run).await?),
            None => None,
        },
        next: next.map(rfc3339),
        next_micros: next,
    })
}

async fn last_run(engine: &mut Engine, run: RunView) -> anyhow::Result<LastRun> {
    let ledger = engine.store().ledger(Some(run.id)).await?;
    let set_aside = ledger.iter().map(|line| line.counts.undecodable + line.counts.quarantined).sum();
    Ok(LastRun {
        run: run.id,
        kind: run.kind,
        status: run.status,
        why: run.why,
        started: rfc3339(run.started),
        ended: run.ended.map(rfc3339),
        rows: run.read,
        set_aside,
        lag: run.lag,
        started_micros: run.started,
    })
}

async fn quarantine(engine: &mut Engine) -> anyhow::Result<Vec<QuarantineStatus>> {
    let mut open: BTreeMap<String, u64> = BTreeMap::new();
    let filter =
        crate::store::QuarantineFilter { status: Some("open".into()), ..crate::store::QuarantineFilter::default() };
    super::quarantine::each_page(engine.store(), &filter, |page| {
        page.into_iter().for_each(|entry| *open.entry(entry.dataset).or_default() += 1);
    })
    .await?;
    let department = |dataset: &str| {
        let system = dataset.split('.').next().unwrap_or_default();
        engine.workspace().connectors.get(system).map_or_else(String::new, |connector| connector.department.clone())
    };
    Ok(open
        .into_iter()
        .map(|(dataset, open)| QuarantineStatus { department: department(&dataset), dataset, open })
        .collect())
}

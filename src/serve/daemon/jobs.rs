//! Beginning and ending jobs.

use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::job::Outcome;
use super::super::worker::{Order, Report};
use super::{Daemon, Takes};
use crate::engine::schedule::{Ended, Job};
use crate::store::{Lease, StoreError, for_backfill};

/// Failures in a row after which a person must act.
const GRAVE: u32 = 3;
/// A run that began later than this from now was begun under a wrong clock, and says nothing of what is due.
const ASKEW: TimeDelta = TimeDelta::minutes(1);

impl Daemon {
    /// Hands what is due to idle workers. A backfill that keeps a live job waiting is asked to give way.
    pub(super) async fn begin_what_is_due(&mut self, now: DateTime<Utc>) {
        while let Some((worker, job)) = self.next_job(now) {
            if matches!(job, Job::Review(_)) {
                self.order(worker, (job, None), now).await; // it writes nothing
                continue;
            }
            match self.lease(&job, now).await {
                Ok(Some(lease)) => self.order(worker, (job, Some(lease)), now).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%job, %error, "could not begin");
                    self.schedule.ended(&job, Ended::Failed, now);
                }
            }
        }
        let presses = self.schedule.presses(now);
        for seat in &self.seats {
            if let Some((Job::Backfill(id), _)) = &seat.at
                && ((presses && seat.takes == Takes::All) || self.schedule.waits_for(*id, now))
            {
                seat.stop.store(true, Ordering::Relaxed);
            }
        }
    }

    /// What is due, and who is free for it; live work first.
    fn next_job(&mut self, now: DateTime<Utc>) -> Option<(usize, Job)> {
        let live = self.free(Takes::Live).and_then(|worker| Some((worker, self.schedule.take_live(now)?)));
        live.or_else(|| Some((self.free(Takes::Beside)?, self.schedule.take_beside(now)?)))
    }

    /// A worker for this kind of job that has nothing to do.
    pub(super) fn free(&self, kind: Takes) -> Option<usize> {
        self.seats.iter().position(|seat| seat.at.is_none() && (seat.takes == Takes::All || seat.takes == kind))
    }

    /// When a job that another daemon has is looked at again.
    fn look_again(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let lease = self.setup.workspace.installation.serve.lease;
        now + TimeDelta::from_std(lease / 2).unwrap_or(TimeDelta::seconds(5))
    }

    /// The lease of a job; `None`, and the schedule knows, when another daemon has it or has done what was due.
    async fn lease(&mut self, job: &Job, now: DateTime<Utc>) -> Result<Option<Lease>, StoreError> {
        let name = self.lease_name(job);
        let ttl = self.setup.workspace.installation.serve.lease;
        let holder = match job {
            Job::Backfill(_) => for_backfill(&self.own.holder),
            Job::Pipeline(_) | Job::Feed(_) | Job::Review(_) => self.own.holder.clone(),
        };
        let Some(lease) = self.store.acquire_lease(&name, &holder, ttl).await? else {
            self.schedule.ended(job, Ended::Elsewhere(self.look_again(now)), now);
            return Ok(None);
        };
        let Job::Pipeline(pipeline) = job else { return Ok(Some(lease)) };
        let runs = self.store.runs(Some(pipeline), 10).await?;
        let last = runs.iter().find(|run| run.kind == "run" && run.status != "running");
        let began = last.and_then(|run| DateTime::from_timestamp_micros(run.started));
        match began.filter(|began| *began <= now + ASKEW && self.schedule.done_by(job, *began)) {
            None => Ok(Some(lease)),
            Some(began) => {
                self.store.release_lease(&lease).await?;
                self.schedule.ran_elsewhere(pipeline, began);
                Ok(None)
            }
        }
    }

    async fn order(&mut self, worker: usize, (job, lease): (Job, Option<Lease>), now: DateTime<Utc>) {
        let workspace = self.shared.workspace();
        let Some(seat) = self.seats.get_mut(worker) else { return };
        seat.stop.store(false, Ordering::Relaxed);
        let order = Order { job: job.clone(), lease: lease.clone(), workspace };
        if seat.orders.send(order).await.is_ok() {
            seat.at = Some((job, lease));
        } else {
            self.schedule.ended(&job, Ended::Failed, now);
        }
    }

    /// A worker is through with its job.
    pub(super) async fn ended(&mut self, report: Report) {
        let Report { worker, job, outcome } = report;
        let now = self.setup.clock.now();
        let seat = self.seats.get_mut(worker).and_then(|seat| seat.at.take());
        if let Some((_, Some(lease))) = seat
            && let Err(error) = self.store.release_lease(&lease).await
        {
            tracing::warn!(%job, %error, "the lease could not be given back; it ends by itself");
        }
        let ended = outcome.ended(self.look_again(now));
        self.schedule.ended(&job, ended, now);
        self.tell(&job, &outcome, ended);
        match &outcome {
            Outcome::Run(report) => {
                self.shared.metrics.ran(report);
                let changed = report.registers.iter().filter(|line| {
                    let c = &line.counts;
                    c.new + c.changed + c.retracted > 0
                });
                changed.for_each(|line| self.schedule.changed(&line.register, now));
            }
            Outcome::Feed(report, waited) => self.shared.metrics.released(report, *waited),
            Outcome::Chunk(step) => {
                step.registers().iter().for_each(|register| self.schedule.changed(register, now));
                self.backfills_changed();
            }
            Outcome::Review(lines) => {
                self.shared.metrics.reviewed(lines);
                self.alerts.tell_overdue(lines);
            }
            Outcome::Error { .. } => {
                if let Job::Pipeline(name) = &job {
                    self.shared.metrics.did_not_run(name);
                }
            }
        }
        if let Job::Pipeline(name) = &job {
            self.shared.metrics.failures(name, self.schedule.failures(&job));
        }
    }

    /// One line a job; an error once a person must act.
    fn tell(&mut self, job: &Job, outcome: &Outcome, ended: Ended) {
        let why = outcome.why().unwrap_or_default();
        let spent = ended == Ended::Held && why.contains("HL0610");
        let news = if spent { self.spent.insert(job.to_string()) } else { self.spent.remove(&job.to_string()) };
        let failures = self.schedule.failures(job);
        let next = self.schedule.next_of(job).map(|next| next.to_rfc3339());
        match ended {
            Ended::DoneBut(_) if !why.is_empty() => tracing::warn!(%job, why, next, "waits; will be tried again"),
            Ended::Done | Ended::DoneBut(_) => {
                let nothing_new = matches!(outcome, Outcome::Feed(report, _) if report.status == "nothing new");
                let quiet = nothing_new || matches!(outcome, Outcome::Review(_));
                if !quiet {
                    tracing::info!(%job, "done");
                }
            }
            Ended::Held if spent && news => tracing::warn!(%job, why, "waits for the next day"),
            Ended::Held if spent => {}
            Ended::Held => tracing::error!(%job, why, "held: a person must look"),
            Ended::Failed | Ended::Broken if failures >= GRAVE || ended == Ended::Broken => {
                tracing::error!(%job, failures, why, next, "failed");
            }
            Ended::Failed | Ended::Broken => tracing::warn!(%job, failures, why, next, "failed; will be tried again"),
            Ended::Elsewhere(_) => tracing::warn!(%job, why, "another daemon took it over"),
            Ended::Stopped => tracing::info!(%job, "stopped at a commit boundary"),
        }
    }

    /// A job's lease: a backfill works under that of the pipeline or feed whose data it touches.
    fn lease_name(&self, job: &Job) -> String {
        match job {
            Job::Backfill(id) => self.schedule.beside(*id).unwrap_or(job).to_string(),
            Job::Pipeline(_) | Job::Feed(_) | Job::Review(_) => job.to_string(),
        }
    }
}

//! Freshness (时限): a pipeline that is late is told once, and again when it is not any more; so is one that is too far
//! behind its source (滞后), a feed whose batches wait too long for their time stamps (时间戳), and a deadline that passed (超期).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::Daemon;
use crate::config::Pipeline;
use crate::engine::{Due, ReviewLine};
use crate::source::Lag;

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    looked: Option<DateTime<Utc>>,
    late: BTreeSet<String>,
    behind: BTreeSet<String>,
    unstamped: BTreeSet<String>,
    overdue: BTreeMap<(String, String), u64>,
}

impl Alerts {
    /// How many deadlines of each kind passed with nothing done, when there are more or none any longer.
    pub(super) fn tell_overdue(&mut self, lines: &[ReviewLine]) {
        for ReviewLine { register, name: deadline, overdue, .. } in lines.iter().filter(|line| line.kind == "deadline")
        {
            let before = self.overdue.insert((register.clone(), deadline.clone()), *overdue).unwrap_or(0);
            if *overdue > before {
                tracing::warn!(register, deadline, overdue, "deadlines passed and nothing was done");
            } else if before > 0 && *overdue == 0 {
                tracing::info!(register, deadline, "nothing is overdue any more");
            }
        }
    }
}

impl Daemon {
    /// Twice a minute: who promised what, who is late, and who is behind.
    pub(super) async fn alert(&mut self, now: DateTime<Utc>) {
        if self.alerts.looked.is_some_and(|last| now - last < TimeDelta::seconds(30)) {
            return;
        }
        self.alerts.looked = Some(now);
        let workspace = self.shared.workspace();
        let promised = |pipeline: &&Pipeline| pipeline.within.is_some() || pipeline.lag.is_some();
        for pipeline in workspace.pipelines.values().filter(promised) {
            let due = Due::new(pipeline, workspace.installation.zone);
            let runs = match self.store.runs(Some(&pipeline.name), 50).await {
                Ok(runs) => runs,
                Err(error) => return tracing::warn!(%error, "freshness could not be looked at"),
            };
            let pipeline = pipeline.name.as_str();
            if due.late(now, &runs) {
                if self.alerts.late.insert(pipeline.to_owned()) {
                    tracing::error!(pipeline, code = "HL0903", "late: no run succeeded within the promised time");
                }
            } else if self.alerts.late.remove(pipeline) {
                tracing::info!(pipeline, "no longer late");
            }
            if let Some(Lag { seconds, bytes }) = due.behind(&runs) {
                if self.alerts.behind.insert(pipeline.to_owned()) {
                    tracing::error!(
                        pipeline,
                        seconds,
                        bytes,
                        code = "HL0391",
                        "further behind its source than its limit"
                    );
                }
            } else if self.alerts.behind.remove(pipeline) {
                tracing::info!(pipeline, "no longer further behind its source than its limit");
            }
        }
        self.alert_of_stamps(now).await;
    }

    async fn alert_of_stamps(&mut self, now: DateTime<Utc>) {
        let workspace = self.shared.workspace();
        let Some(asked) = &workspace.installation.timestamps else { return };
        for feed in workspace.feeds.keys() {
            let waiting = match self.store.unstamped(feed).await {
                Ok(waiting) => waiting,
                Err(error) => return tracing::warn!(%error, "time stamps could not be looked at"),
            };
            if waiting.batches > 0 {
                self.schedule.hurry(feed, now); // its own rhythm may be a day
            }
            if waiting.late(Some(asked), now.timestamp_micros()) {
                if self.alerts.unstamped.insert(feed.clone()) {
                    let batches = waiting.batches;
                    tracing::error!(feed, batches, code = "HL0778", "batches wait too long for their time stamps");
                }
            } else if self.alerts.unstamped.remove(feed) {
                tracing::info!(feed, "no batch waits too long for its time stamp");
            }
        }
    }
}

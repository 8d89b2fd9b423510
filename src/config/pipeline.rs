//! `pipelines/<flow>.yaml`: one dataset through its mappings into registers, with checks, limits and schedule.

use std::time::Duration;

use super::{At, ByteSize, DatasetRef, Percent, Rate};

/// One flow.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Name from the file name.
    pub name: String,
    /// Chinese title, if any.
    pub title: Option<String>,
    /// The dataset it reads.
    pub from: At<DatasetRef>,
    /// Registers it feeds, each through `mappings/<system>/<dataset>.<register>.sql`.
    pub into: Vec<At<String>>,
    /// Cron expression with seconds, in the installation's zone.
    pub schedule: Option<At<String>>,
    /// What becomes of a scheduled time that passed while nobody could run it.
    pub missed: MissedRun,
    /// Promised freshness.
    pub within: Option<Duration>,
    /// How far behind its source it may be.
    pub lag: Option<At<LagLimit>>,
    /// Checks that hold the run.
    pub checks: Vec<Check>,
    /// Limits.
    pub limits: Limits,
}

/// What becomes of scheduled times that passed while the daemon was down or the run before still worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissedRun {
    /// One run makes up for all of them.
    Run,
    /// Nothing; the next scheduled time counts.
    Skip,
}

/// A named predicate over the run's counts.
///
/// SQL over `rows`, `quarantined`, `mapped`, `vanished` and `last_rows`, `last_mapped` (null on the first run, and a
/// check that is null passes). The dotted form `last.rows` is accepted and means `last_rows`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// `drop_guard`.
    pub name: String,
    /// `rows >= 0.8 * last.rows`, as written.
    pub predicate: At<String>,
}

/// How far behind a source a run may find itself when it begins (变更滞后上限); beyond it is an alert, and stops nothing.
///
/// Only a log (`kind: cdc`) says how far. One of the two is there in what passed `huiliu check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LagLimit {
    /// Since the oldest change that was not taken; whole seconds count.
    pub time: Option<Duration>,
    /// Of the source's log that were not taken, those of other tables included.
    pub bytes: Option<ByteSize>,
}

/// Bounds of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Share of rows that may be quarantined before the run is held; default 5 %.
    pub quarantine: Percent,
    /// Rows per second; `None` is as fast as it goes.
    pub rate: Option<Rate>,
    /// Memory for decoding and mapping; default 512 MiB.
    pub memory: ByteSize,
}

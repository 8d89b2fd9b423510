//! What a job came to, and what that means for its next turn. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::engine::schedule::Ended;
use crate::engine::{BackfillStep, EngineError, FeedReport, ReviewLine, RunReport};
use crate::error::Disposition;

/// What a worker brings back.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A pipeline's pass.
    Run(RunReport),
    /// A feed's pass, and how long its oldest change waited from its commit until it was durable.
    Feed(FeedReport, Option<Duration>),
    /// A chunk of a backfill.
    Chunk(BackfillStep),
    /// What holds in a register, and what does not.
    Review(Vec<ReviewLine>),
    /// It could not begin, or broke off.
    Error {
        /// Code and message.
        why: String,
        /// Whether it may pass.
        disposition: Disposition,
    },
}

impl Outcome {
    /// Of an error.
    pub(super) fn error(error: &EngineError) -> Self {
        Self::Error { why: error.to_string(), disposition: error.disposition() }
    }

    /// Code and message, when it did not go well.
    pub(super) fn why(&self) -> Option<&str> {
        match self {
            Self::Run(report) => report.why.as_deref(),
            Self::Feed(report, _) => report.why.as_deref(),
            Self::Chunk(step) => step.why(),
            Self::Review(_) => None,
            Self::Error { why, .. } => Some(why),
        }
    }

    /// What its next turn depends on; a lease that somebody else took is looked at again at `then`.
    pub(super) fn ended(&self, then: DateTime<Utc>) -> Ended {
        let why = self.why().unwrap_or_default();
        if why.contains("HL0410") {
            return Ended::Elsewhere(then);
        }
        if why.contains("HL0505") {
            return Ended::Stopped;
        }
        match self {
            Self::Run(report) => match report.status {
                "succeeded" => Ended::Done,
                "held" => Ended::Held,
                // A file that is broken in itself is broken the next minute too.
                "failed" if report.files.iter().all(|file| file.outcome != "failed") => Ended::Failed,
                _ => Ended::Broken,
            },
            Self::Feed(report, _) => match report.status {
                "released" | "nothing new" | "refused" => report.again.map_or(Ended::Done, Ended::DoneBut),
                "waiting" if why.contains("HL0782") => report.again.map_or(Ended::Failed, Ended::DoneBut),
                "waiting" if ["HL0610", "HL0611", "HL0613"].iter().any(|code| why.contains(code)) => Ended::Held,
                _ => Ended::Failed,
            },
            Self::Chunk(step) => match step {
                BackfillStep::Waits { .. } => Ended::Failed,
                BackfillStep::Yielded => Ended::Stopped,
                BackfillStep::Chunk { .. } | BackfillStep::Refused { .. } | BackfillStep::Over(_) => Ended::Done,
            },
            Self::Review(_) => Ended::Done,
            Self::Error { disposition, .. } => match disposition {
                Disposition::Retry => Ended::Failed,
                Disposition::Quarantine | Disposition::Halt => Ended::Broken,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::FileReport;

    fn run(status: &'static str, why: Option<&str>, files: &[&'static str]) -> Outcome {
        let file = |outcome: &&'static str| FileReport { name: "f".into(), outcome, why: None, rows: 0 };
        Outcome::Run(RunReport {
            pipeline: "qy".into(),
            run: 1,
            status,
            why: why.map(str::to_owned),
            files: files.iter().map(file).collect(),
            registers: Vec::new(),
            lag: None,
            seconds: 0.0,
        })
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
        let then = DateTime::UNIX_EPOCH;
        let check = |outcome: Outcome, expect: Ended| assert_eq!(outcome.ended(then), expect, "{outcome:?}");
        check(run("succeeded", None, &["taken"]), Ended::Done);
        check(run("held", Some("QY_1.csv: HL0502 …"), &["held"]), Ended::Held);
        check(run("failed", Some("HL0301 there is no directory"), &[]), Ended::Failed);
        check(run("failed", Some("a.csv: HL0310 …"), &["failed", "taken"]), Ended::Broken);
        check(run("unbalanced", Some("HL0504 …"), &[]), Ended::Broken);
        check(run("failed", Some("HL0505 stopped"), &[]), Ended::Stopped);
        check(run("failed", Some("HL0410 the lease …"), &[]), Ended::Elsewhere(then));
        let halted = Outcome::Error { why: "HL0599 internal".into(), disposition: Disposition::Halt };
        check(halted, Ended::Broken);
    }
}

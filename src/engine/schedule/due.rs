//! When a pipeline is to run, whether its promised freshness (时限) is kept, and whether it is too far behind (滞后).

use std::str::FromStr;

use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;
use cron::Schedule;

use crate::config::{LagLimit, Pipeline};
use crate::source::Lag;
use crate::store::RunView;

/// Schedule and promise of one pipeline.
#[derive(Debug, Clone)]
pub struct Due {
    schedule: Option<Schedule>,
    within: Option<Duration>,
    lag: LagLimit,
    zone: Tz,
}

impl Due {
    /// As the pipeline says; `huiliu check` has read the schedule before.
    pub fn new(pipeline: &Pipeline, zone: Tz) -> Self {
        Self {
            schedule: pipeline.schedule.as_ref().and_then(|cron| Schedule::from_str(&cron.value).ok()),
            within: pipeline.within.and_then(|within| Duration::from_std(within).ok()),
            lag: pipeline.lag.as_ref().map_or_else(LagLimit::default, |limit| limit.value),
            zone,
        }
    }

    /// The next time after this one that the schedule names.
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.schedule.as_ref()?.after(&now.with_timezone(&self.zone)).next()?;
        Some(next.to_utc())
    }

    /// Whether the other names the same times.
    pub(super) fn same_times(&self, other: &Self) -> bool {
        let text = |due: &Self| due.schedule.as_ref().map(|schedule| schedule.source().to_owned());
        self.zone == other.zone && text(self) == text(other)
    }

    /// Whether a run that was due, and had its promised time, has not succeeded.
    ///
    /// With a schedule: the last scheduled time that lies at least `within` back must have a success after it. Without
    /// one: the last success must not lie further back than `within`. A pipeline that never ran is not late: nobody
    /// has promised anything yet.
    pub fn late(&self, now: DateTime<Utc>, runs: &[RunView]) -> bool {
        let (Some(within), Some(oldest)) = (self.within, runs.last()) else { return false };
        let promised = now - within;
        let since = match &self.schedule {
            None => promised,
            Some(schedule) => match schedule.after(&promised.with_timezone(&self.zone)).next_back() {
                Some(due) => due.to_utc(),
                None => return false,
            },
        };
        let since = since.timestamp_micros();
        let succeeded = runs.iter().any(|run| run.status == "succeeded" && run.kind == "run" && run.started >= since);
        !succeeded && oldest.started < promised.timestamp_micros()
    }

    /// How far behind its source the pipeline was when it last looked, if that is more than its limit (HL0391).
    pub fn behind(&self, runs: &[RunView]) -> Option<Lag> {
        let lag = RunView::last_lag(runs)?;
        let long = self.lag.time.is_some_and(|most| lag.seconds > most.as_secs());
        let much = self.lag.bytes.is_some_and(|most| lag.bytes > most.0);
        (long || much).then_some(lag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ByteSize;

    fn due(cron: Option<&str>) -> Due {
        let schedule = cron.map(|cron| Schedule::from_str(cron).unwrap());
        Due { schedule, within: Some(Duration::hours(4)), lag: LagLimit::default(), zone: Tz::Asia__Shanghai }
    }

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn run(status: &str, started: &str) -> RunView {
        RunView {
            id: 1,
            pipeline: "p".into(),
            kind: "run".into(),
            status: status.into(),
            why: None,
            started: at(started).timestamp_micros(),
            ended: None,
            read: 1,
            mapped: 1,
            lag: None,
        }
    }

    #[test]
    fn schedules_are_read_in_the_installations_zone() {
        let next = due(Some("0 30 2 * * *")).next(at("2026-11-21T10:00:00+08:00")).unwrap();
        assert_eq!(next, at("2026-11-22T02:30:00+08:00"));
        assert_eq!(due(None).next(at("2026-11-21T10:00:00+08:00")), None);
    }

    #[test]
    fn a_pipeline_is_late_when_a_due_run_did_not_succeed_in_time() {
        let check = |now: &str, runs: &[(&str, &str)], expect: bool| {
            let runs: Vec<RunView> = runs.iter().map(|(status, started)| run(status, started)).collect();
            assert_eq!(due(Some("0 30 2 * * *")).late(at(now), &runs), expect, "{now} {runs:?}");
        };
        let tonight = ("succeeded", "2026-11-21T02:31:00+08:00");
        let last_night = ("succeeded", "2026-11-20T02:31:00+08:00");
        check("2026-11-21T10:00:00+08:00", &[tonight, last_night], false);
        check("2026-11-21T10:00:00+08:00", &[last_night], true);
        check("2026-11-21T05:00:00+08:00", &[last_night], false); // it has until half past six
        check("2026-11-21T10:00:00+08:00", &[("held", "2026-11-21T02:31:00+08:00"), last_night], true);
        check("2026-11-21T10:00:00+08:00", &[], false);
        check("2026-11-21T10:00:00+08:00", &[("failed", "2026-11-21T09:00:00+08:00")], false);
    }

    #[test]
    fn what_the_last_run_that_looked_found_is_beyond_the_limit_or_not() {
        let found = |lag: Option<(u64, u64)>| {
            let lag = lag.map(|(seconds, bytes)| Lag { bytes, seconds });
            RunView { lag, ..run("succeeded", "2026-11-21T02:31:00+08:00") }
        };
        let check = |time: Option<u64>, bytes: Option<u64>, runs: &[Option<(u64, u64)>], expect: bool| {
            let limit = LagLimit { time: time.map(std::time::Duration::from_secs), bytes: bytes.map(ByteSize) };
            let runs: Vec<RunView> = runs.iter().map(|lag| found(*lag)).collect();
            assert_eq!(Due { lag: limit, ..due(None) }.behind(&runs).is_some(), expect, "{limit:?} {runs:?}");
        };
        check(Some(60), None, &[Some((60, 999))], false);
        check(Some(60), None, &[Some((61, 0))], true);
        check(None, Some(1000), &[Some((9999, 1000))], false);
        check(None, Some(1000), &[Some((0, 1001))], true);
        check(Some(60), Some(1000), &[Some((1, 1001))], true);
        check(None, None, &[Some((9999, 9999))], false);
        // A run that did not reach its source says nothing of it; the newest that did counts.
        check(Some(60), None, &[None, Some((61, 0)), Some((0, 0))], true);
        check(Some(60), None, &[Some((0, 0)), Some((61, 0))], false);
        check(Some(60), None, &[], false);
    }

    #[test]
    fn without_a_schedule_the_last_success_counts() {
        let late = |started: &str| due(None).late(at("2026-11-21T10:00:00+08:00"), &[run("succeeded", started)]);
        assert!(late("2026-11-21T05:00:00+08:00"));
        assert!(!late("2026-11-21T07:00:00+08:00"));
    }
}

//! What is due, and when next: the daemon's head, without a clock, a store or a thread.
//!
//! Decides: the order of jobs; that one job never runs twice at a time; what becomes of a time that passed; how long a
//! failed job waits. Must not know: leases, stores, tasks. Guarantees: the same events in the same order give the same
//! answers; a job that fails delays no other.

mod backoff;
mod due;
mod window;

pub use due::Due;
pub use window::Window;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::config::{MissedRun, Workspace};
use crate::store::{BackfillView, RunView};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// One pass of a pipeline.
    Pipeline(String),
    /// One pass of a feed.
    Feed(String),
    /// The next chunk of a backfill.
    Backfill(i64),
    /// A look at what must hold in a register (核查).
    Review(String),
}

impl Job {
    /// Whether others wait for it: it goes before all that is done beside.
    pub const fn is_live(&self) -> bool {
        matches!(self, Self::Pipeline(_) | Self::Feed(_))
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipeline(name) => write!(f, "pipeline/{name}"),
            Self::Feed(name) => write!(f, "feed/{name}"),
            Self::Backfill(id) => write!(f, "backfill/{id}"),
            Self::Review(register) => write!(f, "review/{register}"),
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Done,
    /// Well, but something is left that is worth trying then.
    DoneBut(DateTime<Utc>),
    /// It waits for a person, or for midnight: looking again before its time would change nothing.
    Held,
    /// What it met may pass: again after a back-off.
    Failed,
    /// What it met will not pass by itself: again at its time.
    Broken,
    /// Somebody else works on it: look again then.
    Elsewhere(DateTime<Utc>),
    /// It gave way, or was told to stop: it goes on where it was.
    Stopped,
}

/// A backfill that may work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillLane {
    /// Id.
    pub id: i64,
    /// The pipeline or feed whose data it touches: the two never work at the same time.
    pub beside: Job,
    /// When it may work.
    pub window: Option<Window>,
}

impl BackfillLane {
    /// Of a backfill as the store keeps it.
    pub fn of(backfill: &BackfillView) -> Self {
        let target = backfill.target.clone();
        let beside = if backfill.kind == "files" { Job::Pipeline(target) } else { Job::Feed(target) };
        Self { id: backfill.id, beside, window: super::backfill::window_of(backfill) }
    }
}

/// When one job comes, and how it went.
#[derive(Debug, Clone)]
struct Turn {
    rhythm: Rhythm,
    next: Option<DateTime<Utc>>,
    /// The time that it was last taken for.
    taken: Option<DateTime<Utc>>,
    failures: u32,
    running: bool,
}

#[derive(Debug, Clone)]
enum Rhythm {
    Cron { due: Box<Due>, missed: MissedRun },
    Every { every: Duration, register: String },
    Review,
}

/// Between two reviews of a register, and before the first.
const REVIEWS: (TimeDelta, TimeDelta) = (TimeDelta::hours(1), TimeDelta::seconds(5));

/// The schedule of one installation.
#[derive(Debug)]
pub struct Schedule {
    zone: Tz,
    seed: u64,
    turns: BTreeMap<Job, Turn>,
    backfills: Vec<BackfillLane>,
    /// Backfills at work, and those that wait until an instant after a failure.
    working: BTreeSet<i64>,
    last_backfill: i64,
    resting: BTreeMap<i64, (DateTime<Utc>, u32)>,
}

impl Schedule {
    /// Of these definitions, from now on; `seed` sets the jitter.
    pub fn new(workspace: &Workspace, seed: u64, now: DateTime<Utc>) -> Self {
        let mut schedule = Self {
            zone: workspace.installation.zone,
            seed,
            turns: BTreeMap::new(),
            backfills: Vec::new(),
            working: BTreeSet::new(),
            last_backfill: 0,
            resting: BTreeMap::new(),
        };
        schedule.redefine(workspace, now);
        schedule
    }

    /// Other definitions: what is still defined keeps its failures and what it was waiting for; a changed schedule
    /// counts from now.
    pub fn redefine(&mut self, workspace: &Workspace, now: DateTime<Utc>) {
        let mut old = std::mem::take(&mut self.turns);
        self.zone = workspace.installation.zone;
        let mut put = |job: Job, rhythm: Rhythm| {
            let before = old.remove(&job);
            let mut turn = Turn { next: None, taken: None, failures: 0, running: false, rhythm };
            turn.next = if matches!(turn.rhythm, Rhythm::Review) { Some(now + REVIEWS.1) } else { turn.after(now) };
            if let Some(before) = before {
                turn.failures = before.failures;
                turn.running = before.running;
                let anew = matches!(turn.rhythm, Rhythm::Review); // other definitions may ask something else
                if !anew && (before.rhythm.same(&turn.rhythm) || before.failures > 0) {
                    turn.next = before.next;
                }
            }
            self.turns.insert(job, turn);
        };
        for pipeline in workspace.pipelines.values().filter(|pipeline| pipeline.schedule.is_some()) {
            let rhythm = Rhythm::Cron { due: Box::new(Due::new(pipeline, self.zone)), missed: pipeline.missed };
            put(Job::Pipeline(pipeline.name.clone()), rhythm);
        }
        for feed in workspace.feeds.values() {
            let rhythm = Rhythm::Every { every: feed.delivery.every, register: feed.register.value.clone() };
            put(Job::Feed(feed.name.clone()), rhythm);
        }
        for register in workspace.registers.values().filter(|register| !register.bonds.asks_nothing()) {
            put(Job::Review(register.name.clone()), Rhythm::Review);
        }
    }

    /// What the store remembers of a pipeline, newest run first. A time that passed since it last began is made up for,
    /// unless the pipeline says to skip it; a run that was broken off goes on at once.
    pub fn recall(&mut self, pipeline: &str, runs: &[RunView], now: DateTime<Utc>) {
        let Some(turn) = self.turns.get_mut(&Job::Pipeline(pipeline.to_owned())) else { return };
        let mut runs = runs.iter().filter(|run| run.kind == "run").peekable();
        let Some(last) = runs.peek() else { return };
        if last.status == "running" || last.why.as_deref().is_some_and(broken_off) {
            turn.next = Some(now);
        } else if let (Some(began), Rhythm::Cron { due, missed: MissedRun::Run }) = (instant(last), &turn.rhythm) {
            turn.next = due.next(began.min(now)); // begun under a clock that was ahead, it says nothing of tomorrow
        }
        let failed = runs.take_while(|run| run.status == "failed" || run.status == "unbalanced").count();
        turn.failures = u32::try_from(failed).unwrap_or(u32::MAX);
    }

    /// The backfills that may work, oldest first.
    pub fn set_backfills(&mut self, lanes: Vec<BackfillLane>) {
        self.resting.retain(|id, _| lanes.iter().any(|lane| lane.id == *id));
        self.backfills = lanes;
    }

    /// Takes the pipeline or feed that has been due longest.
    pub fn take_live(&mut self, now: DateTime<Utc>) -> Option<Job> {
        self.take_due(now, Job::is_live)
    }

    fn take_due(&mut self, now: DateTime<Utc>, of: fn(&Job) -> bool) -> Option<Job> {
        let due = self.turns.iter().filter(|(job, turn)| of(job) && turn.due(now) && !self.occupied(job));
        let job = due.min_by_key(|(_, turn)| turn.next).map(|(job, _)| job.clone())?;
        let turn = self.turns.get_mut(&job)?;
        turn.running = true;
        turn.taken = turn.next;
        turn.next = turn.after(now);
        Some(job)
    }

    /// Takes what is done beside live work: a review that is due, or a backfill, those that may work chunk by chunk in turn.
    pub fn take_beside(&mut self, now: DateTime<Utc>) -> Option<Job> {
        if let Some(review) = self.take_due(now, |job| !job.is_live()) {
            return Some(review);
        }
        let may = || self.backfills.iter().filter(|lane| self.may_work(lane, now)).map(|lane| lane.id);
        let id = may().find(|id| *id > self.last_backfill).or_else(|| may().next())?;
        self.last_backfill = id;
        self.working.insert(id);
        Some(Job::Backfill(id))
    }

    /// Whether a live job is due that has no worker, or whose place a backfill has.
    pub fn presses(&self, now: DateTime<Utc>) -> bool {
        self.turns.iter().any(|(job, turn)| job.is_live() && turn.due(now))
    }

    /// Whether the pipeline or feed is due whose data this backfill touches.
    pub fn waits_for(&self, backfill: i64, now: DateTime<Utc>) -> bool {
        self.beside(backfill).and_then(|job| self.turns.get(job)).is_some_and(|turn| turn.due(now))
    }

    /// The pipeline or feed whose data a backfill touches.
    pub fn beside(&self, backfill: i64) -> Option<&Job> {
        self.backfills.iter().find(|lane| lane.id == backfill).map(|lane| &lane.beside)
    }

    /// How a job that was taken ended.
    pub fn ended(&mut self, job: &Job, ended: Ended, now: DateTime<Utc>) {
        if let Job::Backfill(id) = job {
            return self.backfill_ended(*id, ended, now);
        }
        let seed = self.seed;
        let Some(turn) = self.turns.get_mut(job) else { return };
        turn.running = false;
        match ended {
            Ended::Done | Ended::DoneBut(_) | Ended::Held => turn.failures = 0,
            Ended::Broken | Ended::Failed => turn.failures = turn.failures.saturating_add(1),
            Ended::Elsewhere(_) | Ended::Stopped => {}
        }
        turn.next = match ended {
            Ended::Failed => Some(now + span(backoff::after(turn.failures, seed, job))),
            Ended::Elsewhere(then) => Some(then),
            Ended::DoneBut(then) => Some(turn.next.map_or(then, |next| next.min(then))),
            Ended::Stopped => Some(now),
            Ended::Done | Ended::Held | Ended::Broken => match &turn.rhythm {
                Rhythm::Cron { missed: MissedRun::Skip, .. } if turn.due(now) => turn.after(now),
                Rhythm::Cron { .. } | Rhythm::Every { .. } | Rhythm::Review => turn.next,
            },
        };
    }

    fn backfill_ended(&mut self, id: i64, ended: Ended, now: DateTime<Utc>) {
        self.working.remove(&id);
        match ended {
            Ended::Done | Ended::DoneBut(_) | Ended::Stopped => drop(self.resting.remove(&id)),
            Ended::Elsewhere(then) => drop(self.resting.insert(id, (then, 0))),
            Ended::Failed | Ended::Held | Ended::Broken => {
                let failures = self.resting.get(&id).map_or(0, |(_, failures)| *failures) + 1;
                let then = now + span(backoff::after(failures, self.seed, &Job::Backfill(id)));
                self.resting.insert(id, (then, failures));
            }
        }
    }

    /// Whether what this job was taken for has been done by somebody who began then.
    pub fn done_by(&self, job: &Job, began: DateTime<Utc>) -> bool {
        self.turns.get(job).and_then(|turn| turn.taken).is_some_and(|taken| began >= taken)
    }

    /// A pipeline was run by somebody else, beginning then.
    pub fn ran_elsewhere(&mut self, pipeline: &str, began: DateTime<Utc>) {
        let Some(turn) = self.turns.get_mut(&Job::Pipeline(pipeline.to_owned())) else { return };
        turn.running = false;
        turn.next = turn.after(began);
    }

    /// What was reckoned by a clock that was ahead is reckoned again: nothing waits for a time that had come before.
    pub fn clock_went_back(&mut self, now: DateTime<Utc>) {
        for turn in self.turns.values_mut() {
            let latest = turn.after(now);
            turn.next = [turn.next, latest].into_iter().flatten().min();
            turn.taken = turn.taken.map(|taken| taken.min(now));
        }
        self.resting.values_mut().for_each(|(then, _)| *then = now.min(*then));
    }

    /// A register changed: its feeds are due at once, but for those that wait after a failure.
    pub fn changed(&mut self, register: &str, now: DateTime<Utc>) {
        for turn in self.turns.values_mut().filter(|turn| turn.failures == 0) {
            if let Rhythm::Every { register: of, .. } = &turn.rhythm
                && of == register
            {
                turn.next = Some(turn.next.map_or(now, |next| next.min(now)));
            }
        }
    }

    /// Something waits that this feed's next pass might settle: it is due at once, but for one that waits after a failure.
    pub fn hurry(&mut self, feed: &str, now: DateTime<Utc>) {
        let turn = self.turns.get_mut(&Job::Feed(feed.to_owned())).filter(|turn| turn.failures == 0);
        if let Some(turn) = turn {
            turn.next = Some(turn.next.map_or(now, |next| next.min(now)));
        }
    }

    /// When something is due next; `None` when nothing ever is, or everything is at work.
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        [self.next_live(), self.next_beside(now)].into_iter().flatten().min()
    }

    /// When a pipeline or feed is due next.
    pub fn next_live(&self) -> Option<DateTime<Utc>> {
        self.next_due(Job::is_live)
    }

    fn next_due(&self, of: fn(&Job) -> bool) -> Option<DateTime<Utc>> {
        let idle = self.turns.iter().filter(|(job, turn)| of(job) && !turn.running && !self.occupied(job));
        idle.filter_map(|(_, turn)| turn.next).min()
    }

    /// When a review is due next, or a backfill may work.
    pub fn next_beside(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let review = self.next_due(|job| !job.is_live());
        let opens = |lane: &BackfillLane| {
            let opens = lane.window.map_or(now, |window| window.opens(now, self.zone));
            self.resting.get(&lane.id).map_or(opens, |(then, _)| opens.max(*then))
        };
        let waiting = self.backfills.iter().filter(|lane| !self.working.contains(&lane.id) && self.free(lane));
        waiting.map(opens).chain(review).min()
    }

    /// When this job comes next.
    pub fn next_of(&self, job: &Job) -> Option<DateTime<Utc>> {
        self.turns.get(job)?.next
    }

    /// Failures in a row.
    pub fn failures(&self, job: &Job) -> u32 {
        self.turns.get(job).map_or(0, |turn| turn.failures)
    }

    fn may_work(&self, lane: &BackfillLane, now: DateTime<Utc>) -> bool {
        let rests = self.resting.get(&lane.id).is_some_and(|(then, _)| *then > now);
        let open = lane.window.is_none_or(|window| window.open(now, self.zone));
        !self.working.contains(&lane.id) && !rests && open && self.free(lane)
    }

    /// Whether neither the live job beside a backfill nor another backfill beside it is at work.
    fn free(&self, lane: &BackfillLane) -> bool {
        !self.turns.get(&lane.beside).is_some_and(|turn| turn.running) && !self.occupied(&lane.beside)
    }

    /// Whether a backfill works beside this job.
    fn occupied(&self, job: &Job) -> bool {
        self.backfills.iter().any(|lane| lane.beside == *job && self.working.contains(&lane.id))
    }
}

impl Turn {
    fn due(&self, now: DateTime<Utc>) -> bool {
        !self.running && self.next.is_some_and(|next| next <= now)
    }

    fn after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rhythm {
            Rhythm::Cron { due, .. } => due.next(now),
            Rhythm::Every { every, .. } => Some(now + span(*every)),
            Rhythm::Review => Some(now + REVIEWS.0),
        }
    }
}

impl Rhythm {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cron { due: a, missed: m }, Self::Cron { due: b, missed: n }) => a.same_times(b) && m == n,
            (Self::Every { every: a, .. }, Self::Every { every: b, .. }) => a == b,
            _ => false,
        }
    }
}

/// Whether a run ended before it was through: HL0505 a person stopped it, HL0506 its process died.
fn broken_off(why: &str) -> bool {
    ["HL0505", "HL0506"].iter().any(|code| why.contains(code))
}

fn instant(run: &RunView) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(run.started)
}

fn span(wait: Duration) -> TimeDelta {
    TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests;

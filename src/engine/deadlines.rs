//! Deadlines (期限): until when something must be done, whether it was, and who is late.
//!
//! A deadline that the source says is compared by the store; a term (时限) is counted here, by the calendar of the
//! installation's definitions. What would end in a year without a published calendar is told as such, not guessed.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use super::{Engine, EngineError};
use crate::clock::{Calendar, NotPublished, Term};
use crate::config::{Counted, Deadline, Register, Until, Workspace};
use crate::linking::EntityId;
use crate::record::Value;
use crate::store::Cells;

/// Entities looked at in one go.
const PAGE: i64 = 10_000;

/// One deadline of one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clocked {
    /// Its name in the register's file.
    pub deadline: String,
    /// 名称.
    pub title: String,
    /// 法规依据.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// The last moment in time, RFC 3339; `None` when [`State::Unpublished`].
    pub due: Option<String>,
    /// When it was done.
    pub done: Option<String>,
    /// How it stands.
    pub state: State,
}

/// How a deadline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// 未到期: not done, and not due.
    Open,
    /// 超期: due, and not done.
    Overdue,
    /// 按期.
    Kept,
    /// 逾期办结: done too late.
    Late,
    /// It ends in a year whose working days nobody has published; HL0517.
    Unpublished,
}

impl State {
    fn of(due: i64, done: Option<i64>, now: i64) -> Self {
        match done {
            Some(done) if done > due => Self::Late,
            Some(_) => Self::Kept,
            None if now > due => Self::Overdue,
            None => Self::Open,
        }
    }
}

/// What was counted of one deadline.
#[derive(Debug, Default)]
pub(super) struct Missed {
    pub(super) looked: u64,
    pub(super) broken: u64,
    pub(super) overdue: u64,
    /// Not judged, because the calendar does not reach as far.
    pub(super) unpublished: u64,
    pub(super) examples: Vec<EntityId>,
}

/// Counts terms by one calendar.
struct Counting {
    zone: Tz,
    days: Calendar,
    /// Terms of as many days end on the same day for all that begin on one.
    known: HashMap<(NaiveDate, Term), Result<DateTime<Utc>, NotPublished>>,
}

impl Counting {
    fn by(workspace: &Workspace) -> Self {
        Self { zone: workspace.installation.zone, days: workspace.working_days(), known: HashMap::new() }
    }

    /// The last moment in time of a term that began then and leaves out so many days, microseconds; `None` for a value that
    /// is no time.
    fn last_moment(
        &mut self,
        within: Term,
        from: &Value,
        excluded: Option<Value>,
    ) -> Option<Result<i64, NotPublished>> {
        let within = match excluded {
            Some(Value::Integer(days)) => within.and_days(u32::try_from(days.max(0)).unwrap_or(u32::MAX)),
            _ => within,
        };
        let start = match from {
            Value::Timestamp(at) => DateTime::from_timestamp_micros(*at)?,
            Value::Date(days) => {
                let midnight = NaiveDate::from_epoch_days(*days)?.and_time(NaiveTime::MIN);
                midnight.and_local_timezone(self.zone).earliest()?.to_utc()
            }
            _ => return None,
        };
        let end = match within {
            Term::Hours(_) => within.last_moment(start, self.zone, &self.days),
            Term::Days(_) | Term::WorkingDays(_) => {
                let first = start.with_timezone(&self.zone).date_naive();
                let count = || within.last_moment(start, self.zone, &self.days);
                *self.known.entry((first, within)).or_insert_with(count)
            }
        };
        Some(end.map(|at| at.timestamp_micros()))
    }
}

impl Engine {
    /// Looks at every entity for which a term began.
    pub(super) async fn count_term(
        &mut self,
        register: &Register,
        (deadline, term): (&Deadline, &Counted),
        limit: i64,
    ) -> Result<Missed, EngineError> {
        let (mut counting, now) = (Counting::by(&self.workspace), self.now());
        let (mut missed, mut after) = (Missed::default(), 0);
        let excluding = term.excluding.as_ref().map(|field| field.value.as_str());
        let fields: Vec<&str> =
            [&term.from, &deadline.done].map(|at| at.value.as_str()).into_iter().chain(excluding).collect();
        loop {
            self.check_stop()?;
            let page = self.store.entities_after(&register.name, &fields, after, PAGE).await?;
            let column = |name: &str| page.rows.column_by_name(name).map(|column| Cells::of(column.as_ref()));
            let excluded = excluding.and_then(column);
            if let (Some(began), Some(done)) = (column(&term.from.value), column(&deadline.done.value)) {
                for (row, id) in page.ids.iter().enumerate() {
                    let days = excluded.as_ref().and_then(|days| days.get(row));
                    let until = began.get(row).and_then(|from| counting.last_moment(term.within.value, &from, days));
                    let Some(until) = until else { continue };
                    missed.looked += 1;
                    let Ok(due) = until else {
                        missed.unpublished += 1;
                        continue;
                    };
                    let state = State::of(due, instant(done.get(row)), now);
                    if matches!(state, State::Overdue | State::Late) {
                        missed.broken += 1;
                        missed.overdue += u64::from(state == State::Overdue);
                        missed.examples.push(*id);
                    }
                }
            }
            missed.examples.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            match page.last {
                Some(last) => after = last,
                None => return Ok(missed),
            }
        }
    }

    /// How the deadlines of one entity stand; those that have not begun are left out.
    pub fn deadlines(&self, register: &Register, value: impl Fn(&str) -> Option<String>) -> Vec<Clocked> {
        let (mut counting, now) = (Counting::by(&self.workspace), self.now());
        let zone = counting.zone;
        let typed = |name: &str| Value::from_text(register.field(name)?.kind, &value(name)?);
        let told = |micros: i64| DateTime::from_timestamp_micros(micros).map(|at| at.with_timezone(&zone).to_rfc3339());
        let mut all = Vec::new();
        for deadline in &register.bonds.deadlines {
            let done = instant(typed(&deadline.done.value));
            let due = match &deadline.until {
                Until::Field(due) => instant(typed(&due.value)).map(Ok),
                Until::Counted(Counted { from, within, excluding }) => {
                    let days = excluding.as_ref().and_then(|field| typed(&field.value));
                    typed(&from.value).and_then(|from| counting.last_moment(within.value, &from, days))
                }
            };
            let Some(due) = due else { continue };
            all.push(Clocked {
                deadline: deadline.name.value.clone(),
                title: deadline.title.clone(),
                basis: deadline.basis.clone(),
                due: due.ok().and_then(told),
                done: done.and_then(told),
                state: due.map_or(State::Unpublished, |due| State::of(due, done, now)),
            });
        }
        all
    }
}

fn instant(value: Option<Value>) -> Option<i64> {
    match value {
        Some(Value::Timestamp(at)) => Some(at),
        _ => None,
    }
}

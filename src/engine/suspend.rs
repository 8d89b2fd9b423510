//! Suspending a grant (中止共享): at once, by either side, with a reason; and resuming it.
//!
//! Decides: what goes out all the same. A grant that the office suspended still gets recalls (撤回): what a subscriber must not
//! have any more it gives back, whatever else waits. Where the subscriber suspended it, nothing is sent: it said that it
//! takes nothing, and what is open ages in `huiliu status`.

use super::{Engine, EngineError};
use crate::batch::Kind;
use crate::error::Problem;
use crate::share::in_force;
use crate::store::{HeldFile, Note, Side, Suspension};

/// A suspension, as a pass finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspended {
    /// With its code.
    pub(super) told: String,
    side: Side,
}

impl Engine {
    /// Nothing but recalls goes out under this feed's grant from the next pass on, and where the subscriber wants it not even
    /// those; what the subscriber holds stays theirs. `by`: the account.
    pub async fn suspend_feed(&mut self, name: &str, (side, why): (Side, &str), by: &str) -> Result<(), EngineError> {
        if let Some(Suspended { told, .. }) = self.suspended(name).await? {
            let problem = Problem::error("HL0612", format!("feed {name} is suspended already: {told}"));
            return Err(EngineError::Definitions(vec![problem]));
        }
        let at = self.now();
        let note = Note::new(at, "feed.suspend", format!("{name}: {why}, wanted by the {}, by {by}", side.name()));
        let suspension = Suspension { at, why: why.to_owned(), side };
        Ok(self.store.suspend_feed(name, Some(&suspension), note).await?)
    }

    /// The next pass sends everything that has waited.
    pub async fn resume_feed(&mut self, name: &str, why: &str, by: &str) -> Result<(), EngineError> {
        if self.suspended(name).await?.is_none() {
            let problem = Problem::error("HL0612", format!("feed {name} is not suspended"));
            return Err(EngineError::Definitions(vec![problem]));
        }
        let at = self.now();
        let note = Note::new(at, "feed.resume", format!("{name}: {why}, by {by}"));
        Ok(self.store.suspend_feed(name, None, note).await?)
    }

    /// Why a feed sends nothing new, if somebody suspended it.
    pub(super) async fn suspended(&mut self, name: &str) -> Result<Option<Suspended>, EngineError> {
        let suspended = self.store.feed(name).await?.suspended;
        Ok(suspended.map(|Suspension { at, why, side }| {
            let since = chrono::DateTime::from_timestamp_micros(at).map(|at| at.to_rfc3339()).unwrap_or_default();
            Suspended { told: format!("HL0611 suspended by the {} since {since}: {why}", side.name()), side }
        }))
    }

    /// Why a feed sends nothing new although nobody suspended it: a file that is held has changed its register, and a person
    /// decides first. A grant that is not in force is not kept from taking back what it gave.
    pub(super) async fn awaits_decision(&mut self, name: &str) -> Result<Option<Suspended>, EngineError> {
        let Some(feed) = self.workspace.feeds.get(name).cloned() else { return Ok(None) };
        if in_force(&feed, self.today()).is_err() {
            return Ok(None);
        }
        let register = &feed.register.value;
        let held = self.store.held_into(register).await?;
        Ok(held.map(|HeldFile { dataset, name, why }| {
            let told =
                format!("HL0613 what changed {register} waits for a decision: {name} of {dataset} is held: {why}");
            Suspended { told, side: Side::Office }
        }))
    }

    /// Up to which batch a suspended feed's must leave all the same, so that its recalls do: batches are chained, so what was
    /// sealed before a recall goes before it. `None` when no recall waits, or the subscriber takes nothing.
    pub(super) async fn recalls_due(&mut self, name: &str, suspended: &Suspended) -> Result<Option<i64>, EngineError> {
        if suspended.side == Side::Subscriber {
            return Ok(None);
        }
        let chases = self.store.chases(Some(name), None).await?;
        let due = chases.iter().filter(|chase| chase.kind == Kind::Recall.name() && !chase.durable);
        Ok(due.map(|chase| chase.seq.unwrap_or(i64::MAX)).max())
    }
}

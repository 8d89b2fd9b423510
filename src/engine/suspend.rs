//! Suspending a grant (中止共享): at once, by either side, with a reason; and resuming it.

use super::{Engine, EngineError};
use crate::error::Problem;
use crate::store::Note;

impl Engine {
    /// Nothing goes out under this feed's grant from the next pass on; what the subscriber holds stays theirs. `by`: the
    /// account.
    pub async fn suspend_feed(&mut self, name: &str, why: &str, by: &str) -> Result<(), EngineError> {
        if let Some(told) = self.suspended(name).await? {
            let problem = Problem::error("HL0612", format!("feed {name} is suspended already: {told}"));
            return Err(EngineError::Definitions(vec![problem]));
        }
        let at = self.now();
        let note = Note::new(at, "feed.suspend", format!("{name}: {why}, by {by}"));
        Ok(self.store.suspend_feed(name, Some((at, why)), note).await?)
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

    /// Why a feed sends nothing, if somebody suspended it; with its code.
    pub(super) async fn suspended(&mut self, name: &str) -> Result<Option<String>, EngineError> {
        let suspended = self.store.feed(name).await?.suspended;
        Ok(suspended.map(|(at, why)| {
            let since = chrono::DateTime::from_timestamp_micros(at).map(|at| at.to_rfc3339()).unwrap_or_default();
            format!("HL0611 suspended since {since}: {why}")
        }))
    }
}

//! Corrections and recalls that are not settled (未结): a subscriber may still have the stale copy.

use super::{Engine, EngineError};
use crate::config::OutletKind;
use crate::store::ChaseView;

/// What is not settled of one feed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Open {
    /// Feed.
    pub feed: String,
    /// How many.
    pub open: u64,
    /// Since when the oldest of them, microseconds.
    pub since: i64,
}

impl Open {
    /// How far one of them is: `waits`, `sealed`, `sent`, `settled`. Over a broker a receipt settles it; where nobody can answer,
    /// the outlet's word does.
    pub fn state(chase: &ChaseView, answers: bool) -> &'static str {
        match chase {
            ChaseView { answered: Some(_), .. } => "settled",
            ChaseView { durable: true, .. } if !answers => "settled",
            ChaseView { durable: true, .. } => "sent",
            ChaseView { seq: Some(_), .. } => "sealed",
            ChaseView { seq: None, .. } => "waits",
        }
    }

    /// What is not settled among these, by feed.
    pub fn among(chases: &[ChaseView], workspace: &crate::config::Workspace) -> Vec<Self> {
        let answers = |feed: &str| {
            workspace.feeds.get(feed).is_some_and(|feed| feed.delivery.outlet.value == OutletKind::Rabbitmq)
        };
        let open = |chase: &&ChaseView| Self::state(chase, answers(&chase.feed)) != "settled";
        let mut all: Vec<Self> = Vec::new();
        for chase in chases.iter().filter(open) {
            match all.iter_mut().find(|known| known.feed == chase.feed) {
                Some(known) => {
                    known.open += 1;
                    known.since = known.since.min(chase.at);
                }
                None => all.push(Self { feed: chase.feed.clone(), open: 1, since: chase.at }),
            }
        }
        all
    }
}

impl Engine {
    /// Corrections and recalls that are not settled, by feed.
    pub async fn open_chases(&mut self) -> Result<Vec<Open>, EngineError> {
        let chases = self.store.chases(None, None).await?;
        Ok(Open::among(&chases, &self.workspace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_settles_where_somebody_answers() {
        let chase = |seq, durable, answered| ChaseView {
            id: 1,
            feed: "a".into(),
            register: "e".into(),
            entity: 1,
            kind: "recall".into(),
            why: String::new(),
            reference: String::new(),
            at: 5,
            seq,
            durable,
            answered,
        };
        for (chase, answers, state) in [
            (chase(None, false, None), true, "waits"),
            (chase(Some(1), false, None), false, "sealed"),
            (chase(Some(1), true, None), true, "sent"),
            (chase(Some(1), true, None), false, "settled"),
            (chase(Some(1), true, Some(9)), true, "settled"),
        ] {
            assert_eq!(Open::state(&chase, answers), state);
        }
    }
}

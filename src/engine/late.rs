//! Records that come late: business time (更新时间) decides, not arrival.
//!
//! A row that is older than what is stored under its source key changes nothing: it is counted as superseded and noted.
//! Where the register has status fields, what it says about them is remembered all the same, because a status is the
//! end of a course (`linking::Lifecycle`), and a course has a past.

use std::collections::{BTreeSet, HashMap};

use super::EngineError;
use super::flow::{Flow, Lane};
use crate::linking::{Before, Claim, EntityId, Statement, remember};
use crate::record::Value;
use crate::store::{RecalledClaim, Store};

/// What the store held about the claims that the rows of a chunk continue.
pub(super) struct Earlier {
    /// By entity.
    pub(super) before: HashMap<EntityId, Before>,
}

/// What becomes of a row that continues a claim.
pub(super) enum Fate {
    /// It takes the claim's place.
    Newer,
    /// It is older, and says nothing that is not known.
    Late,
    /// It is older, and this is the stored claim with what it adds to the past.
    Remembered(Box<Claim>),
}

impl Earlier {
    /// Asks the store, when times or courses have to be compared.
    pub(super) async fn of(
        store: &mut dyn Store,
        (flow, lane): (&Flow, &Lane),
        claims: impl Iterator<Item = RecalledClaim>,
    ) -> Result<Self, EngineError> {
        if flow.updated.is_none() && !lane.survivorship.remembers() {
            return Ok(Self { before: HashMap::new() });
        }
        let homes: BTreeSet<EntityId> = claims.filter_map(|claim| claim.differs).collect();
        let homes: Vec<EntityId> = homes.into_iter().collect();
        let before = if homes.is_empty() { HashMap::new() } else { store.before(&lane.register, &homes).await? };
        Ok(Self { before })
    }

    /// The stored claim.
    pub(super) fn stored(&self, claim: RecalledClaim) -> Option<&Claim> {
        let home = self.before.get(&claim.differs?)?;
        home.claims.iter().find(|stored| stored.id == claim.id)
    }

    /// Compares an arriving claim with the stored one it continues; gives it the past of what it replaces. `own` is
    /// whether its business time is its own; a `strict` comparison is one with exactly the stored claim, for files that
    /// are known to be old.
    pub(super) fn judge(
        &self,
        lane: &Lane,
        (claim, (own, strict)): (&mut Claim, (bool, bool)),
        stored: &Claim,
        home: EntityId,
    ) -> Fate {
        let siblings = self.before.get(&home).map_or(&[][..], |before| &before.claims);
        let siblings = siblings.iter().filter(|other| other.stream == stored.stream && other.key == stored.key);
        // Rows of one key follow no order in their files: late is what is older than all that is known of the key.
        let oldest = siblings.map(|other| other.updated).min().filter(|_| !strict).unwrap_or(stored.updated);
        if own && claim.updated < oldest {
            let mut kept = stored.clone();
            remember(&mut kept.past, statements(lane, claim));
            kept.past.retain(|said| said.at != kept.updated);
            return if kept.past == stored.past { Fate::Late } else { Fate::Remembered(Box::new(kept)) };
        }
        if lane.survivorship.remembers() {
            claim.past.clone_from(&stored.past);
            remember(&mut claim.past, statements(lane, stored));
            claim.past.retain(|said| said.at != claim.updated);
        }
        Fate::Newer
    }
}

/// What a claim says about status fields.
fn statements(lane: &Lane, claim: &Claim) -> Vec<Statement> {
    let said = |field: usize| match &claim.values[field] {
        Some(Value::Text(state)) => Some(Statement { at: claim.updated, field, state: state.as_str().into() }),
        _ => None,
    };
    lane.survivorship.status_fields().filter_map(said).collect()
}

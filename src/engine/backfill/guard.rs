//! What an old file may still say of rows that the store knows.

use std::collections::{BTreeSet, HashMap};

use crate::engine::EngineError;
use crate::linking::{ClaimId, EntityId};
use crate::store::{RecalledClaim, Store};

/// Goes with every chunk of a backfill into `take`.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Guard {
    /// Whether a newer full extract has been taken: what it does not show is gone, what it shows stands.
    pub(in crate::engine) outdated: bool,
    /// Whether rows have a business time of their own.
    pub(in crate::engine) own_time: bool,
}

impl Guard {
    /// Which of these rows have nothing to say any more: for each its stored claim, and its business time.
    pub(in crate::engine) async fn stale(
        self,
        store: &mut dyn Store,
        register: &str,
        rows: &[(Option<RecalledClaim>, i64)],
    ) -> Result<Vec<bool>, EngineError> {
        let homes: BTreeSet<EntityId> =
            rows.iter().filter_map(|(claim, _)| claim.as_ref().and_then(|claim| claim.differs)).collect();
        let homes: Vec<EntityId> = homes.into_iter().collect();
        let before = if homes.is_empty() { HashMap::new() } else { store.before(register, &homes).await? };
        let claims = before.values().flat_map(|before| &before.claims);
        let updated: HashMap<ClaimId, i64> = claims.map(|claim| (claim.id, claim.updated)).collect();
        Ok(rows.iter().map(|(claim, at)| self.is_stale(claim.as_ref(), *at, &updated)).collect())
    }

    fn is_stale(self, claim: Option<&RecalledClaim>, at: i64, updated: &HashMap<ClaimId, i64>) -> bool {
        let Some(claim) = claim else { return self.outdated };
        if claim.differs.is_none() {
            return false; // it says what is known
        }
        let Some(&stored) = updated.get(&claim.id) else { return false };
        if self.outdated && !self.own_time {
            return true; // the newer extract showed this row as it is stored
        }
        if self.outdated { at <= stored } else { at < stored }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_row_overrules_nothing_newer() {
        let updated = HashMap::from([(7, 100)]);
        let known = RecalledClaim { id: 7, occurrence: 0, differs: Some(1) };
        let same = RecalledClaim { differs: None, ..known };
        let check = |(outdated, own_time): (bool, bool), claim: Option<&RecalledClaim>, at: i64, stale: bool| {
            assert_eq!(Guard { outdated, own_time }.is_stale(claim, at, &updated), stale, "{outdated} {own_time} {at}");
        };
        check((false, true), Some(&known), 99, true);
        check((false, true), Some(&known), 100, false); // the same row again, under another mapping
        check((false, true), Some(&known), 101, false);
        check((false, true), None, 1, false);
        check((true, true), None, 101, true); // the newer extract does not show it: it is gone
        check((true, true), Some(&known), 100, true);
        check((true, true), Some(&known), 101, false);
        check((true, false), Some(&known), 101, true);
        check((true, false), Some(&same), 1, false);
    }
}

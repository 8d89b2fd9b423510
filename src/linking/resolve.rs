//! Which entity each row is about, by its identity keys (标识).
//!
//! Pure. A row belongs to the entity that its strongest known key names. Two keys of one row that name two entities
//! merge them into the older one — unless a stronger key says they are different: a weaker key never overrules a
//! stronger one, the row then stays with its strongest key and the conflict is noted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::EntityId;

/// One row to place: its key values, strongest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// One per register key; `None` where the row does not have it.
    pub keys: Vec<Option<Arc<str>>>,
    /// The entity its claim belonged to before, when that entity has no other claim and may therefore follow the row.
    pub sole_home: Option<EntityId>,
}

/// What the store remembers about the keys of these rows.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// (key number, value) → entity.
    pub entity_of: HashMap<(usize, Arc<str>), EntityId>,
    /// All keys of every entity that occurs in `entity_of`.
    pub keys_of: HashMap<EntityId, Vec<(usize, Arc<str>)>>,
}

/// Where one row belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Its entity.
    pub entity: EntityId,
    /// A weaker key of this row belongs to another entity, which a stronger key keeps apart.
    pub conflict: bool,
}

/// Where all rows belong, and which entities turned out to be one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// One per row.
    pub placements: Vec<Placement>,
    /// Merged entity → the older entity that it is.
    pub merged: BTreeMap<EntityId, EntityId>,
    /// Keys that now name an entity for the first time.
    pub new_keys: Vec<(usize, Arc<str>, EntityId)>,
    /// The next free entity id.
    pub next_entity: EntityId,
}

/// Places rows one after the other; `next_entity` is the first free id.
pub fn resolve(rows: &[Candidate], known: Known, next_entity: EntityId) -> Resolution {
    let mut state = State { known, alias: HashMap::new(), out: Resolution { next_entity, ..Resolution::default() } };
    for row in rows {
        let placement = state.place(row);
        state.out.placements.push(placement);
    }
    state.finish()
}

struct State {
    known: Known,
    alias: HashMap<EntityId, EntityId>,
    out: Resolution,
}

impl State {
    fn place(&mut self, row: &Candidate) -> Placement {
        let mut home: Option<EntityId> = None;
        let mut conflict = false;
        let mut free: Vec<(usize, &Arc<str>)> = Vec::new();
        for (kind, value) in row.keys.iter().enumerate() {
            let Some(value) = value else { continue };
            let Some(hit) = self.known.entity_of.get(&(kind, value.clone())).copied() else {
                free.push((kind, value));
                continue;
            };
            let hit = self.find(hit);
            if self.kept_apart(row, home, hit, kind) {
                conflict = true;
            } else {
                home = Some(home.map_or(hit, |h| self.merge(h, hit)));
            }
        }
        let entity = home.or(row.sole_home.map(|e| self.find(e))).unwrap_or_else(|| {
            self.out.next_entity += 1;
            self.out.next_entity - 1
        });
        for (kind, value) in free {
            self.known.entity_of.insert((kind, value.clone()), entity);
            self.known.keys_of.entry(entity).or_default().push((kind, value.clone()));
            self.out.new_keys.push((kind, value.clone(), entity));
        }
        Placement { entity, conflict }
    }

    /// Whether a key stronger than `kind` says that this row (or its home so far) is not the entity `hit`.
    fn kept_apart(&self, row: &Candidate, home: Option<EntityId>, hit: EntityId, kind: usize) -> bool {
        if home == Some(hit) {
            return false;
        }
        let keys_of = |entity: EntityId| self.known.keys_of.get(&entity).map_or(&[][..], Vec::as_slice);
        (0..kind).any(|stronger| {
            let mut theirs = keys_of(hit).iter().filter(|(k, _)| *k == stronger).map(|(_, v)| v).peekable();
            if theirs.peek().is_none() {
                return false;
            }
            let own = row.keys[stronger].iter();
            let at_home = home.map_or(&[][..], keys_of).iter().filter(|(k, _)| *k == stronger).map(|(_, v)| v);
            let ours: Vec<&Arc<str>> = own.chain(at_home).collect();
            !ours.is_empty() && !theirs.any(|v| ours.contains(&v))
        })
    }

    fn merge(&mut self, a: EntityId, b: EntityId) -> EntityId {
        let (winner, loser) = (a.min(b), a.max(b));
        if winner != loser {
            self.alias.insert(loser, winner);
            let moved = self.known.keys_of.remove(&loser).unwrap_or_default();
            self.known.keys_of.entry(winner).or_default().extend(moved);
        }
        winner
    }

    fn find(&self, mut entity: EntityId) -> EntityId {
        while let Some(&winner) = self.alias.get(&entity) {
            entity = winner;
        }
        entity
    }

    fn finish(mut self) -> Resolution {
        let mut out = std::mem::take(&mut self.out);
        for placement in &mut out.placements {
            placement.entity = self.find(placement.entity);
        }
        for key in &mut out.new_keys {
            key.2 = self.find(key.2);
        }
        out.merged = self.alias.keys().map(|&loser| (loser, self.find(loser))).collect();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(keys: [Option<&str>; 2]) -> Candidate {
        Candidate { keys: keys.iter().map(|k| k.map(Arc::from)).collect(), sole_home: None }
    }

    fn known(pairs: &[(usize, &str, EntityId)]) -> Known {
        let mut known = Known::default();
        for (kind, value, entity) in pairs {
            known.entity_of.insert((*kind, Arc::from(*value)), *entity);
            known.keys_of.entry(*entity).or_default().push((*kind, Arc::from(*value)));
        }
        known
    }

    fn entities(resolution: &Resolution) -> Vec<EntityId> {
        resolution.placements.iter().map(|p| p.entity).collect()
    }

    #[test]
    fn rows_with_the_same_new_key_are_one_new_entity() {
        let out = resolve(&[row([Some("A"), None]), row([Some("A"), Some("r")])], Known::default(), 10);
        assert_eq!(entities(&out), [10, 10]);
        assert_eq!((out.next_entity, out.new_keys.len()), (11, 2));
    }

    #[test]
    fn two_keys_that_point_at_two_entities_merge_them_into_the_older() {
        let out = resolve(&[row([Some("A"), Some("r")])], known(&[(0, "A", 7), (1, "r", 3)]), 10);
        assert_eq!(entities(&out), [3]);
        assert_eq!(out.merged, BTreeMap::from([(7, 3)]));
    }

    #[test]
    fn a_weaker_key_never_overrules_a_stronger_one() {
        let out = resolve(&[row([Some("A"), Some("r")])], known(&[(0, "B", 3), (1, "r", 3)]), 10);
        assert_eq!(out.placements, [Placement { entity: 10, conflict: true }]);
        assert!(out.merged.is_empty());
        assert_eq!(out.new_keys, [(0, Arc::from("A"), 10)]);
    }

    #[test]
    fn a_chain_of_merges_ends_at_the_oldest() {
        let rows = [row([Some("A"), Some("r")]), row([Some("A"), Some("s")])];
        let out = resolve(&rows, known(&[(0, "A", 9), (1, "r", 5), (1, "s", 2)]), 10);
        assert_eq!(entities(&out), [2, 2]);
        assert_eq!(out.merged, BTreeMap::from([(5, 2), (9, 2)]));
    }

    #[test]
    fn a_row_whose_only_key_was_corrected_keeps_its_entity() {
        let mut corrected = row([Some("B"), None]);
        corrected.sole_home = Some(4);
        assert_eq!(entities(&resolve(&[corrected], Known::default(), 10)), [4]);
    }
}

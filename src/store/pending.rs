//! A commit under way on its own connection, while the next chunk is worked out.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use tokio::task::JoinHandle;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{ChangeSet, Result};
use crate::linking::{ClaimId, EntityId, StreamId};

/// The commit, and what it touches.
pub(super) struct Pending<C> {
    /// Gives its connection back when it ends.
    pub(super) task: JoinHandle<(C, Result<()>)>,
    /// What it touches.
    pub(super) touched: Touched,
}

/// What a commit may change the answers about. Texts are kept as their digests: two that have the same only make a
/// question wait that need not.
pub(super) struct Touched {
    /// Source keys of its claims.
    sources: HashSet<u64, Spread>,
    /// Entities that it writes, moves claims of, or ends.
    entities: HashSet<EntityId, Spread>,
    /// Identity keys that it adds or drops.
    keys: HashSet<u64, Spread>,
    /// The free ids after it; `None` when it takes none.
    pub(super) next_ids: Option<(ClaimId, EntityId)>,
}

impl Touched {
    /// What this change touches.
    pub(super) fn by(change: &ChangeSet) -> Self {
        let claims = change.parts.iter().map(|part| part.claims.len()).sum();
        let mut touched = Self {
            sources: HashSet::with_capacity_and_hasher(claims, Spread::default()),
            entities: HashSet::with_capacity_and_hasher(claims, Spread::default()),
            keys: HashSet::with_capacity_and_hasher(claims, Spread::default()),
            next_ids: change.parts.iter().map(|part| part.next_ids).reduce(|a, b| (a.0.max(b.0), a.1.max(b.1))),
        };
        for part in &change.parts {
            let absorbed = &part.absorbed;
            let states = absorbed.new.iter().chain(&absorbed.changed).chain(&absorbed.resourced);
            touched.entities.extend(states.map(|state| state.id));
            touched.entities.extend(absorbed.gone.iter().flat_map(|gone| [Some(gone.id), gone.into]).flatten());
            touched.entities.extend(absorbed.moved.iter().map(|moved| moved.into));
            touched.entities.extend(part.claims.iter().map(|claim| claim.entity));
            touched.sources.extend(part.claims.iter().map(|claim| source(claim.stream, &claim.key)));
            touched.keys.extend(part.new_keys.iter().map(|(_, key, _)| xxh3_64(key.as_bytes())));
            touched.keys.extend(absorbed.dropped_keys.iter().map(|(_, key)| xxh3_64(key.as_bytes())));
        }
        touched
    }

    /// Whether it may change what is known of a source key.
    pub(super) fn source(&self, stream: StreamId, key: &str) -> bool {
        self.sources.contains(&source(stream, key))
    }

    /// Whether it may change what an identity key names.
    pub(super) fn key(&self, key: &str) -> bool {
        self.keys.contains(&xxh3_64(key.as_bytes()))
    }

    /// Whether it changes an entity.
    pub(super) fn entity(&self, entity: EntityId) -> bool {
        self.entities.contains(&entity)
    }

    /// Whether claims leave whose source keys it does not name.
    pub(super) fn nameless(change: &ChangeSet) -> bool {
        change.parts.iter().any(|part| !part.departed.is_empty())
    }
}

fn source(stream: StreamId, key: &str) -> u64 {
    xxh3_64_with_seed(key.as_bytes(), stream.cast_unsigned())
}

/// For numbers that are digests or count on.
type Spread = BuildHasherDefault<Spreading>;

#[derive(Default)]
struct Spreading(u64);

impl Hasher for Spreading {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.write_u64(xxh3_64(bytes));
    }

    fn write_u64(&mut self, n: u64) {
        /// 2⁶⁴ divided by the golden ratio: spreads numbers that count on over all bits.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0 ^ n).wrapping_mul(GOLDEN).rotate_left(32);
    }

    fn write_i64(&mut self, n: i64) {
        self.write_u64(n.cast_unsigned());
    }
}

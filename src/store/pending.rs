//! A commit under way on its own connection, while the next chunk is worked out.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{ChangeSet, Result};
use crate::linking::{ClaimId, EntityId, StreamId};

/// The commit, and what it touches.
pub(super) struct Pending<C> {
    /// Gives its connection back when it ends.
    pub(super) task: JoinHandle<(C, Result<()>)>,
    /// What it touches.
    pub(super) touched: Touched,
}

/// What a commit may change the answers about.
pub(super) struct Touched {
    /// Source keys of its claims.
    pub(super) sources: HashSet<(StreamId, Arc<str>)>,
    /// Entities that it writes, moves claims of, or ends.
    pub(super) entities: HashSet<EntityId>,
    /// Identity keys that it adds or drops.
    pub(super) keys: HashSet<Arc<str>>,
    /// The free ids after it; `None` when it takes none.
    pub(super) next_ids: Option<(ClaimId, EntityId)>,
}

impl Touched {
    /// What this change touches.
    pub(super) fn by(change: &ChangeSet) -> Self {
        let mut touched = Self {
            sources: HashSet::new(),
            entities: HashSet::new(),
            keys: HashSet::new(),
            next_ids: change.parts.iter().map(|part| part.next_ids).reduce(|a, b| (a.0.max(b.0), a.1.max(b.1))),
        };
        for part in &change.parts {
            let absorbed = &part.absorbed;
            let states = absorbed.new.iter().chain(&absorbed.changed).chain(&absorbed.resourced);
            touched.entities.extend(states.map(|state| state.id));
            touched.entities.extend(absorbed.gone.iter().flat_map(|gone| [Some(gone.id), gone.into]).flatten());
            touched.entities.extend(absorbed.moved.iter().map(|(_, entity)| *entity));
            touched.entities.extend(part.claims.iter().map(|claim| claim.entity));
            touched.sources.extend(part.claims.iter().map(|claim| (claim.stream, Arc::clone(&claim.key))));
            touched.keys.extend(part.new_keys.iter().map(|(_, key, _)| Arc::clone(key)));
            touched.keys.extend(absorbed.dropped_keys.iter().map(|(_, key)| Arc::clone(key)));
        }
        touched
    }

    /// Whether claims leave whose source keys it does not name.
    pub(super) fn nameless(change: &ChangeSet) -> bool {
        change.parts.iter().any(|part| !part.departed.is_empty())
    }
}

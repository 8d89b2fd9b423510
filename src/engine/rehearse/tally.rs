//! What rehearsals meet: counts, changed entities, and the subscribers who hold them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::engine::{Engine, EngineError};
use crate::linking::{EntityId, SourceKey};
use crate::store::{ChunkCounts, RegisterPart};

/// A feed that would carry something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Affected {
    /// Feed.
    pub feed: String,
    /// Who.
    pub subscriber: String,
    /// Records that it holds and that would change; for a feed that is sent again, records sent.
    pub records: u64,
}

/// What was met so far, one per register.
pub(in crate::engine) struct Tally {
    pub(in crate::engine) lanes: Vec<Lane>,
}

/// What was met of one register.
#[derive(Default)]
pub(in crate::engine) struct Lane {
    pub(in crate::engine) counts: ChunkCounts,
    /// Stored entities that would change or go.
    pub(in crate::engine) changed: BTreeSet<EntityId>,
    /// By kind (`quarantined`, `note`) and `column:code`.
    pub(in crate::engine) codes: BTreeMap<(&'static str, String), u64>,
    /// By source key: rows that would be stored by then.
    would_be: HashMap<SourceKey, i64>,
}

impl Tally {
    pub(in crate::engine) fn new(lanes: usize) -> Self {
        Self { lanes: (0..lanes).map(|_| Lane::default()).collect() }
    }
}

impl Lane {
    /// Takes a chunk in, as far as it would have changed anything.
    pub(in crate::engine) fn add(&mut self, part: &RegisterPart) {
        self.changed.extend(part.absorbed.changed.iter().map(|state| state.id));
        self.changed.extend(part.absorbed.gone.iter().map(|gone| gone.id));
        for (kind, code, n) in &part.codes {
            *self.codes.entry((*kind, code.clone())).or_default() += n;
        }
        let mut counts = part.counts.clone();
        // What an earlier file would have stored is not new a second time.
        for claim in part.claims.iter().filter(|claim| claim.replaces.is_none()) {
            match self.would_be.insert(SourceKey::clone(&claim.key), claim.digest) {
                Some(digest) if digest == claim.digest => shift(&mut counts, |counts| &mut counts.unchanged),
                Some(_) => shift(&mut counts, |counts| &mut counts.changed),
                None => {}
            }
        }
        self.counts.add(&counts);
    }

    /// Codes of one kind, most first.
    pub(in crate::engine) fn codes_of(&self, kind: &str) -> Vec<(String, u64)> {
        let of_kind = self.codes.iter().filter(|((of, _), _)| *of == kind);
        let mut codes: Vec<(String, u64)> = of_kind.map(|((_, code), n)| (code.clone(), *n)).collect();
        codes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        codes
    }
}

/// One row that was counted as new is something else.
fn shift(counts: &mut ChunkCounts, to: fn(&mut ChunkCounts) -> &mut u64) {
    if let Some(less) = counts.new.checked_sub(1) {
        counts.new = less;
        *to(counts) += 1;
    }
}

impl Engine {
    /// How many of these entities each feed of the register holds.
    pub(in crate::engine) async fn affected(
        &mut self,
        register: &str,
        changed: &BTreeSet<EntityId>,
    ) -> Result<Vec<Affected>, EngineError> {
        let feeds: Vec<(String, String)> = self
            .workspace
            .feeds
            .values()
            .filter(|feed| feed.register.value == register)
            .map(|feed| (feed.name.clone(), feed.subscriber.clone()))
            .collect();
        let changed: Vec<EntityId> = changed.iter().copied().collect();
        let mut affected = Vec::new();
        for (feed, subscriber) in feeds {
            let mut records = 0;
            for some in changed.chunks(4096) {
                records += self.store.held(&feed, some).await?.len() as u64;
            }
            affected.push(Affected { feed, subscriber, records });
        }
        Ok(affected)
    }
}

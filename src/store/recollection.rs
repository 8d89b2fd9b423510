//! What the claims of a stream say, kept in memory while a long file is taken: rows that stand need no question.
//!
//! Decides: which rows of a chunk the store need not be asked about. Must not know: where claims are kept.
//! Guarantees: an answer from memory is the one that the store would give. Each stream counts the commits that touch its
//! claims; whoever gets the turn to write compares, and forgets what somebody else has changed meanwhile. Memory is
//! bounded: 24 bytes a claim, of at most [`MOST_CLAIMS`] claims.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::{ChangeSet, ClaimChange, Recalled, RecalledClaim};
use crate::linking::{ClaimId, SourceKey, StreamId};

/// Claims that are kept in mind, over all streams.
pub(super) const MOST_CLAIMS: usize = 4_000_000;
/// A stream is read into memory once so many of its claims, of this many, were asked about one by one.
const PATIENCE: i64 = 16;
const SHARDS: usize = 256;
/// Instead of a claim: this key has several, or one that is not its first; the store knows.
const SEVERAL: ClaimId = -1;

/// What is kept of the streams that are being taken.
#[derive(Default)]
pub(super) struct Recollections {
    streams: HashMap<StreamId, Kept>,
}

/// How well a stream is known.
enum Kept {
    /// So many rows were asked about.
    Asked(i64),
    Whole(Recollection),
    /// More than is kept in mind.
    TooLarge,
}

/// What is to be done for a stream before its rows are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Look them up.
    LookUp,
    /// Ask the store about all of them.
    Ask,
    /// Ask how large the stream is, then [`Recollections::worth`] says whether to read it.
    Weigh,
}

impl Recollections {
    /// Rows of this stream are to be recalled.
    pub(super) fn next(&mut self, stream: StreamId, rows: usize) -> Next {
        match self.streams.entry(stream).or_insert(Kept::Asked(0)) {
            Kept::Whole(_) => Next::LookUp,
            Kept::TooLarge => Next::Ask,
            Kept::Asked(asked) => {
                *asked = asked.saturating_add(i64::try_from(rows).unwrap_or(i64::MAX));
                Next::Weigh
            }
        }
    }

    /// Whether a stream of so many claims is worth reading now, and how many may be kept.
    pub(super) fn worth(&mut self, stream: StreamId, claims: i64) -> Option<usize> {
        let room = MOST_CLAIMS.saturating_sub(self.claims());
        let Some(Kept::Asked(asked)) = self.streams.get(&stream) else { return None };
        if usize::try_from(claims).unwrap_or(0) > room {
            self.streams.insert(stream, Kept::TooLarge);
            return None;
        }
        (asked.saturating_mul(PATIENCE) >= claims).then_some(room)
    }

    /// The stream was read; `None` when it was more than there is room for.
    pub(super) fn learnt(&mut self, stream: StreamId, recollection: Option<Recollection>) {
        self.streams.insert(stream, recollection.map_or(Kept::TooLarge, Kept::Whole));
    }

    /// What is remembered about these rows; the rows that the store must be asked about.
    pub(super) fn look_up(&self, stream: StreamId, rows: &[(SourceKey, i64)]) -> (Vec<Recalled>, Vec<usize>) {
        let mut recalled = vec![Recalled::default(); rows.len()];
        let Some(Kept::Whole(recollection)) = self.streams.get(&stream) else {
            return (recalled, (0..rows.len()).collect());
        };
        let mut ask = Vec::new();
        for (i, (key, digest)) in rows.iter().enumerate() {
            match recollection.find(key) {
                None => {}
                Some(entry) if entry.claim != SEVERAL && entry.digest == *digest => {
                    recalled[i].claims.push(RecalledClaim { id: entry.claim, occurrence: 0, differs: None });
                }
                Some(_) => ask.push(i),
            }
        }
        (recalled, ask)
    }

    /// A commit of ours is on its way.
    pub(super) fn commit(&mut self, change: &ChangeSet) {
        for part in change.parts.iter().filter(|part| touches(part)) {
            let Some(Kept::Whole(recollection)) = self.streams.get_mut(&part.stream) else { continue };
            if part.departed.is_empty() {
                recollection.version += 1;
                recollection.take_in(&part.claims);
            } else {
                self.streams.remove(&part.stream); // claims leave whose keys nobody names
            }
        }
        if self.claims() > MOST_CLAIMS {
            self.streams.values_mut().for_each(|kept| *kept = Kept::TooLarge);
        }
    }

    /// Streams of which something is kept.
    pub(super) fn streams(&self) -> Vec<StreamId> {
        let whole = self.streams.iter().filter(|(_, kept)| matches!(kept, Kept::Whole(_)));
        whole.map(|(stream, _)| *stream).collect()
    }

    /// Forgets streams that are at another version than these; those that are not named too.
    pub(super) fn compare(&mut self, versions: &[(StreamId, i64)]) {
        self.streams.retain(|stream, kept| match kept {
            Kept::Whole(recollection) => versions.contains(&(*stream, recollection.version)),
            Kept::Asked(_) | Kept::TooLarge => true,
        });
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.streams.clear();
    }

    fn claims(&self) -> usize {
        let of = |kept: &Kept| if let Kept::Whole(recollection) = kept { recollection.claims } else { 0 };
        self.streams.values().map(of).sum()
    }
}

/// Whether a part touches claims of its stream, and its version therefore counts on. Claims that only move to another
/// entity do not: entities are never answered from memory.
pub(super) fn touches(part: &super::RegisterPart) -> bool {
    !part.claims.is_empty() || !part.departed.is_empty()
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// XXH3 of the source key.
    key: u64,
    digest: i64,
    claim: ClaimId,
}

/// The claims of one stream, by key.
pub(super) struct Recollection {
    version: i64,
    /// By the key's highest byte, in order of keys.
    shards: Vec<Vec<Entry>>,
    claims: usize,
}

impl Recollection {
    /// Of a stream at this version, still to be filled.
    pub(super) fn new(version: i64) -> Self {
        Self { version, shards: vec![Vec::new(); SHARDS], claims: 0 }
    }

    /// One claim, as it is stored; returns how many there are. [`Self::sorted`] ends the filling.
    pub(super) fn put(&mut self, key: &str, digest: i64, claim: ClaimId, occurrence: i64) -> usize {
        let key = xxh3_64(key.as_bytes());
        let claim = if occurrence == 0 { claim } else { SEVERAL };
        self.shards[shard(key)].push(Entry { key, digest, claim });
        self.claims += 1;
        self.claims
    }

    /// Ready to be asked.
    pub(super) fn sorted(mut self) -> Self {
        (0..SHARDS).for_each(|shard| self.sort(shard));
        self.claims = self.shards.iter().map(Vec::len).sum();
        self
    }

    /// Claims of one key become one entry.
    fn sort(&mut self, shard: usize) {
        let entries = &mut self.shards[shard];
        entries.sort_by_key(|entry| entry.key); // two sorted runs are only merged
        entries.dedup_by(|later, first| {
            let same = later.key == first.key;
            if same {
                first.claim = SEVERAL;
            }
            same
        });
    }

    fn find(&self, key: &str) -> Option<&Entry> {
        let key = xxh3_64(key.as_bytes());
        let entries = &self.shards[shard(key)];
        entries.binary_search_by_key(&key, |entry| entry.key).ok().map(|i| &entries[i])
    }

    fn take_in(&mut self, claims: &[ClaimChange]) {
        let sorted: Vec<usize> = self.shards.iter().map(Vec::len).collect();
        for claim in claims {
            let key = xxh3_64(claim.key.as_bytes());
            let shard = shard(key);
            let entries = &mut self.shards[shard];
            match entries[..sorted[shard]].binary_search_by_key(&key, |entry| entry.key) {
                Ok(i) if entries[i].claim == claim.id => entries[i].digest = claim.digest,
                Ok(i) => entries[i].claim = SEVERAL,
                // Behind what is sorted; a second claim of the same key meets it there.
                Err(_) => {
                    let claim_id = if claim.occurrence == 0 { claim.id } else { SEVERAL };
                    entries.push(Entry { key, digest: claim.digest, claim: claim_id });
                    self.claims += 1;
                }
            }
        }
        for (shard, sorted) in sorted.into_iter().enumerate() {
            if self.shards[shard].len() > sorted {
                self.sort(shard);
            }
        }
    }
}

/// The shard of a key: its highest byte.
fn shard(key: u64) -> usize {
    usize::from(key.to_be_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linking::Origin;

    fn claim(id: ClaimId, key: &str, occurrence: i64, digest: i64, replaces: Option<i64>) -> ClaimChange {
        ClaimChange {
            id,
            stream: 1,
            key: key.into(),
            occurrence,
            entity: id,
            digest,
            updated: 0,
            origin: Origin { file: 1, row: 1, run: 1 },
            values: Vec::new(),
            replaces,
        }
    }

    fn with(stored: &[(&str, i64, ClaimId, i64)]) -> Recollections {
        let mut whole = Recollection::new(7);
        for (key, digest, claim, occurrence) in stored {
            whole.put(key, *digest, *claim, *occurrence);
        }
        let mut all = Recollections::default();
        all.next(1, 1);
        all.learnt(1, Some(whole.sorted()));
        all
    }

    /// Claim that stands, 0 for none, -1 for "ask".
    fn said(all: &Recollections, key: &str, digest: i64) -> ClaimId {
        let (recalled, ask) = all.look_up(1, &[(key.into(), digest)]);
        if ask.is_empty() { recalled[0].claims.first().map_or(0, |claim| claim.id) } else { -1 }
    }

    #[test]
    fn what_stands_and_what_never_was_is_known_and_all_else_is_asked() {
        let all = with(&[("a", 10, 1, 0), ("b", 20, 2, 0), ("b", 21, 3, 1), ("c", 30, 4, 1)]);
        let told: Vec<ClaimId> =
            [("a", 10), ("a", 11), ("b", 20), ("c", 30), ("d", 1)].map(|(k, d)| said(&all, k, d)).into();
        assert_eq!(told, [1, -1, -1, -1, 0]);
    }

    #[test]
    fn what_we_commit_is_known_and_second_claims_of_a_key_are_asked_about() {
        let mut all = with(&[("a", 10, 1, 0)]);
        let Some(Kept::Whole(whole)) = all.streams.get_mut(&1) else { panic!("kept") };
        whole.take_in(&[claim(1, "a", 0, 11, Some(1)), claim(5, "e", 0, 50, None), claim(6, "f", 0, 60, None)]);
        whole.take_in(&[claim(7, "e", 1, 51, None), claim(8, "g", 0, 70, None), claim(9, "g", 1, 71, None)]);
        let told: Vec<ClaimId> =
            [("a", 10), ("a", 11), ("e", 50), ("f", 60), ("g", 70)].map(|(k, d)| said(&all, k, d)).into();
        assert_eq!(told, [-1, 1, -1, 6, -1]);
    }

    #[test]
    fn a_stream_that_somebody_else_changed_is_forgotten() {
        let mut all = with(&[("a", 10, 1, 0)]);
        all.compare(&[(1, 7)]);
        assert_eq!((said(&all, "a", 10), all.streams()), (1, vec![1]));
        all.compare(&[(1, 8)]);
        assert_eq!((said(&all, "a", 10), all.streams()), (-1, vec![]));
    }

    #[test]
    fn a_stream_is_read_once_it_is_worth_it_and_never_when_it_is_too_large() {
        let mut all = Recollections::default();
        assert_eq!(all.next(1, 8192), Next::Weigh);
        assert_eq!(all.worth(1, 1_000_000), None);
        for _ in 0..7 {
            all.next(1, 8192);
        }
        assert_eq!(all.worth(1, 1_000_000), Some(MOST_CLAIMS));
        assert_eq!((all.worth(1, 5_000_000), all.next(1, 1)), (None, Next::Ask));
    }
}

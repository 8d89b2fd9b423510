//! What the claims of a stream say, kept in memory while a long file is taken: rows that stand need no question.
//!
//! Decides: which rows of a chunk the store need not be asked about, and how that is packed where a store keeps it from one
//! file to the next. Must not know: where claims are kept. Guarantees: an answer from memory is the one that the store would
//! give. Each stream counts the commits that touch its claims; whoever gets the turn to write compares, and forgets what
//! somebody else has changed meanwhile. Memory is bounded: about 32 bytes a claim, of at most [`MOST_CLAIMS`] claims.
//!
//! A file mostly has its rows in the order of the last one, and entries stay in the order in which they first came: the next
//! row's is most often the next one, and no table need be asked for it.

use std::collections::{HashMap, HashSet};

use hashbrown::HashTable;
use roaring::RoaringTreemap;
use xxhash_rust::xxh3::xxh3_64;

use super::{ChangeSet, ClaimChange, Recalled, RecalledClaim, Result, StoreError};
use crate::linking::{ClaimId, SourceKey, StreamId};

/// Claims that are kept in mind, over all streams.
const MOST_CLAIMS: usize = 4_000_000;
/// A stream is read into memory once so many of its claims, of this many, were asked about one by one.
const PATIENCE: i64 = 16;
/// Entries that are looked through before the table is asked.
const NEAR: usize = 4;
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
        let room = self.room();
        let Some(Kept::Asked(asked)) = self.streams.get(&stream) else { return None };
        if usize::try_from(claims).unwrap_or(0) > room {
            self.streams.insert(stream, Kept::TooLarge);
            return None;
        }
        (asked.saturating_mul(PATIENCE) >= claims).then_some(room)
    }

    /// Whether this is the first question about the stream.
    pub(super) fn begins(&mut self, stream: StreamId) -> bool {
        let first = !self.streams.contains_key(&stream);
        self.streams.entry(stream).or_insert(Kept::Asked(0));
        first
    }

    /// What is known of a stream, when all of it is.
    pub(super) fn whole(&self, stream: StreamId) -> Option<&Recollection> {
        match self.streams.get(&stream)? {
            Kept::Whole(recollection) => Some(recollection),
            Kept::Asked(_) | Kept::TooLarge => None,
        }
    }

    /// How many claims more may be kept in mind.
    pub(super) fn room(&self) -> usize {
        MOST_CLAIMS.saturating_sub(self.claims())
    }

    /// The stream was read; `None` when it was more than there is room for.
    pub(super) fn learnt(&mut self, stream: StreamId, recollection: Option<Recollection>) {
        self.streams.insert(stream, recollection.map_or(Kept::TooLarge, Kept::Whole));
    }

    /// What is remembered about these rows; the rows that the store must be asked about.
    pub(super) fn look_up(&mut self, stream: StreamId, rows: &[(SourceKey, i64)]) -> (Vec<Recalled>, Vec<usize>) {
        let mut recalled = vec![Recalled::default(); rows.len()];
        let Some(Kept::Whole(recollection)) = self.streams.get_mut(&stream) else {
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
            recollection.version += 1;
            recollection.take_back(part.departed.iter().map(|departure| departure.claim));
            recollection.take_in(&part.claims);
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
        let of = |kept: &Kept| if let Kept::Whole(recollection) = kept { recollection.len() } else { 0 };
        self.streams.values().map(of).sum()
    }
}

/// Whether a part touches claims of its stream, and its version therefore counts on. Claims that only move to another
/// entity do not: entities are never answered from memory.
pub(super) fn touches(part: &super::RegisterPart) -> bool {
    !part.claims.is_empty() || !part.departed.is_empty()
}

/// What is known of one source key.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// XXH3 of the source key.
    key: u64,
    digest: i64,
    claim: ClaimId,
}

/// Bytes of an entry as it is kept.
const ENTRY_BYTES: usize = 24;
/// Entries of one packed part that is written anew.
pub(super) const PART: usize = 8192;

/// How much is kept packed of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed {
    parts: usize,
    entries: usize,
}

impl Packed {
    /// From the number of parts and their bytes.
    pub(super) fn of((parts, bytes): (i64, i64)) -> Self {
        let whole = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
        Self { parts: whole(parts), entries: whole(bytes) / ENTRY_BYTES }
    }

    /// How many entries that is.
    pub(super) const fn entries(self) -> usize {
        self.entries
    }

    /// Whether anything is.
    pub(super) const fn is_kept(self) -> bool {
        self.parts > 0
    }

    /// Whether it is worth reading when so many rows are asked about, and so many claims may be kept in mind: to read a
    /// thousand of them takes about as long as to ask for one.
    pub(super) fn is_worth(self, rows: usize, room: usize) -> bool {
        const WORTH: usize = 256;
        self.is_kept() && self.entries <= rows.saturating_mul(WORTH).min(2 * room)
    }

    /// Whether it need not be written anew, when there are so many claims.
    pub(super) const fn is_compact(self, claims: usize) -> bool {
        self.is_kept() && self.entries <= claims + claims / 2 + PART && self.parts <= 1024 + 2 * (claims / PART)
    }
}

/// A set of claims as it is stored: the portable format of Roaring bitmaps.
pub(super) fn claim_set(claims: impl Iterator<Item = ClaimId>) -> Result<Vec<u8>> {
    let claims: RoaringTreemap = claims.filter_map(|id| u64::try_from(id).ok()).collect();
    let mut bytes = Vec::new();
    claims.serialize_into(&mut bytes).map_err(|error| StoreError::Damaged(error.to_string()))?;
    Ok(bytes)
}

/// All of such sets: claims that were taken back.
pub(super) fn departed(sets: &[Vec<u8>]) -> Result<RoaringTreemap> {
    sets.iter().try_fold(RoaringTreemap::new(), |all, bytes| {
        let set = RoaringTreemap::deserialize_from(bytes.as_slice());
        set.map(|set| all | set).map_err(|error| StoreError::Damaged(format!("a set of claims: {error}")))
    })
}

impl Entry {
    fn of(key: &str, digest: i64, claim: ClaimId, occurrence: i64) -> Self {
        let claim = if occurrence == 0 { claim } else { SEVERAL };
        Self { key: xxh3_64(key.as_bytes()), digest, claim }
    }

    fn pack(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.key.to_le_bytes());
        into.extend_from_slice(&self.digest.to_le_bytes());
        into.extend_from_slice(&self.claim.to_le_bytes());
    }

    fn unpack([key, digest, claim]: [[u8; 8]; 3]) -> Self {
        Self { key: u64::from_le_bytes(key), digest: i64::from_le_bytes(digest), claim: i64::from_le_bytes(claim) }
    }
}

/// What a commit adds to the memory of a stream, for [`Recollection::unpack`].
pub(super) fn packed(claims: &[ClaimChange]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(claims.len() * ENTRY_BYTES);
    for claim in claims {
        Entry::of(&claim.key, claim.digest, claim.id, claim.occurrence).pack(&mut bytes);
    }
    bytes
}

/// The claims of one stream, by key.
pub(super) struct Recollection {
    version: i64,
    /// One of each key, in the order in which the keys first came.
    entries: Vec<Entry>,
    /// Their indexes, by key.
    places: HashTable<u32>,
    /// Behind the entry that was found last.
    next: usize,
    /// A claim newer than this is the first of its key.
    newest: ClaimId,
    /// Claims that were taken back, whose keys nobody named.
    gone: HashSet<ClaimId>,
}

impl Recollection {
    /// Of a stream at this version, still to be filled; these of its claims were taken back.
    pub(super) fn new(version: i64, gone: impl IntoIterator<Item = ClaimId>) -> Self {
        let gone: HashSet<ClaimId> = gone.into_iter().collect();
        let newest = if gone.is_empty() { 0 } else { ClaimId::MAX }; // a key whose claim was taken back may get another
        Self { version, entries: Vec::new(), places: HashTable::new(), next: 0, newest, gone }
    }

    /// Room for so many keys.
    pub(super) fn expecting(mut self, keys: usize) -> Self {
        let keys = keys.min(MOST_CLAIMS);
        self.entries.reserve_exact(keys);
        self.places.reserve(keys, |_| 0); // it is empty: nothing is hashed
        self
    }

    /// One claim, as it is stored.
    pub(super) fn put(&mut self, key: &str, digest: i64, claim: ClaimId, occurrence: i64) {
        self.enter(Entry::of(key, digest, claim, occurrence));
    }

    /// Packed entries, in the order in which they were committed; `None` when they are cut off.
    pub(super) fn unpack(&mut self, bytes: &[u8]) -> Option<()> {
        let (words, rest) = bytes.as_chunks::<8>();
        let (entries, left) = words.as_chunks::<3>();
        entries.iter().for_each(|entry| self.enter(Entry::unpack(*entry)));
        (rest.is_empty() && left.is_empty()).then_some(())
    }

    /// Everything, packed in parts of at most so many entries.
    pub(super) fn pack(&self, part: usize) -> impl Iterator<Item = Vec<u8>> {
        self.entries.chunks(part.max(1)).filter_map(|entries| {
            let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
            let entries = entries.iter().filter(|entry| !self.gone.contains(&entry.claim));
            entries.for_each(|entry| entry.pack(&mut bytes));
            (!bytes.is_empty()).then_some(bytes)
        })
    }

    /// How many keys it knows.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// What a commit says of a key, after all that was said before.
    fn enter(&mut self, said: Entry) {
        if self.gone.contains(&said.claim) {
            return;
        }
        let is_first = said.claim > self.newest;
        self.newest = self.newest.max(said.claim);
        let known = if is_first { None } else { self.place(said.key) };
        if let Some(entry) = known.and_then(|at| self.entries.get_mut(at)) {
            match entry.claim == said.claim || self.gone.contains(&entry.claim) {
                true => *entry = said,
                false => entry.claim = SEVERAL,
            }
            return;
        }
        if said.claim == SEVERAL {
            self.newest = ClaimId::MAX; // its first claim may be yet to come
        }
        let Ok(at) = u32::try_from(self.entries.len()) else { return }; // far beyond what is kept in mind
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.entries.len() / 4 + PART); // not twice as much: it is large
        }
        self.entries.push(said);
        let entries = &self.entries;
        self.places.insert_unique(said.key, at, |&at| entries.get(at as usize).map_or(0, |entry| entry.key));
    }

    fn place(&self, key: u64) -> Option<usize> {
        let near = self.entries.iter().skip(self.next).take(NEAR).position(|entry| entry.key == key);
        near.map(|ahead| self.next + ahead).or_else(|| {
            let is = |at: &u32| self.entries.get(*at as usize).is_some_and(|entry| entry.key == key);
            self.places.find(key, is).map(|&at| at as usize)
        })
    }

    fn find(&mut self, key: &str) -> Option<Entry> {
        let at = self.place(xxh3_64(key.as_bytes()))?;
        self.next = at + 1;
        let found = self.entries.get(at).copied();
        found.filter(|entry| !self.gone.contains(&entry.claim))
    }

    fn take_back(&mut self, claims: impl Iterator<Item = ClaimId>) {
        self.gone.extend(claims);
        if !self.gone.is_empty() {
            self.newest = ClaimId::MAX;
        }
    }

    fn take_in(&mut self, claims: &[ClaimChange]) {
        for claim in claims {
            self.put(&claim.key, claim.digest, claim.id, claim.occurrence);
        }
    }
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
        let mut whole = Recollection::new(7, []);
        for (key, digest, claim, occurrence) in stored {
            whole.put(key, *digest, *claim, *occurrence);
        }
        let mut all = Recollections::default();
        all.next(1, 1);
        all.learnt(1, Some(whole));
        all
    }

    /// Claim that stands, 0 for none, -1 for "ask".
    fn said(all: &mut Recollections, key: &str, digest: i64) -> ClaimId {
        let (recalled, ask) = all.look_up(1, &[(key.into(), digest)]);
        if ask.is_empty() { recalled[0].claims.first().map_or(0, |claim| claim.id) } else { -1 }
    }

    #[test]
    fn what_stands_and_what_never_was_is_known_and_all_else_is_asked() {
        let mut all = with(&[("a", 10, 1, 0), ("b", 20, 2, 0), ("b", 21, 3, 1), ("c", 30, 4, 1)]);
        let told: Vec<ClaimId> =
            [("a", 10), ("a", 11), ("b", 20), ("c", 30), ("d", 1)].map(|(k, d)| said(&mut all, k, d)).into();
        assert_eq!(told, [1, -1, -1, -1, 0]);
    }

    #[test]
    fn what_we_commit_is_known_and_second_claims_of_a_key_are_asked_about() {
        let mut all = with(&[("a", 10, 1, 0)]);
        let Some(Kept::Whole(whole)) = all.streams.get_mut(&1) else { panic!("kept") };
        whole.take_in(&[claim(1, "a", 0, 11, Some(1)), claim(5, "e", 0, 50, None), claim(6, "f", 0, 60, None)]);
        whole.take_in(&[claim(7, "e", 1, 51, None), claim(8, "g", 0, 70, None), claim(9, "g", 1, 71, None)]);
        let told: Vec<ClaimId> =
            [("a", 10), ("a", 11), ("e", 50), ("f", 60), ("g", 70)].map(|(k, d)| said(&mut all, k, d)).into();
        assert_eq!(told, [-1, 1, -1, 6, -1]);
    }

    #[test]
    fn a_claim_that_was_taken_back_is_not_known_and_its_key_may_be_claimed_anew() {
        let mut all = with(&[("a", 10, 1, 0), ("b", 20, 2, 0)]);
        let Some(Kept::Whole(whole)) = all.streams.get_mut(&1) else { panic!("kept") };
        whole.take_back([1].into_iter());
        whole.take_in(&[claim(3, "c", 0, 30, None)]);
        assert_eq!(["a", "b", "c"].map(|key| said(&mut all, key, 20)), [0, 2, -1]);
        let Some(Kept::Whole(whole)) = all.streams.get_mut(&1) else { panic!("kept") };
        whole.take_in(&[claim(4, "a", 0, 11, None)]);
        assert_eq!(said(&mut all, "a", 11), 4);
    }

    /// However they are read: what is asked about must not depend on which claim of a key came first.
    #[test]
    fn the_order_in_which_claims_are_read_changes_nothing() {
        let stored = [("a", 10, 1, 0), ("b", 20, 2, 0), ("b", 21, 5, 1), ("c", 30, 4, 0)];
        for turn in 0..stored.len() {
            let mut order = stored;
            order.rotate_left(turn);
            for mut all in [with(&order), {
                order.reverse();
                with(&order)
            }] {
                assert_eq!([("a", 10), ("b", 20), ("c", 30)].map(|(k, d)| said(&mut all, k, d)), [1, -1, 4]);
            }
        }
    }

    /// Rows in the order of the entries, against it, several of a key together, and new ones between them.
    #[test]
    fn rows_are_found_in_whatever_order_they_come() {
        let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
        let stored: Vec<_> = keys.iter().zip(1..).map(|(key, claim)| (key.as_str(), claim, claim, 0)).collect();
        let mut all = with(&stored);
        let forwards = (0..100).collect::<Vec<usize>>();
        let backwards = forwards.iter().rev().copied().collect();
        let scattered = forwards.iter().map(|n| n * 37 % 100).flat_map(|n| [n, n]).collect();
        for order in [forwards.clone(), backwards, scattered] {
            for n in order {
                assert_eq!(said(&mut all, &keys[n], n as i64 + 1), n as i64 + 1);
                assert_eq!(said(&mut all, &format!("new{n}"), 1), 0);
            }
        }
    }

    #[test]
    fn what_was_packed_commit_by_commit_says_the_same_as_all_of_it() {
        let commits = [
            vec![claim(1, "a", 0, 10, None), claim(2, "b", 0, 20, None), claim(3, "b", 1, 21, None)],
            vec![claim(1, "a", 0, 11, Some(1)), claim(4, "d", 0, 40, None)],
            vec![claim(5, "e", 0, 50, None), claim(6, "d", 0, 41, None)],
        ];
        let gone = [4, 5];
        let mut read = Recollection::new(0, gone);
        commits.iter().for_each(|claims| read.unpack(&packed(claims)).expect("whole"));
        let mut again = Recollection::new(0, []);
        read.pack(2).for_each(|part| again.unpack(&part).expect("whole"));
        assert_eq!(read.unpack(&[0; ENTRY_BYTES + 1]), None, "cut off");
        for whole in [read, again] {
            let mut all = Recollections::default();
            all.learnt(1, Some(whole));
            let told: Vec<ClaimId> = [("a", 10), ("a", 11), ("b", 20), ("d", 40), ("d", 41), ("e", 50)]
                .map(|(k, d)| said(&mut all, k, d))
                .into();
            assert_eq!(told, [-1, 1, -1, -1, 6, 0]);
        }
    }

    #[test]
    fn a_stream_that_somebody_else_changed_is_forgotten() {
        let mut all = with(&[("a", 10, 1, 0)]);
        all.compare(&[(1, 7)]);
        assert_eq!((said(&mut all, "a", 10), all.streams()), (1, vec![1]));
        all.compare(&[(1, 8)]);
        assert_eq!((said(&mut all, "a", 10), all.streams()), (-1, vec![]));
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

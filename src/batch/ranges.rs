//! A tree over everything a subscriber holds, by ranges of entity numbers, so that two sides find where they differ by
//! comparing a few digests and no records.
//!
//! Decides: the ranges (64 entities, 64 of those, …) and their roots. Must not know: where holdings come from, files.
//! Guarantees: the same holdings give the same roots, whoever computes them and in whichever pieces; a page of a range
//! is believed only when it gives the range's root.
//!
//! An *entry* is `(key, n, digest)`: at the bottom an entity, its version and its record's digest; above, the first
//! entity number of a range, how many records it has, and its root. The hash of an entry is
//! `H(0x00 ‖ key ‖ n ‖ digest)`, key and n as eight bytes, big-endian, two's complement; the root of a range is the tree
//! of RFC 6962 §2.1 over the hashes of its non-empty entries in order of keys, inner nodes `H(0x01 ‖ left ‖ right)`.

use serde::{Deserialize, Serialize};

use super::{HexDigest, merkle};
use crate::crypto::{Digest, DigestAlgorithm};

/// Entities to a bottom range, and ranges to the next one, as a power of two.
pub const STEP: u32 = 6;
/// Records from which on threads are worth their while.
const MANY: usize = 50_000;
/// Ranges that a statement names at most: some fifty kilobytes.
pub const MOST: usize = 512;

/// One entry: `(key, n, digest)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry(
    /// Entity; or first entity number of the range.
    pub i64,
    /// Version; or records in the range.
    pub i64,
    /// Digest of the record; or root of the range.
    pub HexDigest,
);

impl Entry {
    fn hash(&self, algorithm: DigestAlgorithm) -> Digest {
        algorithm.digest(&[&[0], &self.0.to_be_bytes(), &self.1.to_be_bytes(), &self.2.0])
    }
}

/// A range: the entities whose number, shifted right by `bits`, is that of `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// Its first number.
    pub from: i64,
    /// Its width, as a power of two: 6, 12, 18, …; at most 60.
    pub bits: u32,
}

impl Range {
    /// The range of this width in which an entity lies.
    pub const fn around(entity: i64, bits: u32) -> Self {
        Self { from: (entity >> bits) << bits, bits }
    }

    /// Its last number.
    pub const fn last(self) -> i64 {
        self.from | ((1 << self.bits) - 1)
    }

    /// Those of `records`, which ascend, that lie in it.
    pub fn of(self, records: &[Entry]) -> &[Entry] {
        let start = records.partition_point(|entry| entry.0 < self.from);
        let end = records.partition_point(|entry| entry.0 <= self.last());
        records.get(start..end).unwrap_or_default()
    }

    /// Its entries: its records when it is a bottom range, else its non-empty parts.
    pub fn entries(self, algorithm: DigestAlgorithm, records: &[Entry]) -> Vec<Entry> {
        let inside = self.of(records);
        if self.bits == STEP { inside.to_vec() } else { summed(algorithm, inside, self.bits - STEP) }
    }
}

/// The root over entries.
pub fn root_of(algorithm: DigestAlgorithm, entries: &[Entry]) -> Digest {
    merkle::over(algorithm, entries.iter().map(|entry| entry.hash(algorithm)).collect())
}

/// The non-empty ranges of this width over `records`, which ascend by entity.
pub fn summed(algorithm: DigestAlgorithm, records: &[Entry], bits: u32) -> Vec<Entry> {
    let mut entries = bottom(algorithm, records);
    for wider in (2..).map(|level| level * STEP).take_while(|wider| *wider <= bits) {
        entries = chunks(&entries, wider)
            .map(|(from, parts)| {
                Entry(from, parts.iter().map(|part| part.1).sum(), HexDigest(root_of(algorithm, parts)))
            })
            .collect();
    }
    entries
}

/// The bottom ranges; of many records by several threads, for here is all the work.
fn bottom(algorithm: DigestAlgorithm, records: &[Entry]) -> Vec<Entry> {
    let ranges: Vec<(i64, &[Entry])> = chunks(records, STEP).collect();
    let sum = |ranges: &[(i64, &[Entry])]| -> Vec<Entry> {
        let sum =
            |&(from, inside): &(i64, &[Entry])| Entry(from, count(inside.len()), HexDigest(root_of(algorithm, inside)));
        ranges.iter().map(sum).collect()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    if records.len() < MANY || threads == 1 {
        return sum(&ranges);
    }
    std::thread::scope(|scope| {
        let share = |part| scope.spawn(move || sum(part));
        let shares: Vec<_> = ranges.chunks(ranges.len().div_ceil(threads)).map(share).collect();
        shares.into_iter().flat_map(|share| share.join().expect("digesting does not panic")).collect()
    })
}

/// Runs of entries that lie in one range, with its first number.
fn chunks(entries: &[Entry], bits: u32) -> impl Iterator<Item = (i64, &[Entry])> {
    let same = move |a: &Entry, b: &Entry| a.0 >> bits == b.0 >> bits;
    let first = move |chunk: &[Entry]| chunk.first().map_or(0, |entry| Range::around(entry.0, bits).from);
    entries.chunk_by(same).map(move |chunk| (first(chunk), chunk))
}

/// The narrowest width at which at most [`MOST`] ranges are not empty.
pub fn width(records: &[Entry]) -> u32 {
    let few = |bits: &u32| chunks(records, *bits).take(MOST + 1).count() <= MOST;
    (1..10).map(|level| level * STEP).find(few).unwrap_or(10 * STEP)
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA256: DigestAlgorithm = DigestAlgorithm::Sha256;

    /// Records of these entities, in version 1.
    pub(crate) fn records(ids: impl IntoIterator<Item = i64>) -> Vec<Entry> {
        ids.into_iter().map(|id| Entry(id, 1, HexDigest(SHA256.digest(&[&id.to_be_bytes()])))).collect()
    }

    #[test]
    fn ranges_are_as_wide_as_they_must_be() {
        for (ids, bits, ranges) in [(0, 6, 0), (64, 6, 1), (512 * 64, 6, 512), (512 * 64 + 1, 12, 9), (250_000, 12, 62)]
        {
            let all = records(0..ids);
            assert_eq!((width(&all), summed(SHA256, &all, width(&all)).len()), (bits, ranges), "{ids}");
        }
        let sparse = records((0..600).map(|n| n << 50));
        assert_eq!(width(&sparse), 54);
        assert_eq!(width(&records([i64::MIN, -1, 0, i64::MAX])), 6);
    }

    #[test]
    fn any_change_of_a_record_shows_in_the_ranges_around_it_alone() {
        let all = records((0..20_000).filter(|id| id % 7 != 3));
        let sums = summed(SHA256, &all, 12);
        let changes: [fn(&mut Vec<Entry>); 3] =
            [|all| all[5_000].1 += 1, |all| all[5_000].2.0[31] ^= 1, |all| all.retain(|entry| entry.0 != 5_833)];
        for change in changes {
            let mut altered = all.clone();
            let at = altered[5_000].0;
            assert_eq!(at, 5_833);
            change(&mut altered);
            let differs: Vec<i64> = (sums.iter().zip(summed(SHA256, &altered, 12)))
                .filter(|(a, b)| **a != *b)
                .map(|(entry, _)| entry.0)
                .collect();
            assert_eq!(differs, [Range::around(at, 12).from]);
        }
    }

    proptest! {
        #[test]
        fn ranges_can_be_put_together_from_their_parts(ids in proptest::collection::btree_set(-9_000_i64..90_000, 0..400)) {
            let all = records(ids);
            for bits in [12, 18] {
                for whole in summed(SHA256, &all, bits) {
                    let range = Range { from: whole.0, bits };
                    let parts = range.entries(SHA256, &all);
                    prop_assert_eq!(root_of(SHA256, &parts), whole.2.0);
                    prop_assert_eq!(parts.iter().map(|part| part.1).sum::<i64>(), whole.1);
                    prop_assert!(range.of(&all).iter().all(|entry| Range::around(entry.0, bits) == range));
                }
            }
        }
    }
}

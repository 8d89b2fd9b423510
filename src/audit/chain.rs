//! The chain: each entry carries the digest of the one before it.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use serde::Serialize;

use super::{Checkpoint, Entry};
use crate::crypto::{Digest, DigestAlgorithm, digest_from_hex, hex};

/// Stands before digests of that kind.
const SM3: &str = "sm3:";
/// Entries that a later one may still claim to follow, to tell a fork from a gap.
const REMEMBERED: usize = 4096;

/// The digest of an entry, which the next one carries: hexadecimal, after `sm3:` where it is one of that kind. Covers, each
/// on a line: the previous digest, the instant, the action, the detail.
pub fn digest_of(algorithm: DigestAlgorithm, previous: &str, (at, action, detail): (i64, &str, &str)) -> String {
    let digest = hex(&raw_digest(algorithm, previous, (at, action, detail)));
    match algorithm {
        DigestAlgorithm::Sha256 => digest,
        DigestAlgorithm::Sm3 => format!("{SM3}{digest}"),
    }
}

fn raw_digest(algorithm: DigestAlgorithm, previous: &str, (at, action, detail): (i64, &str, &str)) -> Digest {
    let at = at.to_string();
    algorithm.digest(&[previous, "\n", &at, "\n", action, "\n", detail].map(str::as_bytes))
}

/// Whether this is the digest of an entry, by the algorithm that it names itself.
pub fn is_digest_of(digest: &str, previous: &str, entry: (i64, &str, &str)) -> bool {
    let (algorithm, written) = match digest.strip_prefix(SM3) {
        Some(rest) => (DigestAlgorithm::Sm3, rest),
        None => (DigestAlgorithm::Sha256, digest),
    };
    digest_from_hex(written) == Some(raw_digest(algorithm, previous, entry))
}

/// Where the log is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// The entry's own digest does not fit what it says: it was altered.
    Altered {
        /// The entry.
        id: i64,
    },
    /// The entry follows one that is not there: at least one before it was removed.
    Missing {
        /// The entry after the gap.
        before: i64,
    },
    /// Two entries claim to follow the same one: one of them was slipped in.
    Forked {
        /// The later of the two.
        id: i64,
        /// The entry that both follow; 0 is the beginning.
        after: i64,
    },
    /// The entry stands before the one that it follows.
    Swapped {
        /// The entry.
        id: i64,
        /// The one that it follows.
        with: i64,
    },
    /// The log ends before an entry that a checkpoint saw.
    Truncated {
        /// Its last entry; 0 is none.
        last: i64,
        /// The last that a checkpoint saw.
        promised: i64,
    },
    /// The chain fits, but it is not the one that a checkpoint saw: entries up to there were made anew.
    Rewritten {
        /// The last entry that the checkpoint covers.
        through: i64,
        /// Entries that it saw, and that are there.
        entries: (u64, u64),
    },
    /// A checkpoint's signature does not hold, or it does not follow the one before it.
    Checkpoint {
        /// The last entry that it covers.
        through: i64,
        /// Code and sentence.
        why: String,
    },
}

impl Fault {
    /// The entry at which it shows.
    pub const fn number(&self) -> i64 {
        match self {
            Self::Altered { id } | Self::Forked { id, .. } | Self::Swapped { id, .. } => *id,
            Self::Missing { before } => *before,
            Self::Truncated { last, .. } => *last,
            Self::Rewritten { through, .. } | Self::Checkpoint { through, .. } => *through,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { id } => write!(f, "第 {id} 条被改动 entry {id} was altered"),
            Self::Missing { before } => {
                write!(f, "第 {before} 条之前有缺失 something before entry {before} is missing")
            }
            Self::Forked { id, after } => {
                write!(f, "第 {id} 条与另一条同接第 {after} 条 entry {id} is the second after {after}")
            }
            Self::Swapped { id, with } => {
                write!(f, "第 {id} 条与第 {with} 条换位 entries {id} and {with} changed places")
            }
            Self::Truncated { last, promised } => {
                write!(
                    f,
                    "止于第 {last} 条，检查点见过第 {promised} 条 the log ends at {last}, a checkpoint saw {promised}"
                )
            }
            Self::Rewritten { through, entries: (seen, are) } => {
                write!(
                    f,
                    "第 {through} 条以前被重写 rewritten up to {through}: a checkpoint saw {seen} entries, there are {are}"
                )
            }
            Self::Checkpoint { through, why } => write!(f, "检查点 checkpoint at {through}: {why}"),
        }
    }
}

/// How an entry fits on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It does.
    Fits,
    /// It does not; [`Walk::faults`] says how.
    Broken,
}

/// A walk along the log, entry by entry in order of numbers.
#[derive(Debug, Default)]
pub struct Walk {
    entries: u64,
    last: i64,
    digest: String,
    /// Digests of late, and whose they are. Looked through only where something does not fit.
    recent: VecDeque<(String, i64)>,
    /// An entry whose predecessor was not there: its number, and the digest that it wants.
    wants: Option<(i64, String)>,
    /// Where checkpoints end: (number, digest, entries), as they are passed.
    passed: HashMap<i64, (String, u64)>,
    faults: Vec<Fault>,
}

impl Walk {
    /// From the beginning of the log.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the middle: after this many entries, the last of which had this number and digest.
    pub fn after(entries: u64, last: i64, digest: &str) -> Self {
        let mut walk = Self { entries, last, digest: digest.to_owned(), ..Self::default() };
        walk.remember(last, digest);
        walk
    }

    /// The next entry. `checked`: numbers at which checkpoints end, so that what they saw can be compared.
    pub fn step(&mut self, entry: &Entry, checked: bool) -> Link {
        let before = self.faults.len();
        let Entry { id, at, action, detail, previous, digest } = entry;
        if !is_digest_of(digest, previous, (*at, action, detail)) {
            self.faults.push(Fault::Altered { id: *id });
        } else if let Some((early, _)) = self.wants.take_if(|(_, wanted)| wanted == digest) {
            self.faults.retain(|fault| *fault != Fault::Missing { before: early });
            self.faults.push(Fault::Swapped { id: early, with: *id });
            // The chain goes on behind the one that stood too early.
            self.count(*id, checked);
            self.remember(*id, digest);
            return Link::Broken;
        } else if *previous != self.digest {
            match self.follows(previous) {
                Some(after) => self.faults.push(Fault::Forked { id: *id, after }),
                None => {
                    self.faults.push(Fault::Missing { before: *id });
                    self.wants = Some((*id, previous.clone()));
                }
            }
        }
        self.count(*id, false);
        self.digest.clone_from(digest);
        self.remember(*id, digest);
        if checked {
            self.passed.insert(*id, (digest.clone(), self.entries));
        }
        if self.faults.len() == before { Link::Fits } else { Link::Broken }
    }

    fn count(&mut self, id: i64, checked: bool) {
        self.entries += 1;
        self.last = id;
        if checked {
            self.passed.insert(id, (self.digest.clone(), self.entries));
        }
    }

    fn follows(&self, previous: &str) -> Option<i64> {
        let known = || self.recent.iter().rev().find(|(digest, _)| digest == previous).map(|(_, id)| *id);
        if previous.is_empty() { Some(0) } else { known() }
    }

    fn remember(&mut self, id: i64, digest: &str) {
        // The place of the oldest is reused: nothing is allocated for each entry of a long log.
        let oldest = if self.recent.len() < REMEMBERED { None } else { self.recent.pop_front() };
        let mut place = oldest.unwrap_or_default();
        place.0.clear();
        place.0.push_str(digest);
        place.1 = id;
        self.recent.push_back(place);
    }

    /// Whether the log is what a checkpoint saw.
    pub fn compare(&mut self, checkpoint: &Checkpoint) {
        let Checkpoint { last: through, entries, digest, .. } = checkpoint;
        match self.passed.get(through) {
            Some((found, there)) if found == digest && there == entries => {}
            Some((_, there)) => self.faults.push(Fault::Rewritten { through: *through, entries: (*entries, *there) }),
            None if *through > self.last => self.faults.push(Fault::Truncated { last: self.last, promised: *through }),
            None => self.faults.push(Fault::Rewritten { through: *through, entries: (*entries, self.entries) }),
        }
    }

    /// A checkpoint that does not hold itself.
    pub fn doubt(&mut self, checkpoint: &Checkpoint, why: impl Into<String>) {
        self.faults.push(Fault::Checkpoint { through: checkpoint.last, why: why.into() });
    }

    /// Entries so far.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Number and digest of the last entry so far.
    pub fn end(&self) -> (i64, &str) {
        (self.last, &self.digest)
    }

    /// What was found, in the order in which it shows.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(n: i64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for id in 1..=n {
            let previous = entries.last().map(|entry| entry.digest.clone()).unwrap_or_default();
            let (at, action, detail) = (id * 10, "run".to_owned(), format!("number {id}"));
            let digest = digest_of(DigestAlgorithm::Sha256, &previous, (at, &action, &detail));
            entries.push(Entry { id, at, action, detail, previous, digest });
        }
        entries
    }

    fn rechained(entries: &mut [Entry], from: usize) {
        for i in from..entries.len() {
            let previous = if i == 0 { String::new() } else { entries[i - 1].digest.clone() };
            let entry = &mut entries[i];
            entry.digest = digest_of(DigestAlgorithm::Sha256, &previous, (entry.at, &entry.action, &entry.detail));
            entry.previous = previous;
        }
    }

    fn seen(entries: &[Entry], through: usize) -> Checkpoint {
        let last = &entries[through - 1];
        Checkpoint::new("test", (through as u64, last.id, &last.digest), None, chrono::DateTime::UNIX_EPOCH)
    }

    fn faults(entries: &[Entry], checkpoints: &[Checkpoint]) -> Vec<Fault> {
        let mut walk = Walk::new();
        for entry in entries {
            walk.step(entry, checkpoints.iter().any(|checkpoint| checkpoint.last == entry.id));
        }
        checkpoints.iter().for_each(|checkpoint| walk.compare(checkpoint));
        walk.faults().to_vec()
    }

    #[test]
    fn what_was_not_touched_has_no_faults() {
        let entries = log(20);
        let checkpoints = [seen(&entries, 8), seen(&entries, 20)];
        assert_eq!(faults(&entries, &checkpoints), []);
        let mut walk = Walk::after(8, 8, &entries[7].digest);
        assert!(entries[8..].iter().all(|entry| walk.step(entry, false) == Link::Fits));
        assert_eq!((walk.entries(), walk.end().0), (20, 20));
    }

    #[test]
    fn every_way_to_tamper_is_pinned_to_its_place() {
        let whole = log(20);
        let checkpoints = [seen(&whole, 8), seen(&whole, 18)];

        let mut altered = whole.clone();
        altered[4].detail = "another".into();
        assert_eq!(faults(&altered, &checkpoints), [Fault::Altered { id: 5 }]);

        let mut deleted = whole.clone();
        deleted.remove(4);
        let found = faults(&deleted, &checkpoints);
        assert_eq!(found[0], Fault::Missing { before: 6 });
        assert!(matches!(found[1], Fault::Rewritten { through: 8, entries: (8, 7) }), "{found:?}");

        let mut inserted = whole.clone();
        let mut extra = whole[4].clone();
        (extra.id, extra.detail) = (6, "slipped in".into());
        inserted.iter_mut().skip(5).for_each(|entry| entry.id += 1);
        inserted.insert(5, extra);
        inserted[5].previous = whole[4].digest.clone();
        let (at, action, detail) = (inserted[5].at, inserted[5].action.clone(), inserted[5].detail.clone());
        inserted[5].digest = digest_of(DigestAlgorithm::Sha256, &inserted[5].previous, (at, &action, &detail));
        assert_eq!(faults(&inserted, &[])[0], Fault::Forked { id: 7, after: 5 });

        let mut swapped = whole.clone();
        swapped.swap(4, 5);
        (swapped[4].id, swapped[5].id) = (5, 6);
        assert_eq!(faults(&swapped, &[]), [Fault::Swapped { id: 5, with: 6 }]);

        assert_eq!(faults(&whole[..15], &checkpoints), [Fault::Truncated { last: 15, promised: 18 }]);
        assert_eq!(faults(&[], &checkpoints[..1]), [Fault::Truncated { last: 0, promised: 8 }]);
    }

    #[test]
    fn a_chain_made_anew_is_found_out_by_the_checkpoint_behind_it() {
        let whole = log(20);
        let checkpoints = [seen(&whole, 8), seen(&whole, 18)];
        let mut rewritten = whole.clone();
        rewritten[11].detail = "another".into();
        rechained(&mut rewritten, 11);
        assert_eq!(faults(&rewritten, &checkpoints), [Fault::Rewritten { through: 18, entries: (18, 18) }]);
        let mut fewer = whole.clone();
        fewer.remove(11);
        rechained(&mut fewer, 11);
        assert_eq!(faults(&fewer, &checkpoints), [Fault::Rewritten { through: 18, entries: (18, 17) }]);
    }

    #[test]
    fn suites_may_change_along_the_way() {
        let mut entries = log(3);
        let last = entries[2].digest.clone();
        let digest = digest_of(DigestAlgorithm::Sm3, &last, (40, "key.rotate", "to SM2"));
        assert!(digest.starts_with("sm3:"));
        let next =
            Entry { id: 4, at: 40, action: "key.rotate".into(), detail: "to SM2".into(), previous: last, digest };
        entries.push(next);
        assert_eq!(faults(&entries, &[]), []);
        entries[3].digest.pop();
        assert_eq!(faults(&entries, &[]), [Fault::Altered { id: 4 }]);
    }
}

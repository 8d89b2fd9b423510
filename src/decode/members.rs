//! What records have together (成员): a format without a header says by its records which columns there are.
//!
//! Decides: which names count. A member may be absent from single records, so only all records of a chunk together say
//! that it is not there. Guarantees: memory bounded by [`MOST`]; a record that does not read adds nothing.

use std::collections::{BTreeSet, HashSet};

use super::paths::Paths;

/// Names kept that nobody wants.
const MOST: usize = 512;

/// What some records have, each member in one of them at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// How many records were looked at.
    pub records: u64,
    /// One per wanted column: whether a record has it, be it null or empty.
    pub wanted: Vec<bool>,
    /// Paths of members that nobody wants, at the level of the record and inside what wanted paths enter.
    pub others: BTreeSet<String>,
}

impl Members {
    /// What these and other records have.
    pub fn and(mut self, other: &Self) -> Self {
        self.records += other.records;
        self.wanted.iter_mut().zip(&other.wanted).for_each(|(here, there)| *here |= there);
        self.others.extend(other.others.iter().cloned());
        self
    }
}

/// Looks at one record after the other.
#[derive(Default)]
pub(super) struct Watch {
    records: u64,
    /// By slot.
    had: Vec<bool>,
    /// Node and name.
    strangers: HashSet<(usize, String)>,
    /// Of the record under way: slots and strangers not seen before.
    slots: Vec<usize>,
    fresh: Vec<(usize, String)>,
}

impl Watch {
    /// The record under way has the value of this slot.
    pub(super) fn slot(&mut self, slot: usize) {
        if self.had.get(slot) != Some(&true) {
            self.slots.push(slot);
        }
    }

    /// The record under way has a member `name` in `node` that no path wants.
    pub(super) fn stranger(&mut self, node: usize, name: &str, paths: &Paths) {
        if paths.is_entered(node) && self.strangers.len() + self.fresh.len() < MOST {
            let stranger = (node, name.to_owned());
            if !self.strangers.contains(&stranger) {
                self.fresh.push(stranger);
            }
        }
    }

    /// The record has ended; `whole` unless it is set aside.
    pub(super) fn end(&mut self, whole: bool) {
        if whole {
            self.records += 1;
            let slots = self.slots.iter().max().map_or(0, |slot| slot + 1).max(self.had.len());
            self.had.resize(slots, false);
            for slot in &self.slots {
                self.had[*slot] = true;
            }
            self.strangers.extend(self.fresh.drain(..));
        }
        self.slots.clear();
        self.fresh.clear();
    }

    /// What all records had, for the first `wanted` columns of `paths`; none when there was no record.
    pub(super) fn members(self, paths: &Paths, wanted: usize, joint: &str) -> Option<Members> {
        let had = |slot: &usize| self.had.get(*slot).copied().unwrap_or(false);
        let others = self.strangers.iter().map(|(node, name)| {
            let path: Vec<&str> = paths.path(*node).iter().map(String::as_str).chain([name.as_str()]).collect();
            path.join(joint)
        });
        let members = Members {
            records: self.records,
            wanted: paths.slot_of().iter().take(wanted).map(had).collect(),
            others: others.collect(),
        };
        (self.records > 0).then_some(members)
    }
}

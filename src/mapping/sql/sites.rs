//! Where conversions stand in the SQL, and what they did to which row.
//!
//! DataFusion evaluates parts of an expression on filtered copies of a chunk (`case when`), so a function's n-th value
//! is not the chunk's n-th row. Every sited call therefore receives the hidden column of [`row_ids`], which names the
//! chunk and the row, and reports to the [`Log`] under exactly that name. Knows no columns and no registers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::UInt64Array;

/// The hidden column that names chunk and row. No contract can contain it: it starts with a control character.
pub(crate) const ROW: &str = "\u{1}row";

/// Number of a call in its mapping, from 0.
pub(crate) type SiteId = u32;

/// What a failed conversion does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    /// Refuses the row.
    Refuse,
    /// Yields null and a note `or_null:<code>`.
    Null,
    /// Yields null for the enclosing `or_default` to replace, and a note `or_default:<code>`.
    Default,
}

/// One call of a function that can fail or repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    /// Output column it helps to compute; `where` for the filter.
    pub(crate) column: String,
    /// Line in the file.
    pub(crate) line: u32,
    /// What a failure does.
    pub(crate) mode: Mode,
}

/// What a call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Act {
    /// It refused the value, for this code.
    Refused(&'static str),
    /// It repaired the value, in this way.
    Repaired(&'static str),
}

/// One act on one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    /// Row of the chunk.
    pub(crate) row: u32,
    /// Who.
    pub(crate) site: SiteId,
    /// What.
    pub(crate) act: Act,
}

/// Collects the acts of all chunks under way; several threads may map chunks with one compiled mapping.
#[derive(Debug, Default)]
pub(crate) struct Log {
    next: AtomicU32,
    chunks: Mutex<HashMap<u32, Vec<Event>>>,
}

impl Log {
    /// A number for a new chunk.
    pub(crate) fn open(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds what one call did to rows of a chunk.
    pub(crate) fn record(&self, chunk: u32, events: Vec<Event>) {
        if !events.is_empty() {
            self.lock().entry(chunk).or_default().extend(events);
        }
    }

    /// Rows of a chunk that one of these sites has refused so far.
    pub(crate) fn refused(&self, chunk: u32, sites: &[SiteId]) -> HashSet<u32> {
        let chunks = self.lock();
        let events = chunks.get(&chunk).into_iter().flatten();
        events.filter(|e| matches!(e.act, Act::Refused(_)) && sites.contains(&e.site)).map(|e| e.row).collect()
    }

    /// Everything recorded for a chunk since the last call, by row and site, each act once: an expression may be
    /// evaluated twice on one row (`coalesce`, a repeated attempt after an error) and must still count once.
    pub(crate) fn take(&self, chunk: u32) -> Vec<Event> {
        let mut events = self.lock().remove(&chunk).unwrap_or_default();
        events.sort_unstable();
        events.dedup();
        events
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Vec<Event>>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hidden column: chunk number in the upper half, row number in the lower half.
pub(crate) fn row_ids(chunk: u32, rows: usize) -> UInt64Array {
    (0..rows as u64).map(|row| u64::from(chunk) << 32 | row).collect::<Vec<_>>().into()
}

/// Chunk number of a row id.
pub(crate) fn chunk_of(id: u64) -> u32 {
    (id >> 32) as u32
}

/// Row number of a row id.
pub(crate) fn row_of(id: u64) -> u32 {
    id as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_do_not_see_each_other_and_repeats_count_once() {
        let log = Log::default();
        let (a, b) = (log.open(), log.open());
        let event = |row| Event { row, site: 1, act: Act::Refused("blank") };
        log.record(a, vec![event(2), event(0)]);
        log.record(a, vec![event(2)]);
        log.record(b, vec![event(9)]);
        assert_eq!(log.refused(a, &[1]), HashSet::from([0, 2]));
        assert!(log.refused(a, &[7]).is_empty());
        assert_eq!(log.take(a), [event(0), event(2)]);
        assert!(log.take(a).is_empty());
        assert_eq!(log.take(b), [event(9)]);
    }

    #[test]
    fn a_row_id_names_chunk_and_row() {
        let ids = row_ids(7, 3);
        assert_eq!((chunk_of(ids.value(2)), row_of(ids.value(2))), (7, 2));
    }
}

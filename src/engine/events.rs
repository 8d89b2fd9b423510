//! Datasets whose rows are events: what changed since the last pull, with 增删改标志 where the department says so.
//!
//! Decides: which of several events of one key stands, what is gone, what never comes back. Guarantees: the same events
//! in any order leave the same claims where rows have a business time; without one the order of arrival decides.

use std::collections::HashMap;

use arrow::array::{Array as _, AsArray as _};

use super::EngineError;
use super::take::Row;
use crate::config::{Dataset, Extract, Offer};
use crate::decode::{Decoded, Undecodable};
use crate::linking::SourceKey;
use crate::store::{Recalled, RegisterPart};

/// Whether rows of this dataset are events: one claim of a key, and the latest stands.
pub(super) fn are(dataset: &Dataset) -> bool {
    dataset.operation.is_some() || matches!(dataset.extract, Extract::Log | Extract::Cursor { .. })
}

/// Whether these events come in the order in which the department's own database committed them.
pub(super) fn are_ordered(dataset: &Dataset) -> bool {
    matches!(dataset.offer, Offer::Changes(_))
}

/// 增删改标志 of a dataset.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    /// Index of its column in the contract.
    column: usize,
    delete: Vec<String>,
    upsert: Vec<String>,
}

impl Operation {
    pub(super) fn of(dataset: &Dataset) -> Option<Self> {
        let operation = dataset.operation.as_ref()?;
        let column = dataset.columns.iter().position(|column| column.name == operation.column.value)?;
        Some(Self { column, delete: operation.delete.clone(), upsert: operation.upsert.clone() })
    }

    /// Marks rows that are gone, beside those that the source itself says are; a row whose flag nobody knows is set aside.
    pub(super) fn mark(&self, mut decoded: Decoded) -> Result<Decoded, EngineError> {
        let mut unknown = Vec::new();
        let cells = decoded.rows.column(self.column).as_string::<i32>().clone();
        for row in (0..cells.len()).filter(|row| decoded.gone.binary_search(row).is_err()).collect::<Vec<_>>() {
            let flag = if cells.is_null(row) { "" } else { cells.value(row).trim() };
            let says = |words: &[String]| words.iter().any(|word| word.eq_ignore_ascii_case(flag));
            if says(&self.delete) {
                decoded.gone.push(row);
            } else if !says(&self.upsert) {
                unknown.push(row);
            }
        }
        decoded.gone.sort_unstable();
        decoded.gone.dedup();
        if unknown.is_empty() {
            return Ok(decoded);
        }
        let set_aside = unknown.iter().map(|&row| Undecodable {
            place: decoded.places[row],
            raw: decoded.raw_row(row).to_vec(),
            code: "unknown_operation",
            detail: "the row's 增删改标志 is none of the words of `operation`".to_owned(),
        });
        decoded.undecodable.extend(set_aside.collect::<Vec<_>>());
        let kept: Vec<usize> = (0..cells.len()).filter(|row| unknown.binary_search(row).is_err()).collect();
        decoded.keep(&kept).map_err(|error| EngineError::Internal(error.to_string()))
    }
}

/// For every event the stored claim it continues: there is but one of a key.
pub(super) fn continued(recalled: &[Recalled]) -> Vec<Row> {
    recalled.iter().map(|of_key| Row { claim: of_key.claims.first().copied(), occurrence: 0 }).collect()
}

/// Marks events that a later one of the same key has overtaken, in this chunk or, where the key is gone `since` (and
/// rows have their `own` times), before it. Of two events at the same time the one that came last stands.
pub(super) fn overtaken(
    keys: &[SourceKey],
    times: &[i64],
    (since, own): (&HashMap<SourceKey, i64>, bool),
    stale: &mut [bool],
) {
    let mut last: HashMap<&SourceKey, (i64, usize)> = HashMap::new();
    for (i, (key, &time)) in keys.iter().zip(times).enumerate() {
        stale[i] |= own && since.get(key).is_some_and(|gone| time < *gone);
        if stale[i] {
            continue;
        }
        match last.get_mut(key) {
            Some((newest, _)) if time < *newest => stale[i] = true,
            Some(newest) => {
                stale[newest.1] = true;
                *newest = (time, i);
            }
            None => {
                last.insert(key, (time, i));
            }
        }
    }
}

/// That a key was said to be gone which nobody had spoken of is noted.
pub(super) fn note_unknown(rows: &[Row], going: &[usize], part: &mut RegisterPart) {
    let unknown = going.iter().filter(|&&i| rows[i].claim.is_none()).count() as u64;
    if unknown > 0 {
        part.codes.push(("note", "source:gone_unknown".into(), unknown));
        part.counts.notes += unknown;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stands(events: &[(&str, i64)], since: &[(&str, i64)], own: bool) -> Vec<usize> {
        let keys: Vec<SourceKey> = events.iter().map(|(key, _)| SourceKey::from(*key)).collect();
        let times: Vec<i64> = events.iter().map(|(_, time)| *time).collect();
        let since = since.iter().map(|(key, time)| (SourceKey::from(*key), *time)).collect();
        let mut stale = vec![false; events.len()];
        overtaken(&keys, &times, (&since, own), &mut stale);
        (0..events.len()).filter(|&i| !stale[i]).collect()
    }

    #[test]
    fn the_latest_event_of_a_key_stands() {
        assert_eq!(stands(&[("a", 1), ("b", 1), ("a", 3), ("a", 2)], &[], true), [1, 2]);
        assert_eq!(stands(&[("a", 1), ("a", 1)], &[], true), [1], "the one that came last");
        assert_eq!(stands(&[("a", 1), ("a", 2)], &[("a", 2)], true), [1], "gone at 2, and back at 2");
        assert_eq!(stands(&[("a", 1)], &[("a", 2)], true), [] as [usize; 0]);
        assert_eq!(stands(&[("a", 1)], &[("a", 2)], false), [0], "without a time of its own it is new");
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(times in Just((0..12i64).collect::<Vec<_>>()).prop_shuffle()) {
            let events: Vec<(&str, i64)> = times.iter().map(|&time| (if time % 2 == 0 { "a" } else { "b" }, time)).collect();
            let mut standing: Vec<i64> = stands(&events, &[], true).into_iter().map(|i| events[i].1).collect();
            standing.sort_unstable();
            prop_assert_eq!(standing, [10, 11]);
        }
    }
}

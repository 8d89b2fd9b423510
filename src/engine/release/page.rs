//! One page of a register under the grant: which records go out, which stand, which are withheld.
//!
//! Pure: takes what the store read and what the subscriber holds, returns one step per entity, in entity order.

use std::collections::{BTreeSet, HashMap, HashSet};

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;

use crate::batch::{BatchError, Committing, EncodedRows, FeedSchema, Op};
use crate::linking::EntityId;
use crate::share::{Release, Released, RowFound};
use crate::store::{HeldDigest, Holding, Snapshot};

/// What happens to one entity.
pub(super) enum Step<'a> {
    Send { rows: &'a EncodedRows, row: usize, holding: Option<Holding>, entity: EntityId },
    Unaffected,
    Withheld(&'static str),
}

/// A page as the store read it, and what the subscriber holds of it.
pub(super) struct Page {
    pub(super) rows: Snapshot,
    pub(super) held: HashMap<EntityId, HeldDigest>,
}

/// A page encoded: fresh records, records under the version held, and withdrawals.
pub(super) struct Encoded {
    /// For each released row: its index among `rows.ids`.
    kept: Vec<u32>,
    /// Released rows under their present version, in `kept` order.
    present: EncodedRows,
    /// For released rows that are held: whether the record under the held version is what is held.
    unchanged: Vec<bool>,
    /// Ids and versions of the page.
    withdrawn: EncodedRows,
    withdrawn_ids: Vec<EntityId>,
    /// Rows that stay inside and never left, and the rule that says so.
    withheld: Vec<(EntityId, &'static str)>,
    unaffected_gone: Vec<EntityId>,
    /// Numbers of persons found in free text, by row of `present`, ascending.
    found: Vec<RowFound>,
}

/// Encodes a page under the grant; `release` is `None` when the grant is not in force.
pub(super) fn encode(
    (schema, committing): (&FeedSchema, Option<&Committing>),
    (release, recalled): (Option<&Release>, &HashSet<EntityId>),
    Page { rows: page, held }: &Page,
) -> Result<Encoded, BatchError> {
    let Released { kept, rows, withheld_by_error: failed, found, .. } = match release {
        Some(release) => without(recalled, &page.ids, release.apply(&page.rows)),
        None => Released {
            rows: schema.empty_rows(),
            kept: Vec::new(),
            withheld_by_filter: Vec::new(),
            withheld_by_error: Vec::new(),
            found: Vec::new(),
        },
    };
    let failed: BTreeSet<EntityId> = failed.iter().map(|&i| page.ids[i as usize]).collect();
    let ids: Vec<EntityId> = kept.iter().map(|&i| page.ids[i as usize]).collect();
    let versions: Vec<i64> = kept.iter().map(|&i| page.versions[i as usize]).collect();
    let present = match committing {
        Some(committing) => schema.encode_committed((&ids, &versions), &rows, committing, (&page.rows, &kept))?,
        None => schema.encode_upserts(&ids, &versions, &rows)?,
    };
    let mut unchanged = vec![false; ids.len()];
    if ids.iter().any(|id| held.contains_key(id)) {
        let as_held: Vec<i64> =
            ids.iter().zip(&versions).map(|(id, version)| held.get(id).map_or(*version, |h| h.version)).collect();
        let compared = schema.digests(&ids, &as_held, &rows)?;
        for ((id, digest), same) in ids.iter().zip(&compared).zip(&mut unchanged) {
            *same = held.get(id).is_some_and(|held| held.digest == *digest);
        }
    }
    let left: Vec<EntityId> = page.ids.iter().copied().filter(|id| ids.binary_search(id).is_err()).collect();
    let withdrawn: Vec<(EntityId, i64)> =
        left.iter().chain(&page.gone).filter_map(|id| held.get(id).map(|held| (*id, held.version))).collect();
    Ok(Encoded {
        kept,
        present,
        unchanged,
        withdrawn: schema.encode_withdrawals(&withdrawn),
        withdrawn_ids: withdrawn.into_iter().map(|(id, _)| id).collect(),
        withheld: left
            .into_iter()
            .filter(|id| !held.contains_key(id))
            .map(|id| match id {
                _ if recalled.contains(&id) => (id, "recalled"),
                _ if failed.contains(&id) => (id, "not computable"),
                _ => (id, "row filter"),
            })
            .collect(),
        unaffected_gone: page.gone.iter().copied().filter(|id| !held.contains_key(id)).collect(),
        found,
    })
}

/// What is released, but for records that are recalled.
fn without(recalled: &HashSet<EntityId>, ids: &[EntityId], released: Released) -> Released {
    let stays = |row: &u32| ids.get(*row as usize).is_some_and(|id| recalled.contains(id));
    if recalled.is_empty() || !released.kept.iter().any(stays) {
        return released;
    }
    let leaves: Vec<bool> = released.kept.iter().map(|row| !stays(row)).collect();
    let before = |row: usize| leaves.iter().take(row).filter(|leaves| **leaves).count();
    let found = released.found.iter().filter(|found| leaves.get(found.row) == Some(&true));
    let found = found.map(|found| RowFound { row: before(found.row), ..*found }).collect();
    let rows = filter_record_batch(&released.rows, &BooleanArray::from(leaves.clone()));
    Released {
        rows: rows.expect("the mask has one bit per row"),
        kept: released.kept.iter().zip(&leaves).filter(|(_, leaves)| **leaves).map(|(row, _)| *row).collect(),
        found,
        ..released
    }
}

impl Encoded {
    /// Released rows under their present version.
    pub(super) const fn present(&self) -> &EncodedRows {
        &self.present
    }

    /// What was found in the free text of a row of these; nothing in withdrawals.
    pub(super) fn found_in(&self, rows: &EncodedRows, row: usize) -> impl Iterator<Item = &RowFound> {
        let of_this = if rows.op() == Op::Upsert { &self.found[..] } else { &[] };
        let first = of_this.partition_point(|found| found.row < row);
        of_this.iter().skip(first).take_while(move |found| found.row == row)
    }

    /// One step per entity of the page, in no order yet.
    pub(super) fn steps<'a>(&'a self, page: &Snapshot) -> Vec<(EntityId, Step<'a>)> {
        let sent = self.kept.iter().enumerate().map(|(row, &i)| {
            let (entity, version) = (page.ids[i as usize], page.versions[i as usize]);
            if self.unchanged[row] {
                return (entity, Step::Unaffected);
            }
            let held = HeldDigest { version, digest: self.present.digests()[row] };
            let holding = Some(Holding { entity, held });
            (entity, Step::Send { rows: &self.present, row, holding, entity })
        });
        let withdrawn = self
            .withdrawn_ids
            .iter()
            .enumerate()
            .map(|(row, &entity)| (entity, Step::Send { rows: &self.withdrawn, row, holding: None, entity }));
        let withheld = self.withheld.iter().map(|&(entity, rule)| (entity, Step::Withheld(rule)));
        let unaffected = self.unaffected_gone.iter().map(|&entity| (entity, Step::Unaffected));
        sent.chain(withdrawn).chain(withheld).chain(unaffected).collect()
    }
}

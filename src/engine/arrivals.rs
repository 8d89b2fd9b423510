//! Mapped rows → the claims that they are: which stored claim each continues, how old it is, and what comes too late.

use std::sync::Arc;

use super::flow::{Flow, Lane};
use super::intake::{LaidRow, Prepared};
use super::late::{Earlier, Fate};
use super::take::{Packed, Passage, Row, own_times};
use crate::linking::{Claim, Incoming, Origin, encode_past, encode_values};
use crate::store::RegisterPart;

/// Rows on their way into the register.
#[derive(Default)]
pub(super) struct Arrivals {
    pub(super) incoming: Vec<Incoming>,
    pub(super) packed: Vec<Packed>,
    /// Index in the chunk of each.
    pub(super) at: Vec<u32>,
    /// Rows that are good and not late: they settle what is in quarantine under their keys.
    pub(super) healing: Vec<u32>,
}

/// Makes claims of mapped rows. What comes late is counted as superseded, or remembered.
pub(super) fn arrivals(
    (flow, lane): (&Flow, &Lane),
    prepared: &Prepared,
    (rows, laid): (&[Row], Vec<LaidRow>),
    (passage, earlier): (Passage, &Earlier),
    part: &mut RegisterPart,
) -> Arrivals {
    let own_times = own_times(flow, prepared, rows.len());
    let mut arrivals = Arrivals::default();
    let mut late = 0;
    for LaidRow { at, values, mut packed, mut keys } in laid {
        let i = at as usize;
        let row = &rows[i];
        let id = row.claim.map_or(part.next_ids.0, |claim| claim.id);
        if row.claim.is_none() {
            part.next_ids.0 += 1;
        }
        let stored = row.claim.and_then(|claim| Some((earlier.stored(claim)?, claim.differs?)));
        let origin = Origin {
            file: passage.file,
            row: i64::try_from(prepared.decoded.places[i].row).unwrap_or(i64::MAX),
            run: passage.run,
        };
        let mut claim = Claim {
            id,
            stream: lane.stream,
            key: Arc::clone(&prepared.named.keys[i]),
            occurrence: row.occurrence,
            updated: own_times[i].unwrap_or_else(|| time_of_row(flow, stored.map(|(stored, _)| stored), passage)),
            values,
            past: Vec::new(),
            origin,
        };
        if let Some((stored, home)) = stored {
            let compared = (own_times[i].is_some() && !flow.ordered, passage.guard.is_some());
            match earlier.judge(lane, (&mut claim, compared), stored, home) {
                Fate::Newer => arrivals.healing.push(at),
                Fate::Late => {
                    late += 1;
                    part.counts.superseded += 1;
                    continue;
                }
                Fate::Remembered(kept) => {
                    late += 1;
                    claim = *kept;
                    packed = encode_values(&lane.layout, &claim.values);
                    keys = lane.keys_of(&claim.values);
                }
            }
            encode_past(&lane.layout, &claim.past, &mut packed);
        } else {
            arrivals.healing.push(at);
        }
        arrivals.incoming.push(Incoming { claim, previous: row.claim.and_then(|claim| claim.differs) });
        arrivals.packed.push(Packed { values: packed, keys });
        arrivals.at.push(at);
    }
    if late > 0 {
        part.codes.push(("note", "business_time:late_record".into(), late));
        part.counts.notes += late;
    }
    arrivals
}

/// The business time of a row that has none of its own. Where the contract has no such column it is the file's. Where
/// it has one and the cell says nothing, the row is as old as what it replaces, or older than everything.
fn time_of_row(flow: &Flow, stored: Option<&Claim>, passage: Passage) -> i64 {
    match (flow.updated, stored) {
        (None, _) => passage.at,
        (Some(_), Some(stored)) => stored.updated,
        (Some(_), None) => 0,
    }
}

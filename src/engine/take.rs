//! One chunk into one register: recognise, map, link, absorb.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, UInt32Array};
use arrow::compute::take_record_batch;
use roaring::RoaringTreemap;

use super::EngineError;
use super::arrivals::{Arrivals, arrivals};
use super::backfill::Guard;
use super::events;
use super::flow::{Flow, Lane};
use super::intake::{Laid, Prepared};
use super::late::Earlier;
use super::rows::{cells_json, digest_of, under_mapping};
use crate::decode::Decoded;
use crate::linking::{
    Absorbed, Before, Candidate, Chunk, ClaimId, Departure, Effect, EntityId, Incoming, Resolution, SourceKey, absorb,
    resolve,
};
use crate::mapping::Reason;
use crate::store::{ChunkCounts, ClaimChange, Quarantined, Recalled, RecalledClaim, RegisterPart, Store};

/// Where a chunk comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passage {
    /// Run.
    pub(super) run: i64,
    /// File; 0 for none.
    pub(super) file: i64,
    /// Business time of rows without their own, microseconds.
    pub(super) at: i64,
    /// Whether this lane also stores what could not be decoded (one lane of several does).
    pub(super) keeps_undecodable: bool,
    /// Whether earlier runs left open quarantine entries that a good row may settle.
    pub(super) heals: bool,
    /// For old files: what they may still say.
    pub(super) guard: Option<Guard>,
    /// Whether it shows everything there is, although rows of its dataset are events.
    pub(super) whole: bool,
}

/// What is known about one row of the chunk before it is mapped.
pub(super) struct Row {
    /// The stored claim it continues.
    pub(super) claim: Option<RecalledClaim>,
    pub(super) occurrence: i64,
}

/// What a mapped row has besides its claim.
pub(super) struct Packed {
    pub(super) values: Vec<u8>,
    pub(super) keys: Vec<Option<Arc<str>>>,
}

/// Works out everything a chunk changes in one register. `seen` collects the claims this file has shown; ids of new
/// claims and entities count on from `next_ids`, which are the previous lane's when a chunk goes into several registers.
#[tracing::instrument(name = "chunk", skip_all, fields(rows = prepared.decoded.rows.num_rows()))]
pub(super) async fn take(
    store: &mut dyn Store,
    flow: &Flow,
    (lane_index, passage, next_ids): (usize, Passage, (ClaimId, EntityId)),
    (prepared, ahead): (&Prepared, Option<Laid>),
    seen: &mut RoaringTreemap,
) -> Result<(RegisterPart, usize), EngineError> {
    let lane = &flow.lanes[lane_index];
    let under_mapping = under_mapping(&lane.version);
    let digests = prepared.named.digests.iter().map(|&digest| under_mapping(digest));
    let mut asked: Vec<(SourceKey, i64)> = prepared.named.keys.iter().cloned().zip(digests).collect();
    let gone = &prepared.decoded.gone;
    gone.iter().for_each(|&i| asked[i].1 = !asked[i].1); // no claim says so: every one of the key differs
    let since = if flow.events { store.gone(lane.stream, &prepared.named.keys).await? } else { HashMap::new() };
    let recalled = store.recall(lane.stream, &asked).await?;
    let mut part = empty_part(flow, lane, next_ids);
    let rows = if flow.events { events::continued(&recalled) } else { match_claims(&asked, &recalled, seen) };
    let mut stale = stale(store, flow, lane, (prepared, &rows), passage).await?;
    if flow.events {
        let times = if flow.timed() { times(flow, prepared, passage.at) } else { vec![passage.at; rows.len()] };
        events::overtaken(&prepared.named.keys, &times, (&since, flow.timed()), &mut stale);
    }
    let going: Vec<usize> = gone.iter().copied().filter(|&i| !stale[i]).collect();
    let todo: Vec<u32> = (0..rows.len())
        .filter(|&i| !stale[i] && rows[i].claim.is_none_or(|claim| claim.differs.is_some()))
        .filter(|i| going.binary_search(i).is_err())
        .map(|i| i as u32)
        .collect();
    let shows = !flow.events || passage.whole;
    if shows {
        part.seen.extend(rows.iter().filter_map(|row| row.claim.map(|claim| claim.id)));
    }
    part.counts.superseded = stale.iter().filter(|stale| **stale).count() as u64;
    part.counts.unchanged = (rows.len() - todo.len() - going.len()) as u64 - part.counts.superseded;
    let mut mapped = lay(lane, prepared, ahead, &todo)?;
    let filtered = left_out(&todo, &mapped);
    let departures: Vec<Departure> = filtered
        .iter()
        .map(|&i| i as usize)
        .chain(going.iter().copied())
        .filter_map(|i| rows[i].claim)
        .filter_map(|claim| Some(Departure { claim: claim.id, entity: claim.differs? }))
        .collect();
    let laid = std::mem::take(&mut mapped.rows);
    let continued = laid.iter().filter_map(|row| rows[row.at as usize].claim);
    let mut earlier = Earlier::of(store, (flow, lane), continued).await?;
    let arrivals = arrivals((flow, lane), prepared, (&rows, laid), (passage, &earlier), &mut part);
    let Arrivals { incoming, packed, at, healing } = arrivals;
    if shows {
        part.seen.extend(incoming.iter().filter(|i| i.previous.is_none()).map(|i| i.claim.id));
    }
    seen.extend(part.seen.iter().map(|id| id.unsigned_abs()));
    let before = std::mem::take(&mut earlier.before);
    link(store, lane, (incoming, packed), (&departures, before), &mut part).await?;
    for (change, &i) in part.claims.iter_mut().zip(&at) {
        change.digest = asked[i as usize].1;
    }
    part.departed = departures;
    if passage.heals {
        let gone = going.iter().filter(|_| flow.ordered);
        let settled = healing.iter().map(|&i| i as usize).chain(gone.copied());
        part.healed = settled.map(|i| prepared.named.keys[i].clone()).collect();
    }
    if !going.is_empty() {
        let times = times(flow, prepared, passage.at);
        part.gone = going.iter().map(|&i| (SourceKey::clone(&prepared.named.keys[i]), times[i])).collect();
        events::note_unknown(&rows, &going, &mut part);
    }
    set_aside(lane, prepared, &mapped, passage, &mut part);
    count(&prepared.decoded, (&mapped, at.len()), filtered.len() + going.len(), &mut part);
    Ok((part, todo.len()))
}

/// Rows of an old file, or of a flow of events, that something newer has overruled; none of a live extract, and none that
/// only has to be remembered: a register with status fields wants to know what they were.
async fn stale(
    store: &mut dyn Store,
    flow: &Flow,
    lane: &Lane,
    (prepared, rows): (&Prepared, &[Row]),
    passage: Passage,
) -> Result<Vec<bool>, EngineError> {
    let events = (flow.events && flow.timed()).then_some(Guard { outdated: false, own_time: true });
    let remembered = |guard: &Guard| lane.survivorship.remembers() && guard.own_time && !guard.outdated;
    let guard = passage.guard.or(events).filter(|guard| !remembered(guard));
    let Some(guard) = guard else { return Ok(vec![false; rows.len()]) };
    let times = own_times(flow, prepared, rows.len());
    let asked: Vec<(Option<RecalledClaim>, i64)> =
        rows.iter().zip(times).map(|(row, own)| (row.claim, own.unwrap_or(passage.at))).collect();
    guard.stale(store, &lane.register, &asked).await
}

/// The rows' business times: their own, or that of the passage.
fn times(flow: &Flow, prepared: &Prepared, at: i64) -> Vec<i64> {
    own_times(flow, prepared, prepared.named.keys.len()).into_iter().map(|own| own.unwrap_or(at)).collect()
}

/// The rows' own business times, where they have them.
pub(super) fn own_times(flow: &Flow, prepared: &Prepared, rows: usize) -> Vec<Option<i64>> {
    use arrow::array::Array;
    let Some(column) = flow.updated else { return vec![None; rows] };
    let cells = prepared.decoded.rows.column(column).as_string::<i32>();
    (0..rows).map(|i| if cells.is_null(i) { None } else { business_time(cells.value(i)) }).collect()
}

/// Claims that a full extract no longer shows, taken back.
pub(super) async fn retract(
    store: &mut dyn Store,
    flow: &Flow,
    lane: &Lane,
    departures: &[Departure],
) -> Result<RegisterPart, EngineError> {
    let mut part = empty_part(flow, lane, store.next_ids().await?);
    link(store, lane, (Vec::new(), Vec::new()), (departures, HashMap::new()), &mut part).await?;
    part.departed = departures.to_vec();
    part.counts.retracted = departures.len() as u64;
    Ok(part)
}

/// A note that so many claims were kept, although a full extract does not show them.
pub(super) async fn keep(
    store: &mut dyn Store,
    flow: &Flow,
    lane: &Lane,
    claims: u64,
) -> Result<RegisterPart, EngineError> {
    let mut part = empty_part(flow, lane, store.next_ids().await?);
    part.codes.push(("note", "missing:kept".into(), claims));
    part.counts.notes = claims;
    Ok(part)
}

fn empty_part(flow: &Flow, lane: &Lane, next_ids: (ClaimId, EntityId)) -> RegisterPart {
    RegisterPart {
        register: lane.register.clone(),
        dataset: flow.from.to_string(),
        stream: lane.stream,
        mapping: lane.version.clone(),
        layout: lane.layout.clone(),
        absorbed: Absorbed::default(),
        claims: Vec::new(),
        departed: Vec::new(),
        gone: Vec::new(),
        new_keys: Vec::new(),
        seen: Vec::new(),
        healed: Vec::new(),
        quarantined: Vec::new(),
        counts: ChunkCounts::default(),
        codes: Vec::new(),
        next_ids,
    }
}

/// For every row the stored claim it continues: of the claims of its key that this extract has not shown yet, the one
/// with the same digest, else the first; beyond them the row is a further occurrence.
fn match_claims(asked: &[(SourceKey, i64)], recalled: &[Recalled], seen: &RoaringTreemap) -> Vec<Row> {
    let mut used: HashSet<ClaimId> = HashSet::new();
    let mut further: HashMap<&str, i64> = HashMap::new();
    let mut rows = Vec::with_capacity(recalled.len());
    for ((key, _), of_key) in asked.iter().zip(recalled) {
        let free = || of_key.claims.iter().filter(|c| !seen.contains(c.id.unsigned_abs()) && !used.contains(&c.id));
        let claim = free().find(|claim| claim.differs.is_none()).or_else(|| free().next()).copied();
        let occurrence = match claim {
            Some(claim) => {
                used.insert(claim.id);
                claim.occurrence
            }
            None => {
                let stored = of_key.claims.last().map_or(-1, |claim| claim.occurrence);
                let last = further.entry(key).or_insert(stored);
                *last += 1;
                *last
            }
        };
        rows.push(Row { claim, occurrence });
    }
    rows
}

/// The chunk's rows in `todo`, mapped, now or `ahead`; indexes are those of the whole chunk.
fn lay(lane: &Lane, prepared: &Prepared, ahead: Option<Laid>, todo: &[u32]) -> Result<Laid, EngineError> {
    let whole = prepared.decoded.rows.num_rows();
    if let Some(mut laid) = ahead {
        if todo.len() < whole {
            let mut wanted = vec![false; whole];
            todo.iter().for_each(|&i| wanted[i as usize] = true);
            laid.rows.retain(|row| wanted[row.at as usize]);
            laid.refused.retain(|(i, _)| wanted[*i as usize]);
            laid.notes.retain(|note| wanted[note.row]);
        }
        return Ok(laid);
    }
    let rows = take_record_batch(&prepared.decoded.rows, &UInt32Array::from(todo.to_vec()))
        .map_err(|error| EngineError::Internal(error.to_string()))?;
    let mut laid = Laid::by(lane, &rows);
    laid.rows.iter_mut().for_each(|row| row.at = todo[row.at as usize]);
    laid.refused.iter_mut().for_each(|(i, _)| *i = todo[*i as usize]);
    laid.notes.iter_mut().for_each(|note| note.row = todo[note.row] as usize);
    Ok(laid)
}

/// Rows in `todo` that are neither mapped nor refused: the mapping's `where` left them out.
fn left_out(todo: &[u32], mapped: &Laid) -> Vec<u32> {
    let refused: BTreeSet<u32> = mapped.refused.iter().map(|(i, _)| *i).collect();
    let mut kept = mapped.rows.iter().peekable();
    let mut out = Vec::new();
    for &i in todo {
        if kept.next_if(|row| row.at == i).is_none() && !refused.contains(&i) {
            out.push(i);
        }
    }
    out
}

/// 更新时间 in microseconds, if it reads as a time.
pub(super) fn business_time(text: &str) -> Option<i64> {
    crate::mapping::values::cn_timestamp(text).ok()?.value.map(|at| at.timestamp_micros())
}

async fn link(
    store: &mut dyn Store,
    lane: &Lane,
    (incoming, mut packed): (Vec<Incoming>, Vec<Packed>),
    (departures, mut before): (&[Departure], HashMap<EntityId, Before>),
    part: &mut RegisterPart,
) -> Result<(), EngineError> {
    let previous: BTreeSet<EntityId> =
        incoming.iter().filter_map(|i| i.previous).chain(departures.iter().map(|d| d.entity)).collect();
    before.retain(|entity, _| previous.contains(entity));
    let unknown: Vec<EntityId> = previous.into_iter().filter(|entity| !before.contains_key(entity)).collect();
    if !unknown.is_empty() {
        before.extend(store.before(&lane.register, &unknown).await?);
    }
    let candidates: Vec<Candidate> = incoming
        .iter()
        .zip(packed.iter_mut())
        .map(|(row, packed)| Candidate {
            keys: std::mem::take(&mut packed.keys),
            sole_home: row.previous.filter(|home| before.get(home).is_some_and(|b| b.claims.len() == 1)),
        })
        .collect();
    let keys: Vec<(usize, Arc<str>)> = candidates
        .iter()
        .flat_map(|c| c.keys.iter().enumerate().filter_map(|(kind, key)| Some((kind, key.clone()?))))
        .collect();
    let known =
        if keys.is_empty() { crate::linking::Known::default() } else { store.known(&lane.register, &keys).await? };
    let first_new = part.next_ids.1;
    let mut resolution = resolve(&candidates, known, first_new);
    part.next_ids.1 = resolution.next_entity;
    let missing = existing_entities(&resolution, first_new, &before);
    before.extend(store.before(&lane.register, &missing).await?);
    let strangers = |before: &Before| before.claims.iter().any(|claim| !lane.survivorship.knows(claim.stream));
    if before.values().any(strangers) {
        return Err(EngineError::NewSource { register: lane.register.clone() });
    }
    part.new_keys = std::mem::take(&mut resolution.new_keys);
    let conflicts = resolution.placements.iter().filter(|placement| placement.conflict).count();
    if conflicts > 0 {
        part.codes.push(("note", "identity:key_conflict".into(), conflicts as u64));
        part.counts.notes += conflicts as u64;
    }
    part.claims = incoming
        .iter()
        .zip(packed)
        .zip(&resolution.placements)
        .map(|((incoming, packed), placement)| {
            ClaimChange::new(&incoming.claim, packed.values, placement.entity, incoming.previous)
        })
        .collect();
    let chunk =
        Chunk { incoming, resolution: &resolution, departures, before, key_fields: &lane.key_fields, first_new };
    part.absorbed = absorb(chunk, &lane.survivorship);
    note_refused_states(lane, part);
    let added: BTreeSet<(usize, &Arc<str>)> = part.new_keys.iter().map(|(kind, value, _)| (*kind, value)).collect();
    part.absorbed.dropped_keys.retain(|(kind, value)| !added.contains(&(*kind, value)));
    Ok(())
}

/// States that may not follow what was before them were not applied; nobody shall think they were.
fn note_refused_states(lane: &Lane, part: &mut RegisterPart) {
    let mut by_field: BTreeMap<usize, u64> = BTreeMap::new();
    for (_, field) in &part.absorbed.refused {
        *by_field.entry(*field).or_default() += 1;
    }
    for (field, n) in by_field {
        part.codes.push(("note", format!("{}:state_refused", lane.field_name(field)), n));
        part.counts.notes += n;
    }
}

fn existing_entities(
    resolution: &Resolution,
    first_new: EntityId,
    before: &HashMap<EntityId, crate::linking::Before>,
) -> Vec<EntityId> {
    let placed = resolution.placements.iter().map(|placement| placement.entity);
    let merged = resolution.merged.iter().flat_map(|(&loser, &winner)| [loser, winner]);
    let wanted: BTreeSet<EntityId> =
        placed.chain(merged).filter(|id| *id < first_new && !before.contains_key(id)).collect();
    wanted.into_iter().collect()
}

/// Refused rows and, in one lane, undecodable ones.
fn set_aside(lane: &Lane, prepared: &Prepared, mapped: &Laid, passage: Passage, part: &mut RegisterPart) {
    let decoded = &prepared.decoded;
    for (i, reasons) in &mapped.refused {
        let i = *i as usize;
        part.quarantined.push(Quarantined {
            register: Some(lane.register.clone()),
            place: decoded.places[i],
            key: Some(prepared.named.keys[i].clone()),
            raw: decoded.raw_row(i).to_vec(),
            cells: Some(cells_json(&decoded.rows, i)),
            reasons: reasons.clone(),
            digest: prepared.named.digests[i],
        });
    }
    if passage.keeps_undecodable {
        part.quarantined.extend(decoded.undecodable.iter().map(|bad| Quarantined {
            register: None,
            place: bad.place,
            key: None,
            raw: bad.raw.clone(),
            cells: None,
            reasons: vec![Reason { column: String::new(), code: bad.code.to_owned(), line: 0 }],
            digest: digest_of(&bad.raw),
        }));
    }
}

fn count(decoded: &Decoded, (mapped, rows): (&Laid, usize), filtered: usize, part: &mut RegisterPart) {
    let mut by_code: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
    for (_, reasons) in &mapped.refused {
        let first: BTreeSet<String> =
            reasons.iter().map(|reason| format!("{}:{}", reason.column, reason.code)).collect();
        for code in first {
            *by_code.entry(("quarantined", code)).or_default() += 1;
        }
    }
    for bad in &decoded.undecodable {
        *by_code.entry(("quarantined", bad.code.to_owned())).or_default() += 1;
    }
    for note in &mapped.notes {
        *by_code.entry(("note", format!("{}:{}", note.column, note.code))).or_default() += 1;
    }
    for (_, column, code) in &decoded.notes {
        *by_code.entry(("note", format!("{column}:{code}"))).or_default() += 1;
    }
    part.codes.extend(by_code.into_iter().map(|((kind, code), n)| (kind, code, n)));
    let counts = &mut part.counts;
    counts.undecodable = decoded.undecodable.len() as u64;
    counts.filtered = filtered as u64 + decoded.dropped;
    counts.quarantined = mapped.refused.len() as u64;
    counts.read = decoded.rows.num_rows() as u64 + counts.undecodable + decoded.dropped;
    counts.notes += (mapped.notes.len() + decoded.notes.len()) as u64;
    counts.retracted = part.departed.len() as u64;
    // Counted on the mapping's side, before linking: the ledger compares it with what linking counts below.
    counts.mapped = rows as u64 + counts.unchanged + counts.superseded;
    for effect in &part.absorbed.effects {
        match effect {
            Effect::New => counts.new += 1,
            Effect::Changed => counts.changed += 1,
            Effect::Unchanged => counts.unchanged += 1,
            Effect::Superseded => counts.superseded += 1,
        }
    }
}

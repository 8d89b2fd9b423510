//! A chunk's claims taken in: what changes in the register because of them.
//!
//! Pure: takes the chunk's claims with the entities that [`super::resolve()`] gave them, and what the store held about
//! the entities they touch; returns the new state of every entity and one outcome per claim. The store writes it down.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Claim, ClaimId, EntityId, Golden, Resolution, Row, Survivorship};
use crate::record::Value;

/// A claim that arrives: new, or in place of an older state of itself.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The claim, with its final id.
    pub claim: Claim,
    /// Its entity before, when it replaces an older state.
    pub previous: Option<EntityId>,
}

/// A claim that is no longer made: its row vanished from a full extract or left the mapping's `where`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    /// Which claim.
    pub claim: ClaimId,
    /// Its entity.
    pub entity: EntityId,
}

/// What the store holds about one touched entity.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// All its claims.
    pub claims: Vec<Claim>,
    /// Its register row and version, if it has one.
    pub row: Option<(Row, i64)>,
    /// Its keys: (key number, value).
    pub keys: Vec<(usize, Arc<str>)>,
}

/// The new state of one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityState {
    /// Which.
    pub id: EntityId,
    /// 1 for a new entity, then counting every change.
    pub version: i64,
    /// Values and their claims.
    pub golden: Golden,
}

/// An entity that is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// Which.
    pub id: EntityId,
    /// Its last version.
    pub version: i64,
    /// The entity it was merged into; `None` when nobody claims it any more.
    pub into: Option<EntityId>,
}

/// A stored claim that belongs to another entity from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Which claim.
    pub claim: ClaimId,
    /// Its entity so far.
    pub from: EntityId,
    /// Its entity.
    pub into: EntityId,
}

/// What a claim did to the register; the ledger counts these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It brought a new entity.
    New,
    /// It changed an entity.
    Changed,
    /// The entity already said so.
    Unchanged,
    /// Other claims win in every field.
    Superseded,
}

/// Everything that a chunk changes in one register.
#[derive(Debug, Default)]
pub struct Absorbed {
    /// New entities, ids ascending.
    pub new: Vec<EntityState>,
    /// Changed entities, ids ascending.
    pub changed: Vec<EntityState>,
    /// Entities whose values stand, but for which other claims now say so; the version stands too.
    pub resourced: Vec<EntityState>,
    /// Entities merged away or no longer claimed.
    pub gone: Vec<Gone>,
    /// Stored claims that now belong to another entity, because theirs was merged.
    pub moved: Vec<Moved>,
    /// Keys that no claim supports any more.
    pub dropped_keys: Vec<(usize, Arc<str>)>,
    /// One per incoming claim.
    pub effects: Vec<Effect>,
    /// Incoming claims (by index) whose state may not follow the one before it, and the field: it was not applied.
    pub refused: Vec<(usize, usize)>,
}

/// What [`absorb`] works on.
pub struct Chunk<'a> {
    /// Claims in row order.
    pub incoming: Vec<Incoming>,
    /// Their placements, in the same order, and the merges.
    pub resolution: &'a Resolution,
    /// Claims that are no longer made.
    pub departures: &'a [Departure],
    /// What the store holds about every existing entity that is touched.
    pub before: HashMap<EntityId, Before>,
    /// Register field index of each key, strongest first.
    pub key_fields: &'a [usize],
    /// The first id that was free before this chunk: entities from here on are new.
    pub first_new: EntityId,
}

/// Works out the new state of every entity the chunk touches.
pub fn absorb(mut chunk: Chunk<'_>, survivorship: &Survivorship) -> Absorbed {
    let mut out = Absorbed::default();
    let mut arrivals: BTreeMap<EntityId, Vec<usize>> = BTreeMap::new();
    for (i, placement) in chunk.resolution.placements.iter().enumerate() {
        arrivals.entry(placement.entity).or_default().push(i);
    }
    let replaced: BTreeSet<ClaimId> = chunk
        .incoming
        .iter()
        .filter(|incoming| incoming.previous.is_some())
        .map(|incoming| incoming.claim.id)
        .chain(chunk.departures.iter().map(|departure| departure.claim))
        .collect();
    move_merged(&mut chunk, &mut out);
    let touched: BTreeSet<EntityId> = arrivals.keys().copied().chain(chunk.before.keys().copied()).collect();
    out.effects = vec![Effect::Unchanged; chunk.incoming.len()];
    for entity in touched {
        let arriving = arrivals.remove(&entity).unwrap_or_default();
        let before = chunk.before.remove(&entity).unwrap_or_default();
        let after = settle(&mut chunk, entity, before, &arriving, (&replaced, survivorship));
        after.record(&chunk, entity, &arriving, &mut out);
    }
    out
}

/// Gives the claims, keys and row history of merged entities to the entity they are.
fn move_merged(chunk: &mut Chunk<'_>, out: &mut Absorbed) {
    for (&loser, &winner) in &chunk.resolution.merged {
        let Some(before) = chunk.before.remove(&loser) else { continue };
        out.moved.extend(before.claims.iter().map(|claim| Moved { claim: claim.id, from: loser, into: winner }));
        if let Some((_, version)) = before.row {
            out.gone.push(Gone { id: loser, version, into: Some(winner) });
        }
        let home = chunk.before.entry(winner).or_default();
        home.claims.extend(before.claims);
        home.keys.extend(before.keys);
    }
}

/// An entity before and after.
struct After {
    previous: Option<(Row, i64)>,
    golden: Option<Golden>,
    dropped_keys: Vec<(usize, Arc<str>)>,
    refused: Vec<(ClaimId, usize)>,
}

fn settle(
    chunk: &mut Chunk<'_>,
    entity: EntityId,
    before: Before,
    arriving: &[usize],
    (replaced, survivorship): (&BTreeSet<ClaimId>, &Survivorship),
) -> After {
    if entity >= chunk.first_new
        && let [only] = arriving
    {
        let golden = Survivorship::only(&mut chunk.incoming[*only].claim);
        return After { previous: None, golden: Some(golden), dropped_keys: Vec::new(), refused: Vec::new() };
    }
    let known = survivorship.refused(&before.claims);
    let known: Vec<(ClaimId, usize, i64)> = known
        .into_iter()
        .filter_map(|(id, field)| Some((id, field, before.claims.iter().find(|claim| claim.id == id)?.updated)))
        .collect();
    let mut claims: Vec<Claim> = before.claims.into_iter().filter(|claim| !replaced.contains(&claim.id)).collect();
    claims.extend(arriving.iter().map(|&i| chunk.incoming[i].claim.clone()));
    let supported = |(kind, value): &(usize, Arc<str>)| {
        let field = chunk.key_fields[*kind];
        claims.iter().any(|claim| matches!(&claim.values[field], Some(Value::Text(text)) if **text == **value))
    };
    let dropped_keys = before.keys.into_iter().filter(|key| !supported(key)).collect();
    let golden = (!claims.is_empty()).then(|| survivorship.merge(&claims));
    // What was refused before and is what it was has been noted.
    let noted = |(id, field): &(ClaimId, usize)| {
        let updated = claims.iter().find(|claim| claim.id == *id).map(|claim| claim.updated);
        updated.is_some_and(|updated| known.contains(&(*id, *field, updated)))
    };
    let refused = survivorship.refused(&claims).into_iter().filter(|refusal| !noted(refusal)).collect();
    After { previous: before.row, golden, dropped_keys, refused }
}

impl After {
    fn record(self, chunk: &Chunk<'_>, entity: EntityId, arriving: &[usize], out: &mut Absorbed) {
        out.dropped_keys.extend(self.dropped_keys);
        let Some(golden) = self.golden else {
            if let Some((_, version)) = self.previous {
                out.gone.push(Gone { id: entity, version, into: None });
            }
            return;
        };
        let same = self.previous.as_ref().is_some_and(|(row, _)| *row == golden.row);
        for (nth, &i) in arriving.iter().enumerate() {
            let claim = &chunk.incoming[i].claim;
            let wins = golden.sources.contains(&Some(claim.id));
            out.refused.extend(self.refused.iter().filter(|(id, _)| *id == claim.id).map(|(_, field)| (i, *field)));
            out.effects[i] = match (&self.previous, wins) {
                (None, _) if nth == 0 => Effect::New,
                (_, false) => Effect::Superseded,
                (_, true) if same => Effect::Unchanged,
                (_, true) => Effect::Changed,
            };
        }
        match self.previous {
            None => out.new.push(EntityState { id: entity, version: 1, golden }),
            Some((_, version)) if same => out.resourced.push(EntityState { id: entity, version, golden }),
            Some((_, version)) => out.changed.push(EntityState { id: entity, version: version + 1, golden }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linking::{Candidate, Known, Origin, resolve};

    fn survivorship() -> Survivorship {
        let register = crate::config::Register {
            name: "r".into(),
            title: String::new(),
            steward: String::new(),
            keys: Vec::new(),
            fields: Vec::new(),
            evidence: crate::config::EvidenceOf::Record,
            bonds: crate::config::Bonds::default(),
        };
        Survivorship::for_width(&register, 2, HashMap::from([(1, ("gs".into(), "a".into()))]))
    }

    fn claim(id: ClaimId, updated: i64, key: &str, name: &str) -> Claim {
        Claim {
            id,
            stream: 1,
            key: format!("row{id}").into(),
            occurrence: 0,
            updated,
            values: vec![Some(Value::Text(key.into())), Some(Value::Text(name.into()))],
            past: Vec::new(),
            origin: Origin { file: 1, row: id, run: 1 },
        }
    }

    fn run(
        incoming: &[Incoming],
        known: Known,
        before: HashMap<EntityId, Before>,
        departures: &[Departure],
    ) -> Absorbed {
        let candidates: Vec<Candidate> = incoming
            .iter()
            .map(|i| Candidate {
                keys: vec![match &i.claim.values[0] {
                    Some(Value::Text(text)) => Some(Arc::from(text.as_str())),
                    _ => None,
                }],
                sole_home: None,
            })
            .collect();
        let resolution = resolve(&candidates, known, 100);
        let incoming = incoming.to_vec();
        let chunk = Chunk { incoming, resolution: &resolution, departures, before, key_fields: &[0], first_new: 100 };
        absorb(chunk, &survivorship())
    }

    #[test]
    fn a_second_row_about_a_new_entity_is_changed_or_superseded() {
        let incoming = [
            Incoming { claim: claim(1, 10, "A", "old"), previous: None },
            Incoming { claim: claim(2, 20, "A", "new"), previous: None },
            Incoming { claim: claim(3, 5, "A", "ancient"), previous: None },
        ];
        let out = run(&incoming, Known::default(), HashMap::new(), &[]);
        assert_eq!(out.effects, [Effect::New, Effect::Changed, Effect::Superseded]);
        assert_eq!(out.new.len(), 1);
        assert_eq!(out.new[0].golden.sources, [Some(2), Some(2)]);
    }

    #[test]
    fn the_last_claim_leaving_ends_the_entity_and_frees_its_key() {
        let stored = claim(1, 10, "A", "x");
        let before =
            Before { row: Some((stored.values.clone(), 3)), keys: vec![(0, "A".into())], claims: vec![stored] };
        let out = run(&[], Known::default(), HashMap::from([(7, before)]), &[Departure { claim: 1, entity: 7 }]);
        assert_eq!(out.gone, [Gone { id: 7, version: 3, into: None }]);
        assert_eq!(out.dropped_keys, [(0, Arc::from("A"))]);
    }

    #[test]
    fn a_changed_claim_raises_the_version_and_an_equal_one_does_not() {
        let stored = claim(1, 10, "A", "x");
        let before =
            Before { row: Some((stored.values.clone(), 3)), keys: vec![(0, "A".into())], claims: vec![stored] };
        let mut known = Known::default();
        known.entity_of.insert((0, "A".into()), 7);
        for (name, effect, version) in [("x", Effect::Unchanged, 3), ("y", Effect::Changed, 4)] {
            let incoming = [Incoming { claim: claim(1, 11, "A", name), previous: Some(7) }];
            let out = run(&incoming, known.clone(), HashMap::from([(7, before.clone())]), &[]);
            let state = out.changed.first().or(out.resourced.first());
            assert_eq!((out.effects[0], state.map(|s| s.version)), (effect, Some(version)), "{name}");
        }
    }
}

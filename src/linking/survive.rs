//! Which claim wins, field by field, when several departments describe one entity (一数一源).
//!
//! Pure: takes an entity's claims and the register's order of sources, returns one register row and, for each
//! field, the claim it came from. Knows no database and no time; the same claims give the same row in any order.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use super::{Claim, ClaimId, Lifecycle, Row, StreamId, certificate_version};
use crate::config::Register;
use crate::record::Value;

/// A register row and where each of its cells came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Golden {
    /// Values in register field order.
    pub row: Row,
    /// Winning claim per field; `None` where nobody claims anything.
    pub sources: Vec<Option<ClaimId>>,
}

/// The order of sources of one register, ready to compare claims.
#[derive(Debug, Clone)]
pub struct Survivorship {
    /// Per field: rank by system; systems not listed come after all that are.
    ranks: Vec<HashMap<String, usize>>,
    /// Stream → (system, dataset).
    streams: HashMap<StreamId, (String, String)>,
    /// Status fields, whose value runs through states instead of being picked.
    lifecycles: Vec<Lifecycle>,
    /// The field with a certificate's identifier, whose higher version supersedes the lower.
    versions: Option<usize>,
}

impl Survivorship {
    /// For this register, whose claims come from these streams (id → system, dataset).
    pub fn new(register: &Register, streams: HashMap<StreamId, (String, String)>) -> Self {
        let ranks = register
            .fields
            .iter()
            .map(|field| field.from.iter().enumerate().map(|(rank, system)| (system.value.clone(), rank)).collect())
            .collect();
        let versions = register.bonds.versions.as_ref();
        let versions = versions.and_then(|name| register.fields.iter().position(|field| field.name == name.value));
        Self { ranks, streams, lifecycles: Lifecycle::all(register), versions }
    }

    /// Whether it is said what this stream is.
    pub fn knows(&self, stream: StreamId) -> bool {
        self.streams.contains_key(&stream)
    }

    /// Whether claims keep what they said before.
    pub fn remembers(&self) -> bool {
        !self.lifecycles.is_empty()
    }

    /// The status fields.
    pub fn status_fields(&self) -> impl Iterator<Item = usize> {
        self.lifecycles.iter().map(|lifecycle| lifecycle.field)
    }

    /// As [`Self::new`], for tests that need fields without catalogue entries.
    #[cfg(test)]
    pub(super) fn for_width(register: &Register, width: usize, streams: HashMap<StreamId, (String, String)>) -> Self {
        Self { ranks: vec![HashMap::new(); width], ..Self::new(register, streams) }
    }

    /// The register row that a single claim makes; its values move there.
    pub fn only(claim: &mut Claim) -> Golden {
        let row = std::mem::take(&mut claim.values);
        let sources = row.iter().map(|value| value.as_ref().map(|_| claim.id)).collect();
        Golden { row, sources }
    }

    /// The register row these claims add up to. Ties go to the later business time, then to the dataset's name, the
    /// source key and the later occurrence, so that nothing depends on the order of arrival.
    pub fn merge(&self, claims: &[Claim]) -> Golden {
        let width = self.ranks.len();
        if let [only] = claims
            && only.past.is_empty()
        {
            return Self::only(&mut only.clone());
        }
        let claims = &self.newest_versions(claims);
        let mut golden = Golden { row: vec![None; width], sources: vec![None; width] };
        for lifecycle in &self.lifecycles {
            if let Some((state, claim)) = self.standing(lifecycle, claims).state {
                golden.row[lifecycle.field] = Some(Value::Text(state.to_owned()));
                golden.sources[lifecycle.field] = Some(claim);
            }
        }
        for field in (0..width).filter(|field| self.status_fields().all(|status| status != *field)) {
            let claimed = claims.iter().filter(|claim| claim.values.get(field).is_some_and(Option::is_some));
            if let Some(winner) = claimed.copied().min_by(|a, b| self.order(field, a, b)) {
                golden.row[field] = winner.values[field].clone();
                golden.sources[field] = Some(winner.id);
            }
        }
        golden
    }

    /// Claims whose present statement about a status field may not follow what was before it, and the field.
    pub fn refused(&self, claims: &[Claim]) -> Vec<(ClaimId, usize)> {
        if self.lifecycles.is_empty() {
            return Vec::new();
        }
        let claims = &self.newest_versions(claims);
        let of = |lifecycle: &Lifecycle| {
            let refused = self.standing(lifecycle, claims).refused.into_iter();
            refused.map(|claim| (claim, lifecycle.field)).collect::<Vec<_>>()
        };
        self.lifecycles.iter().flat_map(of).collect()
    }

    fn standing<'a>(&self, lifecycle: &Lifecycle, claims: &[&'a Claim]) -> super::Standing<'a> {
        let rank = |claim: &Claim| {
            let (system, _) = self.stream(claim.stream);
            self.ranks[lifecycle.field].get(system).copied().unwrap_or(usize::MAX)
        };
        lifecycle.standing(claims, rank)
    }

    /// The claims without those of a lower version of the same certificate.
    fn newest_versions<'a>(&self, claims: &'a [Claim]) -> Vec<&'a Claim> {
        let Some(field) = self.versions else { return claims.iter().collect() };
        let mut newest: HashMap<&str, u32> = HashMap::new();
        for (root, version) in claims.iter().filter_map(|claim| certificate(claim, field)) {
            let known = newest.entry(root).or_default();
            *known = version.max(*known);
        }
        let stands = |claim: &&Claim| certificate(claim, field).is_none_or(|(root, version)| newest[root] == version);
        claims.iter().filter(stands).collect()
    }

    /// `Less` when `a` wins this field over `b`.
    pub fn order(&self, field: usize, a: &Claim, b: &Claim) -> Ordering {
        let (system_a, dataset_a) = self.stream(a.stream);
        let (system_b, dataset_b) = self.stream(b.stream);
        let rank = |system: &str| self.ranks[field].get(system).copied().unwrap_or(usize::MAX);
        (rank(system_a), Reverse(a.updated), system_a, dataset_a, &a.key, Reverse(a.occurrence)).cmp(&(
            rank(system_b),
            Reverse(b.updated),
            system_b,
            dataset_b,
            &b.key,
            Reverse(b.occurrence),
        ))
    }

    fn stream(&self, id: StreamId) -> (&str, &str) {
        self.streams.get(&id).map_or(("", ""), |(system, dataset)| (system, dataset))
    }
}

/// The certificate that a claim is about, without its version, and the version.
fn certificate(claim: &Claim, field: usize) -> Option<(&str, u32)> {
    match claim.values.get(field) {
        Some(Some(Value::Text(id))) => Some(certificate_version(id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linking::Origin;
    use crate::record::Value;

    fn survivorship() -> Survivorship {
        let ranks = vec![HashMap::from([("gs".to_owned(), 0), ("tax".to_owned(), 1)]), HashMap::new()];
        let streams = HashMap::from([
            (1, ("gs".to_owned(), "a".to_owned())),
            (2, ("tax".to_owned(), "b".to_owned())),
            (3, ("science".to_owned(), "c".to_owned())),
        ]);
        Survivorship { ranks, streams, lifecycles: Vec::new(), versions: None }
    }

    fn claim(id: ClaimId, stream: StreamId, updated: i64, values: [Option<&str>; 2]) -> Claim {
        Claim {
            id,
            stream,
            key: format!("k{id}").into(),
            occurrence: 0,
            updated,
            values: values.iter().map(|v| v.map(|t| Value::Text(t.to_owned()))).collect(),
            past: Vec::new(),
            origin: Origin { file: 1, row: id, run: 1 },
        }
    }

    #[test]
    fn a_higher_version_supersedes_a_lower_one_whenever_it_was_updated() {
        let id = |version: u8| format!("1.2.156.3005.2.T.I.S.{version:03}.X");
        let survivorship = Survivorship { versions: Some(0), ..survivorship() };
        let golden = survivorship.merge(&[
            claim(1, 1, 30, [Some(&id(1)), Some("old")]),
            claim(2, 1, 20, [Some(&id(2)), Some("new")]),
            claim(3, 3, 10, [None, Some("other")]),
        ]);
        assert_eq!(golden.sources, vec![Some(2), Some(2)]);
    }

    #[test]
    fn the_listed_source_wins_even_when_older_and_null_never_wins() {
        let golden = survivorship().merge(&[
            claim(1, 3, 30, [Some("science"), Some("s")]),
            claim(2, 2, 20, [Some("tax"), None]),
            claim(3, 1, 10, [None, Some("g")]),
        ]);
        assert_eq!(golden.sources, vec![Some(2), Some(1)]);
    }

    proptest! {
        #[test]
        fn the_order_of_claims_does_not_matter(
            parts in proptest::collection::vec((1_i64..4, 0_i64..3, proptest::option::of(0_u8..3), proptest::option::of(0_u8..3)), 1..7),
            seed in any::<u64>(),
        ) {
            let names = ["x", "y", "z"];
            let pick = |v: Option<u8>| v.map(|n| names[usize::from(n)]);
            let claims: Vec<Claim> = parts.iter().enumerate()
                .map(|(i, (stream, updated, a, b))| claim(i as i64, *stream, *updated, [pick(*a), pick(*b)])).collect();
            let mut shuffled = claims.clone();
            let mut state = seed;
            for i in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                shuffled.swap(i, (state >> 33) as usize % (i + 1));
            }
            prop_assert_eq!(survivorship().merge(&claims), survivorship().merge(&shuffled));
        }
    }
}

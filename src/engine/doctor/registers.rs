//! Register rows and identity keys against the claims that they rest on.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{DoctorReport, Finding};
use crate::config::Register;
use crate::engine::{Engine, EngineError};
use crate::linking::{Before, Claim, EntityId, Survivorship};
use crate::record::Value;

/// Entities compared at a time.
const PAGE: i64 = 2048;

/// A key: its number and value.
type Key = (usize, Arc<str>);

/// What a register's claims are held against.
struct Rules<'a> {
    register: &'a Register,
    survivorship: Survivorship,
    /// Field index of each key, strongest first.
    keys: Vec<usize>,
}

impl Engine {
    pub(super) async fn examine_register(&mut self, name: &str, report: &mut DoctorReport) -> Result<(), EngineError> {
        let register = self.workspace.registers[name].clone();
        let streams = self.store.streams().await?;
        let own: HashMap<_, _> = streams
            .into_iter()
            .filter(|(_, (_, _, into))| into == name)
            .map(|(id, (system, dataset, _))| (id, (system, dataset)))
            .collect();
        let position = |key: &str| register.fields.iter().position(|field| field.name == key);
        let rules = Rules {
            register: &register,
            survivorship: Survivorship::new(&register, own),
            keys: register.keys.iter().filter_map(|key| position(&key.value)).collect(),
        };
        let mut after: EntityId = 0;
        loop {
            let page = self.store.claimed_entities(name, after, PAGE).await?;
            let Some(&last) = page.last() else { return Ok(()) };
            after = last;
            let before = self.store.before(name, &page).await?;
            for entity in page {
                let Some(state) = before.get(&entity) else { continue };
                report.entities += 1;
                report.claims += state.claims.len() as u64;
                for (kind, what) in rules.disagreements(state) {
                    report.found(Finding { kind, subject: name.to_owned(), number: entity, what });
                }
            }
        }
    }
}

impl Rules<'_> {
    /// What of an entity does not agree with its claims, by kind of finding.
    fn disagreements(&self, state: &Before) -> Vec<(&'static str, String)> {
        let Some((row, _)) = &state.row else {
            return vec![("orphan_claim", "claims point at an entity that has no row".into())];
        };
        if state.claims.is_empty() {
            return vec![("register_row", "no claim supports this row".into())];
        }
        let mut found = Vec::new();
        let golden = self.survivorship.merge(&state.claims);
        let fields = self.register.fields.iter().zip(row.iter().zip(&golden.row));
        let differing: Vec<&str> =
            fields.filter(|(_, (stored, derived))| stored != derived).map(|(field, _)| field.name.as_str()).collect();
        if !differing.is_empty() {
            found.push(("register_row", format!("differs from its claims in {}", differing.join(", "))));
        }
        let claimed: BTreeSet<Key> = state.claims.iter().flat_map(|claim| self.keys_of(claim)).collect();
        if state.keys.iter().any(|key| !claimed.contains(key)) {
            found.push(("identity", "a key points at it that no claim makes".into()));
        }
        // A weaker key may name another entity, from which a stronger one keeps this apart; the strongest never does.
        let strongest = state.claims.iter().filter_map(|claim| self.keys_of(claim).next());
        if strongest.into_iter().any(|key| !state.keys.contains(&key)) {
            found.push(("identity", "a key that a claim makes does not point at it".into()));
        }
        found
    }

    /// The keys that a claim makes, strongest first.
    fn keys_of(&self, claim: &Claim) -> impl Iterator<Item = Key> {
        self.keys.iter().enumerate().filter_map(|(kind, &field)| match &claim.values[field] {
            Some(Value::Text(text)) => Some((kind, Arc::from(text.as_str()))),
            _ => None,
        })
    }
}

//! A part's rows in COPY's format, made while the commit before it is still under way.
//!
//! Decides: which rows go into which table. Must not know: connections. Guarantees: nothing is left to be worked out
//! while the server waits.

use std::sync::Arc;

use super::super::table::{RegisterTable, quoted, sources_text};
use super::super::{ChangeSet, ClaimChange, RegisterPart};
use super::copy::{Copied, Rows};
use super::schema::in_registers;
use crate::linking::EntityState;

/// What one part writes by COPY.
pub(super) struct Packed {
    /// New entities, and changed ones as they are now.
    pub(super) entities: [Copied; 2],
    /// Tombstones.
    pub(super) merged: Copied,
    /// The change log.
    pub(super) log: Copied,
    pub(super) claims: Copied,
    /// Identity keys, none of which is stored: only a key that nobody has names an entity for the first time.
    pub(super) keys: Copied,
}

impl Packed {
    /// Packs what part `i` of a change says.
    pub(super) fn of(change: &ChangeSet, part: &RegisterPart, table: &RegisterTable) -> Self {
        let absorbed = &part.absorbed;
        // Only this mapping speaks of a new entity: other fields stay null, and need not be said.
        let mut set = part.layout.fields.clone();
        set.sort_unstable();
        let all: Vec<usize> = (0..table.fields.len()).collect();
        let packing = Packing { change, part, table };
        Self {
            entities: [packing.entities(&absorbed.new, &set), packing.entities(&absorbed.changed, &all)],
            merged: packing.merged(),
            log: packing.log(),
            claims: packing.claims(),
            keys: packing.keys(),
        }
    }
}

struct Packing<'a> {
    change: &'a ChangeSet,
    part: &'a RegisterPart,
    table: &'a RegisterTable,
}

impl Packing<'_> {
    /// Register rows; `fields` are those that can be set.
    fn entities(&self, states: &[EntityState], fields: &[usize]) -> Copied {
        // Texts are as long as in the claims, by and large; numbers and the program's own columns come on top.
        let said: usize = self.part.claims.iter().map(|claim| claim.values.len()).sum();
        let said = if states.len() * 2 < self.part.claims.len() { 0 } else { said };
        let mut rows = Rows::sized(5 + fields.len(), said + states.len() * (70 + 8 * fields.len()));
        for state in states {
            rows.row();
            rows.bigint(state.id);
            rows.bigint(state.version);
            rows.instant(self.change.at);
            rows.bigint(self.change.run);
            rows.text(&sources_text(&self.table.fields, &state.golden.sources));
            for &field in fields {
                rows.value(state.golden.row[field].as_ref());
            }
        }
        let columns: Vec<String> = fields.iter().map(|&field| quoted(&self.table.fields[field].0)).collect();
        let live = in_registers(&self.part.register);
        rows.into_table(format!("{live} (_id, _version, _since, _run, _sources, {})", columns.join(", ")))
    }

    fn merged(&self) -> Copied {
        let mut rows = Rows::new(5);
        for gone in &self.part.absorbed.gone {
            if let Some(into) = gone.into {
                rows.row();
                rows.bigint(gone.id);
                rows.text(&self.part.register);
                rows.bigint(into);
                rows.bigint(self.change.run);
                rows.bigint(self.change.at);
            }
        }
        rows.into_table("merged (entity, register, into_entity, run, at)".into())
    }

    /// The change log: entities that were there before, in entity order, then the new ones, whose ids are all above.
    fn log(&self) -> Copied {
        let absorbed = &self.part.absorbed;
        let mut entries: Vec<(i64, i64, &str)> = Vec::with_capacity(absorbed.changed.len() + absorbed.new.len());
        entries.extend(absorbed.changed.iter().map(|s| (s.id, s.version, "changed")));
        let ended = |g: &crate::linking::Gone| if g.into.is_some() { "merged" } else { "gone" };
        entries.extend(absorbed.gone.iter().map(|g| (g.id, g.version, ended(g))));
        entries.sort_unstable_by_key(|(entity, _, _)| *entity);
        entries.extend(absorbed.new.iter().map(|s| (s.id, s.version, "new")));
        let mut rows = Rows::sized(5, entries.len() * 62 + 32);
        for (entity, version, kind) in entries {
            rows.row();
            rows.instant(self.change.at);
            rows.bigint(entity);
            rows.bigint(version);
            rows.text(kind);
            rows.bigint(self.change.run);
        }
        let change = in_registers(&format!("{}_change", self.part.register));
        rows.into_table(format!("{change} (at, entity, version, kind, run)"))
    }

    fn claims(&self) -> Copied {
        let bytes: usize = self.part.claims.iter().map(|claim| claim.values.len() + claim.key.len() + 140).sum();
        let mut rows = Rows::sized(12, bytes + 32);
        for claim in &self.part.claims {
            let ClaimChange { id, key, occurrence, entity, digest, updated, origin, values, .. } = claim;
            rows.row();
            for n in [*id, self.part.stream] {
                rows.bigint(n);
            }
            rows.text(key);
            let (run, layout) = (self.change.run, self.part.layout.id);
            for n in [*occurrence, *entity, *digest, *updated, origin.file, origin.row, run, layout] {
                rows.bigint(n);
            }
            rows.raw(values);
        }
        let into = "claim (id, stream, key, occurrence, entity, digest, updated, file, row, run, layout, vals)";
        rows.into_table(into.into())
    }

    /// In key order, so that neighbours in the index come one after the other.
    fn keys(&self) -> Copied {
        let field = |kind: usize| self.table.key_ids[kind];
        let mut keys: Vec<(i64, &Arc<str>, i64)> =
            self.part.new_keys.iter().map(|(kind, value, entity)| (field(*kind), value, *entity)).collect();
        keys.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let bytes: usize = keys.iter().map(|(_, value, _)| value.len() + 40).sum();
        let mut rows = Rows::sized(3, bytes + 32);
        for (field, value, entity) in keys {
            rows.row();
            rows.bigint(field);
            rows.text(value);
            rows.bigint(entity);
        }
        rows.into_table("identity (field, value, entity)".into())
    }
}

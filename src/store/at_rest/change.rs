//! What is written: everything that a chunk or a batch brings, encrypted before a database sees it.

use std::sync::Arc;

use super::{AtRestStore, Result};
use crate::store::{ChangeSet, Quarantined, RegisterPart, SealSet};

impl AtRestStore {
    /// Encrypts a chunk in place.
    pub(super) fn close_change(&mut self, change: &mut ChangeSet) -> Result<()> {
        if let Some(cursor) = change.position.as_mut().and_then(|position| position.cursor.as_mut()) {
            *cursor = self.close_place(cursor);
        }
        let run = change.run;
        change.parts.iter_mut().try_for_each(|part| self.close_part(run, part))
    }

    fn close_part(&mut self, run: i64, part: &mut RegisterPart) -> Result<()> {
        let (source, aside) = (self.source(part.stream).clone(), self.aside(&part.dataset).clone());
        let hidden = |key: &Arc<str>| -> Arc<str> { source.encrypt_text(&[], key).into() };
        let hidden_aside = |key: &Arc<str>| -> Arc<str> { aside.encrypt_text(&[], key).into() };
        let register = self.register(&part.register)?;
        for state in part.absorbed.new.iter_mut().chain(&mut part.absorbed.changed) {
            register.close_row(state.id, state.version, &mut state.golden.row);
        }
        for (kind, key) in &mut part.absorbed.dropped_keys {
            *key = register.close_key(*kind, key);
        }
        for (kind, key, _) in &mut part.new_keys {
            *key = register.close_key(*kind, key);
        }
        for claim in &mut part.claims {
            claim.key = hidden(&claim.key);
            claim.digest = self.digests.row(claim.digest);
            claim.values = register.close_claim(&part.layout, (claim.id, run), &claim.values)?;
        }
        for (key, _) in &mut part.gone {
            *key = hidden(key);
        }
        for key in &mut part.healed {
            *key = hidden_aside(key);
        }
        for bad in &mut part.quarantined {
            bad.key = bad.key.as_ref().map(hidden_aside);
            self.close_quarantined(&part.dataset, bad);
        }
        Ok(())
    }

    /// Raw bytes and cells of a row that was set aside, whatever register it was for: nobody knows what is in them.
    fn close_quarantined(&self, dataset: &str, bad: &mut Quarantined) {
        bad.digest = self.digests.row(bad.digest);
        let register = bad.register.as_deref().unwrap_or_default();
        bad.raw = self.quarantine.encrypt(&row_place("raw", dataset, register, bad.digest), &bad.raw);
        if let Some(cells) = &mut bad.cells {
            *cells = self.quarantine.encrypt_text(&row_place("cells", dataset, register, bad.digest), cells);
        }
    }

    /// Encrypts a batch's body, and what the subscriber's records were digested to.
    pub(super) fn close_seal(&self, seal: &mut SealSet) {
        for sent in &mut seal.upserts {
            sent.held.digest = self.digests.hide(sent.held.digest);
        }
        if let Some(batch) = &mut seal.batch {
            batch.body = self.bodies.encrypt(&batch_place(&seal.feed, batch.seq), &batch.body);
        }
    }

    /// A place in a source, or a file's digest: found by what it is.
    pub(super) fn close_place(&self, text: &str) -> String {
        self.places.encrypt_text(&[], text)
    }
}

/// Where a quarantined row stands.
pub(super) fn row_place(part: &str, dataset: &str, register: &str, digest: i64) -> Vec<u8> {
    format!("{part}\n{dataset}\n{register}\n{digest}").into_bytes()
}

/// Where a batch stands.
pub(super) fn batch_place(feed: &str, seq: i64) -> Vec<u8> {
    format!("{feed}\n{seq}").into_bytes()
}

//! What is read back: opened before anybody sees it.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::change::{batch_place, row_place};
use super::register::closed;
use super::{AtRestStore, Result};
use crate::linking::{Claim, EntityId};
use crate::store::columns::{Cells, ColumnBuilder};
use crate::store::{BatchRow, EntityView, FileState, HistoryView, QuarantineView, Snapshot, Store as _, StoreError};

/// Rows looked through at a time.
const PAGE: i64 = 4096;

impl AtRestStore {
    pub(super) fn open_place(&self, stored: &str) -> Result<String> {
        self.places.decrypt_text(&[], stored).map_err(|why| closed("a place in a source", why))
    }

    pub(super) fn open_file(&self, mut state: FileState) -> Result<FileState> {
        if let Some(cursor) = state.position.as_mut().and_then(|position| position.cursor.as_mut()) {
            *cursor = self.open_place(cursor)?;
        }
        Ok(state)
    }

    pub(super) fn open_keys(&self, register: &str, keys: Vec<(usize, Arc<str>)>) -> Result<Vec<(usize, Arc<str>)>> {
        let register = self.register(register)?;
        let mut keys = keys
            .into_iter()
            .map(|(kind, key)| Ok((kind, register.open_key(kind, &key)?)))
            .collect::<Result<Vec<_>>>()?;
        // Ordered by what they say, as a store without encryption has them.
        let mut kinds: Vec<usize> = keys.iter().map(|(kind, _)| *kind).collect();
        kinds.dedup();
        keys.sort_by_cached_key(|(kind, key)| (kinds.iter().position(|known| known == kind), Arc::clone(key)));
        Ok(keys)
    }

    pub(super) fn open_claim(&mut self, register: &str, claim: &mut Claim) -> Result<()> {
        let id = claim.id;
        let key = self.source(claim.stream).decrypt_text(&[], &claim.key);
        claim.key = key.map_err(|why| closed(format_args!("the source key of claim {id}"), why))?.into();
        self.register(register)?.open_claim(claim)
    }

    pub(super) fn open_entity(&self, register: &str, mut view: EntityView) -> Result<EntityView> {
        let register = self.register(register)?;
        view.fields.retain(|(name, ..)| !register.is_index(name));
        for (name, value, _) in &mut view.fields {
            if let Some(stored) = value {
                *stored = register.open_text((view.id, view.version), name, stored)?;
            }
        }
        Ok(view)
    }

    pub(super) fn open_history(&self, register: &str, entity: EntityId, mut view: HistoryView) -> Result<HistoryView> {
        let register = self.register(register)?;
        view.fields.retain(|(name, _)| !register.is_index(name));
        for (name, value) in &mut view.fields {
            if let Some(stored) = value {
                *stored = register.open_text((entity, view.version), name, stored)?;
            }
        }
        Ok(view)
    }

    pub(super) fn open_quarantined(&mut self, mut entry: QuarantineView) -> Result<QuarantineView> {
        let (id, register) = (entry.id, entry.register.clone().unwrap_or_default());
        let broken = |why| closed(format_args!("quarantine entry {id}"), why);
        if let Some(key) = &mut entry.key {
            *key = self.aside(&entry.dataset).decrypt_text(&[], key).map_err(broken)?;
        }
        if !entry.raw.is_empty() {
            let place = row_place("raw", &entry.dataset, &register, entry.digest);
            entry.raw = self.quarantine.decrypt(&place, &entry.raw).map_err(broken)?;
        }
        if let Some(cells) = &mut entry.cells {
            let place = row_place("cells", &entry.dataset, &register, entry.digest);
            *cells = self.quarantine.decrypt_text(&place, cells).map_err(broken)?;
        }
        Ok(entry)
    }

    pub(super) fn open_batches(&self, feed: &str, mut batches: Vec<BatchRow>) -> Result<Vec<BatchRow>> {
        for batch in batches.iter_mut().filter(|batch| !batch.body.is_empty()) {
            let opened = self.bodies.decrypt(&batch_place(feed, batch.seq), &batch.body);
            batch.body = opened.map_err(|why| closed(format_args!("batch {} of feed {feed}", batch.seq), why))?;
        }
        Ok(batches)
    }

    /// A page of register rows: texts become what they stand for.
    pub(super) fn open_page(&self, register: &str, page: Snapshot) -> Result<Snapshot> {
        let register = self.register(register)?;
        let schema = page.rows.schema();
        if !schema.fields().iter().any(|field| register.has(field.name())) {
            return Ok(page);
        }
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for (field, column) in schema.fields().iter().zip(page.rows.columns()) {
            let Some(kind) = register.kind(field.name()) else {
                fields.push(Arc::clone(field));
                columns.push(Arc::clone(column));
                continue;
            };
            let misread = || StoreError::Damaged(format!("register column {}: not a {kind}", field.name()));
            let stored = column.as_string_opt::<i32>().ok_or_else(misread)?;
            let mut opened = ColumnBuilder::new(kind);
            for ((stored, id), version) in stored.iter().zip(&page.ids).zip(&page.versions) {
                let value = stored.map(|stored| register.open_value((*id, *version), field.name(), stored));
                if !opened.value(value.transpose()?) {
                    return Err(misread());
                }
            }
            fields.push(Arc::new(Field::new(field.name(), kind.arrow(), true)));
            columns.push(opened.finish());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(page.ids.len()));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
        Ok(Snapshot { rows: rows.map_err(|error| StoreError::Damaged(error.to_string()))?, ..page })
    }

    /// By the value of any key, then by id.
    pub(super) async fn entity_by_key(&mut self, register: &str, key: &str) -> Result<Option<EntityView>> {
        let kinds = self.register(register)?.keys.len();
        for kind in 0..kinds {
            let asked = (kind, Arc::from(key));
            let known = self.known(register, std::slice::from_ref(&asked)).await?;
            if let Some(entity) = known.entity_of.get(&asked) {
                return self.inner.entity(register, &format!("#{entity}")).await;
            }
        }
        self.inner.entity(register, key).await
    }

    /// Whoever asks for a whole key is answered by its index; any other text is looked for in every row.
    pub(super) async fn find_encrypted(
        &mut self,
        register: &str,
        (field, text): (&str, &str),
        limit: i64,
    ) -> Result<Vec<EntityView>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut ids: Vec<EntityId> = Vec::new();
        if let Some(kind) = self.register(register)?.keys.iter().position(|(name, _)| name == field) {
            let asked = (kind, Arc::from(text));
            ids.extend(self.known(register, std::slice::from_ref(&asked)).await?.entity_of.get(&asked));
        }
        let mut after = if ids.is_empty() { Some(0) } else { None };
        while let Some(from) = after.filter(|_| ids.len() < limit) {
            let page = self.entities_after(register, &[field], from, PAGE).await?;
            if let Some(column) = page.rows.column_by_name(field) {
                let cells = Cells::of(column.as_ref());
                let has = |row: usize| cells.get(row).is_some_and(|value| value.to_text().contains(text));
                ids.extend(page.ids.iter().enumerate().filter(|(row, _)| has(*row)).map(|(_, id)| *id));
            }
            after = page.last;
        }
        let mut views = Vec::new();
        for id in ids.into_iter().take(limit) {
            if let Some(view) = self.inner.entity(register, &format!("#{id}")).await? {
                views.push(self.open_entity(register, view)?);
            }
        }
        Ok(views)
    }
}

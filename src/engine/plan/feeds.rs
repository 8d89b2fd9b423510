//! Feeds that would release otherwise, counted over the register page by page.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Change;
use super::past::{Past, of_feed, owner_of_feed, texts};
use crate::config::{Feed, Register, Workspace};
use crate::engine::{Engine, EngineError};
use crate::record::FieldType;
use crate::share::{Comparing, Direction, FieldChange, RecordChange, Release, Side, in_force};
use crate::store::Surveyed;

/// Entities read at a time.
const PAGE: i64 = 8192;

/// Pseudonyms are compared, never shown: any key will do, as long as both sides have the same.
const ANY_KEY: [u8; 16] = [0; 16];

/// What one feed would release otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct ScopeChange {
    /// Feed.
    pub feed: String,
    /// Who.
    pub subscriber: String,
    /// Register.
    pub register: String,
    /// What becomes of it.
    pub change: Change,
    /// Files that differ from those last released under.
    pub because: Vec<String>,
    /// Fields whose decision is another.
    pub fields: Vec<FieldChange>,
    /// Whether its schema changes: fields come, go or get another type.
    pub schema_changes: bool,
    /// Records; `None` when they cannot be counted, because the register would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordChange>,
}

impl ScopeChange {
    /// Whether its subscriber would get something that it could not get before.
    pub fn exposes(&self) -> bool {
        self.fields.iter().any(|field| field.direction != Direction::Withdrawn)
            || self.records.is_some_and(|records| records.exposed > 0)
    }

    /// Whether a person must look: newly exposed, or another schema for a subscriber that has one.
    pub fn needs_a_person(&self) -> bool {
        self.exposes() || (self.schema_changes && self.change == Change::Changed)
    }

    /// Whether nothing that leaves is otherwise.
    fn is_nothing(&self) -> bool {
        let same = |records: RecordChange| records.exposed == 0 && records.withdrawn == 0;
        self.fields.is_empty() && !self.schema_changes && self.records.is_none_or(same)
    }
}

/// A grant with what it rests on.
struct Grant {
    feed: Feed,
    release: Release,
    in_force: bool,
}

impl Grant {
    fn side(&self) -> Side<'_> {
        Side { feed: &self.feed, release: &self.release, in_force: self.in_force }
    }

    /// What it would send, as the subscriber's schema has it.
    fn schema(&self) -> BTreeMap<&str, FieldType> {
        self.release.fields().collect()
    }
}

impl Engine {
    pub(super) async fn scope_changes(
        &mut self,
        past: &Past,
        stored: &BTreeMap<String, Surveyed>,
    ) -> Result<Vec<ScopeChange>, EngineError> {
        let names: BTreeSet<String> = past.names("feed/").chain(self.workspace.feeds.keys().cloned()).collect();
        let mut changes = Vec::new();
        for name in names {
            let owner = owner_of_feed(&name);
            let now = self.workspace.feeds.get(&name).map(|feed| of_feed(&self.workspace, feed)).unwrap_or_default();
            let because = past.changed(&owner, &now);
            if because.is_empty() {
                continue;
            }
            let before = past.files(&owner).map(|files| self.workspace.with_texts(&texts(files)));
            let before = match &before {
                Some(workspace) => self.grant(workspace, &name)?,
                None => None,
            };
            let after = self.grant(&self.workspace, &name)?;
            changes.extend(self.scope_change((&before, &after), because, stored).await?);
        }
        changes.retain(|change| change.change != Change::Changed || !change.is_nothing());
        Ok(changes)
    }

    /// The grant of this name in some definitions.
    fn grant(&self, workspace: &Workspace, name: &str) -> Result<Option<Grant>, EngineError> {
        let Some(feed) = workspace.feeds.get(name) else { return Ok(None) };
        let Some(register) = workspace.registers.get(&feed.register.value) else { return Ok(None) };
        let today = self.today();
        let release = Release::compile(feed, register, &workspace.codes, today).map_err(EngineError::Definitions)?;
        Ok(Some(Grant {
            feed: feed.clone(),
            release: release.with_pseudonym_key(&ANY_KEY),
            in_force: in_force(feed, today).is_ok(),
        }))
    }

    async fn scope_change(
        &mut self,
        (before, after): (&Option<Grant>, &Option<Grant>),
        because: Vec<String>,
        stored: &BTreeMap<String, Surveyed>,
    ) -> Result<Option<ScopeChange>, EngineError> {
        let Some(known) = after.as_ref().or(before.as_ref()) else { return Ok(None) };
        let register = known.feed.register.value.clone();
        let mut comparing = Comparing::new(before.as_ref().map(Grant::side), after.as_ref().map(Grant::side));
        let moved = before.as_ref().is_some_and(|before| before.feed.register.value != register);
        let countable = !moved && self.surveyed(&register, stored, before.as_ref()).await?;
        if countable {
            self.compare_rows(&register, &mut comparing).await?;
        }
        let schema = |grant: &Option<Grant>| grant.as_ref().map(|grant| format!("{:?}", grant.schema()));
        Ok(Some(ScopeChange {
            feed: known.feed.name.clone(),
            subscriber: known.feed.subscriber.clone(),
            register,
            change: match (before, after) {
                (None, _) => Change::New,
                (_, None) => Change::Removed,
                _ => Change::Changed,
            },
            because,
            schema_changes: before.is_some() && schema(before) != schema(after),
            records: countable.then_some(comparing.records),
            fields: comparing.fields,
        }))
    }

    /// Whether the register's rows can be read for both sides.
    async fn surveyed(
        &mut self,
        register: &str,
        stored: &BTreeMap<String, Surveyed>,
        before: Option<&Grant>,
    ) -> Result<bool, EngineError> {
        match stored.get(register) {
            Some(stored) => Ok(stored.refused.is_none()),
            // The register's file went with the feed: what is stored is read as it is.
            None => {
                let Some(before) = before else { return Ok(false) };
                let bare = Register {
                    name: before.feed.register.value.clone(),
                    title: String::new(),
                    steward: String::new(),
                    keys: Vec::new(),
                    fields: Vec::new(),
                    evidence: crate::config::EvidenceOf::Record,
                    bonds: crate::config::Bonds::default(),
                };
                let surveyed = self.store.survey(&[&bare]).await?;
                Ok(surveyed.iter().any(|stored| !stored.fields.is_empty()))
            }
        }
    }

    async fn compare_rows(&mut self, register: &str, comparing: &mut Comparing<'_>) -> Result<(), EngineError> {
        let known = self.store.streams().await?.values().any(|(_, _, into)| into == register);
        if !known {
            return Ok(()); // nothing ever went into it, and there may be no table
        }
        let mut after = 0;
        loop {
            self.check_stop()?;
            let page = self.store.entities_after(register, &comparing.reads(), after, PAGE).await?;
            let Some(last) = page.last else { return Ok(()) };
            comparing.count(&page.rows);
            after = last;
        }
    }
}

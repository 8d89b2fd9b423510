//! A few rows that would be added, changed or removed, field by field, with masked values.

use serde::Serialize;

use crate::config::{Feed, Field};
use crate::engine::{Engine, EngineError};
use crate::linking::{EntityId, Row};
use crate::record::Value;
use crate::share::glimpse;
use crate::store::RegisterPart;

/// Rows shown of each kind and register.
const SHOWN: usize = 3;

/// One row that would be otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// `added`, `changed`, `removed`.
    pub change: &'static str,
    /// Entity; none for one that would be added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<EntityId>,
    /// Fields that would be otherwise.
    pub fields: Vec<SampleField>,
}

/// One field of it.
#[derive(Debug, Clone, Serialize)]
pub struct SampleField {
    /// Field.
    pub field: String,
    /// Masked; none for null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Masked; none for null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Engine {
    /// Adds what a chunk would do to the samples of its register, as long as there are few.
    pub(super) async fn sample(&mut self, part: &RegisterPart, samples: &mut Vec<Sample>) -> Result<(), EngineError> {
        let left = |samples: &[Sample], kind| SHOWN.saturating_sub(samples.iter().filter(|s| s.change == kind).count());
        let (added, changed) = (left(samples, "added"), left(samples, "changed"));
        let removed = left(samples, "removed");
        let changing: Vec<(EntityId, &Row)> =
            part.absorbed.changed.iter().take(changed).map(|state| (state.id, &state.golden.row)).collect();
        let going: Vec<EntityId> =
            part.absorbed.gone.iter().filter(|gone| gone.into.is_none()).take(removed).map(|gone| gone.id).collect();
        let known: Vec<EntityId> = changing.iter().map(|(id, _)| *id).chain(going.iter().copied()).collect();
        let before = self.store.before(&part.register, &known).await?;
        let row_of = |id: &EntityId| before.get(id).and_then(|before| before.row.clone()).map(|(row, _)| row);
        let view = View::new(self, &part.register);
        for state in part.absorbed.new.iter().take(added) {
            samples.push(view.sample("added", None, (&Row::new(), &state.golden.row)));
        }
        for (id, after) in changing {
            let before = row_of(&id).unwrap_or_default();
            samples.push(view.sample("changed", Some(id), (&before, after)));
        }
        for id in going {
            let before = row_of(&id).unwrap_or_default();
            samples.push(view.sample("removed", Some(id), (&before, &Row::new())));
        }
        Ok(())
    }
}

/// How values of a register may be seen.
struct View<'a> {
    fields: &'a [Field],
    feeds: Vec<&'a Feed>,
}

impl<'a> View<'a> {
    fn new(engine: &'a Engine, register: &str) -> Self {
        let fields = engine.workspace.registers.get(register).map_or(&[][..], |register| &register.fields);
        let feeds = engine.workspace.feeds.values().filter(|feed| feed.register.value == register).collect();
        Self { fields, feeds }
    }

    fn sample(&self, change: &'static str, entity: Option<EntityId>, (before, after): (&Row, &Row)) -> Sample {
        let cell = |row: &Row, i: usize| row.get(i).cloned().flatten();
        let seen = |field: &Field, value: &Option<Value>| {
            value.as_ref().map(|value| glimpse(field, self.feeds.iter().copied(), value))
        };
        let fields = self.fields.iter().enumerate().filter_map(|(i, field)| {
            let (was, is) = (cell(before, i), cell(after, i));
            let differs = was != is;
            differs.then(|| SampleField {
                field: field.name.clone(),
                before: seen(field, &was),
                after: seen(field, &is),
            })
        });
        Sample { change, entity, fields: fields.collect() }
    }
}

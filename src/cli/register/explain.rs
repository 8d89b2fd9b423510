//! `huiliu register explain`: from every cell back to claim, file, row and mapping line, and forward to every feed.
//!
//! Decides nothing: survivorship chose the winners when the claims were merged, and release decides under each grant;
//! this only tells. Guarantees: the reasons shown are those the same code would give today.

mod text;

use std::collections::HashMap;

use serde::Serialize;

use super::super::table::rfc3339;
use super::super::{Context, named, purpose};
use super::{Asked, look_up};
use crate::config::{DatasetRef, Feed, Field, Register, Workspace};
use crate::engine::{Engine, EngineError};
use crate::linking::{StreamId, Survivorship};
use crate::mapping::{CompiledMapping, Lineage, MappingSource};
use crate::share::{FieldDecision, Release, in_force};
use crate::store::{ClaimView, EntityView};

/// Everything known about one entity's values.
#[derive(Debug, Serialize)]
struct Explanation {
    register: String,
    entity: i64,
    version: i64,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_from: Option<i64>,
    fields: Vec<Explained>,
    feeds: Vec<Carried>,
}

/// One field.
#[derive(Debug, Serialize)]
struct Explained {
    field: String,
    title: String,
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    winner: Option<Said>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    losers: Vec<Lost>,
    /// Feeds of the register and what each does with this field.
    feeds: Vec<Shared>,
}

impl Explained {
    /// Hides every value that is there; says whether there was one.
    fn hide(&mut self) -> bool {
        let said = self.winner.iter_mut().chain(self.losers.iter_mut().map(|lost| &mut lost.said));
        let values = said.map(|said| &mut said.value).chain(&mut self.value);
        let mut hidden = false;
        for value in values {
            purpose::HIDDEN.clone_into(value);
            hidden = true;
        }
        hidden
    }
}

/// What one claim says about one field.
#[derive(Debug, Serialize)]
struct Said {
    claim: i64,
    /// `system.dataset`.
    by: String,
    department: String,
    value: String,
    /// Business time 更新时间.
    updated: String,
    file: String,
    /// Data row of that file, from 1.
    row: i64,
    run: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<Mapped>,
    #[serde(skip)]
    micros: i64,
}

/// The mapping that made it.
#[derive(Debug, Clone, Serialize)]
struct Mapped {
    file: String,
    line: u32,
    expression: String,
    columns: Vec<String>,
    /// Version of the mapping as it is now.
    version: String,
    /// Whether definitions changed after the claim was made, so that the version may be a later one.
    changed_since: bool,
}

/// A claim that lost, and why.
#[derive(Debug, Serialize)]
struct Lost {
    #[serde(flatten)]
    said: Said,
    why: String,
}

/// What a feed does with a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Shared {
    feed: String,
    /// `released`, `masked`, `withheld`.
    decision: &'static str,
    /// How it is masked, or why it is withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<String>,
}

/// A feed of the register and what its subscriber holds of this entity.
#[derive(Debug, Serialize)]
struct Carried {
    feed: String,
    subscriber: String,
    /// Why the grant releases nothing now, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<Held>,
}

#[derive(Debug, Serialize)]
struct Held {
    version: i64,
    batch: i64,
}

/// Prints the explanation of one entity, or of one of its fields.
pub(super) async fn run(
    engine: &mut Engine,
    asked: Asked<'_>,
    only: Option<&str>,
    context: &Context,
) -> anyhow::Result<()> {
    if let Some(field) = only {
        named::field(named::register(engine.workspace(), asked.register)?, field)?;
    }
    let (register, entity) = look_up(engine, "register.explain", asked, context).await?;
    // Of one moment: a value and the claims that it comes from.
    engine.store().hold_still().await?;
    let explained = explain(engine, &register, &entity, context).await;
    engine.store().move_on().await?;
    let (entity, mut explanation) = explained?;
    if let Some(field) = only {
        explanation.fields.retain(|explained| explained.field == field);
    }
    let mut hidden = false;
    let closed = |field: &&mut Explained| !purpose::opens(asked.why, register.field(&field.field));
    for field in explanation.fields.iter_mut().filter(closed) {
        hidden |= field.hide();
    }
    purpose::hint(hidden, context)?;
    if context.json {
        return Ok(context.print_json(&explanation)?);
    }
    let head = super::heading(engine.workspace(), &register, &entity);
    Ok(context.print(&(head + &text::text(&explanation, engine.workspace().installation.zone)))?)
}

async fn explain(
    engine: &mut Engine,
    register: &Register,
    found: &EntityView,
    context: &Context,
) -> anyhow::Result<(EntityView, Explanation)> {
    let now = named::entity(engine.store(), register, &format!("#{}", found.id)).await?;
    let entity = EntityView { merged_from: found.merged_from, ..now };
    let claims = engine.store().claims(&register.name, entity.id).await?;
    let streams = engine.store().streams().await?;
    let holders = engine.store().holders(entity.id).await?;
    let workspace = engine.workspace();
    let feeds = feeds(workspace, register, context)?;
    let into_register = streams.into_iter().filter(|(_, (.., into))| *into == register.name);
    let sources = into_register.map(|(id, (system, dataset, _))| (id, (system, dataset))).collect();
    let origins = Origins::new(workspace, register, &claims, context);
    let told = Told { register, claims: &claims, sources, origins };
    let fields = entity.fields.iter().zip(&register.fields).enumerate();
    let fields = fields.map(|(i, ((_, value, winner), field))| Explained {
        field: field.name.clone(),
        title: field.title.clone(),
        value: value.clone(),
        winner: winner.and_then(|id| told.winner(id, field)),
        losers: winner.map(|id| told.losers(id, i, field)).unwrap_or_default(),
        feeds: feeds.iter().filter_map(|feed| feed.share(&field.name)).collect(),
    });
    let fields = fields.collect();
    let feeds = feeds.iter().map(|feed| {
        let held = holders.iter().find(|(name, ..)| *name == feed.feed.name);
        Carried {
            feed: feed.feed.name.clone(),
            subscriber: feed.feed.title.clone().unwrap_or_else(|| feed.feed.subscriber.clone()),
            refused: feed.refused.clone(),
            holds: held.map(|(_, version, batch)| Held { version: *version, batch: *batch }),
        }
    });
    let explanation = Explanation {
        register: register.name.clone(),
        entity: entity.id,
        version: entity.version,
        since: rfc3339(entity.since),
        merged_from: entity.merged_from,
        fields,
        feeds: feeds.collect(),
    };
    Ok((entity, explanation))
}

/// A feed of the register with its decisions.
struct Granted<'a> {
    feed: &'a Feed,
    refused: Option<String>,
    decisions: Vec<(String, FieldDecision)>,
}

fn feeds<'a>(
    workspace: &'a Workspace,
    register: &Register,
    context: &Context,
) -> Result<Vec<Granted<'a>>, EngineError> {
    let today = context.clock.today(workspace.installation.zone);
    let own = workspace.feeds.values().filter(|feed| feed.register.value == register.name);
    own.map(|feed| {
        let release = Release::compile(feed, register, &workspace.codes, today).map_err(EngineError::Definitions)?;
        Ok(Granted {
            feed,
            refused: in_force(feed, today).err().map(|why| why.to_string()),
            decisions: release.decisions().iter().map(|(field, decision)| (field.clone(), decision.clone())).collect(),
        })
    })
    .collect()
}

impl Granted<'_> {
    fn share(&self, field: &str) -> Option<Shared> {
        let (_, decision) = self.decisions.iter().find(|(name, _)| name == field)?;
        let (decision, how) = match decision {
            FieldDecision::Released => ("released", None),
            FieldDecision::Masked(how) => ("masked", Some(how.to_string())),
            FieldDecision::Withheld(why) => ("withheld", Some(why.to_string())),
        };
        Some(Shared { feed: self.feed.name.clone(), decision, how })
    }
}

/// What the claims of one entity say.
struct Told<'a> {
    register: &'a Register,
    claims: &'a [ClaimView],
    sources: HashMap<StreamId, (String, String)>,
    origins: Origins<'a>,
}

impl Told<'_> {
    fn winner(&self, id: i64, field: &Field) -> Option<Said> {
        self.claims.iter().find(|claim| claim.id == id).and_then(|claim| self.said(claim, field))
    }

    /// Claims that say something about the field and did not win it, the nearest to winning first.
    fn losers(&self, winner: i64, index: usize, field: &Field) -> Vec<Lost> {
        let survivorship = Survivorship::new(self.register, self.sources.clone());
        let mut losers: Vec<&ClaimView> = self.claims.iter().filter(|claim| claim.id != winner).collect();
        losers.sort_by(|a, b| match (&a.claim, &b.claim) {
            (Some(a), Some(b)) => survivorship.order(index, a, b),
            _ => a.id.cmp(&b.id),
        });
        let winner = self.claims.iter().find(|claim| claim.id == winner);
        let lost = losers.into_iter().filter_map(|claim| {
            let said = self.said(claim, field)?;
            let why = winner.map_or_else(String::new, |winner| why_lost(field, winner, claim));
            Some(Lost { said, why })
        });
        lost.collect()
    }

    fn said(&self, claim: &ClaimView, field: &Field) -> Option<Said> {
        let (_, value) = claim.fields.iter().find(|(name, _)| *name == field.name)?;
        Some(Said {
            claim: claim.id,
            by: format!("{}.{}", claim.system, claim.dataset),
            department: self.origins.department(&claim.system),
            value: value.clone(),
            updated: rfc3339(claim.updated),
            file: claim.file.clone(),
            row: claim.row,
            run: claim.run,
            mapping: self.origins.mapping(claim, &field.name),
            micros: claim.updated,
        })
    }
}

/// The first difference that counted, in the order in which survivorship looks.
fn why_lost(field: &Field, winner: &ClaimView, loser: &ClaimView) -> String {
    let rank = |system: &str| field.from.iter().position(|listed| listed.value == system);
    let (first, second) = (rank(&winner.system), rank(&loser.system));
    if first != second && field.states.is_none() {
        return match second {
            Some(_) => format!("来源次序 source order: {} stands before {}", winner.system, loser.system),
            None => format!("来源次序 source order: {} is listed, {} is not", winner.system, loser.system),
        };
    }
    if field.states.is_some() && loser.updated > winner.updated {
        return "状态机 states: it may not follow what was before it, or is about an earlier issue".to_owned();
    }
    match loser.updated.cmp(&winner.updated) {
        std::cmp::Ordering::Less => "较旧 older".to_owned(),
        _ if (&winner.system, &winner.dataset) != (&loser.system, &loser.dataset) => {
            "同时 same time; the dataset's name decides".to_owned()
        }
        _ => "同时 same time; the source's own key decides".to_owned(),
    }
}

/// Where the mapping files set each field.
struct Origins<'a> {
    workspace: &'a Workspace,
    register: &'a Register,
    digest: String,
    lineages: HashMap<(String, String), Vec<Lineage>>,
}

impl<'a> Origins<'a> {
    fn new(workspace: &'a Workspace, register: &'a Register, claims: &[ClaimView], context: &Context) -> Self {
        let today = context.clock.today(workspace.installation.zone);
        let mut lineages = HashMap::new();
        for claim in claims {
            let from = DatasetRef { system: claim.system.clone(), dataset: claim.dataset.clone() };
            // A mapping that is gone or does not compile now leaves its claims without a line to point at.
            let lineage = MappingSource::find(workspace, &from, &register.name, today)
                .and_then(|source| CompiledMapping::compile(&source).ok())
                .map(|mapping| mapping.lineage().to_vec());
            lineages.entry((from.system, from.dataset)).or_insert_with(|| lineage.unwrap_or_default());
        }
        Self { workspace, register, digest: workspace.digest(), lineages }
    }

    fn department(&self, system: &str) -> String {
        self.workspace.connectors.get(system).map_or_else(String::new, |connector| connector.department.clone())
    }

    fn mapping(&self, claim: &ClaimView, field: &str) -> Option<Mapped> {
        let (system, dataset, register) = (&claim.system, &claim.dataset, &self.register.name);
        let key = (system.clone(), dataset.clone());
        let line = self.lineages.get(&key)?.iter().find(|line| line.field == field)?;
        let file = self.workspace.mappings.get(&(system.clone(), dataset.clone(), register.clone()))?;
        let digest = self.workspace.mapping_digest(system, dataset, register)?;
        Some(Mapped {
            file: file.file.clone(),
            line: line.line,
            expression: line.expression.clone(),
            columns: line.columns.clone(),
            version: digest.chars().take(16).collect(),
            changed_since: claim.mapping != self.digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{At, ShareClass};
    use crate::error::Place;
    use crate::record::FieldType;

    fn field(from: &[&str]) -> Field {
        let place = Place::new("mappings/registers/enterprise.yaml", 1, 1);
        Field {
            name: "name".into(),
            place: place.clone(),
            title: "名称".into(),
            kind: FieldType::Text,
            required: false,
            share: ShareClass::Unconditional,
            level: 1,
            condition: None,
            basis: None,
            rule: None,
            from: from.iter().map(|s| At { value: (*s).to_owned(), place: place.clone() }).collect(),
            states: None,
        }
    }

    fn claim(system: &str, dataset: &str, updated: i64) -> ClaimView {
        ClaimView {
            id: 1,
            stream: 1,
            system: system.into(),
            dataset: dataset.into(),
            updated,
            file: "a.csv".into(),
            row: 1,
            run: 1,
            mapping: String::new(),
            fields: Vec::new(),
            claim: None,
        }
    }

    #[test]
    fn a_loser_is_told_the_first_thing_that_counted() {
        let listed = field(&["gs", "tax"]);
        let check = |winner: (&str, &str, i64), loser: (&str, &str, i64), expect: &str| {
            let why = why_lost(&listed, &claim(winner.0, winner.1, winner.2), &claim(loser.0, loser.1, loser.2));
            assert!(why.contains(expect), "{winner:?} over {loser:?}: {why}");
        };
        check(("gs", "a", 1), ("tax", "b", 9), "gs stands before tax");
        check(("tax", "b", 1), ("science", "c", 9), "tax is listed, science is not");
        check(("gs", "a", 9), ("gs", "z", 1), "older");
        check(("gs", "a", 9), ("gs", "z", 9), "dataset's name");
        check(("gs", "a", 9), ("gs", "a", 9), "own key");
    }
}

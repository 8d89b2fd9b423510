//! Drift (结构变化): what a source offers against the contract, and against what it offered before.
//!
//! Decides: whether rows of a changed shape are taken, wait for a person, or never. Must not know: how rows are read.
//! Guarantees: every shape that was ever seen is kept with its time; a lost key, time or cursor column is never passed by.

use chrono::DateTime;
use serde::Serialize;

use super::flow::Flow;
use super::run::Held;
use super::{Engine, EngineError};
use crate::config::{Dataset, DriftPolicy, Extract};
use crate::decode::Header;
use crate::error::Problem;
use crate::store::{OfferedColumn, ShapeView};

/// How what is offered differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Contract columns that are not there.
    pub lost: Vec<String>,
    /// Columns that nobody contracted.
    pub new: Vec<String>,
    /// Columns whose type is another than when rows were last taken: name, was, is.
    pub retyped: Vec<(String, String, String)>,
}

/// What a difference means for the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// They are taken.
    Goes,
    /// They wait until a person approves; code and message.
    Waits(String),
    /// They wait until the contract says otherwise.
    Stops(String),
}

/// A dataset whose source changed.
#[derive(Debug, Clone, Serialize)]
pub struct Drifted {
    /// `system.dataset`.
    pub dataset: String,
    /// The present version of its shape, and all earlier ones, newest first.
    pub versions: Vec<ShapeView>,
    /// Against contract and last use.
    #[serde(flatten)]
    pub difference: Difference,
    /// `fits`, `accepted`, `ignored`, `approved`, `waits`, `stops`.
    pub state: &'static str,
    /// Code and message, where rows wait.
    pub why: Option<String>,
}

impl Difference {
    fn of(dataset: &Dataset, versions: &[ShapeView]) -> Self {
        let Some((present, earlier)) = versions.split_first() else { return Self::default() };
        let offered = |name: &str| present.columns.iter().find(|column| column.name == name);
        let contract: Vec<&str> = dataset.columns.iter().map(|column| column.name.as_str()).collect();
        let before = earlier.iter().find(|shape| shape.used).filter(|_| !present.used);
        let retyped = before.into_iter().flat_map(|before| &before.columns).filter_map(|was| {
            let (was_kind, is_kind) = (was.kind.clone()?, offered(&was.name)?.kind.clone()?);
            (was_kind != is_kind).then(|| (was.name.clone(), was_kind, is_kind))
        });
        Self {
            lost: contract.iter().filter(|name| offered(name).is_none()).map(|name| (*name).to_owned()).collect(),
            new: present
                .columns
                .iter()
                .map(|c| &c.name)
                .filter(|name| !contract.contains(&&***name))
                .cloned()
                .collect(),
            retyped: retyped.collect(),
        }
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn answer(&self, dataset: &Dataset, versions: &[ShapeView]) -> Answer {
        let vital: Vec<&str> = self.lost.iter().map(String::as_str).filter(|name| is_vital(dataset, name)).collect();
        if !vital.is_empty() {
            return Answer::Stops(format!(
                "HL0513 the source no longer has what rows are told apart by: {}",
                vital.join(", ")
            ));
        }
        let retyped = || {
            let each = self.retyped.iter().map(|(name, was, is)| format!("{name} ({was} → {is})"));
            each.collect::<Vec<_>>().join(", ")
        };
        let found = [
            (
                dataset.drift.lost_column,
                self.lost.is_empty(),
                "HL0510 contracted column(s) are not in the file: ",
                self.lost.join(", "),
            ),
            (
                dataset.drift.new_column,
                self.new.is_empty(),
                "HL0511 the file has column(s) that nobody contracted: ",
                self.new.join(", "),
            ),
            (dataset.drift.changed_type, self.retyped.is_empty(), "HL0514 column(s) changed their type: ", retyped()),
        ];
        let since = versions.first().filter(|shape| shape.version > 1).map(|shape| day(shape.since));
        let since = since.map(|day| format!(" (since {day})")).unwrap_or_default();
        let told = |policy| {
            let mut of = found.iter().filter(|(asked, none, ..)| *asked == policy && !none);
            of.next().map(|(_, _, words, names)| format!("{words}{names}{since}"))
        };
        let approved = versions.first().is_some_and(|shape| shape.approved.is_some());
        match (told(DriftPolicy::Freeze), told(DriftPolicy::Approve)) {
            (Some(why), _) => Answer::Stops(why),
            (None, Some(why)) if !approved => Answer::Waits(why),
            _ => Answer::Goes,
        }
    }
}

/// Key, time and cursor: without them a row cannot be told from another, or an old one from a new one.
fn is_vital(dataset: &Dataset, name: &str) -> bool {
    let cursor = match &dataset.extract {
        Extract::Cursor { column, .. } => Some(column),
        _ => None,
    };
    dataset.key.iter().any(|key| key.value == name) || cursor.is_some_and(|column| column.value == name)
}

/// A day, for people.
fn day(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).map_or_else(String::new, |at| at.format("%Y-%m-%d").to_string())
}

impl Drifted {
    fn of(name: &str, dataset: &Dataset, versions: Vec<ShapeView>) -> Self {
        let difference = Difference::of(dataset, &versions);
        let approved = versions.first().is_some_and(|shape| shape.approved.is_some());
        let ignored = |policy: DriftPolicy| policy == DriftPolicy::Ignore;
        let (state, why) = match difference.answer(dataset, &versions) {
            Answer::Stops(why) => ("stops", Some(why)),
            Answer::Waits(why) => ("waits", Some(why)),
            Answer::Goes if difference.is_none() => ("fits", None),
            Answer::Goes if approved => ("approved", None),
            Answer::Goes if ignored(dataset.drift.new_column) && difference.lost.is_empty() => ("ignored", None),
            Answer::Goes => ("accepted", None),
        };
        Self { dataset: name.to_owned(), versions, difference, state, why }
    }
}

impl Engine {
    /// Keeps what a source offers; says whether its rows wait. `accepted`: a person looked and takes them once, as far as
    /// a person may.
    pub(super) async fn drift(
        &mut self,
        flow: &Flow,
        header: &Header,
        accepted: bool,
    ) -> Result<Option<Held>, EngineError> {
        let Some(columns) = offered(header) else { return Ok(None) };
        let (dataset, at) = (flow.from.to_string(), self.now());
        let versions = self.store.note_shape(&dataset, &columns, at).await?;
        let Some(present) = versions.first().cloned() else { return Ok(None) };
        let difference = Difference::of(&flow.dataset, &versions);
        if present.since == at && present.version > 1 {
            let detail = format!("{dataset} version {}: {}", present.version, words(&difference));
            self.store.audit(at, "drift", &detail).await?;
        }
        let held = match difference.answer(&flow.dataset, &versions) {
            Answer::Stops(why) if why.starts_with("HL0513") => Some(why),
            Answer::Waits(why) | Answer::Stops(why) if !accepted => Some(why),
            _ => None,
        };
        if held.is_none() && !present.used {
            self.store.use_shape(&dataset, present.version).await?;
        }
        Ok(held.map(Held))
    }

    /// The same, with nothing written.
    pub(super) async fn would_drift(&mut self, flow: &Flow, header: &Header) -> Result<Option<Held>, EngineError> {
        let Some(columns) = offered(header) else { return Ok(None) };
        let dataset = flow.from.to_string();
        let mut versions = self.store.shapes(Some(&dataset)).await?;
        if versions.first().is_none_or(|present| !crate::store::same_shape(&present.columns, &columns)) {
            let version = versions.first().map_or(1, |present| present.version + 1);
            let at = self.now();
            let present =
                ShapeView { dataset, version, columns, since: at, last: at, used: false, approved: None, why: None };
            versions.insert(0, present);
        }
        Ok(match Difference::of(&flow.dataset, &versions).answer(&flow.dataset, &versions) {
            Answer::Waits(why) | Answer::Stops(why) => Some(Held(why)),
            Answer::Goes => None,
        })
    }

    /// What every dataset that was ever read offers now, against its contract.
    pub async fn drifts(&mut self) -> Result<Vec<Drifted>, EngineError> {
        let mut all = Vec::new();
        let mut versions = self.store.shapes(None).await?.into_iter().peekable();
        while let Some(first) = versions.next() {
            let name = first.dataset.clone();
            let mut of_it = vec![first];
            while let Some(next) = versions.next_if(|shape| shape.dataset == name) {
                of_it.push(next);
            }
            if let Some(dataset) = self.contracted(&name) {
                all.push(Drifted::of(&name, dataset, of_it));
            }
        }
        Ok(all)
    }

    /// One of them.
    pub async fn drifted(&mut self, name: &str) -> Result<Drifted, EngineError> {
        let all = self.drifts().await?;
        let known: Vec<String> = all.iter().map(|drifted| drifted.dataset.clone()).collect();
        all.into_iter().find(|drifted| drifted.dataset == name).ok_or_else(|| {
            let problem = Problem::error("HL0515", format!("nothing was read of a dataset \"{name}\" yet"));
            refused(problem.did_you_mean(name, known.iter().map(String::as_str)))
        })
    }

    /// A person approves of what a dataset offers now; the next run takes it.
    pub async fn approve_drift(&mut self, name: &str, why: &str, by: &str) -> Result<Drifted, EngineError> {
        let drifted = self.drifted(name).await?;
        match (drifted.state, drifted.why, drifted.versions.first()) {
            ("waits", _, Some(present)) => {
                let at = self.now();
                self.store.approve_shape(name, present.version, why, at).await?;
                let detail = format!("{name} version {}: {why}, by {by}", present.version);
                self.store.audit(at, "drift.approve", &detail).await?;
                self.drifted(name).await
            }
            ("stops", why, _) => {
                let message = format!("{name} cannot be approved as it is: {}", why.unwrap_or_default());
                let hint = "change the contract in connectors/, and the mappings that use the column";
                Err(refused(Problem::error("HL0516", message).hint(hint)))
            }
            (state, ..) => {
                let message = format!("{name} does not wait for approval: {state}");
                Err(refused(Problem::error("HL0515", message).hint("huiliu drift says what waits")))
            }
        }
    }

    fn contracted(&self, name: &str) -> Option<&Dataset> {
        let (system, dataset) = name.split_once('.')?;
        self.workspace.connectors.get(system)?.datasets.get(dataset)
    }
}

fn refused(problem: Problem) -> EngineError {
    EngineError::Definitions(vec![problem])
}

/// The header as it is kept; `None` when the format has none.
fn offered(header: &Header) -> Option<Vec<OfferedColumn>> {
    let kinds = header.kinds.iter().map(|kind| Some(kind.clone())).chain(std::iter::repeat(None));
    let column = |(name, kind): (&String, Option<String>)| OfferedColumn { name: name.clone(), kind };
    header.columns.as_ref().map(|names| names.iter().zip(kinds).map(column).collect())
}

fn words(difference: &Difference) -> String {
    let retyped: Vec<&str> = difference.retyped.iter().map(|(name, ..)| name.as_str()).collect();
    let named = |word: &str, names: &str| (!names.is_empty()).then(|| format!("{word} {names}"));
    let parts = [
        named("lost", &difference.lost.join(", ")),
        named("new", &difference.new.join(", ")),
        named("retyped", &retyped.join(", ")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "as contracted".to_owned() } else { parts.join("; ") }
}

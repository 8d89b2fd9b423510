//! Drift (结构变化): what a source offers against the contract, and against what it offered before.
//!
//! Decides: whether rows of a changed shape are taken, wait for a person, or never. Must not know: how rows are read.
//! Guarantees: every shape that was ever seen is kept with its time; a lost key, time or cursor column is never passed by.

use chrono::DateTime;
use serde::Serialize;

use super::backfill::next_decoded;
use super::flow::Flow;
use super::intake::CHUNK_ROWS;
use super::run::Held;
use super::{Engine, EngineError};
use crate::config::{Column, Dataset, DriftPolicy, Extract};
use crate::decode::{Decode, DecodeError, Decoded, Header, Members};
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

/// What a source offers, before anything of it is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offer {
    /// A header says so.
    Header(Vec<OfferedColumn>),
    /// The records of the first chunk say so together.
    Records {
        /// What they have.
        columns: Vec<OfferedColumn>,
        /// What the contract does not need, and none of them has.
        absent: Vec<String>,
        /// Whether they are too few for that to say anything.
        few: bool,
    },
    /// So many columns, and not one that is contracted: they may be anybody's data, and are told to nobody.
    Strange(usize),
    /// The format has neither, or there were no records.
    Nothing,
}

impl Offer {
    /// Of a header, or else of what the first records have.
    pub(super) fn of(dataset: &Dataset, header: &Header, members: Option<&Members>) -> Self {
        match (&header.columns, members) {
            (Some(names), _) => Self::of_header(dataset, names, &header.kinds),
            (None, Some(members)) => Self::of_records(dataset, members),
            (None, None) => Self::Nothing,
        }
    }

    fn of_header(dataset: &Dataset, names: &[String], kinds: &[String]) -> Self {
        let contracted = |name: &String| dataset.columns.iter().any(|column| column.name == *name);
        if kinds.is_empty() && !dataset.columns.is_empty() && !names.iter().any(contracted) {
            return Self::Strange(names.len());
        }
        let kinds = kinds.iter().map(|kind| Some(kind.clone())).chain(std::iter::repeat(None));
        let column = |(nth, (name, kind)): (usize, (&String, Option<String>))| {
            let told = contracted(name) || !is_like_a_number(name);
            OfferedColumn { name: if told { name.clone() } else { format!("column {}", nth + 1) }, kind }
        };
        Self::Header(names.iter().zip(kinds).enumerate().map(column).collect())
    }

    fn of_records(dataset: &Dataset, members: &Members) -> Self {
        let contract = || dataset.columns.iter().map(|column| &column.name);
        let had = contract().zip(&members.wanted).filter(|(_, had)| **had).map(|(name, _)| name.clone());
        let others = members.others.iter().map(|path| match path {
            path if is_like_a_number(path) => "(a number)".to_owned(),
            path if contract().any(|name| name == path) => format!("./{path}"), // the contract takes this name for another
            path => path.clone(),
        });
        let mut names: Vec<String> = had.chain(others).collect();
        names.dedup();
        let few = members.records < ENOUGH && dataset.extract != Extract::Full;
        let needed = |column: &Column| column.required || is_vital(dataset, &column.name);
        let columns = dataset.columns.iter().zip(&members.wanted);
        let absent = columns.filter(|(column, had)| !**had && !needed(column)).map(|(column, _)| column.name.clone());
        let offered = |name: String| OfferedColumn { name, kind: None };
        Self::Records { absent: absent.collect(), few, columns: names.into_iter().map(offered).collect() }
    }

    /// As it is kept. A record need not have every member: those that were taken without a contract are still offered; what
    /// was never seen is not lost, and no more is what only a few records lack, unless something new stands in its place.
    fn columns(self, dataset: &Dataset, versions: &[ShapeView]) -> Option<Vec<OfferedColumn>> {
        let (mut columns, absent, few) = match self {
            Self::Header(columns) => return Some(columns),
            Self::Records { columns, absent, few } => (columns, absent, few),
            Self::Strange(_) | Self::Nothing => return None,
        };
        let rank = |column: &OfferedColumn| dataset.columns.iter().position(|c| c.name == column.name);
        let taken = versions.iter().find(|shape| shape.used || shape.approved.is_some());
        let before = taken.map_or(&[][..], |taken| &taken.columns);
        let known = |column: &OfferedColumn| rank(column).is_some() || before.contains(column);
        let renamed = !columns.iter().all(known);
        let uncontracted = before.iter().filter(|was| rank(was).is_none() && !columns.contains(was));
        let uncontracted: Vec<OfferedColumn> = uncontracted.cloned().collect();
        columns.extend(uncontracted);
        for name in absent {
            if !before.iter().any(|was| was.name == name && was.kind.is_none()) {
                columns.push(OfferedColumn { name, kind: Some(UNSEEN.to_owned()) });
            } else if few && !renamed {
                columns.push(OfferedColumn { name, kind: None });
            }
        }
        columns.sort_by_key(|column| (rank(column).unwrap_or(usize::MAX), column.name.clone()));
        Some(columns)
    }

    /// Why nothing of it can be taken, whatever the contract says.
    pub(super) fn refused(&self) -> Option<String> {
        let Self::Strange(columns) = self else { return None };
        Some(format!(
            "HL0518 the first line has {columns} column(s), and not one that is contracted: the header is probably missing"
        ))
    }
}

/// In the place of a type: a member that the contract names and no record has had yet.
const UNSEEN: &str = "unseen";

/// Records of which one at least has what it may have; fewer may rightly lack it all together, unless they are all there are.
const ENOUGH: u64 = 100;

/// Whether a name may be the number of a person, a company or a telephone: six digits in a row, however they are grouped.
fn is_like_a_number(name: &str) -> bool {
    let mut digits = 0;
    name.chars().any(|c| {
        match c {
            '0'..='9' | '０'..='９' => digits += 1,
            ' ' | '-' => {}
            _ => digits = 0,
        }
        digits >= 6
    })
}

/// A decoder whose first chunk was looked at.
struct LookedAt {
    first: Option<Decoded>,
    rest: Box<dyn Decode>,
}

impl Decode for LookedAt {
    fn header(&self) -> &Header {
        self.rest.header()
    }

    fn next(&mut self, max_rows: usize) -> Result<Option<Decoded>, DecodeError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.rest.next(max_rows),
        }
    }
}

/// What a decoder at its beginning offers, and the decoder, still at its beginning. A format without a header is asked for its
/// first chunk; one that goes on in the middle is not, since rows at an end say little of all.
pub(super) async fn look(
    dataset: &Dataset,
    decoder: Box<dyn Decode>,
    goes_on: bool,
) -> Result<(Box<dyn Decode>, Offer), EngineError> {
    if decoder.header().columns.is_some() || goes_on {
        let offer = Offer::of(dataset, decoder.header(), None);
        return Ok((decoder, offer));
    }
    let (rest, first) = next_decoded(decoder, CHUNK_ROWS).await?;
    let members = first.as_ref().and_then(|first| first.members.as_ref());
    let offer = Offer::of(dataset, rest.header(), members);
    Ok((Box::new(LookedAt { first, rest }), offer))
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
    /// Of what is offered alone: what is lost and what is new.
    pub(super) fn offered(dataset: &Dataset, offer: Offer) -> Self {
        let Some(columns) = offer.columns(dataset, &[]) else { return Self::default() };
        let (version, since, used) = (1, 0, false);
        let present = ShapeView {
            dataset: dataset.name.clone(),
            version,
            columns,
            since,
            last: since,
            used,
            approved: None,
            why: None,
        };
        Self::of(dataset, &[present])
    }

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
        offer: Offer,
        accepted: bool,
    ) -> Result<Option<Held>, EngineError> {
        if let Some(why) = offer.refused() {
            return Ok(Some(Held(why)));
        }
        let (dataset, at) = (flow.from.to_string(), self.now());
        let before = self.store.shapes(Some(&dataset)).await?;
        let Some(columns) = offer.columns(&flow.dataset, &before) else { return Ok(None) };
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
    pub(super) async fn would_drift(&mut self, flow: &Flow, offer: Offer) -> Result<Option<Held>, EngineError> {
        if let Some(why) = offer.refused() {
            return Ok(Some(Held(why)));
        }
        let dataset = flow.from.to_string();
        let mut versions = self.store.shapes(Some(&dataset)).await?;
        let Some(columns) = offer.columns(&flow.dataset, &versions) else { return Ok(None) };
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

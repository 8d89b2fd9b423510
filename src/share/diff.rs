//! What another grant would show and no longer show: fields by their decisions, records by what the release would make
//! of each.
//!
//! Decides: what counts as newly exposed (新增提供) and as withdrawn (收回). Must not know: where the rows come from.
//! Guarantees: no value leaves, only counts.

use std::collections::HashMap;

use arrow::array::{Array as _, AsArray as _, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use serde::Serialize;

use super::{FieldDecision, Release};
use crate::config::Feed;

/// A grant on one side of a comparison.
#[derive(Debug)]
pub struct Side<'a> {
    /// The grant.
    pub feed: &'a Feed,
    /// Compiled; with the same pseudonym key on both sides.
    pub release: &'a Release,
    /// Whether it counts today; one that does not releases nothing.
    pub in_force: bool,
}

/// Which way a field goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More of it leaves than before.
    Exposed,
    /// Less of it leaves than before.
    Withdrawn,
    /// It leaves masked, in another way than before; whether that shows more a person must say.
    Remasked,
}

/// A field whose decision is another than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Field.
    pub field: String,
    /// Which way.
    pub direction: Direction,
    /// Decision before.
    pub before: String,
    /// Decision now.
    pub after: String,
    /// Records that would show more of it.
    pub exposed: u64,
    /// Records that would show less of it.
    pub withdrawn: u64,
}

/// Records of the register under both grants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RecordChange {
    /// Records looked at.
    pub considered: u64,
    /// Released before.
    pub before: u64,
    /// Released now.
    pub after: u64,
    /// Records that leave and did not before.
    pub entering: u64,
    /// Records that left before and no longer do.
    pub leaving: u64,
    /// Records that show something that they did not show, those that enter among them.
    pub exposed: u64,
    /// Records of which something is taken back, those that leave among them.
    pub withdrawn: u64,
}

/// The comparison of two grants over the rows of a register.
#[derive(Debug)]
pub struct Comparing<'a> {
    before: Option<Side<'a>>,
    after: Option<Side<'a>>,
    /// Fields whose decision changed.
    pub fields: Vec<FieldChange>,
    /// Counts so far.
    pub records: RecordChange,
}

impl<'a> Comparing<'a> {
    /// Compares decisions; `None` is a grant that does not exist, and one that is not in force grants nothing.
    pub fn new(before: Option<Side<'a>>, after: Option<Side<'a>>) -> Self {
        let before = before.filter(|side| side.in_force);
        let after = after.filter(|side| side.in_force);
        let fields = field_changes(before.as_ref(), after.as_ref());
        Self { before, after, fields, records: RecordChange::default() }
    }

    /// Register fields that either side looks at.
    pub fn reads(&self) -> Vec<&str> {
        let sides = [&self.before, &self.after].into_iter().flatten();
        let all: std::collections::BTreeSet<&str> = sides.flat_map(|side| side.release.reads()).collect();
        all.into_iter().collect()
    }

    /// Counts a batch of register rows.
    pub fn count(&mut self, rows: &RecordBatch) {
        let looked: Vec<&str> = self.fields.iter().map(|change| change.field.as_str()).collect();
        let (old, new) = (Seen::of(self.before.as_ref(), rows, &looked), Seen::of(self.after.as_ref(), rows, &looked));
        self.records.considered += rows.num_rows() as u64;
        self.records.before += old.at.len() as u64;
        self.records.after += new.at.len() as u64;
        for row in 0..rows.num_rows() as u32 {
            let (was, is) = (old.at.get(&row).copied(), new.at.get(&row).copied());
            let (mut more, mut less) = (was.is_none() && is.is_some(), was.is_some() && is.is_none());
            self.records.entering += u64::from(more);
            self.records.leaving += u64::from(less);
            for (i, change) in self.fields.iter_mut().enumerate() {
                let (before, after) = (old.cell(i, was), new.cell(i, is));
                let shows = after.is_some() && before != after && change.direction != Direction::Withdrawn;
                let hides = before.is_some() && before != after && change.direction == Direction::Withdrawn;
                change.exposed += u64::from(shows);
                change.withdrawn += u64::from(hides);
                more |= shows;
                less |= hides;
            }
            self.records.exposed += u64::from(more);
            self.records.withdrawn += u64::from(less);
        }
    }
}

/// What one side shows of a batch.
struct Seen {
    /// Row of the batch → row released.
    at: HashMap<u32, usize>,
    /// For each field looked at, its cells as text, if it leaves.
    columns: Vec<Option<StringArray>>,
}

impl Seen {
    fn of(side: Option<&Side<'_>>, rows: &RecordBatch, fields: &[&str]) -> Self {
        let Some(side) = side else { return Self { at: HashMap::new(), columns: vec![None; fields.len()] } };
        let released = side.release.apply(rows);
        let text = |field: &&str| {
            let column = released.rows.column_by_name(field)?;
            Some(cast(column, &DataType::Utf8).ok()?.as_string::<i32>().clone())
        };
        let columns = fields.iter().map(text).collect();
        Self { at: released.kept.iter().zip(0..).map(|(row, at)| (*row, at)).collect(), columns }
    }

    fn cell(&self, field: usize, row: Option<usize>) -> Option<&str> {
        let column = self.columns[field].as_ref()?;
        row.filter(|&row| !column.is_null(row)).map(|row| column.value(row))
    }
}

fn field_changes(before: Option<&Side<'_>>, after: Option<&Side<'_>>) -> Vec<FieldChange> {
    let decisions = |side: Option<&Side<'_>>| -> Vec<(String, FieldDecision)> {
        side.map_or_else(Vec::new, |side| side.release.decisions().to_vec())
    };
    let (old, new) = (decisions(before), decisions(after));
    let of = |all: &[(String, FieldDecision)], name: &str| {
        all.iter().find(|(field, _)| field == name).map(|(_, decision)| decision.clone())
    };
    let mask = |side: Option<&Side<'_>>, name: &str| Some(side?.feed.mask.get(name)?.value.clone());
    let mut names: Vec<&String> = new.iter().map(|(name, _)| name).collect();
    names.extend(old.iter().map(|(name, _)| name).filter(|name| of(&new, name).is_none()));
    let change = |name: &String| {
        let (was, is) = (of(&old, name), of(&new, name));
        let direction = match openness(was.as_ref()).cmp(&openness(is.as_ref())) {
            std::cmp::Ordering::Less => Direction::Exposed,
            std::cmp::Ordering::Greater => Direction::Withdrawn,
            std::cmp::Ordering::Equal if mask(before, name) != mask(after, name) && openness(is.as_ref()) == 1 => {
                Direction::Remasked
            }
            std::cmp::Ordering::Equal => return None,
        };
        let words = |decision: Option<FieldDecision>| decision.map_or_else(|| "—".to_owned(), |d| d.to_string());
        let (field, before, after) = (name.clone(), words(was), words(is));
        Some(FieldChange { field, direction, before, after, exposed: 0, withdrawn: 0 })
    };
    names.into_iter().filter_map(change).collect()
}

/// How much of a field leaves.
fn openness(decision: Option<&FieldDecision>) -> u8 {
    match decision {
        None | Some(FieldDecision::Withheld(_)) => 0,
        Some(FieldDecision::Masked(_)) => 1,
        Some(FieldDecision::Released) => 2,
    }
}

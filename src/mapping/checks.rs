//! A pipeline's checks: conditions over the counts of a run that decide whether the run is held.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use chrono::NaiveDate;

use super::sql::{self, Origin, Scope, Single};
use crate::config::{At, Check};
use crate::error::Problem;
use crate::record::FieldType;

/// What a check can speak about, in the order of [`Facts::values`].
const NAMES: [&str; 6] = ["rows", "quarantined", "mapped", "vanished", "last_rows", "last_mapped"];

/// The counts of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// `rows`: data rows read.
    pub rows: u64,
    /// `quarantined`: rows set aside, undecodable ones included.
    pub quarantined: u64,
    /// `mapped`: rows that became claims.
    pub mapped: u64,
    /// `vanished`: rows of the last full extract that are not in this one.
    pub vanished: u64,
    /// `last.rows` and `last.mapped`: the same of the last run that succeeded, if there was one.
    pub last: Option<(u64, u64)>,
}

impl Facts {
    fn values(&self) -> [Option<i64>; 6] {
        let number = |n: u64| Some(i64::try_from(n).unwrap_or(i64::MAX));
        let last = |pick: fn((u64, u64)) -> u64| self.last.map(pick).and_then(number);
        [
            number(self.rows),
            number(self.quarantined),
            number(self.mapped),
            number(self.vanished),
            last(|(rows, _)| rows),
            last(|(_, mapped)| mapped),
        ]
    }
}

/// A check that compiles.
#[derive(Debug)]
pub struct CompiledCheck {
    condition: Single,
}

impl CompiledCheck {
    /// Compiles a check.
    ///
    /// # Errors
    /// Everything that is wrong with it, at its place in the pipeline's file.
    pub fn compile(check: &Check) -> Result<Self, Vec<Problem>> {
        let At { value: sql, place } = &check.predicate;
        let scope = Scope {
            subject: format!("check \"{}\"", check.name),
            columns_of: "the counts of a run".to_owned(),
            table: "run",
            columns: NAMES.into_iter().map(|name| (name, FieldType::Integer)).collect(),
            codes: &BTreeMap::new(),
            today: NaiveDate::default(),
            may_refuse: false,
            origin: Origin::inside(place),
        };
        Ok(Self { condition: sql::condition(&scope, sql)? })
    }

    /// Whether the check lets the run pass. Null passes: on the first run there is no last one to compare with. A
    /// check that cannot be computed (a division by zero) does not pass.
    pub fn holds(&self, facts: &Facts) -> bool {
        let fields = NAMES.map(|name| Field::new(name, FieldType::Integer.arrow(), true));
        let columns = facts.values().map(|value| Arc::new(Int64Array::from(vec![value])) as ArrayRef);
        let row = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns.to_vec())
            .expect("six integer columns of one row");
        let (answer, failed) = self.condition.evaluate(&row);
        let answer = answer.as_boolean();
        failed.is_empty() && (answer.is_null(0) || answer.value(0))
    }
}

/// Compiles a check and asks it.
///
/// # Errors
/// Everything that is wrong with the check; `huiliu check` tells it beforehand.
pub fn check_holds(check: &Check, facts: &Facts) -> Result<bool, Vec<Problem>> {
    Ok(CompiledCheck::compile(check)?.holds(facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Place;

    fn check(predicate: &str) -> Check {
        let predicate = At { value: predicate.into(), place: Place::new("pipelines/p.yaml", 7, 15) };
        Check { name: "drop_guard".into(), predicate }
    }

    #[test]
    fn a_check_compares_a_run_with_the_last_one() {
        let holds = |predicate: &str, rows, last| {
            let facts = Facts { rows, quarantined: 3, mapped: 90, vanished: 1, last };
            check_holds(&check(predicate), &facts).expect(predicate)
        };
        assert!(holds("rows >= 0.8 * last.rows", 80, Some((100, 90))));
        assert!(!holds("rows >= 0.8 * last.rows", 79, Some((100, 90))));
        assert!(holds("rows >= 0.8 * last_rows", 1, None));
        assert!(holds("mapped > 0 and quarantined < 10", 100, None));
        assert!(!holds("rows / vanished < 10 or rows / 0 > 1", 100, None));
    }

    #[test]
    fn a_check_that_names_something_else_is_refused_with_its_place() {
        let problems = check_holds(&check("row >= 1"), &Facts::default()).expect_err("no such count");
        let [problem] = problems.as_slice() else { panic!("one problem: {problems:?}") };
        assert_eq!((problem.code, &problem.place), ("HL0214", &Some(Place::new("pipelines/p.yaml", 7, 15))));
        assert_eq!(problem.hint.as_deref(), Some("did you mean rows?"));
    }
}

//! The register's own rules: a claim must pass them whichever department it comes from.
//!
//! A rule belongs to a field and is a condition over the register's fields. It passes where its own field is null —
//! a claim may say nothing about an optional field — and breaks where it is false or null. A mapping that does not
//! set every field a rule reads is not judged by that rule: its claims are only a part of the entity.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray};
use arrow::record_batch::RecordBatch;
use chrono::NaiveDate;

use super::Reason;
use super::sql::{self, Origin, Scope, Single};
use crate::config::{CodeTable, Register};
use crate::error::Problem;

/// The compiled rules of one register.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Status fields and the states they know.
    states: Vec<(String, BTreeSet<String>)>,
}

#[derive(Debug)]
struct Rule {
    field: String,
    condition: Single,
}

impl Rules {
    /// Compiles the `rule` of every field that has one; `today` is what `current_date` means in them.
    ///
    /// # Errors
    /// All problems, at their places in the register's file.
    pub fn compile(
        register: &Register,
        codes: &BTreeMap<String, CodeTable>,
        today: NaiveDate,
    ) -> Result<Self, Vec<Problem>> {
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        for field in &register.fields {
            let Some(rule) = &field.rule else { continue };
            let scope = Scope {
                subject: format!("the rule of \"{}.{}\"", register.name, field.name),
                columns_of: format!("register \"{}\"", register.name),
                table: "register",
                columns: register.fields.iter().map(|f| (f.name.as_str(), f.kind)).collect(),
                codes,
                today,
                may_refuse: false,
                origin: Origin::inside(&rule.place),
            };
            match sql::condition(&scope, &rule.value) {
                Ok(condition) => rules.push(Rule { field: field.name.clone(), condition }),
                Err(found) => problems.extend(found),
            }
        }
        let of =
            |states: &crate::config::States| states.table().into_keys().map(str::to_owned).collect::<BTreeSet<_>>();
        let states = register.fields.iter().filter_map(|field| Some((field.name.clone(), of(field.states.as_ref()?))));
        let states = states.filter(|(_, states)| !states.is_empty()).collect();
        if problems.is_empty() { Ok(Self { rules, states }) } else { Err(problems) }
    }

    /// Rules that a batch of claims breaks, with the row of the batch. Columns are found by name and must have the
    /// register's types.
    pub fn broken(&self, claims: &RecordBatch) -> Vec<(usize, Reason)> {
        let broken = self.rules.iter().flat_map(|rule| rule.broken(claims));
        broken.chain(self.states.iter().flat_map(|(field, states)| unknown_states(claims, field, states))).collect()
    }
}

/// Rows whose status is none that the register knows.
fn unknown_states(claims: &RecordBatch, field: &str, states: &BTreeSet<String>) -> Vec<(usize, Reason)> {
    let Some(column) = claims.column_by_name(field).and_then(|column| column.as_string_opt::<i32>()) else {
        return vec![];
    };
    let unknown = column.iter().enumerate().filter(|(_, state)| state.is_some_and(|state| !states.contains(state)));
    unknown.map(|(row, _)| (row, Reason { column: field.to_owned(), code: "state_unknown".into(), line: 0 })).collect()
}

impl Rule {
    fn broken(&self, claims: &RecordBatch) -> Vec<(usize, Reason)> {
        let Some(own) = claims.column_by_name(&self.field) else { return vec![] };
        if !self.condition.reads.iter().all(|name| claims.column_by_name(name).is_some()) {
            return vec![];
        }
        let (answers, failed) = self.condition.evaluate(claims);
        let answers = answers.as_boolean();
        let breaks = |row: &usize| !own.is_null(*row) && (answers.is_null(*row) || !answers.value(*row));
        let reason = |row: usize| {
            let code = failed.iter().find(|f| f.row == row).map_or("rule", |f| f.code);
            (row, Reason { column: self.field.clone(), code: code.to_owned(), line: 0 })
        };
        if answers.null_count() == 0 && !answers.has_false() {
            return vec![];
        }
        (0..claims.num_rows()).filter(breaks).map(reason).collect()
    }
}

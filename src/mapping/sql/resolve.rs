//! Names in an expression → columns and functions that exist, with every problem at its place.
//!
//! Runs before DataFusion sees the expression, because it knows what a person meant: which table, which contract,
//! which code table. It also gives each domain call its site: `uscc(代码)` becomes `"uscc#3"(代码, row)`, and
//! `or_null` / `or_default` dissolve into the mode of the calls inside them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::NaiveDate;
use datafusion_expr::ScalarUDF;
use datafusion_sql::sqlparser::ast::{CastKind, DataType as SqlType, Expr, Ident};

use super::parse::Origin;
use super::sites::{Log, Mode, ROW, Site, SiteId};
use super::{calls, syntax};
use crate::config::CodeTable;
use crate::error::{Place, Problem};
use crate::record::FieldType;

/// What names mean where an expression stands.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    /// What is being compiled, for messages: `mapping "market-regulation/enterprise.enterprise"`.
    pub(crate) subject: String,
    /// Where its columns come from: `the contract of "market-regulation.enterprise"`.
    pub(crate) columns_of: String,
    /// Prefix under which columns may also be written: `source`.
    pub(crate) table: &'static str,
    /// Columns and their types.
    pub(crate) columns: Vec<(&'a str, FieldType)>,
    /// Code tables of the workspace.
    pub(crate) codes: &'a BTreeMap<String, CodeTable>,
    /// What `current_date` means.
    pub(crate) today: NaiveDate,
    /// Whether a failed conversion may refuse the row.
    pub(crate) may_refuse: bool,
    /// Where the SQL stands.
    pub(crate) origin: Origin,
}

impl Scope<'_> {
    /// The type of a column.
    pub(crate) fn kind(&self, column: &str) -> Option<FieldType> {
        self.columns.iter().find(|(name, _)| *name == column).map(|(_, kind)| *kind)
    }
}

/// The domain calls of one mapping, rule, check or feed.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// By [`SiteId`].
    pub(crate) sites: Vec<Site>,
    /// Instances by the unique name they have in the rewritten SQL.
    pub(crate) functions: HashMap<String, Arc<ScalarUDF>>,
    /// Where they report.
    pub(crate) log: Arc<Log>,
}

impl Calls {
    /// A new site; ids count from 0.
    pub(crate) fn site(&mut self, site: Site) -> SiteId {
        self.sites.push(site);
        SiteId::try_from(self.sites.len() - 1).unwrap_or(SiteId::MAX)
    }
}

/// An expression whose names all exist.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// Rewritten syntax.
    pub(crate) expr: Expr,
    /// As it was written, blanks normalised.
    pub(crate) text: String,
    /// Where it starts.
    pub(crate) place: Place,
    /// Columns it reads.
    pub(crate) columns: BTreeSet<String>,
}

/// Resolves one expression that computes `output`. Problems are added; with new problems the result is of no use.
pub(crate) fn resolve(
    scope: &Scope<'_>,
    calls: &mut Calls,
    output: &str,
    mut expr: Expr,
    problems: &mut Vec<Problem>,
) -> Resolved {
    let (text, place) = (expr.to_string(), scope.origin.of(&expr));
    let mut resolver = Resolver { scope, calls, problems, output, columns: BTreeSet::new() };
    resolver.visit(&mut expr, Mode::Refuse);
    let columns = resolver.columns;
    Resolved { expr, text, place, columns }
}

pub(super) struct Resolver<'r, 's> {
    pub(super) scope: &'r Scope<'s>,
    pub(super) calls: &'r mut Calls,
    pub(super) output: &'r str,
    problems: &'r mut Vec<Problem>,
    columns: BTreeSet<String>,
}

impl Resolver<'_, '_> {
    pub(super) fn visit(&mut self, expr: &mut Expr, mode: Mode) {
        match expr {
            Expr::Identifier(name) => self.column(name),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, name] if table.value == self.scope.table => {
                    self.column(name);
                    *expr = Expr::Identifier(name.clone());
                }
                // `last.rows` reads better than `last_rows`, and means it.
                [table, name] if self.scope.kind(&format!("{}_{}", table.value, name.value)).is_some() => {
                    let joined = Ident { value: format!("{}_{}", table.value, name.value), ..name.clone() };
                    self.column(&joined);
                    *expr = Expr::Identifier(joined);
                }
                _ => {
                    let problem =
                        Problem::error("HL0202", format!("a name of several parts in {}", self.scope.subject));
                    let detail = format!("columns are written plainly or as {}.column", self.scope.table);
                    self.report(&*expr, problem.detail(detail));
                }
            },
            Expr::Function(_) => calls::call(self, expr, mode),
            Expr::InList { list, .. } if list.iter().any(contains_call) => {
                let problem =
                    Problem::error("HL0202", format!("a function inside an in-list of {}", self.scope.subject));
                self.report(&*expr, problem.hint("compare with = and or, or list plain values"));
            }
            _ => self.operands(expr, mode),
        }
    }

    fn operands(&mut self, expr: &mut Expr, mode: Mode) {
        if syntax::operands(expr).is_none() {
            let (what, instead) = syntax::refused(expr);
            let problem = Problem::error("HL0202", format!("{what} is not accepted in {}", self.scope.subject));
            self.report(&*expr, problem.hint(instead));
            return;
        }
        for operand in syntax::operands(expr).into_iter().flatten() {
            self.visit(operand, mode);
        }
    }

    fn column(&mut self, name: &Ident) {
        if self.scope.kind(&name.value).is_some() {
            self.columns.insert(name.value.clone());
            return;
        }
        let Scope { subject, columns_of, columns, .. } = self.scope;
        let names = || columns.iter().map(|(name, _)| *name);
        let message = format!("column \"{}\" of {subject} is not in {columns_of}", name.value);
        let problem = Problem::error("HL0214", message)
            .at(self.scope.origin.place(name.span.start))
            .detail(format!("{columns_of} has {}", listed(names())));
        let same_but_case = names().find(|known| known.to_lowercase() == name.value.to_lowercase());
        self.problems.push(match same_but_case {
            Some(known) => problem.hint(format!("did you mean {known}? upper and lower case differ")),
            None if name.value.contains('（') => {
                problem.hint("the brackets are full-width; SQL needs ( and )").did_you_mean(&name.value, names())
            }
            None => problem.did_you_mean(&name.value, names()),
        });
    }

    /// Whether anything has been found wrong so far.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Adds a problem at a syntax node.
    pub(super) fn report(&mut self, at: &Expr, problem: Problem) {
        let place = self.scope.origin.of(at);
        self.problems.push(problem.at(place));
    }

    /// Adds a problem at an identifier.
    pub(super) fn report_at(&mut self, at: &Ident, problem: Problem) {
        let place = self.scope.origin.place(at.span.start);
        self.problems.push(problem.at(place));
    }
}

/// The hidden row column as an argument.
pub(super) fn row_argument() -> Expr {
    Expr::Identifier(Ident::with_quote('"', ROW))
}

/// `current_date` as the day it means here.
pub(super) fn day_literal(day: NaiveDate) -> Expr {
    let text = datafusion_sql::sqlparser::ast::Value::SingleQuotedString(day.format("%Y-%m-%d").to_string());
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(text.with_empty_span())),
        data_type: SqlType::Date,
        array: false,
        format: None,
    }
}

fn contains_call(expr: &Expr) -> bool {
    let mut expr = expr.clone();
    matches!(expr, Expr::Function(_)) || syntax::operands(&mut expr).into_iter().flatten().any(|e| contains_call(e))
}

/// At most thirty names, separated for reading.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    let more = names.len().saturating_sub(30);
    names.truncate(30);
    let shown = names.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

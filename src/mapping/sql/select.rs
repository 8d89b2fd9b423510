//! The one shape of statement a mapping has: `select <expression> as <field>, … from source [where <condition>]`.

use datafusion_sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, Query, Select as SqlSelect, SelectItem, SetExpr, Spanned, Statement,
};

use super::parse::{Origin, statement};
use crate::error::{Place, Problem};

/// A mapping's statement.
#[derive(Debug)]
pub(crate) struct Select {
    /// Outputs in order.
    pub(crate) outputs: Vec<Output>,
    /// The condition after `where`.
    pub(crate) filter: Option<Expr>,
}

/// One output.
#[derive(Debug)]
pub(crate) struct Output {
    /// What it is computed from.
    pub(crate) expr: Expr,
    /// The field it sets.
    pub(crate) field: Ident,
    /// Where it starts.
    pub(crate) place: Place,
}

/// Parses a mapping over `table`; all problems of its shape at once.
pub(crate) fn select(sql: &str, table: &str, subject: &str, origin: &Origin) -> Result<Select, Vec<Problem>> {
    let parsed = statement(sql, origin).map_err(|p| vec![*p])?;
    let whole = parsed.to_string();
    let Some((query, select)) = plain_select(parsed) else {
        let problem = Problem::error("HL0202", format!("{subject} must be one select")).at(origin.place_of_start());
        return Err(vec![problem.detail(shape(table))]);
    };
    let mut problems = foreign_clauses(&query, &select, table, subject, origin);
    if problems.is_empty() && whole != canonical(&select, table) {
        let problem = Problem::error("HL0202", format!("{subject} has a clause that is not accepted"));
        problems.push(problem.at(origin.place_of_start()).detail(shape(table)));
    }
    let outputs = select.projection.into_iter().filter_map(|item| output(item, subject, origin, &mut problems));
    let outputs = outputs.collect();
    if problems.is_empty() { Ok(Select { outputs, filter: select.selection }) } else { Err(problems) }
}

fn shape(table: &str) -> String {
    format!("the form is: select expression as field, … from {table} where condition")
}

fn plain_select(parsed: Statement) -> Option<(Query, SqlSelect)> {
    let Statement::Query(query) = parsed else { return None };
    match (*query.body).clone() {
        SetExpr::Select(select) => Some((*query, *select)),
        _ => None,
    }
}

/// The clauses that people try, each at its place.
fn foreign_clauses(query: &Query, select: &SqlSelect, table: &str, subject: &str, origin: &Origin) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |what: &str, at: Place, hint: &str| {
        let problem = Problem::error("HL0202", format!("{what} is not accepted in {subject}"));
        problems.push(problem.at(at).detail(shape(table)).hint(hint));
    };
    let row = "a mapping sees one row at a time";
    if let Some(with) = &query.with {
        refuse("with", origin.of(with), "write the expressions out");
    }
    if let Some(order) = &query.order_by {
        refuse("order by", origin.of(order), "rows keep the order of the source");
    }
    if let Some(limit) = &query.limit_clause {
        refuse("limit", origin.of(limit), "leave rows out with where");
    }
    if select.distinct.is_some() {
        refuse("distinct", origin.place(select.select_token.0.span.start), "the register's keys make rows one entity");
    }
    if let GroupByExpr::Expressions(by, _) = &select.group_by
        && let Some(first) = by.first()
    {
        refuse("group by", origin.of(first), row);
    }
    if let Some(having) = &select.having {
        refuse("having", origin.of(having), row);
    }
    let (first, more) = (select.from.first(), select.from.get(1));
    if let Some(join) = first.and_then(|f| f.joins.first()) {
        refuse("join", origin.place(join.relation.span().start), "look codes up with code('table', column)");
    }
    if let Some(second) = more {
        refuse("a second table", origin.place(second.relation.span().start), row);
    }
    if let Some(from) = first
        && from.relation.to_string() != table
    {
        refuse("this table", origin.place(from.relation.span().start), &format!("the rows are called {table}"));
    }
    problems
}

/// The same statement with nothing but outputs, table and condition.
fn canonical(select: &SqlSelect, table: &str) -> String {
    let outputs = select.projection.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let filter = select.selection.as_ref().map(|e| format!(" WHERE {e}")).unwrap_or_default();
    format!("SELECT {outputs} FROM {table}{filter}")
}

fn output(item: SelectItem, subject: &str, origin: &Origin, problems: &mut Vec<Problem>) -> Option<Output> {
    let place = origin.place(item.span().start);
    let problem = match item {
        SelectItem::ExprWithAlias { expr, alias } => return Some(Output { expr, field: alias, place }),
        SelectItem::UnnamedExpr(Expr::Wildcard(_)) | SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
            Problem::error("HL0208", format!("a wildcard in {subject}")).hint("name every field: expression as field")
        }
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
            Problem::error("HL0205", format!("an output of {subject} does not say which field it sets"))
                .hint(format!("write {name} as field"))
        }
        SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAliases { .. } => {
            Problem::error("HL0205", format!("an output of {subject} does not say which field it sets"))
                .hint("write expression as field")
        }
    };
    problems.push(problem.at(place));
    None
}

//! The SQL that a department's database is asked.
//!
//! Decides: which cells, the order of rows and what comes after one. Guarantees: values are bound and never written into
//! the text; names come from definitions and are quoted; every column comes as text, exact decimals and ISO times.

use std::time::Duration;

use super::Mark;
use super::dialect::{Dialect, Way};
use crate::config::ReadFlag;
use crate::source::SourceError;

/// Rows marked as read by one statement.
pub(super) const MARKED_AT_ONCE: usize = 200;

/// A statement with its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) binds: Vec<Option<String>>,
    /// The types of the columns that values are compared with, as far as they are; only ODBC binds by type.
    pub(super) kinds: Vec<String>,
}

/// What a relation is made of.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) dialect: Dialect,
    /// As it stands after `from`.
    pub(super) from: String,
    /// Names and the server's names of their types.
    pub(super) columns: Vec<(String, String)>,
    /// Whether that is a query.
    pub(super) derived: bool,
    /// Columns that hold no null, where nulls come last: asked for nulls beside a bound, no server goes by an index.
    pub(super) never_null: Vec<String>,
}

/// The columns of this relation of PostgreSQL that hold no null, a line each; none of a view.
pub(super) fn never_null(from: &str) -> Statement {
    let relation = from.replace('\'', "''");
    let sql = format!(
        "select string_agg(attname::text, chr(10)) from pg_catalog.pg_attribute where attrelid = \
         to_regclass('{relation}') and attnotnull and attnum > 0 and not attisdropped"
    );
    Statement { sql, ..Statement::default() }
}

/// The columns of this table that are sets of words, a line each, where the protocol does not tell them from texts.
pub(super) fn sets(dialect: Dialect, table: &str) -> Option<Statement> {
    let (schema, table) = match table.rsplit_once('.') {
        Some((schema, table)) => (Some(schema.to_owned()), table),
        None => (None, table),
    };
    let sql = "select cast(group_concat(column_name separator '\\n') as char) from information_schema.columns where \
               table_schema = coalesce(?, database()) and table_name = ? and data_type = 'set'";
    let statement =
        || Statement { sql: sql.to_owned(), binds: vec![schema, Some(table.to_owned())], kinds: Vec::new() };
    (dialect == Dialect::MySql).then(statement)
}

/// The rows of a dataset, in the order in which they are asked for.
#[derive(Debug, Clone)]
pub(super) struct Select {
    described: Described,
    /// Contract columns; those that the relation lacks read as null.
    wanted: Vec<String>,
    order: Vec<String>,
    flag: Option<ReadFlag>,
}

/// Where a select ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// At the last row.
    Open,
    /// At this value of the first column of the order.
    First(String),
    /// At these values of the order.
    At(Vec<Option<String>>),
}

/// Reads what [`cursor_text`] wrote.
pub(super) fn order_values(cursor: &str) -> Result<Vec<Option<String>>, SourceError> {
    serde_json::from_str(cursor).map_err(|_| SourceError::Cursor)
}

/// The values of the order columns of a row, as a position keeps them.
pub(super) fn cursor_text(values: &[Option<String>]) -> String {
    serde_json::json!(values).to_string()
}

impl Select {
    /// The select for a contract. Errors: a column of the order that the relation does not have; nothing could be asked
    /// without it.
    pub(super) fn new(
        described: Described,
        wanted: Vec<String>,
        order: Vec<String>,
        (table, flag): (&str, Option<&ReadFlag>),
    ) -> Result<Self, SourceError> {
        let flag = flag.cloned();
        let has = |name: &str| described.columns.iter().any(|(column, _)| column == name);
        let needed = order.iter().map(String::as_str).chain(flag.as_ref().map(|flag| flag.column.as_str()));
        let lost: Vec<&str> = needed.filter(|name| !has(name)).collect();
        if !lost.is_empty() {
            return Err(SourceError::LostKey { table: table.to_owned(), columns: lost.join(", ") });
        }
        Ok(Self { described, wanted, order, flag })
    }

    /// Columns that the relation has, but for the read flag when the contract does not name it.
    pub(super) fn columns(&self) -> Vec<String> {
        self.own().map(|(name, _)| name.clone()).collect()
    }

    /// The server's names of their types.
    pub(super) fn kinds(&self) -> Vec<String> {
        self.own().map(|(_, kind)| kind.clone()).collect()
    }

    fn own(&self) -> impl Iterator<Item = &(String, String)> {
        let flag = self.flag.as_ref().map(|flag| &flag.column).filter(|name| !self.wanted.contains(name));
        self.described.columns.iter().filter(move |(name, _)| Some(name) != flag)
    }

    /// How many of the cells of a row are the contract's; the others are those of the order.
    pub(super) fn width(&self) -> (usize, usize) {
        (self.wanted.len(), self.order.len())
    }

    /// At most `limit` rows after these values of the order, or all up to the end.
    pub(super) fn page(&self, after: Option<&[Option<String>]>, end: &End, limit: Option<u64>) -> Statement {
        let mut statement = Statement::default();
        let dialect = self.described.dialect;
        let places = self.order.iter().map(|name| dialect.place(&self.quoted(name), self.way(name)));
        let cells = self.wanted.iter().map(|name| self.cell(name)).chain(places).enumerate();
        let cells: Vec<String> = cells.map(|(i, cell)| dialect.named(i, cell)).collect();
        let conditions = self.conditions(after, end, &mut statement);
        let order = self.order.iter().map(|name| self.sorted(name)).collect::<Vec<_>>().join(", ");
        let rest = format!("{conditions} order by {order}");
        statement.sql = match limit {
            Some(limit) => self.cut(&cells, &rest, limit),
            None => Dialect::select_all(&cells, &format!("{}{rest}", self.described.from)),
        };
        statement
    }

    /// Whether rows have one place in the order only if the texts of their places are the same; else only the server knows,
    /// whose collation may take two texts for one.
    pub(super) fn is_exact(&self) -> bool {
        self.order.iter().all(|name| self.described.dialect.is_exact(self.kind(name)))
    }

    /// The row with these values of the order.
    pub(super) fn row(&self, order: &[Option<String>]) -> Statement {
        let mut statement = Statement::default();
        let cells: Vec<String> = self.wanted.iter().map(|name| self.cell(name)).collect();
        let same = self.order.iter().zip(order).map(|(name, value)| self.is(name, value.clone(), &mut statement));
        let same = same.collect::<Vec<_>>().join(" and ");
        statement.sql = self.cut(&cells, &format!(" where {same}"), 1);
        statement
    }

    /// One row if there are any between the two places.
    pub(super) fn news(&self, since: Option<&str>, until: Option<&str>) -> Result<Statement, SourceError> {
        let after = since.map(order_values).transpose()?;
        let mut statement = Statement::default();
        let end = until.map_or(End::Open, |until| End::First(until.to_owned()));
        let conditions = self.conditions(after.as_deref(), &end, &mut statement);
        statement.sql = self.cut(&[self.one()], &conditions, 1);
        Ok(statement)
    }

    /// One row if the cursor's newest value is before this place.
    pub(super) fn backwards(&self, since: &str) -> Result<Statement, SourceError> {
        let mut statement = Statement::default();
        let since = order_values(since)?.into_iter().next().flatten();
        let column = self.order.first().map(|name| self.sorted(name)).unwrap_or_default();
        let place = self.bind(0, since, &mut statement);
        let newest = format!("(select max({column}) as latest from {}) newest", self.described.from);
        statement.sql = format!("select {} from {newest} where latest < {place}", self.one());
        Ok(statement)
    }

    /// One row if there are rows whose cursor is null.
    pub(super) fn without_cursor(&self) -> Option<Statement> {
        let column = self.quoted(self.order.first()?);
        let sql = self.cut(&[self.one()], &format!(" where {column} is null"), 1);
        Some(Statement { sql, ..Statement::default() })
    }

    /// Now less a lag, as a cursor column of times would say it; `None` when it is of another type.
    pub(super) fn ceiling(&self, lag: Duration) -> Option<Statement> {
        let kind = self.kind(self.order.first()?);
        let seconds = lag.as_secs();
        if !["TIME", "DATE"].iter().any(|word| kind.to_uppercase().contains(word)) {
            return None;
        }
        let sql = match self.described.dialect {
            Dialect::Postgres => format!("select (now() - interval '{seconds} seconds')::{kind}::text"),
            Dialect::MySql => format!("select cast(now(6) - interval {seconds} second as char)"),
            Dialect::Sqlite => return None, // it has no type of times
            Dialect::Odbc(flavour, _) => flavour.earlier.replace("{n}", &seconds.to_string()),
        };
        Some(Statement { sql, ..Statement::default() })
    }

    /// The greatest value of the cursor.
    pub(super) fn newest(&self) -> Statement {
        let name = self.order.first().map_or("", String::as_str);
        let dialect = self.described.dialect;
        let inner = format!("(select max({}) as latest from {}) newest", self.sorted(name), self.described.from);
        let cell = dialect.place("latest", self.way(name));
        Statement { sql: format!("select {cell} from {inner}"), ..Statement::default() }
    }

    /// The server's time less a lag: civil, and after a bar in seconds since 1970.
    pub(super) fn clock(&self, lag: Duration) -> Statement {
        let seconds = lag.as_secs();
        let sql = match self.described.dialect {
            Dialect::Postgres => format!(
                "select to_char(localtimestamp - interval '{seconds} seconds', 'YYYY-MM-DD HH24:MI:SS') || '|' || \
                 (extract(epoch from now())::bigint - {seconds})::text"
            ),
            Dialect::MySql => {
                format!("select concat(now() - interval {seconds} second, '|', unix_timestamp() - {seconds})")
            }
            Dialect::Sqlite => format!(
                "select datetime('now', 'localtime', '-{seconds} seconds') || '|' || (strftime('%s', 'now') - {seconds})"
            ),
            Dialect::Odbc(flavour, _) => flavour.earlier.replace("{n}", &seconds.to_string()),
        };
        Statement { sql, ..Statement::default() }
    }

    /// How many rows are unread; `None` without a read flag.
    pub(super) fn unread(&self) -> Option<Statement> {
        self.flag.as_ref()?;
        Some(self.count(None, &End::Open))
    }

    /// How many rows there are between the two places.
    pub(super) fn count(&self, after: Option<&[Option<String>]>, end: &End) -> Statement {
        let mut statement = Statement::default();
        let conditions = self.conditions(after, end, &mut statement);
        let count = self.described.dialect.text("count(*)");
        statement.sql = format!("select {count} from {}{conditions}", self.described.from);
        statement
    }

    /// The values of the order of the last of so many rows; nothing when there is none.
    pub(super) fn border(&self, after: Option<&[Option<String>]>, end: &End, rows: u64) -> Statement {
        let mut statement = Statement::default();
        let conditions = self.conditions(after, end, &mut statement);
        let listed = |written: fn(usize, String) -> String| -> Vec<String> {
            self.order.iter().enumerate().map(|(i, name)| written(i, self.sorted(name))).collect()
        };
        let order = listed(|_, name| name).join(", ");
        let inner =
            self.cut(&listed(|i, name| format!("{name} as k{i}")), &format!("{conditions} order by {order}"), rows);
        let backwards = listed(|i, _| format!("k{i} desc")).join(", ");
        let dialect = self.described.dialect;
        let cells = self.order.iter().enumerate();
        let cells = cells.map(|(i, name)| dialect.named(i, dialect.place(&format!("k{i}"), self.way(name))));
        let cells: Vec<String> = cells.collect();
        let outer = format!("({inner}) part order by {backwards}");
        statement.sql = dialect.select(&cells, &outer, 1);
        statement
    }

    /// Marks these rows as read.
    pub(super) fn mark(&self, rows: &[Mark]) -> Statement {
        let mut statement = Statement::default();
        let Some(flag) = &self.flag else { return statement };
        let set = self.typed(&flag.column, Some(flag.read.clone()), &mut statement);
        let unread = self.is(&flag.column, said(&flag.unread), &mut statement);
        let mut named = Vec::with_capacity(rows.len());
        for row in rows {
            let cells = self.order.iter().zip(row);
            let cells: Vec<String> = cells.map(|(name, cell)| self.is(name, cell.clone(), &mut statement)).collect();
            named.push(format!("({})", cells.join(" and ")));
        }
        statement.sql = format!(
            "update {} set {} = {set} where {unread} and ({})",
            self.described.from,
            self.quoted(&flag.column),
            named.join(" or ")
        );
        statement
    }

    fn conditions(&self, after: Option<&[Option<String>]>, end: &End, to: &mut Statement) -> String {
        let mut all = Vec::new();
        if let Some(flag) = &self.flag {
            all.push(self.is(&flag.column, said(&flag.unread), to));
        }
        if let Some(after) = after {
            all.push(self.after(0, after, to));
        }
        match end {
            End::Open => {}
            End::First(until) => {
                let column = self.order.first().map(|name| self.sorted(name)).unwrap_or_default();
                let place = self.bind(0, Some(until.clone()), to);
                all.push(format!("{column} <= {place}"));
            }
            End::At(until) => all.push(self.upto(0, until, to)),
        }
        if all.is_empty() { String::new() } else { format!(" where {}", all.join(" and ")) }
    }

    /// Whether no row whose `name` is null comes after one where it is not: then what comes after a value is a range of its
    /// index.
    fn passes_nulls(&self, name: &String) -> bool {
        !self.described.dialect.nulls_last() || self.described.never_null.contains(name)
    }

    /// That a row comes after these values, from the order's column `i` on.
    fn after(&self, i: usize, values: &[Option<String>], to: &mut Statement) -> String {
        let (Some(name), Some(value)) = (self.order.get(i), values.get(i)) else { return "1 = 0".to_owned() };
        let column = self.sorted(name);
        let passes = self.passes_nulls(name);
        // Values are bound in the order in which they stand in the text.
        let bound = value.clone().filter(|_| i == 0 && passes && self.order.len() > 1);
        let bound = bound.map(|value| format!("{column} >= {}", self.bind(i, Some(value), to)));
        let above = match value {
            None if self.described.dialect.nulls_last() => "1 = 0".to_owned(),
            None => format!("{column} is not null"),
            Some(value) => {
                let place = self.bind(i, Some(value.clone()), to);
                let nulls = if passes { String::new() } else { format!(" or {column} is null") };
                format!("{column} > {place}{nulls}")
            }
        };
        if i + 1 >= self.order.len() {
            return format!("({above})");
        }
        let same = self.is(name, value.clone(), to);
        let rest = self.after(i + 1, values, to);
        bounded(bound, format!("({above} or ({same} and {rest}))"))
    }

    /// That a row does not come after these values, from the order's column `i` on.
    fn upto(&self, i: usize, values: &[Option<String>], to: &mut Statement) -> String {
        let (Some(name), Some(value)) = (self.order.get(i), values.get(i)) else { return "1 = 1".to_owned() };
        let column = self.sorted(name);
        // Where nulls come last, a value that is none bounds the rows.
        let bound = value.clone().filter(|_| i == 0 && self.described.dialect.nulls_last());
        let bound = bound.map(|value| format!("{column} <= {}", self.bind(i, Some(value), to)));
        let below = match value {
            None if self.described.dialect.nulls_last() => format!("{column} is not null"),
            None => "1 = 0".to_owned(),
            Some(value) => {
                let place = self.bind(i, Some(value.clone()), to);
                let last = self.described.dialect.nulls_last();
                let nulls = if last { String::new() } else { format!(" or {column} is null") };
                format!("{column} < {place}{nulls}")
            }
        };
        let same = self.is(name, value.clone(), to);
        let rest = self.upto(i + 1, values, to);
        bounded(bound, format!("({below} or ({same} and {rest}))"))
    }

    fn is(&self, name: &str, value: Option<String>, to: &mut Statement) -> String {
        let column = self.sorted(name);
        match value {
            None => format!("{column} is null"),
            value => format!("{column} = {}", self.typed(name, value, to)),
        }
    }

    fn bind(&self, i: usize, value: Option<String>, to: &mut Statement) -> String {
        self.typed(self.order.get(i).map_or("", String::as_str), value, to)
    }

    fn typed(&self, name: &str, value: Option<String>, to: &mut Statement) -> String {
        let kind = self.kind(name);
        let (written, value) = self.described.dialect.bound(to.binds.len() + 1, (kind, self.way(name)), value);
        to.binds.push(value);
        to.kinds.push(kind.to_owned());
        written
    }

    fn way(&self, name: &str) -> Way {
        self.described.dialect.way(self.kind(name), self.described.derived)
    }

    /// What rows are ordered by for this column.
    fn sorted(&self, name: &str) -> String {
        self.described.dialect.sorted(self.quoted(name), self.way(name))
    }

    /// The server's name of a column's type; empty when there is no such column.
    pub(super) fn kind(&self, name: &str) -> &str {
        self.described.columns.iter().find(|(column, _)| column == name).map_or("", |(_, kind)| kind)
    }

    fn cell(&self, name: &str) -> String {
        let has = self.described.columns.iter().any(|(column, _)| column == name);
        if has { self.described.dialect.cell(&self.quoted(name), self.way(name)) } else { "null".to_owned() }
    }

    /// The first rows of these cells, `rest` standing after the relation.
    fn cut(&self, cells: &[String], rest: &str, limit: u64) -> String {
        self.described.dialect.select(cells, &format!("{}{rest}", self.described.from), limit)
    }

    fn one(&self) -> String {
        self.described.dialect.text("1")
    }

    fn quoted(&self, name: &str) -> String {
        self.described.dialect.quoted(name)
    }
}

/// A condition with a plainer one before it that it implies, which an index can go by.
fn bounded(bound: Option<String>, condition: String) -> String {
    match bound {
        Some(bound) => format!("({bound} and {condition})"),
        None => condition,
    }
}

/// A flag's word; a blank one means that nothing is said.
fn said(word: &str) -> Option<String> {
    (!word.is_empty()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::flavour::Flavour;
    use super::*;
    use crate::config::Relation;

    fn select(dialect: Dialect, columns: &[(&str, &str)], order: &[&str]) -> Select {
        let described = Described {
            dialect,
            from: dialect.relation(&Relation::Table("front.E_BASEINFO".into())),
            columns: columns.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect(),
            derived: false,
            never_null: Vec::new(),
        };
        let order = order.iter().map(|name| (*name).to_owned()).collect();
        Select::new(described, vec!["名称".into(), "没有".into()], order, ("E_BASEINFO", None)).unwrap()
    }

    /// Without this every page of a large table reads the index from its beginning.
    #[test]
    fn nulls_that_come_first_need_no_asking() {
        let columns = [("UPD", "TIMESTAMP"), ("ID", "INT8")];
        let after = [Some("x".to_owned()), Some("7".to_owned())];
        let page = select(Dialect::Sqlite, &columns, &["UPD", "ID"]).page(Some(&after), &End::Open, Some(10)).sql;
        assert!(page.contains(r#"where ("UPD" >= ? and ("UPD" > ? or ("UPD" = ? and ("ID" > ?)))) order"#), "{page}");
    }

    #[test]
    fn what_is_never_null_goes_by_its_index() {
        let mut select = select(Dialect::Postgres, &[("UPD", "TIMESTAMP"), ("ID", "INT8")], &["UPD", "ID"]);
        select.described.never_null = vec!["UPD".into(), "ID".into()];
        let page = select.page(Some(&[Some("x".into()), Some("7".into())]), &End::Open, Some(10)).sql;
        let expected = r#"where ("UPD" >= $1::text::TIMESTAMP and ("UPD" > $2::text::TIMESTAMP or ("UPD" = $3::text::TIMESTAMP and ("ID" > $4::text::INT8)))) order"#;
        assert!(page.contains(expected), "{page}");
    }

    #[test]
    fn the_next_page_begins_after_the_last_row_of_this_one() {
        let columns = [("UPD", "TIMESTAMP"), ("ID", "INT8"), ("名称", "TEXT")];
        let page = select(Dialect::Postgres, &columns, &["UPD", "ID"]).page(
            Some(&[Some("2026-01-01 00:00:00".into()), Some("7".into())]),
            &End::First("2026-02-01".into()),
            Some(10),
        );
        insta::assert_snapshot!(page.sql, @r#"select "名称"::text as huiliu_0, null as huiliu_1, "UPD"::text as huiliu_2, "ID"::text as huiliu_3 from "front"."E_BASEINFO" where ("UPD" > $1::text::TIMESTAMP or "UPD" is null or ("UPD" = $2::text::TIMESTAMP and ("ID" > $3::text::INT8 or "ID" is null))) and "UPD" <= $4::text::TIMESTAMP order by "UPD", "ID" limit 10"#);
        assert_eq!(page.binds.len(), 4);
        let columns = [("ID", "BIGINT UNSIGNED"), ("名称", "VARCHAR")];
        let page = select(Dialect::MySql, &columns, &["ID"]).page(Some(&[Some("7".into())]), &End::Open, Some(10));
        insta::assert_snapshot!(page.sql, @"select cast(`名称` as char), null, cast(`ID` as char) from `front`.`E_BASEINFO` where (`ID` > cast(? as unsigned)) order by `ID` limit 10");
    }

    #[test]
    fn nulls_are_passed_where_the_server_sorts_them() {
        let columns = [("A", "TEXT"), ("B", "TEXT"), ("名称", "TEXT")];
        let after = [None, Some("x".to_owned())];
        let page = |dialect| select(dialect, &columns, &["A", "B"]).page(Some(&after), &End::Open, Some(1)).sql;
        assert!(
            page(Dialect::Postgres).contains(r#"where (1 = 0 or ("A" is null and ("B" > $1::text or "B" is null)))"#)
        );
        assert!(page(Dialect::Sqlite).contains(r#"where ("A" is not null or ("A" is null and ("B" > ?)))"#));
    }

    #[test]
    fn a_range_ends_where_the_next_one_begins() {
        let columns = [("A", "TEXT"), ("B", "TEXT"), ("名称", "TEXT")];
        let at = |dialect| {
            let end = End::At(vec![Some("x".to_owned()), None]);
            select(dialect, &columns, &["A", "B"]).count(None, &end).sql
        };
        insta::assert_snapshot!(at(Dialect::Postgres), @r#"select count(*)::text from "front"."E_BASEINFO" where ("A" <= $1::text and ("A" < $2::text or ("A" = $3::text and ("B" is not null or ("B" is null and 1 = 1)))))"#);
        insta::assert_snapshot!(at(Dialect::Sqlite), @r#"select cast(count(*) as text) from "front"."E_BASEINFO" where ("A" < ? or "A" is null or ("A" = ? and (1 = 0 or ("B" is null and 1 = 1))))"#);
        let oracle = Dialect::Odbc(Flavour::of("Oracle").unwrap(), Some('"'));
        let border = |dialect| select(dialect, &columns, &["A", "B"]).border(None, &End::Open, 100).sql;
        insta::assert_snapshot!(border(oracle), @r#"select * from (select k0, k1 from (select * from (select "A" as k0, "B" as k1 from "front"."E_BASEINFO" order by "A", "B") where rownum <= 100) part order by k0 desc, k1 desc) where rownum <= 1"#);
        insta::assert_snapshot!(border(Dialect::MySql), @"select cast(k0 as char), cast(k1 as char) from (select `A` as k0, `B` as k1 from `front`.`E_BASEINFO` order by `A`, `B` limit 100) part order by k0 desc, k1 desc limit 1");
    }

    #[test]
    fn a_key_that_the_relation_lacks_is_an_error() {
        let described = Described {
            dialect: Dialect::Sqlite,
            from: "t".into(),
            columns: Vec::new(),
            derived: false,
            never_null: Vec::new(),
        };
        let error = Select::new(described, Vec::new(), vec!["ID".into()], ("t", None)).unwrap_err();
        assert_eq!(error.code(), "HL0332");
    }
}

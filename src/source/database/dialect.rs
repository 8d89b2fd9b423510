//! How one database's SQL is written and another's is not.
//!
//! Decides: quotes, casts to and from text, where a limit stands, where nulls are sorted.

use super::flavour::Flavour;
use crate::config::Relation;

/// Whose SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    MySql,
    Sqlite,
    #[cfg_attr(not(any(feature = "odbc", test)), expect(dead_code, reason = "made by ODBC only"))]
    /// Whatever database is behind an ODBC driver, with the quotes of its names if it has any.
    Odbc(&'static Flavour, Option<char>),
}

impl Dialect {
    /// A relation as it stands after `from`.
    pub(super) fn relation(self, relation: &Relation) -> String {
        match relation {
            Relation::Table(name) => self.table(name),
            Relation::Query(query) => format!("({}) source_rows", query.trim().trim_end_matches(';')),
        }
    }

    /// A table's name, quoted, with its schema if it has one.
    pub(super) fn table(self, name: &str) -> String {
        name.split('.').map(|part| self.quoted(part)).collect::<Vec<_>>().join(".")
    }

    /// A name, quoted.
    pub(super) fn quoted(self, name: &str) -> String {
        match self {
            Self::MySql => format!("`{}`", name.replace('`', "``")),
            Self::Postgres | Self::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::Odbc(_, None) => name.to_owned(),
            Self::Odbc(_, Some(quote)) => {
                format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
            }
        }
    }

    /// A column as text.
    pub(super) fn text(self, column: &str) -> String {
        match self {
            Self::Postgres => format!("{column}::text"),
            Self::MySql => format!("cast({column} as char)"),
            Self::Sqlite => format!("cast({column} as text)"),
            Self::Odbc(..) => column.to_owned(), // the driver makes texts of all types
        }
    }

    /// A cell under a name that no column has. PostgreSQL calls a cast column as the column, and orders by what a name
    /// means in the list first: integers would come in the order of their texts, and pages would lose rows.
    pub(super) fn named(self, i: usize, cell: String) -> String {
        if self == Self::Postgres { format!("{cell} as huiliu_{i}") } else { cell }
    }

    /// The first rows of `select cells from rest`.
    pub(super) fn select(self, cells: &[String], rest: &str, limit: u64) -> String {
        match self {
            Self::Odbc(flavour, _) => flavour.select(cells, rest, limit),
            _ => format!("select {} from {rest} limit {limit}", cells.join(", ")),
        }
    }

    /// A bound text that compares with a column of this type as the column's own values do.
    pub(super) fn placeholder(self, number: usize, kind: &str) -> String {
        match self {
            Self::Sqlite => "?".to_owned(),   // the column's affinity converts it
            Self::Odbc(..) => "?".to_owned(), // bound with the column's type
            Self::MySql => match mysql_cast(kind) {
                Some(cast) => format!("cast(? as {cast})"),
                None => "?".to_owned(),
            },
            Self::Postgres => {
                const CAST: &[&str] = &[
                    "INT2",
                    "INT4",
                    "INT8",
                    "NUMERIC",
                    "FLOAT4",
                    "FLOAT8",
                    "DATE",
                    "TIME",
                    "TIMESTAMP",
                    "TIMESTAMPTZ",
                    "UUID",
                    "BOOL",
                    "OID",
                ];
                if CAST.contains(&kind) { format!("${number}::text::{kind}") } else { format!("${number}::text") }
            }
        }
    }

    /// Whether nulls come after everything else in ascending order.
    pub(super) const fn nulls_last(self) -> bool {
        match self {
            Self::Postgres => true,
            Self::MySql | Self::Sqlite => false,
            Self::Odbc(flavour, _) => flavour.nulls_last,
        }
    }
}

fn mysql_cast(kind: &str) -> Option<&'static str> {
    if kind.ends_with("UNSIGNED") {
        return Some("unsigned");
    }
    match kind {
        "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => Some("signed"),
        "DECIMAL" => Some("decimal(65,30)"),
        "DATETIME" | "TIMESTAMP" => Some("datetime(6)"),
        "DATE" => Some("date"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_whatever_they_hold() {
        assert_eq!(Dialect::Postgres.quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(Dialect::MySql.quoted("a`b"), "`a``b`");
        assert_eq!(Dialect::Sqlite.relation(&Relation::Query("select 1; ".into())), "(select 1) source_rows");
    }
}

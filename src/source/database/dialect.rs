//! How one database's SQL is written and another's is not.
//!
//! Decides: quotes, casts to and from text, where a limit stands, where nulls are sorted.

use super::flavour::Flavour;
use crate::config::Relation;

/// How values of a column are ordered, compared and kept as places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By the column itself, with texts that the server makes values of.
    Own,
    /// By its text: its own order is not that of its comparisons, or it has none with texts.
    Text,
    /// By its bytes, in hexadecimal digits.
    Bytes,
    /// By the number that its bits are.
    Bits,
    /// By the column itself, with values of the type that each of them has.
    Typed,
}

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

    /// All rows of `select cells from rest`.
    pub(super) fn select_all(cells: &[String], rest: &str) -> String {
        format!("select {} from {rest}", cells.join(", "))
    }

    /// The first rows of `select cells from rest`.
    pub(super) fn select(self, cells: &[String], rest: &str, limit: u64) -> String {
        match self {
            Self::Odbc(flavour, _) => flavour.select(cells, rest, limit),
            _ => format!("select {} from {rest} limit {limit}", cells.join(", ")),
        }
    }

    /// How a column of this type is ordered and compared; `derived`: its relation is a query.
    pub(super) fn way(self, kind: &str, derived: bool) -> Way {
        match (self, kind) {
            (Self::Postgres, kind) if POSTGRES_CASTS.contains(&kind) => Way::Own,
            (Self::Postgres, "TEXT" | "VARCHAR" | "CHAR" | "NAME") => Way::Own,
            // Enums, bytes, money, types of extensions: a text is not compared with them.
            (Self::Postgres, _) => Way::Text,
            // In the order of their declaration, and compared as texts.
            (Self::MySql, "ENUM" | "SET") => Way::Text,
            // The protocol calls a set of words so, too; of a table its catalogue says which is one.
            (Self::MySql, "CHAR") if derived => Way::Text,
            (Self::MySql, "BIT") => Way::Bits,
            (Self::MySql, kind) if is_bytes(kind) => Way::Bytes,
            // No affinity, which would make of a bound text what the column holds.
            (Self::Sqlite, "NULL" | "BLOB" | "REAL") => Way::Typed,
            _ => Way::Own,
        }
    }

    /// Whether two values of this type have one place in the order only if their texts are the same.
    pub(super) fn is_exact(self, kind: &str) -> bool {
        const MYSQL: &[&str] = &["DECIMAL", "DATETIME", "TIMESTAMP", "DATE", "YEAR", "BIT"];
        const POSTGRES: &[&str] =
            &["INT2", "INT4", "INT8", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "UUID", "BOOL", "OID"];
        const ODBC: &[&str] = &["INTEGER", "SMALLINT", "TINYINT", "BIGINT", "DATE", "TIMESTAMP"];
        match self {
            Self::Postgres => POSTGRES.contains(&kind),
            Self::MySql => MYSQL.contains(&kind) || kind.contains("INT"),
            Self::Sqlite => kind == "INTEGER",
            Self::Odbc(..) => ODBC.contains(&kind.split('(').next().unwrap_or_default().to_uppercase().as_str()),
        }
    }

    /// What rows are ordered by, and what is compared.
    pub(super) fn sorted(self, column: String, way: Way) -> String {
        if way == Way::Text { self.text(&column) } else { column }
    }

    /// A cell as the contract's column has it.
    pub(super) fn cell(self, column: &str, way: Way) -> String {
        match way {
            Way::Bytes => column.to_owned(), // what is no UTF-8 is set aside, and nothing becomes question marks
            Way::Bits => format!("cast({column} + 0 as char)"),
            Way::Own | Way::Text | Way::Typed => self.text(column),
        }
    }

    /// A cell as places in the order keep it.
    pub(super) fn place(self, column: &str, way: Way) -> String {
        match way {
            Way::Bytes => format!("hex({column})"),
            Way::Typed => format!(
                "case typeof({column}) when 'integer' then 'i:' || {column} when 'real' then \
                 'r:' || printf('%!.17g', {column}) when 'blob' then 'b:' || hex({column}) else 't:' || {column} end"
            ),
            Way::Own | Way::Text | Way::Bits => self.cell(column, way),
        }
    }

    /// A value of such a place, bound so that it compares with a column of this type as the column's own values do; and what
    /// is bound.
    pub(super) fn bound(
        self,
        number: usize,
        (kind, way): (&str, Way),
        value: Option<String>,
    ) -> (String, Option<String>) {
        let text = |placeholder: &str| placeholder.to_owned();
        match way {
            Way::Own => (self.placeholder(number, kind), value),
            Way::Text if self == Self::Postgres => (format!("${number}::text"), value),
            Way::Text => (text("?"), value),
            Way::Bytes => (text("unhex(?)"), value),
            Way::Bits => (text("cast(? as unsigned)"), value),
            Way::Typed => {
                let place = value.as_deref().and_then(|value| value.split_at_checked(2));
                let (placeholder, value) = match place {
                    // The sign takes the cast's affinity away, and changes nothing else.
                    Some(("i:", number)) => ("+cast(? as integer)", Some(number)),
                    Some(("r:", number)) => ("+cast(? as real)", Some(number)),
                    Some(("b:", bytes)) => ("unhex(?)", Some(bytes)),
                    Some(("t:", text)) => ("?", Some(text)),
                    _ => ("?", value.as_deref()),
                };
                (text(placeholder), value.map(str::to_owned))
            }
        }
    }

    fn placeholder(self, number: usize, kind: &str) -> String {
        match self {
            Self::Sqlite => "?".to_owned(),   // the column's affinity converts it
            Self::Odbc(..) => "?".to_owned(), // bound with the column's type
            Self::MySql => match mysql_cast(kind) {
                Some(cast) => format!("cast(? as {cast})"),
                None => "?".to_owned(),
            },
            Self::Postgres if POSTGRES_CASTS.contains(&kind) => format!("${number}::text::{kind}"),
            Self::Postgres => format!("${number}::text"),
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

/// Types of PostgreSQL whose values a text is made of before it is compared.
const POSTGRES_CASTS: &[&str] = &[
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

fn is_bytes(kind: &str) -> bool {
    matches!(kind, "BINARY" | "VARBINARY" | "GEOMETRY") || kind.ends_with("BLOB")
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

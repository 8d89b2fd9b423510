//! Databases that are reached by ODBC: what their SQL has of its own.
//!
//! Pure. Which row of the table holds is what the driver answers to `SQLGetInfo(SQL_DBMS_NAME)`; quotes are those of
//! `SQL_IDENTIFIER_QUOTE_CHAR`. A database that is in no row is refused (HL0359): a wrong guess about its order of nulls
//! would lose rows.

/// How a select is cut after so many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paging {
    /// `… limit n`.
    Limit,
    /// `… fetch first n rows only`, SQL:2008.
    FetchFirst,
    /// `select top (n) …`.
    Top,
    /// `select * from (…) where rownum <= n`, which Oracle knows in every version.
    RowNumber,
}

/// One database's ways.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flavour {
    /// For people.
    pub(super) name: &'static str,
    /// What `SQL_DBMS_NAME` begins with, in lower case.
    answers: &'static [&'static str],
    pub(super) paging: Paging,
    /// Whether nulls come after everything else in ascending order.
    pub(super) nulls_last: bool,
    /// A select of now less `{n}` seconds, as a column of civil times would say it.
    pub(super) earlier: &'static str,
    /// What makes a session read-only; `None` where only the user's rights can.
    pub(super) read_only: Option<&'static str>,
    /// A select of [`SPOKEN`]: a driver that gives it back otherwise loses texts.
    pub(super) spoken: &'static str,
    /// Whether a text is compared with a column as the column's type says. If not, values are bound with that type.
    pub(super) texts_compare: bool,
}

/// What a driver is asked to give back before it is trusted with texts.
#[cfg_attr(not(feature = "odbc"), expect(dead_code, reason = "asked by ODBC only"))]
pub(super) const SPOKEN: &str = "汇流";

/// Every database that this version knows by ODBC.
static FLAVOURS: [Flavour; 8] = [
    Flavour {
        name: "PostgreSQL",
        answers: &["postgresql", "opengauss", "gaussdb", "highgo", "vastbase"],
        paging: Paging::Limit,
        nulls_last: true,
        earlier: "select localtimestamp - interval '{n} seconds'",
        read_only: Some("set session characteristics as transaction read only"),
        spoken: "select '汇流'",
        texts_compare: false,
    },
    Flavour {
        name: "人大金仓 KingbaseES",
        answers: &["kingbase"],
        paging: Paging::Limit,
        nulls_last: true,
        earlier: "select localtimestamp - interval '{n} seconds'",
        read_only: Some("set session characteristics as transaction read only"),
        spoken: "select '汇流'",
        texts_compare: false,
    },
    Flavour {
        name: "达梦 DM8",
        answers: &["dm"],
        paging: Paging::Limit,
        nulls_last: false, // ORDER_BY_NULLS_FLAG = 0, its default
        earlier: "select dateadd(second, -{n}, localtimestamp)",
        read_only: None,
        spoken: "select '汇流'",
        texts_compare: false,
    },
    Flavour {
        name: "Oracle",
        answers: &["oracle"],
        paging: Paging::RowNumber,
        nulls_last: true,
        earlier: "select localtimestamp - numtodsinterval({n}, 'SECOND') from dual",
        read_only: None,
        spoken: "select '汇流' from dual",
        texts_compare: false,
    },
    Flavour {
        name: "SQL Server",
        answers: &["microsoft sql server"],
        paging: Paging::Top,
        nulls_last: false,
        earlier: "select dateadd(second, -{n}, sysdatetime())",
        read_only: None,
        spoken: "select N'汇流'",
        texts_compare: false,
    },
    Flavour {
        name: "DB2",
        answers: &["db2"],
        paging: Paging::FetchFirst,
        nulls_last: true,
        earlier: "select current timestamp - {n} seconds from sysibm.sysdummy1",
        read_only: None,
        spoken: "select '汇流' from sysibm.sysdummy1",
        texts_compare: false,
    },
    Flavour {
        name: "MySQL",
        answers: &["mysql", "mariadb", "oceanbase", "tidb"],
        paging: Paging::Limit,
        nulls_last: false,
        earlier: "select now(6) - interval {n} second",
        read_only: Some("set session transaction read only"),
        spoken: "select '汇流'",
        texts_compare: false,
    },
    Flavour {
        name: "SQLite",
        answers: &["sqlite"],
        paging: Paging::Limit,
        nulls_last: false,
        earlier: "select datetime('now', 'localtime', '-{n} seconds')",
        read_only: Some("pragma query_only = 1"),
        spoken: "select '汇流'",
        texts_compare: true, // a column's affinity converts what it is compared with
    },
];

impl Flavour {
    /// The database that calls itself so.
    #[cfg_attr(not(any(feature = "odbc", test)), expect(dead_code, reason = "asked by ODBC only"))]
    pub(super) fn of(dbms: &str) -> Option<&'static Self> {
        let dbms = dbms.trim().to_lowercase();
        FLAVOURS.iter().find(|flavour| flavour.answers.iter().any(|answer| dbms.starts_with(answer)))
    }

    /// Names of all of them, for messages.
    #[cfg_attr(not(any(feature = "odbc", test)), expect(dead_code, reason = "asked by ODBC only"))]
    pub(super) fn all() -> String {
        FLAVOURS.iter().map(|flavour| flavour.name).collect::<Vec<_>>().join(", ")
    }

    /// The first rows of `select cells from rest`.
    pub(super) fn select(&self, cells: &[String], rest: &str, limit: u64) -> String {
        let listed = cells.join(", ");
        match self.paging {
            Paging::Limit => format!("select {listed} from {rest} limit {limit}"),
            Paging::FetchFirst => format!("select {listed} from {rest} fetch first {limit} rows only"),
            Paging::Top => format!("select top ({limit}) {listed} from {rest}"),
            Paging::RowNumber => {
                // One column may be asked for twice; in a select of a select each needs a name of its own.
                let first = |i: usize, cell: &String| cells.iter().position(|other| other == cell) == Some(i);
                let named = cells.iter().enumerate().map(|(i, cell)| match first(i, cell) {
                    true => cell.clone(),
                    false => format!("{cell} as c{i}"),
                });
                let named = named.collect::<Vec<_>>().join(", ");
                format!("select * from (select {named} from {rest}) where rownum <= {limit}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_known_by_what_it_calls_itself() {
        let check = |dbms: &str, name: Option<&str>| {
            assert_eq!(Flavour::of(dbms).map(|flavour| flavour.name), name, "{dbms}");
        };
        check("PostgreSQL", Some("PostgreSQL"));
        check("KingbaseES", Some("人大金仓 KingbaseES"));
        check("DM8", Some("达梦 DM8"));
        check("DM DBMS", Some("达梦 DM8"));
        check("Oracle", Some("Oracle"));
        check("Microsoft SQL Server", Some("SQL Server"));
        check("DB2/LINUXX8664", Some("DB2"));
        check("MariaDB", Some("MySQL"));
        check("SQLite", Some("SQLite"));
        check("Informix", None);
    }

    #[test]
    fn every_database_cuts_a_select_in_its_own_way() {
        let cut = |dbms: &str| Flavour::of(dbms).unwrap().select(&["a".into(), "a".into()], "t order by a", 7);
        insta::assert_snapshot!(cut("DM8"), @"select a, a from t order by a limit 7");
        insta::assert_snapshot!(cut("DB2"), @"select a, a from t order by a fetch first 7 rows only");
        insta::assert_snapshot!(cut("Microsoft SQL Server"), @"select top (7) a, a from t order by a");
        insta::assert_snapshot!(cut("Oracle"), @"select * from (select a, a as c1 from t order by a) where rownum <= 7");
    }

    #[test]
    fn no_two_databases_answer_alike() {
        for (i, flavour) in FLAVOURS.iter().enumerate() {
            for answer in flavour.answers {
                assert_eq!(Flavour::of(answer).unwrap(), &FLAVOURS[i], "{answer}");
            }
        }
        assert_eq!(Flavour::all().split(", ").count(), FLAVOURS.len());
    }
}

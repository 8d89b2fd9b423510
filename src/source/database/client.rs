//! One connection to a department's database, whichever it is: by a driver of our own, or by ODBC.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

use super::dialect::Dialect;
use super::native::Native;
#[cfg(feature = "odbc")]
use super::odbc::Session;
use super::rows::Block;
use super::sql::Statement;
use crate::config::Database;
use crate::source::SourceError;

/// How long a server may take to let us in.
pub(super) const HELLO: Duration = Duration::from_secs(10);

/// A connection.
pub(super) enum Client {
    Native(Native),
    #[cfg(feature = "odbc")]
    Odbc(Session),
}

/// What was read of a page.
pub(super) struct Paged {
    /// How many rows.
    pub(super) rows: u64,
    /// The last row that was sent; `None` when none was.
    pub(super) last: Option<Vec<Option<String>>>,
    /// Whether there may be more after it.
    pub(super) full: bool,
}

/// Does the same on whichever connection it is.
macro_rules! on {
    ($client:expr, $conn:ident => $does:expr) => {
        match $client {
            Client::Native($conn) => $does,
            #[cfg(feature = "odbc")]
            Client::Odbc($conn) => $does,
        }
    };
}

impl Client {
    /// Connects; a session that does not write cannot, where the server knows such sessions.
    pub(super) async fn connect(database: &Database, dir: &Path, writes: bool) -> Result<Self, SourceError> {
        match database.url.value.strip_prefix("odbc:") {
            None => Native::connect(database, dir, writes).await.map(Self::Native),
            #[cfg(feature = "odbc")]
            Some(string) => Session::connect(string, database, writes).await.map(Self::Odbc),
            #[cfg(not(feature = "odbc"))]
            Some(_) => Err(SourceError::NoOdbc),
        }
    }

    pub(super) const fn dialect(&self) -> Dialect {
        on!(self, conn => conn.dialect())
    }

    /// Names and types of what a select gives.
    pub(super) async fn columns(&mut self, sql: &str) -> Result<Vec<(String, String)>, SourceError> {
        on!(self, conn => conn.columns(sql).await)
    }

    /// Those columns of a relation that hold no null, as far as its server tells.
    pub(super) async fn never_null(&mut self, from: &str) -> Result<Vec<String>, SourceError> {
        on!(self, conn => conn.never_null(from).await)
    }

    /// The first row, as texts.
    pub(super) async fn first(&mut self, statement: &Statement) -> Result<Option<Vec<Option<String>>>, SourceError> {
        on!(self, conn => conn.first(statement).await)
    }

    /// Sends the rows of a page of at most `limit`, rows with the same place in the order together; those at the end of
    /// a full page are left for the next one.
    pub(super) async fn page(
        &mut self,
        statement: &Statement,
        (limit, width): (u64, (usize, usize)),
        to: &mpsc::Sender<Result<Block, SourceError>>,
    ) -> Result<Paged, SourceError> {
        on!(self, conn => conn.page(statement, (limit, width), to).await)
    }

    /// Sends all rows of an answer, each so many cells wide, some at a time. That nobody reads any more ends it.
    pub(super) async fn stream(
        &mut self,
        statement: &Statement,
        width: usize,
        to: mpsc::Sender<Block>,
    ) -> Result<(), SourceError> {
        match self {
            Self::Native(native) => native.stream(statement, width, to).await,
            #[cfg(feature = "odbc")]
            Self::Odbc(_) => Err(SourceError::Unprepared { why: "ODBC does not show a database's log".to_owned() }),
        }
    }

    /// Runs a statement.
    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<(), SourceError> {
        on!(self, conn => conn.execute(statement).await)
    }
}

//! Connections: how they are made, when they count as lost, and what the server's errors mean.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgErrorPosition};
use sqlx::{ConnectOptions as _, PgConnection};

use super::super::{Result, StoreError};
use crate::error::Problem;

/// A server that has not let us in by then will not.
const CONNECTING: Duration = Duration::from_secs(15);
/// A question that the server has not answered by then is lost, and with it the connection. The server's own limit
/// (`statement_timeout`) comes first, so this is for a server, or a network, that went silent.
const ANSWERING: Duration = Duration::from_secs(330);

/// What every connection of ours is told. Plans are made for lookups of a few thousand keys in large tables, whatever
/// the statistics of the moment say; compiling them (`jit`) takes longer than running them, and so does starting processes
/// to run them in.
const SETTINGS: &[(&str, &str)] = &[
    ("search_path", "huiliu"),
    ("timezone", "UTC"),
    ("client_min_messages", "warning"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("max_parallel_workers_per_gather", "0"),
    ("random_page_cost", "1.1"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("statement_timeout", "300s"),
    ("lock_timeout", "60s"),
    ("idle_in_transaction_session_timeout", "120s"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// Where the database is.
#[derive(Debug, Clone)]
pub(super) struct Address(PgConnectOptions);

impl Address {
    /// From `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=ca.pem`.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let options = crate::postgres::options_of_database(url).map_err(|error| {
            let problem = Problem::error("HL0109", format!("the store of this installation cannot be asked: {error}"));
            StoreError::Refused(Box::new(problem))
        })?;
        let options = options.application_name("huiliu").statement_cache_capacity(256);
        Ok(Self(options.options(SETTINGS.iter().copied()).disable_statement_logging()))
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<PgConnection> {
        let place = format!("{}:{}", self.0.get_host(), self.0.get_port());
        match tokio::time::timeout(CONNECTING, crate::postgres::connect(&self.0)).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Err(StoreError::Unavailable(format!("{place} took the connection and never answered"))),
        }
    }
}

/// A connection that is made again after it was lost.
pub(super) struct Link {
    address: Address,
    conn: Option<PgConnection>,
}

impl Link {
    pub(super) const fn new(address: Address) -> Self {
        Self { address, conn: None }
    }

    /// The connection, made now if there is none.
    pub(super) async fn get(&mut self) -> Result<&mut PgConnection> {
        if self.conn.is_none() {
            self.conn = Some(self.address.connect().await?);
        }
        self.conn.as_mut().ok_or_else(|| StoreError::Unavailable("no connection".into()))
    }

    /// The connection itself, to be given back.
    pub(super) async fn take(&mut self) -> Result<PgConnection> {
        match self.conn.take() {
            Some(conn) => Ok(conn),
            None => self.address.connect().await,
        }
    }

    /// Gives it back.
    pub(super) fn put(&mut self, conn: PgConnection) {
        self.conn = Some(conn);
    }

    /// Whether there is one.
    pub(super) const fn is_open(&self) -> bool {
        self.conn.is_some()
    }

    /// Lets go of a connection of which nobody knows what it is doing; the server notices.
    pub(super) fn lose(&mut self) {
        self.conn = None;
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn within<T>(question: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(ANSWERING, question)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("the server went silent".into())))
}

/// What an error of the server or of the way to it means. Messages of data errors can quote cells, so only the code
/// and the column are told.
pub(super) fn refused(error: sqlx::Error) -> StoreError {
    let Some(inner) = error.as_database_error() else {
        return StoreError::Unavailable(error.to_string());
    };
    let state = inner.code().unwrap_or_default().into_owned();
    let said = inner.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
    let column = said.and_then(|said| said.column()).unwrap_or_default();
    let table = said.and_then(|said| said.table()).unwrap_or_default();
    match state.get(..2) {
        Some("21" | "22" | "23") => StoreError::Data { state, place: format!("{table}.{column}") },
        Some("XX") => StoreError::Damaged(format!("{} (SQLSTATE {state})", inner.message())),
        // A table or column that is not there, or is of another type: somebody altered the schema.
        Some("42") if !state.starts_with("42501") => {
            let at = said.and_then(|said| match said.position() {
                Some(PgErrorPosition::Original(at)) => Some(at),
                _ => None,
            });
            let at = at.map_or_else(String::new, |at| format!(" at {at}"));
            StoreError::Damaged(format!("{}{at} (SQLSTATE {state})", inner.message()))
        }
        _ => StoreError::Unavailable(format!("{} (SQLSTATE {state})", inner.message())),
    }
}

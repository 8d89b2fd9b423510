//! What following a table needs on its server: the table's replica identity, a publication (发布), a slot (复制槽).
//!
//! Decides: what is asked and made there. Guarantees: nothing is made over a table whose rows cannot be told apart in
//! the log, because its owner could no longer write to it.

use pg_walstream::Lsn;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::client::Client;
use super::super::dialect::Dialect;
use super::super::sql::Statement;
use crate::config::At;
use crate::source::SourceError;

/// A table, as its catalog describes it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Table {
    pub(super) oid: u32,
    schema: String,
    name: String,
    /// `pg_class.relkind`.
    kind: String,
    /// `pg_class.relreplident`.
    identity: String,
    /// Columns that the log names a changed row by, unless it writes all of them.
    named: Vec<String>,
}

/// A slot.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Slot {
    plugin: Option<String>,
    confirmed_flush_lsn: Option<String>,
    /// `lost` when the server threw away what we had not taken yet.
    #[serde(default)]
    wal_status: Option<String>,
}

/// The server's present moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// The log is written up to here.
    pub(super) lsn: Lsn,
    /// Microseconds since 2000-01-01 UTC.
    pub(super) micros: i64,
}

/// The names of what is ours there.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) slot: String,
    pub(super) publication: String,
    /// Whether the publication is one that we may make.
    pub(super) own: bool,
}

impl Table {
    /// Fails when the log does not name changed rows by the key of the contract.
    pub(super) fn check(&self, key: &[At<String>]) -> Result<(), SourceError> {
        let table = format!("{}.{}", self.schema, self.name);
        if !matches!(self.kind.as_str(), "r" | "p") {
            return Err(SourceError::Unprepared { why: format!("{table} is no table: a view has no log of its own") });
        }
        let named = |column: &At<String>| self.identity == "f" || self.named.contains(&column.value);
        let lost: Vec<&str> = key.iter().filter(|column| !named(column)).map(|column| column.value.as_str()).collect();
        if lost.is_empty() && (self.identity == "f" || !self.named.is_empty()) {
            return Ok(());
        }
        Err(SourceError::Nameless { table, columns: lost.join(", ") })
    }

    fn quoted(&self) -> String {
        let quoted = |name: &str| Dialect::Postgres.quoted(name);
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

impl Slot {
    /// What was taken, as the server knows it; `None` when it kept nothing for us.
    pub(super) fn confirmed(&self) -> Option<Lsn> {
        let kept = self.wal_status.as_deref() != Some("lost") && self.plugin.as_deref() == Some("pgoutput");
        self.confirmed_flush_lsn.as_deref().filter(|_| kept)?.parse().ok()
    }
}

/// The table of this name, or that there is none.
pub(super) async fn table(client: &mut Client, name: &str) -> Result<Table, SourceError> {
    let sql = "select json_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, \
               'kind', c.relkind::text, 'identity', c.relreplident::text, 'named', coalesce((select json_agg(a.attname) \
               from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey) \
               where i.indrelid = c.oid and case c.relreplident when 'd' then i.indisprimary when 'i' then \
               i.indisreplident else false end), '[]'))::text \
               from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1::text)";
    let found = json(client, asked(sql, &[&Dialect::Postgres.table(name)])).await?;
    found.ok_or_else(|| SourceError::NotThere { why: format!("{name} is not there") })
}

/// Our slot, if there is one.
pub(super) async fn slot(client: &mut Client, names: &Names) -> Result<Option<Slot>, SourceError> {
    let sql = "select to_json(s)::text from pg_replication_slots s where slot_name = $1::text and database = current_database()";
    json(client, asked(sql, &[&names.slot])).await
}

/// Where the log is.
pub(super) async fn now(client: &mut Client) -> Result<Now, SourceError> {
    let sql = "select pg_current_wal_flush_lsn()::text, \
               (extract(epoch from clock_timestamp() - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint::text";
    let row = client.first(&asked(sql, &[])).await.map_err(unprepared)?.unwrap_or_default();
    let text = |i: usize| row.get(i).cloned().flatten().unwrap_or_default();
    let lsn = text(0).parse().map_err(|_| unread())?;
    Ok(Now { lsn, micros: text(1).parse().map_err(|_| unread())? })
}

/// Whether the publication tells everything about this table.
pub(super) async fn is_published(client: &mut Client, table: &Table, names: &Names) -> Result<bool, SourceError> {
    let sql = "select 1::text from pg_publication p join pg_publication_tables t using (pubname) \
               where pubname = $1::text and schemaname = $2::text and tablename = $3::text \
               and pubinsert and pubupdate and pubdelete and pubtruncate";
    let row = client.first(&asked(sql, &[&names.publication, &table.schema, &table.name])).await?;
    Ok(row.is_some())
}

/// Makes the publication where it is ours to make.
pub(super) async fn publish(client: &mut Client, table: &Table, names: &Names) -> Result<(), SourceError> {
    if is_published(client, table, names).await? {
        return Ok(());
    }
    let name = Dialect::Postgres.quoted(&names.publication);
    let exists = "select 1::text from pg_publication where pubname = $1::text";
    let exists = client.first(&asked(exists, &[&names.publication])).await?.is_some();
    let sql = if exists {
        format!("alter publication {name} add table {}", table.quoted())
    } else {
        let root = if table.kind == "p" { " with (publish_via_partition_root = true)" } else { "" };
        format!("create publication {name} for table {}{root}", table.quoted())
    };
    let owner = |why: String| SourceError::Unprepared { why: format!("{why}; its owner runs: {sql}") };
    if !names.own {
        return Err(owner("the publication does not tell everything about the table".to_owned()));
    }
    client.execute(&asked(&sql, &[])).await.map_err(|error| match error {
        SourceError::Login { why } | SourceError::Refused { why } => owner(format!("we may not publish it ({why})")),
        error => error,
    })
}

/// Makes the slot, or makes it anew; one that is there and good is kept. Everything committed from now on is kept for us.
pub(super) async fn keep_slot(client: &mut Client, names: &Names, anew: bool) -> Result<Lsn, SourceError> {
    let there = slot(client, names).await?;
    if let Some(confirmed) = there.as_ref().and_then(Slot::confirmed).filter(|_| !anew) {
        return Ok(confirmed);
    }
    if there.is_some() {
        let sql = "select pg_drop_replication_slot($1::text::name)";
        client.execute(&asked(sql, &[&names.slot])).await.map_err(unprepared)?;
    }
    let sql = "select pg_create_logical_replication_slot($1::text::name, 'pgoutput')";
    client.execute(&asked(sql, &[&names.slot])).await.map_err(unprepared)?;
    slot(client, names).await?.as_ref().and_then(Slot::confirmed).ok_or_else(unread)
}

/// Tells the server that everything before this was taken.
pub(super) async fn advance(client: &mut Client, names: &Names, to: Lsn) -> Result<(), SourceError> {
    let sql = "select pg_replication_slot_advance($1::text::name, $2::text::pg_lsn)";
    client.execute(&asked(sql, &[&names.slot, &to.to_string()])).await.map_err(unprepared)
}

/// The log between what was taken and `upto`, as far as it tells of one table; `limit` changes and the transaction that
/// they end in at most. `brief` leaves the rows themselves out.
pub(super) fn peek(names: &Names, table: u32, upto: Lsn, (limit, brief): (Option<u32>, bool)) -> Statement {
    let data = if brief {
        "case when get_byte(data, 0) in (68, 73, 85) then substring(data from 1 for 5) else data end"
    } else {
        "data"
    };
    let limit = limit.map_or_else(|| "null".to_owned(), |limit| limit.to_string());
    let sql = format!(
        "select {data} from pg_logical_slot_peek_binary_changes($1::text::name, $2::text::pg_lsn, {limit}, \
         'proto_version', '1', 'publication_names', $3::text) where get_byte(data, 0) in (66, 67, 84) \
         or (get_byte(data, 0) in (68, 73, 82, 85) and substring(data from 2 for 4) = '\\x{table:08x}'::bytea)"
    );
    asked(&sql, &[&names.slot, &upto.to_string(), &Dialect::Postgres.quoted(&names.publication)])
}

/// Why the log cannot be read where a slot was: our place in it is lost.
pub(super) fn lost(error: SourceError) -> SourceError {
    match error {
        SourceError::Refused { why } if why.ends_with("42704") => {
            SourceError::Lost { why: "its publication was not there all the time".to_owned() }
        }
        SourceError::Refused { why } if why.ends_with("55000") => {
            SourceError::Lost { why: "the server no longer keeps it for us".to_owned() }
        }
        error => unprepared(error),
    }
}

/// What following asks of a server that others may not.
fn unprepared(error: SourceError) -> SourceError {
    match error {
        SourceError::Login { why } | SourceError::Refused { why } => SourceError::Unprepared { why },
        error => error,
    }
}

fn unread() -> SourceError {
    SourceError::Unprepared { why: "its answer does not read".to_owned() }
}

/// A statement with its values.
pub(super) fn asked(sql: &str, values: &[&str]) -> Statement {
    let binds = values.iter().map(|&value| Some(value.to_owned())).collect();
    Statement { sql: sql.to_owned(), binds, ..Statement::default() }
}

async fn json<T: DeserializeOwned>(client: &mut Client, statement: Statement) -> Result<Option<T>, SourceError> {
    let row = client.first(&statement).await?;
    let text = row.and_then(|row| row.into_iter().next().flatten());
    text.map(|text| serde_json::from_str(&text).map_err(|_| unread())).transpose()
}

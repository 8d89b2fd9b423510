//! The tables: fixed ones by numbered migration, typed register tables from the register files.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::super::{Result, StoreError};
use super::unavailable;
use crate::config::Register;
use crate::error::Problem;
use crate::record::FieldType;

/// Each step runs once, in order, in one transaction; `pragma user_version` says how many have run.
const MIGRATIONS: &[&str] = &[include_str!("001_foundation.sql"), include_str!("003_leases.sql")];

/// Brings the fixed tables up to date. Safe to call again.
pub(super) async fn migrate(conn: &mut SqliteConnection) -> Result<()> {
    let version: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&mut *conn).await.map_err(unavailable)?;
    let done = usize::try_from(version).unwrap_or(0);
    if done > MIGRATIONS.len() {
        return Err(StoreError::Refused(Box::new(
            Problem::error("HL0401", format!("the store was written by a newer huiliu (schema {done})"))
                .detail(format!("this program knows schema {}", MIGRATIONS.len()))
                .hint("use the newer program, or restore a backup made before the upgrade"),
        )));
    }
    for (i, step) in MIGRATIONS.iter().enumerate().skip(done) {
        let script = format!("begin immediate;\n{step}\npragma user_version = {};\ncommit;", i + 1);
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *conn).await.map_err(unavailable)?;
    }
    Ok(())
}

/// One register's physical table.
#[derive(Debug, Clone)]
pub(super) struct RegisterTable {
    /// Fields in register file order: name, type.
    pub(super) fields: Vec<(String, FieldType)>,
    /// Stored id of each key field.
    pub(super) key_ids: Vec<i64>,
}

/// `"name"`, quoted for SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The declared column type, as a BI tool reads it.
const fn declared(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text => "text",
        FieldType::Integer => "integer",
        FieldType::Decimal => "decimal(24,4)",
        FieldType::Date => "date",
        FieldType::Timestamp => "timestamp",
        FieldType::Boolean => "boolean",
    }
}

/// Makes or widens one register's tables.
pub(super) async fn prepare(conn: &mut SqliteConnection, register: &Register) -> Result<RegisterTable> {
    sqlx::query("insert into register (name) values (?) on conflict do nothing")
        .bind(&register.name)
        .execute(&mut *conn)
        .await
        .map_err(unavailable)?;
    let id: i64 = sqlx::query_scalar("select id from register where name = ?")
        .bind(&register.name)
        .fetch_one(&mut *conn)
        .await
        .map_err(unavailable)?;
    let existing = existing_fields(conn, id).await?;
    refuse_losses(register, &existing)?;
    for sql in additions(register, &existing) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await.map_err(unavailable)?;
    }
    for field in &register.fields {
        sqlx::query("insert into register_field (register, name, kind) values (?, ?, ?) on conflict do nothing")
            .bind(id)
            .bind(&field.name)
            .bind(field.kind.name())
            .execute(&mut *conn)
            .await
            .map_err(unavailable)?;
    }
    let ids = field_ids(conn, id).await?;
    let fields: Vec<(String, FieldType)> = register.fields.iter().map(|f| (f.name.clone(), f.kind)).collect();
    let key_ids = register.keys.iter().filter_map(|key| ids.get(&key.value).copied()).collect();
    Ok(RegisterTable { fields, key_ids })
}

async fn existing_fields(conn: &mut SqliteConnection, register: i64) -> Result<HashMap<String, String>> {
    let rows = sqlx::query("select name, kind from register_field where register = ?")
        .bind(register)
        .fetch_all(conn)
        .await
        .map_err(unavailable)?;
    Ok(rows.iter().map(|row| (row.get("name"), row.get("kind"))).collect())
}

async fn field_ids(conn: &mut SqliteConnection, register: i64) -> Result<HashMap<String, i64>> {
    let rows = sqlx::query("select name, id from register_field where register = ?")
        .bind(register)
        .fetch_all(conn)
        .await
        .map_err(unavailable)?;
    Ok(rows.iter().map(|row| (row.get("name"), row.get("id"))).collect())
}

/// Dropped fields and changed types would lose data: say the SQL, do nothing.
fn refuse_losses(register: &Register, existing: &HashMap<String, String>) -> Result<()> {
    let table = quoted(&register.name);
    let mut losses: Vec<String> = Vec::new();
    let mut names: Vec<&String> = existing.keys().collect();
    names.sort();
    for name in names {
        match register.field(name) {
            None => losses.push(format!("alter table {table} drop column {};", quoted(name))),
            Some(field) if existing[name] != field.kind.name() => losses.push(format!(
                "-- {name}: {} becomes {}\nalter table {table} drop column {col}; alter table {table} add column {col} {kind};",
                existing[name],
                field.kind,
                col = quoted(name),
                kind = declared(field.kind),
            )),
            Some(_) => {}
        }
    }
    if losses.is_empty() {
        return Ok(());
    }
    Err(StoreError::Refused(Box::new(
        Problem::error("HL0402", format!("register \"{}\" would lose data", register.name))
            .detail(format!("its file asks for:\n    {}", losses.join("\n    ")))
            .hint("put the field back, or add a new field beside it"),
    )))
}

/// `create table` the first time, `alter table … add column` later.
fn additions(register: &Register, existing: &HashMap<String, String>) -> Vec<String> {
    let (live, past) = (quoted(&register.name), quoted(&format!("{}_history", register.name)));
    let change = quoted(&format!("{}_change", register.name));
    let new: Vec<String> = register
        .fields
        .iter()
        .filter(|field| !existing.contains_key(&field.name))
        .map(|field| format!("{} {}", quoted(&field.name), declared(field.kind)))
        .collect();
    if existing.is_empty() {
        let columns = new.join(", ");
        return vec![
            format!(
                "create table if not exists {live} (_id integer primary key, _version integer not null, \
                 _since integer not null, _run integer not null, _sources text not null, {columns});"
            ),
            format!(
                "create table if not exists {past} (_id integer not null, _version integer not null, \
                 _since integer not null, _run integer not null, _sources text not null, _until integer not null, \
                 _ended_by integer not null, {columns}, primary key (_id, _version)) without rowid;"
            ),
            format!(
                "create table if not exists {change} (seq integer primary key autoincrement, entity integer not null, \
                 version integer not null, kind text not null, run integer not null);"
            ),
        ];
    }
    new.iter()
        .flat_map(|column| [&live, &past].map(|table| format!("alter table {table} add column {column};")))
        .collect()
}

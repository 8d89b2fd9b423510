//! The tables: fixed ones by numbered migration, typed register tables from the register files.

use std::collections::{BTreeSet, HashMap};

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::super::table::{RegisterTable, quoted, refuse_losses};
use super::super::{Result, StoreError};
use super::unavailable;
use crate::config::Register;
use crate::error::Problem;
use crate::record::FieldType;

/// Each step runs once, in order, in one transaction; `pragma user_version` says how many have run.
const MIGRATIONS: &[&str] = &[
    include_str!("001_foundation.sql"),
    include_str!("002_receipts.sql"),
    include_str!("003_leases.sql"),
    include_str!("004_definitions.sql"),
    include_str!("005_gone.sql"),
    include_str!("006_shapes.sql"),
    include_str!("007_audit.sql"),
    include_str!("008_suspended.sql"),
    include_str!("009_stamps.sql"),
    include_str!("010_at_rest.sql"),
    include_str!("011_texts.sql"),
    include_str!("012_chases.sql"),
    include_str!("013_lag.sql"),
    include_str!("014_remembered.sql"),
    include_str!("015_suspended_side.sql"),
    include_str!("016_false_receipts.sql"),
    include_str!("017_meta.sql"),
    include_str!("018_taken_again.sql"),
];

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

/// What is noted under this name, now if it was not.
pub(super) async fn noted_once(conn: &mut SqliteConnection, name: &str, value: &str) -> Result<String> {
    sqlx::query("insert into meta (name, value) values (?, ?) on conflict do nothing")
        .bind(name)
        .bind(value)
        .execute(&mut *conn)
        .await
        .map_err(unavailable)?;
    sqlx::query_scalar("select value from meta where name = ?").bind(name).fetch_one(conn).await.map_err(unavailable)
}

/// The declared column type, as a BI tool reads it.
pub(super) const fn declared(kind: FieldType) -> &'static str {
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
    refuse_losses(register, &existing, declared)?;
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
    let keys = register.keys.iter().map(|key| key.value.clone()).collect();
    Ok(RegisterTable { fields, keys, key_ids, absent: BTreeSet::new() })
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

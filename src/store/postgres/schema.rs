//! The tables: fixed ones by numbered migration, typed register tables from the register files.
//!
//! Schema `huiliu` is the program's own, schema `registers` is what people query: `registers.enterprise`, its history
//! and its change log, the latter two in partitions of one month.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::Datelike as _;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::super::table::{RegisterTable, quoted, refuse_losses};
use super::super::{Result, StoreError};
use super::connect::refused;
use crate::config::Register;
use crate::error::Problem;
use crate::record::FieldType;

/// Each step runs once, in order, all in one transaction that only one process at a time is in.
const MIGRATIONS: &[&str] = &[
    include_str!("001_foundation.sql"),
    include_str!("002_receipts.sql"),
    include_str!("003_leases.sql"),
    include_str!("004_definitions.sql"),
    include_str!("005_gone.sql"),
    include_str!("006_shapes.sql"),
    include_str!("007_bodies.sql"),
    include_str!("008_audit.sql"),
    include_str!("009_suspended.sql"),
    include_str!("010_stamps.sql"),
    include_str!("011_at_rest.sql"),
    include_str!("012_texts.sql"),
    include_str!("013_chases.sql"),
    include_str!("014_lag.sql"),
    include_str!("015_suspended_side.sql"),
    include_str!("016_remembered.sql"),
    include_str!("017_false_receipts.sql"),
    include_str!("018_again.sql"),
    include_str!("019_taken_again.sql"),
];

/// Made if they may be; whoever runs the server can make them beforehand (`deploy/postgres/roles.sql`).
const ROLES: &str = "
do $$ begin
    if (select rolcreaterole or rolsuper from pg_roles where rolname = current_user) then
        begin create role huiliu_writer nologin; exception when duplicate_object or unique_violation then null; end;
        begin create role huiliu_reader nologin; exception when duplicate_object or unique_violation then null; end;
    end if;
end $$;";

/// What the roles may do: the writer everything but changing tables, the reader registers and their history only.
const GRANTS: &str = "
do $$ begin
    if exists (select 1 from pg_roles where rolname = 'huiliu_writer') then
        grant usage on schema huiliu to huiliu_writer;
        grant usage, create on schema registers to huiliu_writer;
        grant select, insert, update, delete on all tables in schema huiliu, registers to huiliu_writer;
        grant usage on all sequences in schema huiliu, registers to huiliu_writer;
        revoke update, delete on huiliu.audit from huiliu_writer;
    end if;
    if exists (select 1 from pg_roles where rolname = 'huiliu_reader') then
        grant usage on schema registers to huiliu_reader;
        grant select on all tables in schema registers to huiliu_reader;
    end if;
end $$;";

/// Name of a table in the schema of registers, for SQL.
pub(super) fn in_registers(name: &str) -> String {
    format!("registers.{}", quoted(name))
}

/// Brings the fixed tables up to date. Safe to call again, and from several processes at once.
pub(super) async fn migrate(conn: &mut PgConnection) -> Result<()> {
    begin(conn).await?;
    let done = steps(conn).await;
    finish(conn, done).await
}

/// Opens a transaction.
pub(super) async fn begin(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("begin").execute(conn).await.map(|_| ()).map_err(refused)
}

/// Commits what went well, takes back what did not.
pub(super) async fn finish<T>(conn: &mut PgConnection, done: Result<T>) -> Result<T> {
    let end = if done.is_ok() { "commit" } else { "rollback" };
    let ended = sqlx::query(end).execute(conn).await.map_err(refused);
    let done = done?;
    ended.map(|_| done)
}

async fn steps(conn: &mut PgConnection) -> Result<()> {
    run(conn, "select pg_advisory_xact_lock(7413)").await?;
    run(conn, "create schema if not exists huiliu; create schema if not exists registers;").await?;
    run(conn, "create table if not exists huiliu.migration (version bigint primary key, at timestamptz default now())")
        .await?;
    let done: i64 = sqlx::query_scalar("select coalesce(max(version), 0) from huiliu.migration")
        .fetch_one(&mut *conn)
        .await
        .map_err(refused)?;
    let done = usize::try_from(done).unwrap_or(0);
    if done > MIGRATIONS.len() {
        return Err(StoreError::Refused(Box::new(
            Problem::error("HL0401", format!("the store was written by a newer huiliu (schema {done})"))
                .detail(format!("this program knows schema {}", MIGRATIONS.len()))
                .hint("use the newer program, or restore a backup made before the upgrade"),
        )));
    }
    if done < MIGRATIONS.len() {
        for (i, step) in MIGRATIONS.iter().enumerate().skip(done) {
            run(conn, &format!("{step}\ninsert into migration (version) values ({});", i + 1)).await?;
        }
        run(conn, ROLES).await?;
        run(conn, GRANTS).await?;
        let made = fingerprint(conn).await?;
        note(conn, "fixed_tables", &made).await?;
    }
    let expected: Option<String> = sqlx::query_scalar("select value from meta where name = 'fixed_tables'")
        .fetch_optional(&mut *conn)
        .await
        .map_err(refused)?;
    if expected != Some(fingerprint(conn).await?) {
        return Err(altered("the tables of schema huiliu", "their columns are not those that this program made"));
    }
    Ok(())
}

pub(super) async fn run(conn: &mut PgConnection, sql: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.map(|_| ()).map_err(refused)
}

async fn note(conn: &mut PgConnection, name: &str, value: &str) -> Result<()> {
    sqlx::query(
        "insert into meta (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(refused)
}

/// All columns of the fixed tables with their types, digested.
async fn fingerprint(conn: &mut PgConnection) -> Result<String> {
    sqlx::query_scalar(
        "select coalesce(md5(string_agg(concat_ws(' ', table_name, column_name, data_type, is_nullable), ',' \
         order by table_name, column_name)), '') from information_schema.columns where table_schema = 'huiliu'",
    )
    .fetch_one(conn)
    .await
    .map_err(refused)
}

fn altered(what: &str, how: &str) -> StoreError {
    StoreError::Refused(Box::new(
        Problem::error("HL0403", format!("{what} were altered by hand")).detail(how.to_owned()).hint(
            "undo the change, or restore a backup: huiliu makes and changes its tables itself and relies on their shape",
        ),
    ))
}

/// What is noted under this name, now if it was not.
pub(super) async fn noted_once(conn: &mut PgConnection, name: &str, value: &str) -> Result<String> {
    sqlx::query("insert into meta (name, value) values ($1, $2) on conflict (name) do nothing")
        .bind(name)
        .bind(value)
        .execute(&mut *conn)
        .await
        .map_err(refused)?;
    let noted = sqlx::query_scalar("select value from meta where name = $1").bind(name);
    noted.fetch_one(conn).await.map_err(refused)
}

/// Whose database this is: the first workspace that opens it notes its name; another one is refused.
pub(super) async fn claim_for(conn: &mut PgConnection, installation: &str) -> Result<()> {
    let owner = noted_once(conn, "installation", installation).await?;
    if owner == installation {
        return Ok(());
    }
    Err(StoreError::Refused(Box::new(
        Problem::error("HL0404", "this database belongs to another installation")
            .detail(format!("it is that of \"{owner}\", this workspace is \"{installation}\""))
            .hint(
                "give each workspace a database of its own; a workspace that moved keeps its `name:` in huiliu.yaml, \
                   or its file installation-id in the state directory",
            ),
    )))
}

/// The declared column type, as a BI tool reads it.
pub(super) const fn declared(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text => "text",
        FieldType::Integer => "bigint",
        FieldType::Decimal => "numeric(24,4)",
        FieldType::Date => "date",
        FieldType::Timestamp => "timestamptz",
        FieldType::Boolean => "boolean",
    }
}

/// The same as `information_schema` says it.
const fn data_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Decimal => "numeric",
        FieldType::Timestamp => "timestamp with time zone",
        other => declared(other),
    }
}

/// Makes or widens one register's tables.
pub(super) async fn prepare(conn: &mut PgConnection, register: &Register) -> Result<RegisterTable> {
    begin(conn).await?;
    let done = prepare_in(conn, register).await;
    finish(conn, done).await
}

async fn prepare_in(conn: &mut PgConnection, register: &Register) -> Result<RegisterTable> {
    run(conn, "select pg_advisory_xact_lock(7413)").await?;
    sqlx::query("insert into register (name) values ($1) on conflict do nothing")
        .bind(&register.name)
        .execute(&mut *conn)
        .await
        .map_err(refused)?;
    let id: i64 = sqlx::query_scalar("select id from register where name = $1")
        .bind(&register.name)
        .fetch_one(&mut *conn)
        .await
        .map_err(refused)?;
    let rows = sqlx::query("select name, kind from register_field where register = $1")
        .bind(id)
        .fetch_all(&mut *conn)
        .await
        .map_err(refused)?;
    let existing: HashMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    refuse_losses(register, &existing, declared)?;
    if !existing.is_empty() {
        examine(conn, register, &existing).await?;
    }
    let additions = additions(register, &existing);
    if !additions.is_empty() {
        run(conn, &additions).await?;
        run(conn, GRANTS).await?;
    }
    for field in register.fields.iter().filter(|field| !existing.contains_key(&field.name)) {
        sqlx::query("insert into register_field (register, name, kind) values ($1, $2, $3) on conflict do nothing")
            .bind(id)
            .bind(&field.name)
            .bind(field.kind.name())
            .execute(&mut *conn)
            .await
            .map_err(refused)?;
    }
    let rows = sqlx::query("select name, id from register_field where register = $1")
        .bind(id)
        .fetch_all(conn)
        .await
        .map_err(refused)?;
    let ids: HashMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let fields: Vec<(String, FieldType)> = register.fields.iter().map(|f| (f.name.clone(), f.kind)).collect();
    let key_ids = register.keys.iter().filter_map(|key| ids.get(&key.value).copied()).collect();
    let keys = register.keys.iter().map(|key| key.value.clone()).collect();
    Ok(RegisterTable { fields, keys, key_ids, absent: BTreeSet::new() })
}

/// The table must still be what was made of it.
async fn examine(conn: &mut PgConnection, register: &Register, existing: &HashMap<String, String>) -> Result<()> {
    let rows = sqlx::query(
        "select column_name::text, data_type::text from information_schema.columns \
         where table_schema = 'registers' and table_name = $1",
    )
    .bind(&register.name)
    .fetch_all(conn)
    .await
    .map_err(refused)?;
    let found: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut wrong: Vec<String> = register
        .fields
        .iter()
        .filter(|field| existing.contains_key(&field.name))
        .filter_map(|field| match found.get(&field.name) {
            None => Some(format!("column {} is gone", field.name)),
            Some(kind) if kind != data_type(field.kind) => {
                Some(format!("column {} is {kind}, not {}", field.name, data_type(field.kind)))
            }
            Some(_) => None,
        })
        .collect();
    for own in ["_id", "_version", "_since", "_run", "_sources"] {
        if !found.contains_key(own) {
            wrong.push(format!("column {own} is gone"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(altered(&format!("the tables of register \"{}\"", register.name), &wrong.join("; ")))
}

/// `create table` the first time, `alter table … add column` later, with the titles as comments.
fn additions(register: &Register, existing: &HashMap<String, String>) -> String {
    let (live, past) = (in_registers(&register.name), in_registers(&format!("{}_history", register.name)));
    let change = in_registers(&format!("{}_change", register.name));
    let fields: Vec<_> = register.fields.iter().filter(|field| !existing.contains_key(&field.name)).collect();
    let columns: Vec<String> =
        fields.iter().map(|field| format!("{} {}", quoted(&field.name), declared(field.kind))).collect();
    let mut sql = String::new();
    if existing.is_empty() {
        let seq = in_registers(&format!("{}_change_seq", register.name));
        let columns = columns.join(", ");
        sql += &format!(
            "create table {live} (_id bigint primary key, _version bigint not null, _since timestamptz not null, \
             _run bigint not null, _sources text not null, {columns});\n\
             create table {past} (_id bigint not null, _version bigint not null, _since timestamptz not null, \
             _run bigint not null, _sources text not null, _until timestamptz not null, _ended_by bigint not null, \
             {columns}, primary key (_id, _version, _until)) partition by range (_until);\n\
             create sequence {seq};\n\
             create table {change} (seq bigint not null default nextval('{seq}'), at timestamptz not null, \
             entity bigint not null, version bigint not null, kind text not null, run bigint not null, \
             primary key (seq, at)) partition by range (at);\n\
             create trigger one_writer before insert on {change} for each statement execute function \
             huiliu.one_writer();\n\
             comment on table {live} is {};\n",
            literal(&register.title)
        );
    } else {
        for column in &columns {
            sql += &format!("alter table {live} add column {column};\nalter table {past} add column {column};\n");
        }
    }
    for field in fields {
        sql += &format!("comment on column {live}.{} is {};\n", quoted(&field.name), literal(&field.title));
    }
    sql
}

/// A text in SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The partitions of this register for the months of these instants (microseconds).
pub(super) fn months(register: &str, instants: &[i64]) -> Vec<Month> {
    let mut months: Vec<Month> = instants.iter().filter_map(|at| Month::of(register, *at)).collect();
    months.dedup();
    months
}

/// One month of one register's history and change log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Month {
    register: String,
    first: chrono::NaiveDate,
}

impl Month {
    fn of(register: &str, micros: i64) -> Option<Self> {
        let day = chrono::DateTime::from_timestamp_micros(micros)?.date_naive();
        Some(Self { register: register.to_owned(), first: day.with_day(1)? })
    }

    /// Makes its partitions where they are missing. Several processes may; one after the other does. Where nothing is
    /// missing, nothing is locked.
    pub(super) async fn make(&self, conn: &mut PgConnection) -> Result<()> {
        let Some(next) = self.first.checked_add_months(chrono::Months::new(1)) else { return Ok(()) };
        let newest = in_registers(&format!("{}_change_{}", self.register, self.first.format("%Y_%m")));
        let there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(newest)
            .fetch_one(&mut *conn)
            .await
            .map_err(refused)?;
        if there {
            return Ok(());
        }
        let mut sql = "select pg_advisory_xact_lock(7413);\n".to_owned();
        for what in ["history", "change"] {
            let whole = format!("{}_{what}", self.register);
            let part = format!("{whole}_{}", self.first.format("%Y_%m"));
            sql += &format!(
                "create table if not exists {} partition of {} for values from ('{}') to ('{next}');\n",
                in_registers(&part),
                in_registers(&whole),
                self.first,
            );
        }
        run(conn, &sql).await?;
        run(conn, GRANTS).await
    }
}

/// Lets go of whole months of history and change log that ended before this instant, except change logs that a feed has
/// not read to their end. Returns the partitions that went.
pub(super) async fn drop_before(conn: &mut PgConnection, register: &str, micros: i64) -> Result<Vec<String>> {
    let Some(keep) = Month::of(register, micros) else { return Ok(Vec::new()) };
    let read: i64 =
        sqlx::query_scalar("select coalesce(min(cursor), 0) from feed").fetch_one(&mut *conn).await.map_err(refused)?;
    let mut gone = Vec::new();
    for what in ["history", "change"] {
        let whole = format!("{register}_{what}");
        let newest = format!("{whole}_{}", keep.first.format("%Y_%m"));
        let parts: Vec<String> = sqlx::query_scalar(
            "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid \
             join pg_class p on p.oid = i.inhparent join pg_namespace n on n.oid = p.relnamespace \
             where n.nspname = 'registers' and p.relname = $1 and c.relname < $2 order by 1",
        )
        .bind(&whole)
        .bind(&newest)
        .fetch_all(&mut *conn)
        .await
        .map_err(refused)?;
        for part in parts {
            let table = in_registers(&part);
            if what == "change" {
                let sql = format!("select coalesce(max(seq), 0) from {table}");
                let last: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *conn).await.map_err(refused)?;
                if last > read {
                    break;
                }
            }
            run(conn, &format!("drop table {table}")).await?;
            gone.push(part);
        }
    }
    Ok(gone)
}

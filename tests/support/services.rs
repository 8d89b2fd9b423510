//! The servers that tests talk to, from `deploy/dev/services`: started on first use, each test in a corner of its own.

use std::collections::HashMap;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// What `deploy/dev/services up` printed: `HUILIU_TEST_POSTGRES` and its like.
fn printed() -> &'static HashMap<String, String> {
    static PRINTED: OnceLock<HashMap<String, String>> = OnceLock::new();
    PRINTED.get_or_init(|| {
        let out = Command::new("deploy/dev/services").arg("up").output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        lines.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect()
    })
}

/// One of them: `POSTGRES`, `RABBITMQ`, `RABBITMQ_API`, `RABBITMQ_TLS`, `MARIADB`, `CA`.
pub fn service(name: &str) -> String {
    printed()
        .get(&format!("HUILIU_TEST_{name}"))
        .cloned()
        .unwrap_or_else(|| panic!("no {name} in what services printed"))
}

/// A name that no other test of this or another process uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A PostgreSQL database of its own, dropped when the test ends.
pub struct Database {
    name: String,
}

impl Database {
    /// Makes it.
    pub async fn new() -> Self {
        let name = unique("t");
        let mut conn = PgConnection::connect(&service("POSTGRES")).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut conn).await.unwrap();
        Self { name }
    }

    /// `postgres://…/name`
    pub fn url(&self) -> String {
        let url = service("POSTGRES");
        let (server, _) = url.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (name, server) = (self.name.clone(), service("POSTGRES"));
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut conn = PgConnection::connect(&server).await.unwrap();
                // A database with a slot is not dropped.
                let slots = format!("select pg_terminate_backend(active_pid), pg_drop_replication_slot(slot_name) from pg_replication_slots where database = '{name}'");
                sqlx::raw_sql(AssertSqlSafe(slots)).execute(&mut conn).await.unwrap();
                let sql = format!("drop database if exists {name} with (force)");
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
            });
        });
        dropping.join().ok();
    }
}

//! The servers that tests talk to, from `deploy/dev/services`: started on first use, each test in a corner of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// What `deploy/dev/services up` printed: `HUILIU_TEST_POSTGRES` and its like.
fn printed() -> &'static HashMap<String, String> {
    static PRINTED: OnceLock<HashMap<String, String>> = OnceLock::new();
    PRINTED.get_or_init(|| up(Command::new("deploy/dev/services").arg("up")))
}

fn up(services: &mut Command) -> HashMap<String, String> {
    let out = services.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect()
}

/// One of them: `POSTGRES`, `RABBITMQ`, `RABBITMQ_API`, `RABBITMQ_TLS`, `MARIADB`, `CA`.
pub fn service(name: &str) -> String {
    printed()
        .get(&format!("HUILIU_TEST_{name}"))
        .cloned()
        .unwrap_or_else(|| panic!("no {name} in what services printed"))
}

/// PostgreSQL and RabbitMQ for one test alone, which may pull their plugs. Where servers are given by URL they are those,
/// and stay untouched.
pub struct OwnServers {
    /// Where their data is; `None` for given ones.
    target: Option<PathBuf>,
    printed: HashMap<String, String>,
}

impl OwnServers {
    /// Starts them; at most one test may.
    pub fn start() -> Self {
        let given =
            ["HUILIU_TEST_POSTGRES", "HUILIU_TEST_RABBITMQ"].iter().any(|name| std::env::var_os(name).is_some());
        if given {
            return Self { target: None, printed: printed().clone() };
        }
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("own");
        let printed = up(services_in(&target).args(["up", "postgres", "rabbitmq"]));
        Self { target: Some(target), printed }
    }

    /// As [`service`].
    pub fn url(&self, name: &str) -> String {
        self.printed[&format!("HUILIU_TEST_{name}")].clone()
    }

    /// Kills a server as a power cut would, and starts it again; `None` for a given one.
    pub fn restart(&self, name: &str) -> Option<Child> {
        let target = self.target.as_ref()?;
        let mut services = services_in(target);
        Some(services.args(["restart", name]).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap())
    }
}

impl Drop for OwnServers {
    fn drop(&mut self) {
        if let Some(target) = &self.target {
            services_in(target).arg("down").output().ok();
        }
    }
}

/// The script, with its data here.
fn services_in(target: &Path) -> Command {
    std::fs::create_dir_all(target).unwrap();
    let mut command = Command::new("deploy/dev/services");
    command.env("CARGO_TARGET_DIR", target);
    command
}

/// A name that no other test of this or another process uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A PostgreSQL database of its own, dropped when the test ends.
pub struct Database {
    name: String,
    server: String,
}

impl Database {
    /// Makes it.
    pub async fn new() -> Self {
        Self::on(&service("POSTGRES")).await
    }

    /// Makes it on this server.
    pub async fn on(server: &str) -> Self {
        let name = unique("t");
        let mut conn = PgConnection::connect(server).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut conn).await.unwrap();
        Self { name, server: server.to_owned() }
    }

    /// `postgres://…/name`
    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (name, server) = (self.name.clone(), self.server.clone());
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

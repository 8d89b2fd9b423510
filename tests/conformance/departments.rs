//! Departments' systems of every kind, each with a table of enterprises.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Department, Stand};
use crate::cdc;
use crate::databases::{self, Office, TABLE};
use crate::inbox::Queue;
use crate::runs::valid_code;
use crate::services_http::{self, Shared};
use crate::sources::room::Room;
use crate::support::Small;
use crate::support::proxy::Proxy;
use crate::support::services::{Database, service};

const AT: &str = "2026-10-01 00:00:00";

/// Puts a proxy before the server that the workspace's connector names, wherever it names it.
async fn behind(small: &Small, server: &str) -> Proxy {
    let proxy = Proxy::before(server).await;
    let address = proxy.address();
    let (port, own) = (server.rsplit(':').next().unwrap(), address.rsplit(':').next().unwrap());
    rename(small, [":", "Port="].map(|before| (format!("{before}{port}"), format!("{before}{own}"))));
    proxy
}

/// Puts other names into the workspace's connector; one of the old ones is there.
fn rename(small: &Small, names: [(String, String); 2]) {
    let text = std::fs::read_to_string(small.path().join("connectors/gs.yaml")).unwrap();
    let changed = names.iter().fold(text.clone(), |text, (old, new)| text.replace(old, new));
    assert_ne!(text, changed, "the connector names none of {names:?}");
    small.write("connectors/gs.yaml", changed);
}

/// `host:port` of a URL.
fn host(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap();
    let server = rest.split('/').next().unwrap();
    server.rsplit('@').next().unwrap().replace("localhost", "127.0.0.1")
}

// --- files -------------------------------------------------------------------------------------------------------------

#[async_trait]
impl Department for Room {
    async fn has(&self, turn: u32, rows: &[(u64, String)]) {
        let lines = rows.iter().map(|(n, name)| format!("{},{name},,100万元,在营,{AT}\r\n", valid_code(*n)));
        let text = format!("代码,名称,注册号,资本,状态,更新\r\n{}", lines.collect::<String>());
        self.put(&format!("QY_{turn}.csv"), text.as_bytes()).await;
    }
}

async fn of_files(mut room: Room, server: Option<String>) -> Stand {
    let small = room.hand_over();
    let way = match server {
        Some(url) => Some(behind(&small, &host(&url)).await),
        None => None,
    };
    Stand { small, department: Box::new(room), way }
}

pub async fn local() -> Stand {
    of_files(Room::local().await, None).await
}

pub async fn sftp() -> Stand {
    of_files(Room::sftp().await, Some(service("SFTP"))).await
}

pub async fn ftp() -> Stand {
    of_ftp(Room::ftp().await).await
}

pub async fn ftps() -> Stand {
    of_ftp(Room::ftps().await).await
}

/// A proxy before the port of the commands and those of the transfers.
async fn of_ftp(mut room: Room) -> Stand {
    let (small, server, transfers) = (room.hand_over(), host(&service("FTP")), service("FTP_PASSIVE"));
    let (first, last) = transfers.split_once('-').unwrap();
    let way = Proxy::before_ports(&server, first.parse().unwrap()..=last.parse().unwrap()).await;
    let names = [server.clone(), server.replace("127.0.0.1", "localhost")];
    rename(&small, names.map(|name| (name, way.address())));
    Stand { small, department: Box::new(room), way: Some(way) }
}

pub async fn webdav() -> Stand {
    of_files(Room::webdav().await, Some(service("WEBDAV"))).await
}

pub async fn s3() -> Stand {
    of_files(Room::s3().await, Some(service("S3"))).await
}

// --- databases ---------------------------------------------------------------------------------------------------------

/// A table's rows as one statement.
fn inserted(rows: &[(u64, String)]) -> String {
    let rows =
        rows.iter().map(|(n, name)| format!("('{}', '{name}', null, '100万元', '在营', '{AT}')", valid_code(*n)));
    format!("insert into qy values {}", rows.collect::<Vec<_>>().join(", "))
}

#[async_trait]
impl Department for Office {
    async fn has(&self, _: u32, rows: &[(u64, String)]) {
        self.sql("delete from qy").await;
        self.sql(&inserted(rows)).await;
    }
}

async fn of_table((small, office): (Small, Office), server: Option<String>) -> Stand {
    office.sql(TABLE).await;
    let dataset = "    table: qy\n    page: 100\n    extract: full\n    missing: { hold_above: 50% }";
    databases::connect(&small, &office.source(""), dataset);
    let way = match server {
        Some(url) => Some(behind(&small, &host(&url)).await),
        None => None,
    };
    Stand { small, department: Box::new(office), way }
}

pub async fn postgres() -> Stand {
    of_table((Small::new(), Office::Postgres(Database::new().await)), Some(service("POSTGRES"))).await
}

pub async fn mariadb() -> Stand {
    of_table((Small::new(), Office::mariadb().await), Some(service("MARIADB"))).await
}

pub async fn sqlite() -> Stand {
    let small = Small::new();
    let office = Office::Sqlite(small.path().join("front.db"));
    of_table((small, office), None).await
}

#[cfg(feature = "odbc")]
pub async fn odbc() -> Stand {
    let office = Office::Odbc(Box::new(Office::Postgres(Database::new().await)));
    of_table((Small::new(), office), Some(service("POSTGRES"))).await
}

/// A database whose log is followed: rows that are there are changed, others are put there, none is taken away.
struct Log(cdc::Office);

#[async_trait]
impl Department for Log {
    async fn has(&self, _: u32, rows: &[(u64, String)]) {
        let upsert = "on conflict (代码) do update set 名称 = excluded.名称";
        self.0.sql(&format!("{} {upsert}", inserted(rows))).await;
    }
}

pub async fn cdc() -> Stand {
    let (office, small) = cdc::Office::with_workspace().await;
    let way = behind(&small, &host(&service("POSTGRES"))).await;
    Stand { small, department: Box::new(Log(office)), way: Some(way) }
}

// --- services and queues -----------------------------------------------------------------------------------------------

fn record((n, name): &(u64, String)) -> Value {
    json!({ "代码": valid_code(*n), "名称": name, "资本": "100万元", "状态": "在营", "更新": AT })
}

#[async_trait]
impl Department for Shared {
    async fn has(&self, _: u32, rows: &[(u64, String)]) {
        self.put(rows.iter().map(record).collect());
    }

    fn begins_anew(&self) -> bool {
        true
    }
}

pub async fn http() -> Stand {
    let (small, shared) = (Small::new(), Shared::default());
    let base = services_http::serve(Arc::clone(&shared)).await;
    let dataset = "    request: { path: v1/certs, query: { page: \"{page}\", size: \"{size}\" } }
    pages: { by: page, size: 5 }
    format: { kind: json, records: data.items }
    extract: full
    missing: { hold_above: 50% }";
    services_http::connect(&small, &base, "", dataset);
    let way = behind(&small, &host(&base)).await;
    Stand { small, department: Box::new(shared), way: Some(way) }
}

#[async_trait]
impl Department for Queue {
    async fn has(&self, _: u32, rows: &[(u64, String)]) {
        let messages: Vec<String> = rows.iter().map(|row| record(row).to_string()).collect();
        self.publish(&messages.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    fn begins_anew(&self) -> bool {
        true
    }
}

pub async fn amqp() -> Stand {
    let (small, queue) = (Small::new(), Queue::new().await);
    queue.connect(&small, "gs.qy", "huiliu");
    let way = behind(&small, &host(&service("RABBITMQ"))).await;
    Stand { small, department: Box::new(queue), way: Some(way) }
}

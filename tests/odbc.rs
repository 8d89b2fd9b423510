//! What only ODBC has: drivers that are not there, cells longer than a driver says, texts that another driver has made.
//! All that every database has to do runs over ODBC in `databases`.

use huiliu::config::Workspace;
use huiliu::source;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::databases::{Office, TABLE, connect, failure, insert, read};
use crate::support::proxy::Proxy;
use crate::support::services::{Database, service};
use crate::support::{CODES, Small, line, secret};

/// Host, port and database of an address.
fn parts(url: &str) -> (String, String, String) {
    let (_, rest) = url.split_once('@').unwrap();
    let (server, database) = rest.split_once('/').unwrap();
    let (host, port) = server.split_once(':').unwrap();
    (host.to_owned(), port.to_owned(), database.to_owned())
}

/// `source:` of a connector that reaches one of our servers by the driver of its kind.
pub fn source(server: &Office, more: &str) -> String {
    let string = |driver: &str, (host, port, database): (String, String, String)| {
        format!("odbc:Driver={{{driver}}};Server={host};Port={port};Database={database}")
    };
    let url = match server {
        Office::Postgres(database) => string("PostgreSQL Unicode", parts(&database.url())),
        Office::MariaDb(name) => {
            let (host, port, _) = parts(&service("MARIADB"));
            string("MariaDB Unicode", (host, port, name.clone()))
        }
        Office::Sqlite(path) => {
            let url = format!("odbc:Driver={{SQLite3}};Database={}", path.display());
            return format!("{{ kind: database, url: \"{url}\"{more} }}");
        }
        Office::Odbc(server) => return source(server, more),
    };
    format!("{{ kind: database, url: \"{url}\", user: huiliu, password: {}{more} }}", secret("huiliu"))
}

const FULL: &str = "    table: qy\n    extract: full";

#[tokio::test]
async fn a_driver_that_is_not_there_is_named_as_the_cause() {
    let small = Small::new();
    for (string, why) in [
        ("Driver={No Such Driver};Server=x", "no driver has this name"),
        ("DSN=nothing_of_this_name", "no data source has this name"),
        ("Driver=/nowhere/libnothing.so;Server=x", "library is not there"),
    ] {
        connect(
            &small,
            &format!("{{ kind: database, url: \"odbc:{string}\", user: u, password: {} }}", secret("geheim")),
            FULL,
        );
        let said = failure(&small).await;
        assert!(said.contains("HL0358") && said.contains(why) && !said.contains("geheim"), "{string}: {said}");
    }
    let nobody = "odbc:Driver={PostgreSQL Unicode};Server=127.0.0.1;Port=1;Database=x";
    connect(&small, &format!("{{ kind: database, url: \"{nobody}\", user: u, password: {} }}", secret("p")), FULL);
    let said = failure(&small).await;
    assert!(said.contains("HL0330"), "{said}");
}

#[tokio::test]
async fn a_driver_that_knows_no_unicode_is_refused_before_it_loses_texts() {
    let small = Small::new();
    let office = Office::Odbc(Box::new(Office::Sqlite(small.path().join("front.db"))));
    office.sql(TABLE).await;
    connect(&small, &office.source(""), FULL);
    let said = failure(&small).await;
    assert!(said.contains("HL0358") && said.contains("Unicode"), "{said}");
}

/// What a dataset `x.t` gives, as text.
async fn all_rows(small: &Small, office: &Office, key: &str, columns: &str) -> String {
    let text = format!(
        "version: 1\ndepartment: 局\nsource: {}\ndatasets:\n  t:\n    table: t\n    page: 7\n    key: [{key}]\n    \
         extract: full\n    columns: {{ {columns} }}\n",
        office.source("")
    );
    small.write("connectors/x.yaml", text);
    let workspace = Workspace::load(small.path()).unwrap();
    let connector = &workspace.connectors["x"];
    let mut source = source::open(&workspace, connector, &connector.datasets["t"]).unwrap();
    let item = source.list(None).await.unwrap().items.remove(0);
    let parts = read(&*source, &item, None, 3).await;
    String::from_utf8(parts.into_iter().flat_map(|(raw, _)| raw).collect()).unwrap()
}

#[tokio::test]
async fn odbc_gives_the_same_texts_as_our_own_driver() {
    for (small, office) in Office::all(Small::new).await {
        let Office::Odbc(server) = office else { continue };
        server
            .sql("create table t (id int primary key, 名称 varchar(5000), 长文 text, 金额 decimal(20,2), 日 date, 时 timestamp(6) null)")
            .await;
        for i in 0..40 {
            let long = if i % 13 == 7 { "𠮷长".repeat(3000) } else { format!("短{i}") };
            let name = if i % 5 == 0 { "null".to_owned() } else { format!("'青岛𠮷 “{i}”'") };
            server
                .sql(&format!(
                    "insert into t values ({i}, {name}, '{long}', '123456789012345678.9{}', '2026-10-0{}', \
                     '2026-10-01 08:30:00.25000{}')",
                    i % 10,
                    i % 9 + 1,
                    i % 10,
                ))
                .await;
        }
        let columns = "id: text, 名称: text, 长文: text, 金额: text, 日: text, 时: text";
        let own = all_rows(&small, &server, "id", columns).await;
        let by_odbc = all_rows(&small, &Office::Odbc(server), "id", columns).await;
        assert!(by_odbc == own, "{} and {} bytes", by_odbc.len(), own.len());
    }
}

#[tokio::test]
async fn a_session_that_only_reads_cannot_write() {
    let small = Small::new();
    let office = Office::Odbc(Box::new(Office::Postgres(Database::new().await)));
    office.sql("create sequence s").await;
    let query = "    query: \"select nextval('s')::text as 代码, '' as 名称, '' as 注册号, '' as 资本, '' as 状态, '' as 更新\"";
    connect(&small, &office.source(""), &format!("{query}\n    extract: full"));
    let said = failure(&small).await;
    assert!(said.contains("SQLSTATE 25006"), "{said}");
}

#[tokio::test]
async fn a_table_that_somebody_else_holds_is_tried_again_later() {
    let small = Small::new();
    let database = Database::new().await;
    let url = database.url();
    let office = Office::Odbc(Box::new(Office::Postgres(database)));
    office.sql(TABLE).await;
    office.sql(&insert(CODES[0], "企业0", "2026-10-01 00:00:00")).await;
    connect(&small, &office.source(", timeout: 1s"), FULL);
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut held = other.begin().await.unwrap();
    held.execute("lock table qy in access exclusive mode").await.unwrap();
    let said = failure(&small).await;
    assert!(said.starts_with("failed: HL0333"), "{said}");
    held.rollback().await.unwrap();
    assert_eq!(line(&small.run("qy").await), "succeeded 1/0/0/1/0/0/0/0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_cut_loses_nothing() {
    let small = Small::new();
    let database = Database::new().await;
    let (host, port, name) = parts(&database.url());
    let proxy = Proxy::before(&format!("{host}:{port}")).await;
    let office = Office::Postgres(database);
    office.sql(TABLE).await;
    let rows: Vec<String> = (0..3000).map(|i| format!("('{i:06}', '企业{i}', null, '1', '在营', null)")).collect();
    office.sql(&format!("insert into qy values {}", rows.join(", "))).await;
    let through = proxy.address();
    let (_, port) = through.split_once(':').unwrap();
    let url = format!("odbc:Driver={{PostgreSQL Unicode}};Server=127.0.0.1;Port={port};Database={name}");
    let source = format!("{{ kind: database, url: \"{url}\", user: huiliu, password: {} }}", secret("huiliu"));
    connect(&small, &source, "    table: qy\n    page: 500\n    extract: full");
    proxy.cut_after(60_000);
    let cut = small.run("qy").await;
    assert!(cut.status == "failed" && cut.why.as_deref().unwrap().contains("HL0330"), "{cut:?}");
    proxy.trickle();
    let rest = small.run("qy").await;
    assert_eq!(cut.registers[0].counts.read + rest.registers[0].counts.read, 3000, "{rest:?}");
}

//! The daemon as a process: schedules, feeds, signals, death and takeover.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::daemon::{Daemon, huiliu, metric};
use crate::support::{CODES, FEED, Small};

/// Every second; the feed too.
pub fn scheduled() -> Small {
    let small = Small::new();
    for (name, from) in [("qy", "gs.qy"), ("nsr", "tax.nsr")] {
        small.write(&format!("pipelines/{name}.yaml"), pipeline(from, ""));
    }
    small.write(
        "pipelines/feeds/housing.enterprise.yaml",
        FEED.replace("every: 1m", "every: 1s").replace("records: 3", "records: 5000"),
    );
    small.write("huiliu.yaml", "version: 1\nissuer: 市\nserve: { lease: 2s, stop_within: 20s }\n");
    small
}

fn pipeline(from: &str, rate: &str) -> String {
    format!(
        "version: 1\nfrom: {from}\ninto: [enterprise]\nschedule: '* * * * * *'\nwithin: 1h\nlimit: {{ quarantine: 60%{rate} }}\n"
    )
}

fn row<'a>(code: &'a str, name: &'a str) -> [&'a str; 6] {
    [code, name, "", "100万元", "在营", "2026-10-01 00:00:00"]
}

#[test]
fn what_is_due_runs_is_released_and_is_counted() {
    let small = scheduled();
    small.extract("QY_1.csv", &[row(CODES[0], "青岛海蓝"), row(CODES[1], "青岛恒信"), row("9137", "坏码")]);
    let daemon = Daemon::start(small.path());
    daemon.wait_for_done("pipeline/qy", 1);
    daemon.wait_for_done("feed/housing.enterprise", 1);
    assert!(small.path().join(".huiliu/spool/housing.enterprise/000000000001.avro").exists());
    assert_eq!(daemon.ask("/healthz").0, 200);
    let (status, ready) = daemon.ask("/readyz");
    assert!(status == 200 && ready.contains(r#"{"name":"store","ok":true}"#), "{ready}");
    let labels = r#"pipeline="qy",register="enterprise""#;
    let told = daemon.ask_until("/metrics", |_, text| {
        metric(text, r#"huiliu_feed_lag_records{feed="housing.enterprise"}"#) == Some(0.0)
    });
    for (series, expect) in [
        (format!("huiliu_rows_total{{{labels},outcome=\"new\"}}"), 2.0),
        (format!("huiliu_rows_total{{{labels},outcome=\"quarantined\"}}"), 1.0),
        (r#"huiliu_pipeline_within_seconds{pipeline="qy"}"#.into(), 3600.0),
        (r#"huiliu_pipeline_consecutive_failures{pipeline="qy"}"#.into(), 0.0),
        (r#"huiliu_ledger_unbalanced_runs_total{pipeline="qy"}"#.into(), 0.0),
        (r#"huiliu_quarantine_open{dataset="gs.qy"}"#.into(), 1.0),
        (r#"huiliu_feed_records_total{feed="housing.enterprise",op="upsert"}"#.into(), 2.0),
        (r#"huiliu_feed_lag_bytes{feed="housing.enterprise"}"#.into(), 0.0),
        (format!(r#"huiliu_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION")), 1.0),
    ] {
        assert_eq!(metric(&told, &series), Some(expect), "{series}\n{told}");
    }
    let runs = r#"huiliu_runs_total{pipeline="qy",status="succeeded"}"#;
    assert!(metric(&told, runs).is_some_and(|runs| runs >= 1.0), "{told}");
    for name in [
        "huiliu_pipeline_last_success_timestamp_seconds{pipeline=\"qy\"}",
        "huiliu_quarantine_oldest_seconds{dataset=\"gs.qy\"}",
        "huiliu_feed_lag_seconds{",
        "huiliu_batch_latency_seconds_bucket{",
        "huiliu_lease_held{name=\"daemon/",
        "huiliu_lease_token{name=\"",
        "huiliu_definitions_info{digest=\"",
    ] {
        assert!(told.contains(name), "{name}\n{told}");
    }
    let (code, status, _) = huiliu(small.path(), &["status"]);
    assert!(code == 0 && status.contains("守护进程 daemon"), "{status}");
    let (code, _, refused) = huiliu(small.path(), &["run", "qy"]);
    assert!(code == 1 && refused.contains("HL0810"), "{refused}");

    // A change goes to the subscriber without waiting for anybody.
    small.extract("QY_2.csv", &[row(CODES[0], "青岛海蓝集团"), row(CODES[1], "青岛恒信")]);
    let feed = small.path().join(".huiliu/spool/housing.enterprise/000000000002.manifest.json");
    daemon.ask_until("/healthz", |_, _| feed.exists());
    let latency = r#"huiliu_batch_latency_seconds_count{feed="housing.enterprise"}"#;
    daemon.ask_until("/metrics", |_, text| metric(text, latency) == Some(1.0));
    daemon.stop();
    let (_, status, _) = huiliu(small.path(), &["status"]);
    assert!(status.contains("no daemon runs"), "{status}");
}

#[test]
fn definitions_are_read_again_only_if_they_check() {
    let small = scheduled();
    small.extract("QY_1.csv", &[row(CODES[0], "甲")]);
    let daemon = Daemon::start(small.path());
    daemon.wait_for_done("pipeline/qy", 1);
    let digest = |text: &str| text.lines().find(|l| l.starts_with("huiliu_definitions_info")).unwrap().to_owned();
    let before = digest(&daemon.ask("/metrics").1);
    small.write("pipelines/qy.yaml", "version: 1\nfrom: gs.nothing\ninto: [enterprise]\n");
    daemon.signal("HUP");
    daemon.wait_until("HL0901", |line| line["code"] == "HL0901");
    daemon.wait_until("the problem itself", |line| line["code"] == "HL0130");
    assert_eq!(digest(&daemon.ask("/metrics").1), before, "the old ones stay in force");
    let (status, ready) = daemon.ask("/readyz");
    assert!(status == 200 && ready.contains(r#""stale":true"#), "{ready}");
    let done = daemon.log().matches(r#""job":"pipeline/qy""#).count();
    daemon.wait_for_done("pipeline/qy", done + 1);

    // A mapping that stops compiling.
    small.write("pipelines/qy.yaml", pipeline("gs.qy", ""));
    let path = "mappings/gs/qy.enterprise.sql";
    let sql = fs::read_to_string(small.path().join(path)).unwrap();
    small.write(path, sql.replace("org_name(名称) as name", "org_name(名字) as name"));
    daemon.signal("HUP");
    daemon.wait_until("where it does not compile", |line| {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        text("place").starts_with(path) && text("message").contains("名字")
    });
    assert_eq!(digest(&daemon.ask("/metrics").1), before, "the old ones stay in force");
    small.write(path, sql);

    small.write("pipelines/qy.yaml", pipeline("gs.qy", "").replace("schedule: '* * * * * *'\n", ""));
    daemon.signal("HUP");
    daemon.wait_for("new definitions are in force");
    assert_ne!(digest(&daemon.ask("/metrics").1), before);
    daemon.stop();
}

#[test]
fn one_that_fails_waits_longer_each_time_and_the_others_go_on() {
    let small = scheduled();
    fs::remove_dir_all(small.path().join("out/tax")).unwrap();
    small.extract("QY_1.csv", &[row(CODES[0], "甲")]);
    let daemon = Daemon::start(small.path());
    let failed = daemon.wait_for("failed; will be tried again");
    assert!(failed["job"] == "pipeline/nsr" && failed["why"].as_str().unwrap().contains("HL0301"), "{failed}");
    daemon.wait_for_done("pipeline/qy", 3);
    let told = daemon.ask("/metrics").1;
    let failures = metric(&told, r#"huiliu_pipeline_consecutive_failures{pipeline="nsr"}"#).unwrap();
    assert!((1.0..=2.0).contains(&failures), "it does not fail every second: {told}");
    daemon.stop();
}

#[test]
fn told_to_stop_it_stops_at_a_commit_and_goes_on_there() {
    let undisturbed = undisturbed();

    let small = scheduled();
    large(&small, ", rate: 6000 rows/s");
    let daemon = Daemon::start(small.path());
    daemon.wait_for("taking file");
    wait_for_chunks(&small, 1);
    daemon.signal("TERM");
    let (status, log) = daemon.end();
    assert!(status.success() && log.contains("stopped at a commit boundary"), "{log}");
    let (_, status, _) = huiliu(small.path(), &["status"]);
    assert!(status.contains("HL0505"), "{status}");
    large(&small, "");
    let again = Daemon::start(small.path());
    again.wait_for_done("pipeline/qy", 1);
    again.stop();
    same_registers(&undisturbed, &small);
}

#[test]
fn under_a_wrong_clock_nothing_is_done_and_when_it_is_right_again_everything() {
    let small = scheduled();
    small.extract("QY_1.csv", &[row(CODES[0], "甲")]);
    let clock = small.path().join("clock");
    fs::write(&clock, "108000").unwrap();
    let daemon = Daemon::with(small.path(), &[], &[("HUILIU_CLOCK_OFF", clock.to_str().unwrap())]);
    let told = daemon.wait_until("HL0936", |line| line["why"].as_str().is_some_and(|why| why.starts_with("HL0936")));
    // The store was asked a moment after this machine's clock was read.
    let why = told["why"].as_str().unwrap();
    assert!(why.contains(" 108000 s ") || why.contains(" 10799"), "{told}");
    let (_, status, _) = huiliu(small.path(), &["status", "--json"]);
    assert!(!status.contains("succeeded"), "{status}");
    // 30 hours back: nothing waits for tomorrow.
    fs::write(&clock, "0").unwrap();
    let told = daemon.wait_until("HL0933", |line| line["code"] == "HL0933");
    assert!((107_900..=108_000).contains(&told["seconds"].as_i64().unwrap()), "{told}");
    daemon.wait_for_done("pipeline/qy", 1);
    daemon.wait_for_done("feed/housing.enterprise", 1);
    // Behind, and right again: what came meanwhile comes.
    fs::write(&clock, "-108000").unwrap();
    daemon.wait_until("HL0936 again", |line| line["why"].as_str().is_some_and(|why| why.contains(" -10")));
    small.extract("QY_2.csv", &[row(CODES[0], "乙")]);
    fs::write(&clock, "0").unwrap();
    let second = small.path().join(".huiliu/spool/housing.enterprise/000000000002.manifest.json");
    daemon.ask_until("/healthz", |_, _| second.exists());
    daemon.stop();
}

#[test]
fn work_that_hangs_does_not_keep_it_from_ending() {
    let small = scheduled();
    small.write("huiliu.yaml", "version: 1\nissuer: 市\nserve: { lease: 2s, stop_within: 1s }\n");
    small.extract("QY_1.csv", &[row(CODES[0], "甲")]);
    // Reading it waits for a writer who never comes, as a file server does that is gone.
    let never = small.path().join(".huiliu/spool/housing.enterprise/000000000001.avro");
    fs::create_dir_all(never.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(&never).status().unwrap().success());
    let daemon = Daemon::start(small.path());
    let db = small.path().join(".huiliu/huiliu.db");
    wait_for_sql(&db, "select count(*) from batch", 1);
    wait_for_sql(&db, "select count(*) from lease where name = 'feed/housing.enterprise' and holder <> ''", 1);
    daemon.signal("TERM");
    let (status, log) = daemon.end();
    assert!(
        status.code() == Some(1) && log.contains("HL0904]: feed/housing.enterprise did not stop"),
        "{status} {log}"
    );

    fs::remove_file(never).unwrap();
    let again = Daemon::start(small.path());
    let manifest = small.path().join(".huiliu/spool/housing.enterprise/000000000001.manifest.json");
    again.ask_until("/healthz", |_, _| manifest.exists());
    again.stop();
    let (code, out, err) = huiliu(small.path(), &["doctor"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn killed_and_started_again_it_ends_like_an_undisturbed_one() {
    let undisturbed = undisturbed();

    let small = scheduled();
    large(&small, ", rate: 6000 rows/s");
    for chunks in [1, 2] {
        let daemon = Daemon::start(small.path());
        wait_for_chunks(&small, chunks);
        daemon.signal("KILL");
        assert!(!daemon.end().0.success());
    }
    large(&small, "");
    let daemon = Daemon::start(small.path());
    daemon.wait_for_done("pipeline/qy", 1);
    daemon.stop();
    same_registers(&undisturbed, &small);
}

/// Two workspaces, one store: what several daemons over PostgreSQL do, on the store that every machine has.
#[test]
fn of_two_daemons_over_one_store_one_takes_over_from_the_dead() {
    let first = scheduled();
    large(&first, ", rate: 6000 rows/s");
    let second = scheduled();
    for path in ["connectors/gs.yaml", "connectors/tax.yaml"] {
        let text = fs::read_to_string(first.path().join(path)).unwrap();
        let root = format!("root: {}/out", first.path().display());
        for small in [&first, &second] {
            small.write(path, text.replace("root: out", &root));
        }
    }
    fs::remove_file(first.path().join("pipelines/feeds/housing.enterprise.yaml")).unwrap();
    fs::remove_file(second.path().join("pipelines/feeds/housing.enterprise.yaml")).unwrap();
    let db = first.path().join(".huiliu/huiliu.db");
    second.write("huiliu.yaml", format!("version: 1\nstore: sqlite:{}\nserve: {{ lease: 2s }}\n", db.display()));
    let one = Daemon::start(first.path());
    one.wait_for("taking file");
    let two = Daemon::start(second.path());
    wait_for_chunks(&first, 1);
    let (_, status, _) = huiliu(first.path(), &["status", "--json"]);
    assert_eq!(status.matches(r#""daemon":"#).count(), 2, "{status}");
    assert!(!two.log().contains(r#""pipeline":"qy""#), "the other one works on it: {}", two.log());
    let token = metric(&two.ask("/metrics").1, r#"huiliu_lease_token{name="pipeline/qy"}"#).unwrap();
    one.signal("KILL");
    assert!(!one.end().0.success());
    two.wait_for_done("pipeline/qy", 1);
    let told = two.ask_until("/metrics", |_, text| {
        metric(text, r#"huiliu_runs_total{pipeline="qy",status="succeeded"}"#).is_some()
    });
    assert!(told.contains("huiliu_runs_total"));
    two.stop();
    assert!(token >= 1.0);
    let undisturbed = undisturbed();
    same_registers(&undisturbed, &first);
}

#[test]
fn asked_to_end_when_idle_it_makes_up_for_what_was_missed_and_ends() {
    let small = scheduled();
    small.extract("QY_1.csv", &[row(CODES[0], "甲")]);
    assert_eq!(huiliu(small.path(), &["run"]).0, 0);
    small.extract("QY_2.csv", &[row(CODES[0], "乙")]);
    for name in ["qy", "nsr"] {
        let path = format!("pipelines/{name}.yaml");
        let text = fs::read_to_string(small.path().join(&path)).unwrap();
        small.write(
            &path,
            text.replace("'* * * * * *'", "'0 0 0 1 1 *'").replace("within: 1h", "within: 1h\nmissed: run"),
        );
    }
    make_the_last_run_old(&small);
    let daemon = Daemon::with(small.path(), &["--until-idle"], &[]);
    let (status, log) = daemon.end();
    assert!(status.success() && log.matches(r#""job":"pipeline/qy""#).count() == 1, "{log}");
    assert!(small.path().join(".huiliu/spool/housing.enterprise/000000000002.avro").exists(), "{log}");
}

#[test]
fn terms_that_passed_are_told_beside_the_live_work_and_until_they_are_met() {
    let small = Small::empty();
    for (path, text) in huiliu::demo::definitions() {
        small.write(path, text);
    }
    crate::support::seals_as_files(&small);
    let seals = |name: &str, filed: &str, at: &str| {
        let row = |id: &str, filed: &str| {
            format!(r#"{{"esID":"{id}","zt":"有效","zzsj":"2026-10-01 10:00:00","basj":"{filed}","gxsj":"{at}"}}"#)
        };
        let rows = [row("in_time", "2026-10-02 10:00:00"), row("late", "2026-10-09 10:00:00"), row("open", filed)];
        small.write(&format!("outbox/e-seal/{name}"), format!(r#"{{"data":{{"list":[{}]}}}}"#, rows.join(",")));
        assert_eq!(huiliu(small.path(), &["run", "seals", "--no-release"]).0, 0);
    };
    let overdue = |daemon: &Daemon, n: f64| {
        let told = daemon.ask_until("/metrics", |_, text| {
            metric(text, r#"huiliu_deadlines_overdue{register="seal",deadline="filing"}"#) == Some(n)
        });
        let broken = r#"huiliu_review_broken{register="seal",name="filing",kind="deadline"}"#;
        assert_eq!(metric(&told, broken), Some(2.0), "one that is late stays so: {told}");
    };
    seals("YZ_1.json", "", "2026-10-01 11:00:00");
    let daemon = Daemon::start(small.path());
    overdue(&daemon, 1.0);
    assert!(daemon.log().contains("deadlines passed and nothing was done"), "{}", daemon.log());
    daemon.stop();
    seals("YZ_2.json", "2026-11-01 10:00:00", "2026-11-01 11:00:00");
    let daemon = Daemon::start(small.path());
    overdue(&daemon, 0.0);
    daemon.stop();
}

/// On a store that takes several writers several jobs are done at a time; SQLite takes a feed beside a pipeline.
#[tokio::test(flavor = "multi_thread")]
async fn two_workers_do_two_things_at_a_time() {
    use huiliu::config::Workspace;
    use huiliu::store::{Store, StoreError, sqlite::SqliteStore};
    let small = scheduled();
    small.extract("QY_0.csv", &[row(CODES[0], "甲")]);
    assert_eq!(huiliu(small.path(), &["run", "--no-release"]).0, 0);
    large(&small, ", rate: 9000 rows/s");
    small.write("pipelines/nsr.yaml", pipeline("tax.nsr", "").replace("schedule: '* * * * * *'\n", ""));
    let path = small.path().join(".huiliu/huiliu.db");
    let opened = path.clone();
    let workspace = Workspace::load(small.path()).unwrap();
    let again = workspace.clone();
    let setup = huiliu::serve::Setup {
        definitions: std::sync::Arc::new(move || Ok(again.clone())),
        stores: std::sync::Arc::new(move || {
            let path = opened.clone();
            Box::pin(async move {
                let store = SqliteStore::open(&path).await?;
                Ok::<Box<dyn Store>, StoreError>(Box::new(store))
            })
        }),
        workers: 2,
        backfill_worker: false,
        clock: huiliu::clock::Clock::System,
        listen: None,
        until_idle: true,
        probes: Vec::new(),
        workspace,
    };
    tokio::task::block_in_place(|| std::thread::scope(|scope| drop(scope.spawn(|| make_the_last_run_old(&small)))));
    huiliu::serve::Daemon::begin(setup).await.unwrap().work().await.unwrap();
    use sqlx::ConnectOptions;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).read_only(true);
    let mut conn = options.connect().await.unwrap();
    let sql = "select (select min(sealed_at) from batch) < (select max(ended) from run where pipeline = 'qy')";
    let meanwhile: bool = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
    assert!(meanwhile, "the feed did not wait for the run");
}

/// As if two years had passed since.
fn make_the_last_run_old(small: &Small) {
    use sqlx::ConnectOptions;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let path = small.path().join(".huiliu/huiliu.db");
        let mut conn = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        sqlx::query("update run set started = started - 63072000000000").execute(&mut conn).await.unwrap();
    });
}

#[test]
fn the_service_manager_is_told() {
    let small = scheduled();
    let socket = small.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let told = || {
        let mut bytes = [0; 256];
        let n = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    };
    let env = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "2000000")];
    let daemon = Daemon::with(small.path(), &[], &env);
    assert_eq!(told().trim(), "READY=1");
    assert_eq!(told().trim(), "WATCHDOG=1");
    daemon.signal("TERM");
    let rest = std::iter::repeat_with(told).find(|state| !state.contains("WATCHDOG=1")).unwrap();
    assert_eq!(rest.trim(), "STOPPING=1");
    assert!(daemon.end().0.success());
}

#[test]
fn an_address_that_is_taken_is_said() {
    let small = scheduled();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, said) = huiliu(small.path(), &["serve", "--listen", &address]);
    assert!(code == 1 && said.contains("HL0902") && said.contains(&address), "{said}");
}

#[test]
fn traces_reach_a_collector_and_carry_no_values() {
    let small = scheduled();
    small.extract("QY_1.csv", &[row(CODES[0], "青岛海蓝")]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (sender, received) = std::sync::mpsc::channel();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let take = move |body: Vec<u8>| {
        sender.send(body).ok();
        async {}
    };
    let collector = axum::Router::new().route(
        "/v1/traces",
        axum::routing::post(move |request: axum::extract::Request| {
            let take = take.clone();
            async move {
                let body = axum::body::to_bytes(request.into_body(), 16 << 20).await.unwrap();
                take(body.to_vec()).await;
            }
        }),
    );
    runtime.spawn(async move { axum::serve(listener, collector).await });
    small.write("huiliu.yaml", format!("version: 1\nissuer: 市\notlp: http://{address}\n"));
    let daemon = Daemon::start(small.path());
    daemon.wait_for_done("feed/housing.enterprise", 1);
    daemon.stop();
    let all: Vec<u8> = received.try_iter().flatten().collect();
    let holds = |text: &str| all.windows(text.len()).any(|part| part == text.as_bytes());
    for span in ["run", "chunk", "commit", "release", "seal", "deliver"] {
        assert!(holds(&format!("{}{span}", char::from(span.len() as u8))), "no span {span} in {} bytes", all.len());
    }
    assert!(holds("huiliu") && holds("housing.enterprise"));
    assert!(!holds("青岛海蓝") && !holds(CODES[0]), "a value left the house");
}

/// A daemon's work that nobody disturbed.
fn undisturbed() -> Small {
    let small = scheduled();
    large(&small, "");
    let daemon = Daemon::start(small.path());
    daemon.wait_for_done("pipeline/qy", 1);
    daemon.stop();
    small
}

/// 30,000 rows, and the pipeline with this rate.
fn large(small: &Small, rate: &str) {
    let mut text = String::from("代码,名称,注册号,资本,状态,更新\n");
    for n in 0..30_000 {
        text.push_str(&format!("{},企业{n},,100万元,在营,2026-10-01 00:00:00\n", crate::runs::valid_code(n)));
    }
    small.write("out/gs/QY_1.csv", text);
    small.write("pipelines/qy.yaml", pipeline("gs.qy", rate));
}

/// Waits until the store has committed so many chunks of files.
pub fn wait_for_chunks(small: &Small, chunks: i64) {
    wait_for_sql(&small.path().join(".huiliu/huiliu.db"), "select max(chunks) from file", chunks);
}

/// Waits until a query answers at least so much.
pub fn wait_for_sql(path: &Path, sql: &'static str, least: i64) {
    use sqlx::ConnectOptions;
    let path = path.to_owned();
    let wait = async move {
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..3_000 {
            interval.tick().await;
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).read_only(true);
            let Ok(mut conn) = options.connect().await else { continue };
            let found: Result<Option<i64>, _> = sqlx::query_scalar(sql).fetch_one(&mut conn).await;
            if found.ok().flatten().is_some_and(|found| found >= least) {
                return;
            }
        }
        panic!("never: {sql}");
    };
    let thread = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(wait);
    });
    thread.join().unwrap();
}

/// The same rows under the same ids.
pub fn same_registers(a: &Small, b: &Small) {
    let dump = |small: &Small| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { crate::support::registers(&mut small.engine().await).await })
    };
    let (a, b) = (dump(a), dump(b));
    assert!(!a.is_empty() && a == b, "{} and {} rows", a.len(), b.len());
}

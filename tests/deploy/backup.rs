//! A backup of an installation comes back, and one that was altered does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use sqlx::{Connection as _, PgConnection, Row as _};

use super::{fails, files, passes};
use crate::support::services::Database;

/// Who signs a backup, or who may open it.
struct Person {
    key: PathBuf,
    certificate: PathBuf,
}

fn person(dir: &Path, name: &str) -> Person {
    let (key, certificate) = (dir.join(format!("{name}.key")), dir.join(format!("{name}.pem")));
    let mut openssl = Command::new("openssl");
    let args = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj";
    passes(
        openssl.args(args.split(' ')).arg(format!("/CN={name}")).arg("-keyout").arg(&key).arg("-out").arg(&certificate),
    );
    Person { key, certificate }
}

fn backup(store: &str, state: &Path, to: &Path) -> Command {
    let mut command = Command::new("deploy/backup/backup");
    command.args(["--store", store, "--state"]).arg(state).arg("--to").arg(to);
    command
}

fn restore(from: &Path, store: &str, state: &Path) -> Command {
    let mut command = Command::new("deploy/backup/restore");
    command.arg("--from").arg(from).args(["--store", store, "--state"]).arg(state);
    command
}

fn huiliu(dir: &Path, verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huiliu"));
    command.arg("--dir").arg(dir).arg(verb);
    command
}

/// A workspace that has run once: registers, a feed, a sealed batch in the spool.
fn ran(dir: &Path) -> PathBuf {
    let workspace = dir.join("workspace");
    passes(Command::new(env!("CARGO_BIN_EXE_huiliu")).arg("init").arg(&workspace));
    for file in files(workspace.join("data").to_str().unwrap()) {
        let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::File::options().write(true).open(file).unwrap().set_modified(past).unwrap();
    }
    passes(&mut huiliu(&workspace, "run"));
    workspace
}

/// What a backup printed: its directory.
fn taken(command: &mut Command) -> PathBuf {
    PathBuf::from(passes(command).trim_end())
}

#[test]
fn an_installation_on_sqlite_comes_back_whole_and_only_to_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    let (signer, owner, other) =
        (person(dir.path(), "signer"), person(dir.path(), "owner"), person(dir.path(), "other"));
    let workspace = ran(dir.path());
    fs::create_dir(workspace.join("certs")).unwrap();
    fs::copy(&signer.certificate, workspace.join("certs/housing.pem")).unwrap();
    let state = workspace.join(".huiliu");
    let store = format!("sqlite:{}", state.join("huiliu.db").display());
    let mut command = backup(&store, &state, &at("backups"));
    command.arg("--definitions").arg(&workspace).arg("--sign-with").arg(&signer.key).arg(&signer.certificate);
    let from = taken(command.arg("--encrypt-to").arg(&owner.certificate));
    let clear = files(from.to_str().unwrap()).into_iter().filter(|path| path.extension().is_none_or(|e| e != "enc"));
    let clear: Vec<_> = clear.map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(clear, ["MANIFEST", "MANIFEST.p7s", "key.p7m"], "everything else is encrypted");

    let again = at("again");
    let target = format!("sqlite:{}", again.join(".huiliu/huiliu.db").display());
    let bring = |trust: &Person, key: &Person| {
        let mut command = restore(&from, &target, &again.join(".huiliu"));
        command.arg("--definitions").arg(&again).arg("--trust").arg(&trust.certificate);
        command.arg("--decrypt-with").arg(&key.key).arg(&key.certificate);
        command
    };
    assert!(fails(&mut bring(&other, &owner)).contains("signature"));
    assert!(fails(&mut bring(&signer, &other)).contains("does not open"));
    assert!(!again.exists(), "nothing is written before all is verified");

    let doctor = format!("'{}' --dir '{}' doctor", env!("CARGO_BIN_EXE_huiliu"), again.display());
    let report = passes(bring(&signer, &owner).arg("--then").arg(&doctor));
    assert!(report.contains("everything agrees"), "{report}");
    for key in ["signing.key", "dev-ca.pem"] {
        assert_eq!(fs::read(again.join(".huiliu").join(key)).unwrap(), fs::read(state.join(key)).unwrap(), "{key}");
    }
    assert!(again.join("certs/housing.pem").exists(), "certificates are definitions, too");
    assert!(fails(&mut bring(&signer, &owner)).contains("is not empty"), "nothing is overwritten");
}

#[test]
fn what_was_altered_or_did_not_finish_is_refused_and_a_failed_check_is_a_failed_restore() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir(at("state")).unwrap();
    fs::write(at("state/pseudonym.key"), [7; 32]).unwrap();
    passes(Command::new("sqlite3").arg(at("a.db")).arg("create table t(x); insert into t values (1)"));
    let from = taken(&mut backup(&format!("sqlite:{}", at("a.db").display()), &at("state"), &at("backups")));
    let target = format!("sqlite:{}", at("b.db").display());
    assert!(fails(&mut restore(&from, &target, &at("new"))).contains("--trust"), "believing is a decision");
    let signer = person(dir.path(), "signer");
    let trusting = fails(restore(&from, &target, &at("new")).arg("--trust").arg(&signer.certificate));
    assert!(trusting.contains("is not signed"), "{trusting}");
    let failed = fails(restore(&from, &target, &at("new")).args(["--unsigned", "--then", "false"]));
    assert!(failed.contains("restored, but this failed"), "{failed}");

    let target = format!("sqlite:{}", at("c.db").display());
    let archive = from.join("state.tar");
    let mut bytes = fs::read(&archive).unwrap();
    bytes[600] ^= 1;
    fs::write(&archive, bytes).unwrap();
    assert!(fails(restore(&from, &target, &at("newer")).arg("--unsigned")).contains("altered"));
    fs::remove_file(from.join("MANIFEST")).unwrap();
    assert!(fails(restore(&from, &target, &at("newer")).arg("--unsigned")).contains("did not finish"));
    assert!(!at("newer").exists() && !at("c.db").exists());
}

/// Count and digest of everything in the table.
async fn content(url: &str) -> (i64, String) {
    let mut conn = PgConnection::connect(url).await.unwrap();
    let sql = "select count(*), md5(string_agg(v, ',' order by id)) from huiliu.claims";
    let row = sqlx::query(sql).fetch_one(&mut conn).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn a_postgresql_database_comes_back_into_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    let (source, target) = (Database::new().await, Database::new().await);
    let mut conn = PgConnection::connect(&source.url()).await.unwrap();
    let sql = "create schema huiliu; \
        create table huiliu.claims (id bigint generated always as identity primary key, v text not null); \
        insert into huiliu.claims (v) select repeat('市', 10) || g from generate_series(1, 10000) g";
    sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
    fs::create_dir(at("state")).unwrap();
    fs::write(at("store-url"), format!("{}\n", source.url())).unwrap();
    let reference = format!("file:{}", at("store-url").display());
    let from = taken(&mut backup(&reference, &at("state"), &at("backups")));
    passes(restore(&from, &target.url(), &at("new")).args(["--unsigned", "--drill"]));
    assert_eq!(content(&target.url()).await, content(&source.url()).await);
    let refused = fails(restore(&from, &target.url(), &at("newer")).args(["--unsigned", "--drill"]));
    assert!(refused.contains("not empty"), "{refused}");
}

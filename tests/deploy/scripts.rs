//! Shell scripts are read by shellcheck; servers' settings are tried on servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{files, passes, program};
use crate::support::services::service;

#[test]
fn shellcheck_finds_nothing_in_any_script() {
    let all = ["deploy", "tests/deploy", "fuzz/run", ".ci/run"]
        .into_iter()
        .flat_map(|path| if Path::new(path).is_dir() { files(path) } else { vec![PathBuf::from(path)] });
    let scripts: Vec<PathBuf> = all.filter(|path| is_shell(path)).collect();
    for known in ["deploy/dev/services", "deploy/backup/restore", "deploy/compose/make-secrets"] {
        assert!(scripts.iter().any(|path| path == Path::new(known)), "{known} is not among {scripts:?}");
    }
    passes(program("shellcheck").arg("--external-sources").args(scripts));
}

fn is_shell(path: &Path) -> bool {
    let Ok(bytes) = fs::read(path) else { return false };
    let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    (first.starts_with("#!") && first.ends_with("sh")) || path.extension().is_some_and(|extension| extension == "sh")
}

#[test]
fn a_postgresql_with_these_settings_lets_in_who_has_to_come_and_nobody_else() {
    let ca = PathBuf::from(service("CA"));
    let (cert, key) = (ca.with_file_name("server.pem"), ca.with_file_name("server.key"));
    let said = passes(Command::new("tests/deploy/postgres-config").arg(cert).arg(key).arg(&ca));
    assert_eq!(said, "postgresql.conf, pg_hba.conf and roles.sql hold\n");
}

#[test]
fn a_rabbitmq_with_these_settings_speaks_tls_only_and_refuses_rather_than_drops() {
    service("RABBITMQ"); // the program is installed
    let said = passes(&mut Command::new("tests/deploy/rabbitmq-config"));
    assert_eq!(said, "rabbitmq.conf and definitions.json hold\n");
}

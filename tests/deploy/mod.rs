//! What lies in `deploy/` is read by the programs that will read it in earnest: systemd, docker compose, promtool,
//! hadolint, shellcheck, the Kubernetes schemas, PostgreSQL, RabbitMQ, OpenSSL. `deploy/dev/tools` fetches them.

mod backup;
mod containers;
mod monitoring;
mod runbooks;
mod scripts;
mod units;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value as Json;

/// The directory with the programs that check.
fn tools() -> &'static Path {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| PathBuf::from(stdout("deploy/dev/tools", &[]).trim_end()))
}

/// One of them, or a program of the system.
fn program(name: &str) -> Command {
    let own = tools().join(name);
    Command::new(if own.exists() { own } else { PathBuf::from(name) })
}

/// Everything that a command said, on both channels.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a command that must succeed, and returns what it printed.
fn passes(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail, and returns everything it said.
fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(!output.status.success(), "{command:?} succeeded\n{}", said(&output));
    said(&output)
}

/// What a program of this repository prints.
fn stdout(path: &str, args: &[&str]) -> String {
    passes(Command::new(path).args(args))
}

/// The documents of a YAML file.
fn yaml(path: &Path) -> Vec<Json> {
    let code =
        "import sys, json, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1], encoding='utf-8')))))";
    let text = passes(program("python").args(["-c", code]).arg(path));
    serde_json::from_str(&text).unwrap()
}

/// Every file below a directory.
fn files(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![PathBuf::from(dir)];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// A copy of `deploy/` with the secrets that compose would have.
fn deployed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    passes(Command::new("cp").args(["-r", "deploy"]).arg(dir.path()));
    let secrets = dir.path().join("deploy/compose/secrets");
    if secrets.exists() {
        std::fs::remove_dir_all(&secrets).unwrap(); // those of whoever works here
    }
    passes(&mut Command::new(dir.path().join("deploy/compose/make-secrets")));
    dir
}

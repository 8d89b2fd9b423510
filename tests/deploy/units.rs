//! systemd: the units are understood, and what they confine is confined.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::{fails, passes};

const UNITS: [&str; 3] = ["huiliu.service", "huiliu-backup.service", "huiliu-backup.timer"];

/// A machine's tree with our units and the programs that they start.
fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for dir in ["usr/bin", "usr/lib/systemd", "usr/lib/huiliu/backup", "etc/systemd/system"] {
        fs::create_dir_all(at(dir)).unwrap();
    }
    symlink("usr/bin", at("bin")).unwrap();
    symlink("usr/lib", at("lib")).unwrap();
    passes(Command::new("cp").args(["-r", "/usr/lib/systemd/system"]).arg(at("usr/lib/systemd/")));
    for program in ["usr/bin/huiliu", "usr/bin/kill", "usr/lib/huiliu/backup/backup"] {
        fs::write(at(program), "#!/bin/sh\n").unwrap();
        fs::set_permissions(at(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for unit in UNITS {
        fs::copy(Path::new("deploy/systemd").join(unit), at("etc/systemd/system").join(unit)).unwrap();
    }
    root
}

fn verify(root: &Path) -> Command {
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=no"]).arg(format!("--root={}", root.display())).args(UNITS);
    command
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    let root = machine();
    let output = verify(root.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", super::said(&output));
    let unit = root.path().join("etc/systemd/system/huiliu.service");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace("WatchdogSec", "WatchdogSek")).unwrap();
    assert!(fails(&mut verify(root.path())).contains("WatchdogSek"), "a wrong line must be noticed");
}

#[test]
fn the_daemon_can_do_little_beyond_its_work() {
    for unit in UNITS.iter().filter(|unit| unit.ends_with(".service")) {
        let path = fs::canonicalize(Path::new("deploy/systemd").join(unit)).unwrap();
        // 0 is a sealed box, 100 any program of root's; 15 leaves the network, files and nothing else.
        passes(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=15"]).arg(path));
    }
}

#[test]
fn the_user_of_the_units_can_be_made() {
    let path = fs::canonicalize("deploy/systemd/huiliu.sysusers").unwrap();
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    passes(Command::new("systemd-sysusers").arg(format!("--root={}", root.path().display())).arg(path));
    let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(users.starts_with("huiliu:"), "{users}");
    assert!(users.trim_end().ends_with("nologin"), "{users}");
}

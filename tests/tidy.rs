//! The house rules that a compiler does not know: which room may look into which, and how long a file may grow.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the ground up. A module uses only rooms of its own floor or below.
const FLOORS: &[&[&str]] = &[
    &["error", "record", "clock", "failpoint", "postgres"],
    &["config"],
    &["decode", "mapping", "linking", "share", "crypto"],
    &["audit", "batch"],
    &["source", "store", "outlet", "pki", "tsa"],
    &["engine", "receive", "demo"],
    &["serve"],
    &["cli"],
];

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The code before the unit tests, which may look anywhere.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

#[test]
fn no_room_looks_up() {
    let root = Path::new("src");
    let mut files = Vec::new();
    sources(root, &mut files);
    let mut wrong = Vec::new();
    for path in &files {
        let inside = path.strip_prefix(root).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some(own) = floor(room) else {
            assert!(
                ["main", "lib", "testing"].contains(&room),
                "{room} has no floor: add it to tests/tidy.rs and ARCHITECTURE.md"
            );
            continue;
        };
        let text = fs::read_to_string(path).unwrap();
        for (n, line) in code(&text).lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if floor(&used).is_some_and(|other| other > own) {
                    wrong.push(format!("{}:{}: {room} uses {used}", inside.display(), n + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_reviewer_can_hold() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let lines = code(&text).lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
    }
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    let root = Path::new(".");
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("tests"), &mut files);
    let forbidden = ["#[ign".to_owned() + "ore", "todo".to_owned() + "!(", "unimplemen".to_owned() + "ted!("];
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for word in &forbidden {
            assert!(!text.contains(word), "{} contains {word}", path.display());
        }
    }
}

/// A control whose proof is gone is no control.
#[test]
fn every_threat_is_answered_by_tests_that_exist() {
    let mut files = Vec::new();
    sources(Path::new("tests"), &mut files);
    sources(Path::new("src"), &mut files);
    let tests: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let text = fs::read_to_string("docs/threat-model.md").unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 4);
    let proofs = rows.filter_map(|row| row.split('|').nth(3)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let named: Vec<&str> = proofs.collect();
    assert!(named.len() > 30, "{}", named.len());
    let gone: Vec<&&str> = named.iter().filter(|name| !tests.contains(&format!("fn {name}("))).collect();
    assert!(gone.is_empty(), "docs/threat-model.md names tests that are not there: {gone:?}");
}

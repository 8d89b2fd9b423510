//! Pages for people at night: their commands exist, and their links lead somewhere. The example installations are ones
//! that `huiliu check` accepts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{deployed, files, passes, said, yaml};

/// The commands in a page: what follows `huiliu` at the beginning of a line or of a span of code.
fn commands(text: &str) -> Vec<Vec<String>> {
    let plain = text.replace("`huiliu ", "\nhuiliu ").replace('`', "\n");
    let lines = plain.lines().filter_map(|line| line.strip_prefix("huiliu "));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// The verbs of a command: `--dir X feed provision` is `feed provision`.
fn verbs(words: &[String]) -> Vec<String> {
    let mut words = words.iter().skip(if words[0] == "--dir" { 2 } else { 0 });
    let Some(verb) = words.next().filter(|verb| !verb.starts_with('-')) else { return Vec::new() };
    let nested = ["backfill", "feed", "quarantine", "register", "scope"].contains(&verb.as_str());
    std::iter::once(verb).chain(words.next().filter(|_| nested)).cloned().collect()
}

#[test]
fn commands_in_runbooks_are_commands_of_the_program() {
    let mut pages = files("docs/runbooks");
    pages.push("deploy/README.md".into());
    let mut known = BTreeSet::new();
    for page in pages {
        for words in commands(&fs::read_to_string(&page).unwrap()) {
            let verbs = verbs(&words);
            if !known.insert(verbs.clone()) {
                continue;
            }
            let output = Command::new(env!("CARGO_BIN_EXE_huiliu")).args(&verbs).arg("--help").output().unwrap();
            assert!(output.status.success(), "{}: huiliu {}\n{}", page.display(), verbs.join(" "), said(&output));
        }
    }
    assert!(known.len() > 10, "{known:?}");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = files("docs/runbooks");
    pages.extend(["deploy/README.md".into(), "deploy/rabbitmq/README.md".into()]);
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            assert!(page.with_file_name(link).exists(), "{}: {link}", page.display());
        }
    }
}

#[test]
fn the_example_installations_are_accepted_by_check() {
    let dir = deployed();
    let secrets = dir.path().join("deploy/compose/secrets");
    // Not every secret of an example can be a file of this machine's; the store need not exist for `check`.
    for (example, place) in [("huiliu.yaml", "/run/secrets"), ("kubernetes/huiliu.yaml", "/run/secrets/huiliu")] {
        let workspace = crate::support::project();
        let text = fs::read_to_string(Path::new("deploy").join(example)).unwrap();
        assert_eq!(yaml(&Path::new("deploy").join(example))[0]["version"], 1);
        let text = text.replace(place, secrets.to_str().unwrap());
        fs::write(workspace.path().join("huiliu.yaml"), text).unwrap();
        passes(Command::new(env!("CARGO_BIN_EXE_huiliu")).arg("--dir").arg(workspace.path()).arg("check"));
    }
}

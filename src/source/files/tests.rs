//! Files of a local directory: which are listed, when they are finished, where they go.

use std::fs;
use std::io::Read;

use super::*;
use crate::error::{Disposition, Place as At_};

fn files(root: &str) -> Files {
    Files::at(At { value: root.to_owned(), place: At_::new("c.yaml", 1, 1) })
}

fn source(dir: &Path, root: &str, path: &str) -> Result<FilesSource, SourceError> {
    FilesSource::below(dir, &files(root), path, (Format::Ndjson, Vec::new()))
}

fn outbox() -> (tempfile::TempDir, FilesSource) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("outbox/sub.csv")).unwrap();
    let files = source(dir.path(), "outbox", "QY_*.csv").unwrap().quiet_for(Duration::ZERO);
    (dir, files)
}

fn write(dir: &tempfile::TempDir, name: &str, text: &str) {
    let path = dir.path().join("outbox").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.items.iter().map(|i| i.name.as_str()).collect()
}

#[tokio::test]
async fn matching_files_are_listed_by_name_with_size_and_digest() {
    let (dir, mut files) = outbox();
    assert_eq!(files.list(None).await.unwrap(), Listing::default());
    for (name, text) in [("QY_2.csv", "b"), ("QY_1.csv", "a"), ("QY_3.txt", "c"), (".QY_4.csv", "d")] {
        write(&dir, name, text);
    }
    let listing = files.list(None).await.unwrap();
    assert_eq!(names(&listing), ["QY_1.csv", "QY_2.csv"]);
    let first = &listing.items[0];
    assert_eq!((first.bytes, first.path.as_str(), first.modified.is_some()), (1, "QY_1.csv", true));
    assert_eq!(first.digest, "17762fddd969a453925d65717ac3eea21320b66b54342fde15128d6caf21215f");
    assert_eq!(files.list(None).await.unwrap(), listing);
}

#[tokio::test]
async fn a_file_is_opened_as_it_was_listed_or_not_at_all() {
    let (dir, mut files) = outbox();
    write(&dir, "QY_1.csv", "a,b\n1,2\n");
    let item = files.list(None).await.unwrap().items.remove(0);
    let input = files.bytes(&item).await.unwrap();
    let mut text = String::new();
    input.read_from(4).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), input.len(), input.local_path().is_some()), ("1,2\n", 8, true));
    files.settle(&item).await.unwrap();
    write(&dir, "QY_1.csv", "a,b\n1,2\n3,4\n");
    let error = files.bytes(&item).await.err().unwrap();
    assert_eq!((error.code(), error.disposition()), ("HL0304", Disposition::Retry));
    fs::remove_file(dir.path().join("outbox/QY_1.csv")).unwrap();
    assert_eq!(files.bytes(&item).await.err().unwrap().code(), "HL0304");
    // What was opened before ends where the listed file ended, or fails; it never shows other bytes as its own.
    assert!(input.read_from(0).is_err());
}

/// Whatever else is as it was: an old extract that lies there is not read again, one that was written over is.
#[tokio::test]
async fn a_digest_is_remembered_until_anything_of_its_file_changes() {
    let (dir, files) = outbox();
    let past = SystemTime::now() - Duration::from_secs(3600);
    let path = dir.path().join("outbox/QY_1.csv");
    let written = |text: &str| {
        fs::write(&path, text).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
    };
    let known = dir.path().join("state/digests/gs.qy.json");
    let mut files = files.remembering(known.clone());
    written("a");
    let first = files.list(None).await.unwrap();
    let remembered = fs::read_to_string(&known).unwrap();
    fs::write(&known, remembered.replace(&first.items[0].digest, "remembered")).unwrap();
    let mut again = source(dir.path(), "outbox", "QY_*.csv").unwrap().quiet_for(Duration::ZERO).remembering(known);
    assert_eq!(again.list(None).await.unwrap().items[0].digest, "remembered");
    written("b");
    assert_eq!(again.list(None).await.unwrap().items[0].digest, blake3::hash(b"b").to_hex().to_string());
}

#[tokio::test]
async fn a_file_that_grows_between_two_looks_is_left_alone() {
    let (dir, mut files) = outbox();
    write(&dir, "QY_1.csv", "a");
    write(&dir, "QY_2.csv", "b");
    let seen = files.look().await.unwrap();
    write(&dir, "QY_1.csv", "a and more");
    let listing = files.confirm(seen).await.unwrap();
    assert_eq!(names(&listing), ["QY_2.csv"]);
    assert_eq!(listing.still_writing, ["QY_1.csv"]);
    assert_eq!(names(&files.list(None).await.unwrap()), ["QY_1.csv", "QY_2.csv"]);
}

#[tokio::test]
async fn a_rewritten_file_gets_a_new_digest() {
    let (dir, mut files) = outbox();
    write(&dir, "QY_1.csv", "a");
    let before = files.list(None).await.unwrap().items.remove(0).digest;
    write(&dir, "QY_1.csv", "other");
    assert_ne!(files.list(None).await.unwrap().items.remove(0).digest, before);
}

#[tokio::test]
async fn roots_may_be_relative_absolute_or_file_urls() {
    let (dir, _) = outbox();
    write(&dir, "QY_1.csv", "a");
    let absolute = dir.path().join("outbox").to_string_lossy().into_owned();
    let roots = [
        "outbox".to_owned(),
        "./outbox/".to_owned(),
        absolute.clone(),
        format!("file:{absolute}"),
        format!("file://{absolute}"),
    ];
    for root in roots {
        let mut files = source(dir.path(), &root, "*.csv").unwrap().quiet_for(Duration::ZERO);
        assert_eq!(names(&files.list(None).await.unwrap()), ["QY_1.csv"], "{root}");
    }
    let mut below = source(dir.path(), ".", "outbox/QY_?.csv").unwrap().quiet_for(Duration::ZERO);
    let item = below.list(None).await.unwrap().items.remove(0);
    assert_eq!((item.name.as_str(), item.path.as_str()), ("QY_1.csv", "outbox/QY_1.csv"));
    assert_eq!(below.bytes(&item).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_root_that_is_not_there_is_said_and_not_made() {
    let (dir, _) = outbox();
    let error = |root: &str| source(dir.path(), root, "*").map(|f| f.quiet_for(Duration::ZERO));
    let missing = error("nowhere").unwrap().list(None).await.unwrap_err();
    assert_eq!((missing.code(), missing.disposition()), ("HL0301", Disposition::Retry));
    assert_eq!(missing.to_string(), "HL0301 there is no directory nowhere");
    assert!(!dir.path().join("nowhere").exists());
    assert_eq!(error("gopher://exchange.example/out").err().unwrap().code(), "HL0302");
    assert_eq!(error("sftp://exchange.example/out").err().unwrap().code(), "HL0353");
    let mut below = source(dir.path(), "outbox", "gone/*.csv").unwrap();
    assert_eq!(below.list(None).await.unwrap_err().code(), "HL0301");
}

#[tokio::test]
async fn directories_and_dates_in_a_pattern_are_followed_in_order() {
    let (dir, _) = outbox();
    for name in ["2025/QY_20251231.csv", "2026/QY_20260102.csv", "2026/QY_20260101.csv", "2026/QY_20261301.csv"] {
        write(&dir, name, name);
    }
    write(&dir, "taken/QY_20240101.csv", "done");
    let mut files = source(dir.path(), "outbox", "{yyyy}/QY_{yyyyMMdd}.csv").unwrap().quiet_for(Duration::ZERO);
    let expect = ["2025/QY_20251231.csv", "2026/QY_20260101.csv", "2026/QY_20260102.csv"];
    assert_eq!(names(&files.list(None).await.unwrap()), expect);
    let mut any = source(dir.path(), "outbox", "*/QY_{yyyyMMdd}.csv").unwrap().quiet_for(Duration::ZERO);
    any.settle.archive = Some("taken".to_owned());
    assert_eq!(names(&any.list(None).await.unwrap()), expect, "what was taken is not listed again");
}

#[tokio::test]
async fn taken_and_refused_files_go_where_the_definition_says() {
    let (dir, mut files) = outbox();
    files.settle = Settle { archive: Some("done/2026".into()), reject: Some("bad".into()), ..Settle::default() };
    files.settle.quiet = Duration::ZERO;
    files.beside =
        Beside { control: Some(crate::config::Control { file: "{name}.ok".into(), says: None }), signed: true };
    for name in ["QY_1.csv", "QY_2.csv", "QY_1.csv.ok", "QY_2.csv.ok", "QY_1.csv.p7s", "QY_3.csv"] {
        write(&dir, name, name);
    }
    let listing = files.list(None).await.unwrap();
    assert_eq!(names(&listing), ["QY_1.csv", "QY_2.csv"]);
    assert_eq!(listing.still_writing, ["QY_3.csv"]);
    for _ in 0..2 {
        files.settle(&listing.items[0]).await.unwrap();
        files.refuse(&listing.items[1]).await.unwrap();
    }
    let there = |path: &str| dir.path().join("outbox").join(path).exists();
    assert!(["done/2026/QY_1.csv", "done/2026/QY_1.csv.ok", "done/2026/QY_1.csv.p7s"].iter().all(|p| there(p)));
    assert!(["bad/QY_2.csv", "bad/QY_2.csv.ok"].iter().all(|p| there(p)));
    assert!(!there("QY_1.csv") && !there("QY_2.csv") && there("QY_3.csv"));
    // The same name again does not overwrite what was archived.
    write(&dir, "QY_1.csv", "another");
    write(&dir, "QY_1.csv.ok", "");
    let again = files.list(None).await.unwrap().items.remove(0);
    files.settle(&again).await.unwrap();
    assert!(there(&format!("done/2026/QY_1.csv~{}", again.digest.get(..8).unwrap())) && !there("QY_1.csv"));
}

#[tokio::test]
async fn a_file_is_left_alone_for_the_quiet_time() {
    let (dir, mut files) = outbox();
    write(&dir, "QY_1.csv", "a");
    files.settle.quiet = Duration::from_secs(3600);
    let path = dir.path().join("outbox/QY_1.csv");
    let minutes_ago = |minutes: u64| SystemTime::now() - Duration::from_secs(60 * minutes);
    fs::File::options().write(true).open(&path).unwrap().set_modified(minutes_ago(30)).unwrap();
    let seen = files.look().await.unwrap();
    assert_eq!(files.confirm(seen).await.unwrap().still_writing, ["QY_1.csv"]);
    fs::File::options().write(true).open(&path).unwrap().set_modified(minutes_ago(61)).unwrap();
    assert_eq!(names(&files.list(None).await.unwrap()), ["QY_1.csv"]);
}

/// A control file (控制文件) for several files stays until the last of them is done with, whether it names them or not.
#[tokio::test]
async fn a_control_file_for_several_goes_with_the_last_of_them() {
    for says in [Some("{name},{rows}"), None] {
        let (dir, mut files) = outbox();
        let says = says.map(|says| crate::config::Template::parse(says).unwrap());
        files.beside = Beside { control: Some(crate::config::Control { file: "all.chk".into(), says }), signed: false };
        files.settle = Settle { archive: Some("done".into()), reject: Some("bad".into()), ..files.settle };
        write(&dir, "QY_1.csv", "a");
        write(&dir, "QY_2.csv", "b");
        write(&dir, "all.chk", "QY_1.csv,1\nQY_2.csv,1\n");
        let there = |path: &str| dir.path().join("outbox").join(path).exists();
        let item = files.list(None).await.unwrap().items.remove(0);
        for _ in 0..2 {
            files.settle(&item).await.unwrap();
            assert!(there("done/QY_1.csv") && there("all.chk"));
        }
        let listing = files.list(None).await.unwrap();
        assert_eq!((names(&listing), listing.still_writing.len()), (vec!["QY_2.csv"], 0));
        files.refuse(&listing.items[0]).await.unwrap();
        assert!(there("bad/QY_2.csv") && there("bad/all.chk") && !there("all.chk"));
    }
}

#[tokio::test]
async fn a_control_file_waits_for_what_it_names_and_has_not_come() {
    let (dir, mut files) = outbox();
    let says = Some(crate::config::Template::parse("{name},{rows}").unwrap());
    files.beside = Beside { control: Some(crate::config::Control { file: "all.chk".into(), says }), signed: false };
    files.settle.archive = Some("done".into());
    write(&dir, "QY_1.csv", "a");
    write(&dir, "all.chk", "QY_1.csv,1\nQY_2.csv,1\n");
    let item = files.list(None).await.unwrap().items.remove(0);
    files.settle(&item).await.unwrap();
    write(&dir, "QY_2.csv", "b");
    let item = files.list(None).await.unwrap().items.remove(0);
    files.settle(&item).await.unwrap();
    assert!(dir.path().join("outbox/done/all.chk").exists());
}

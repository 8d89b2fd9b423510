//! The files of a feed's spool against the manifests in the store.
//!
//! Reads only. A batch that no outlet has confirmed yet may be missing; one that was confirmed may not, and none may
//! differ from what was sealed or be there without having been.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::batch::Manifest;
use crate::engine::Finding;
use crate::outlet::BatchFiles;
use crate::store::BatchLink;

/// Findings kept; the rest are counted.
const SHOWN: usize = 20;

/// What the comparison of one feed brought.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Batches whose files were there.
    pub(super) compared: u64,
    /// At most 20.
    pub(super) findings: Vec<Finding>,
    /// All of them.
    pub(super) disagreements: u64,
}

/// Compares the directory of one feed with its sealed batches; `waiting` are not durable yet, `lying` were there before the
/// batches were asked for.
pub(super) fn compare(
    (directory, feed): (&Path, &str),
    links: &[BatchLink],
    waiting: &BTreeSet<i64>,
    lying: &BTreeSet<u64>,
) -> io::Result<Compared> {
    let mut all = Compared::default();
    for link in links {
        let files = BatchFiles::in_feed(directory, link.seq.unsigned_abs());
        let may_be_missing = waiting.contains(&link.seq);
        if may_be_missing && !files.manifest.exists() {
            continue;
        }
        all.compared += 1;
        for what in differences(&files, &link.manifest, may_be_missing)? {
            all.found(feed, link.seq, what);
        }
    }
    let known: BTreeSet<u64> = links.iter().map(|link| link.seq.unsigned_abs()).collect();
    for seq in lying.difference(&known) {
        let number = i64::try_from(*seq).unwrap_or(i64::MAX);
        all.found(feed, number, "its files are in the spool, but the store never sealed it");
    }
    Ok(all)
}

impl Compared {
    fn found(&mut self, feed: &str, number: i64, what: &str) {
        self.disagreements += 1;
        if self.findings.len() < SHOWN {
            self.findings.push(Finding { kind: "spool", subject: feed.to_owned(), number, what: what.to_owned() });
        }
    }
}

fn differences(files: &BatchFiles, sealed: &[u8], may_be_missing: bool) -> io::Result<Vec<&'static str>> {
    let mut found = Vec::new();
    match there(fs::read(&files.manifest))? {
        None => found.push("its manifest is not in the spool"),
        Some(bytes) if bytes != sealed => found.push("its manifest in the spool is not the sealed one"),
        Some(_) => {}
    }
    match there(fs::metadata(&files.signature))? {
        None => found.push("its signature is not in the spool"),
        Some(facts) if facts.len() == 0 => found.push("its signature in the spool is empty"),
        Some(_) => {}
    }
    match there(File::open(&files.body))? {
        None => found.push("its body is not in the spool"),
        // A manifest that does not read is a finding of the chain already.
        Some(body) => match Manifest::from_json(sealed) {
            Ok(manifest) if manifest.body.algorithm.digest_of(&mut { body })? != manifest.body.digest.0 => {
                found.push("its body in the spool is not the sealed one");
            }
            Ok(_) | Err(_) => {}
        },
    }
    if may_be_missing {
        found.retain(|what| !what.ends_with("not in the spool"));
    }
    Ok(found)
}

/// Nothing where there is no such file.
fn there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Numbers of the batches whose manifest lies in the directory.
pub(super) fn numbers(directory: &Path) -> io::Result<BTreeSet<u64>> {
    let Some(entries) = there(fs::read_dir(directory))? else { return Ok(BTreeSet::new()) };
    let mut all = BTreeSet::new();
    for entry in entries {
        all.extend(entry?.file_name().to_str().and_then(BatchFiles::seq_of));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        dir
    }

    fn found(dir: &tempfile::TempDir, waiting: &[i64]) -> Vec<String> {
        let links = [BatchLink { seq: 1, manifest: b"{}".to_vec() }];
        let lying = numbers(dir.path()).unwrap();
        let waiting = waiting.iter().copied().collect();
        let all = compare((dir.path(), "housing.enterprise"), &links, &waiting, &lying).unwrap();
        assert_eq!(all.findings.len() as u64, all.disagreements);
        all.findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_confirmed_batch_must_be_there_as_it_was_sealed() {
        let whole: [(&str, &[u8]); 3] =
            [("000000000001.avro", b"body"), ("000000000001.p7s", b"sig"), ("000000000001.manifest.json", b"{}")];
        assert_eq!(found(&spool(&whole), &[]), Vec::<String>::new());
        let missing = found(&spool(&[]), &[]);
        assert_eq!(missing.len(), 3, "{missing:?}");
        let altered = spool(&whole);
        fs::write(altered.path().join("000000000001.manifest.json"), b"{ }").unwrap();
        assert_eq!(found(&altered, &[]), ["its manifest in the spool is not the sealed one"]);
        let foreign = spool(&whole);
        fs::write(foreign.path().join("000000000002.manifest.json"), b"{}").unwrap();
        assert_eq!(found(&foreign, &[]), ["its files are in the spool, but the store never sealed it"]);
    }

    #[test]
    fn a_batch_that_waits_for_delivery_may_be_missing() {
        assert_eq!(found(&spool(&[]), &[1]), Vec::<String>::new());
        assert_eq!(found(&spool(&[("000000000001.manifest.json", b"{}")]), &[1]), Vec::<String>::new());
    }
}

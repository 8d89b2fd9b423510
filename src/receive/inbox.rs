//! A spool directory as a receiver sees it: feeds, numbers, files. Reads only.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::ReceiveError;
use crate::batch::batch_id;
use crate::outlet::BatchFiles;

/// Where batches come from.
#[derive(Debug, Clone)]
pub struct Inbox {
    root: PathBuf,
}

/// The bytes of one batch.
#[derive(Debug)]
pub(super) struct BatchBytes {
    pub manifest: Vec<u8>,
    pub signature: Vec<u8>,
    pub body: Vec<u8>,
}

impl Inbox {
    /// From what a user writes: `spool:DIR`.
    ///
    /// # Errors
    /// [`ReceiveError::Usage`] when it is of another form or the directory is not there.
    pub fn parse(text: &str) -> Result<Self, ReceiveError> {
        let usage = |what: String| ReceiveError::Usage { what, hint: "give --from spool:DIR".into() };
        let Some(root) = text.strip_prefix("spool:").filter(|root| !root.is_empty()) else {
            return Err(usage(format!("cannot receive from {text}")));
        };
        if !Path::new(root).is_dir() {
            return Err(usage(format!("there is no directory {root}")));
        }
        Ok(Self { root: root.into() })
    }

    /// The feeds that have a directory here, by name.
    ///
    /// # Errors
    /// [`ReceiveError::Usage`] when the directory cannot be listed.
    pub fn feeds(&self) -> Result<BTreeSet<String>, ReceiveError> {
        let list = || -> io::Result<BTreeSet<String>> {
            let mut feeds = BTreeSet::new();
            for entry in fs::read_dir(&self.root)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    feeds.extend(entry.file_name().into_string().ok().filter(|name| !name.starts_with('.')));
                }
            }
            Ok(feeds)
        };
        list().map_err(|error| ReceiveError::Usage {
            what: format!("cannot list {}: {error}", self.root.display()),
            hint: "give --from spool:DIR".into(),
        })
    }

    /// The numbers for which there is a manifest, in order.
    pub(super) fn seqs(&self, feed: &str) -> Result<BTreeSet<u64>, ReceiveError> {
        let list = || -> io::Result<BTreeSet<u64>> {
            let mut seqs = BTreeSet::new();
            for entry in fs::read_dir(self.root.join(feed))? {
                seqs.extend(entry?.file_name().to_str().and_then(BatchFiles::seq_of));
            }
            Ok(seqs)
        };
        list().map_err(|error| ReceiveError::Incomplete {
            batch: feed.to_owned(),
            file: self.root.join(feed).display().to_string(),
            why: error.to_string(),
        })
    }

    /// The files of one batch.
    pub(super) fn files(&self, feed: &str, seq: u64) -> BatchFiles {
        BatchFiles::in_feed(&self.root.join(feed), seq)
    }

    /// The bytes of one batch.
    pub(super) fn read(&self, feed: &str, seq: u64) -> Result<BatchBytes, ReceiveError> {
        read_files(&self.files(feed, seq), || batch_id(feed, seq))
    }
}

/// Reads the three files of a batch; `name` is what messages call it.
pub(super) fn read_files(files: &BatchFiles, name: impl Fn() -> String) -> Result<BatchBytes, ReceiveError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| ReceiveError::Incomplete {
            batch: name(),
            file: path.display().to_string(),
            why: error.to_string(),
        })
    };
    Ok(BatchBytes { manifest: read(&files.manifest)?, signature: read(&files.signature)?, body: read(&files.body)? })
}

//! A spool directory as a receiver sees it: feeds, numbers, files. Reads only, and never more of a file than a batch
//! may have.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::ReceiveError;
use crate::outlet::BatchFiles;

/// Where batches come from.
#[derive(Debug, Clone)]
pub struct Inbox {
    root: PathBuf,
}

/// A manifest with its signature.
#[derive(Debug)]
pub(super) struct Envelope {
    pub manifest: Vec<u8>,
    pub signature: Vec<u8>,
}

/// No manifest is larger: it names fields and rules, not records.
const MANIFEST_BYTES: u64 = 16 << 20;
/// No signature is larger: it holds a few certificates.
const SIGNATURE_BYTES: u64 = 1 << 20;

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
}

/// Reads manifest and signature of a batch, which `name` is what messages call.
pub(super) fn read_envelope(files: &BatchFiles, name: &str) -> Result<Envelope, ReceiveError> {
    Ok(Envelope {
        manifest: read(&files.manifest, MANIFEST_BYTES, name)?,
        signature: read(&files.signature, SIGNATURE_BYTES, name)?,
    })
}

/// Reads the body of a batch whose verified manifest says it has so many bytes. A longer file is read no further than
/// it takes to see that.
pub(super) fn read_body(files: &BatchFiles, bytes: u64, name: &str) -> Result<Vec<u8>, ReceiveError> {
    let mut body = Vec::new();
    let read = File::open(&files.body).and_then(|file| file.take(bytes.saturating_add(1)).read_to_end(&mut body));
    match read {
        Ok(_) => Ok(body),
        Err(error) => Err(incomplete(&files.body, name, error.to_string())),
    }
}

fn read(path: &Path, limit: u64, name: &str) -> Result<Vec<u8>, ReceiveError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length <= limit) => Ok(bytes),
        Ok(_) => Err(incomplete(path, name, format!("it is larger than {limit} bytes"))),
        Err(error) => Err(incomplete(path, name, error.to_string())),
    }
}

fn incomplete(path: &Path, name: &str, why: String) -> ReceiveError {
    ReceiveError::Incomplete { batch: name.to_owned(), file: path.display().to_string(), why }
}

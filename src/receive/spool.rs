//! A spool directory as a receiver sees it: feeds, numbers, files. Reads only, and never more of a file than a batch
//! may have.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::feed::after;
use super::inbox::{Content, Inbox, Parcel};
use super::{Cursor, ReceiveError};
use crate::batch::{Manifest, Receipt, batch_id};
use crate::outlet::{BatchFiles, StatementFiles};

/// A directory of batches.
#[derive(Debug, Clone)]
pub struct Spool {
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

impl Spool {
    /// From what a user writes: `spool:DIR`.
    ///
    /// # Errors
    /// [`ReceiveError::Usage`] when it is of another form or the directory is not there.
    pub fn parse(text: &str) -> Result<Self, ReceiveError> {
        let usage = |what: String| ReceiveError::Usage {
            what,
            hint: "give --from spool:DIR or amqps://user:password@host/vhost".into(),
        };
        let Some(root) = text.strip_prefix("spool:").filter(|root| !root.is_empty()) else {
            // An address can hold a password: only its kind is repeated.
            return Err(usage(format!("cannot receive from {}", text.split(':').next().unwrap_or_default())));
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
    fn seqs(&self, feed: &str) -> Result<BTreeSet<u64>, ReceiveError> {
        self.numbers(feed, BatchFiles::seq_of)
    }

    /// The batches as of which there is a statement, in order.
    ///
    /// # Errors
    /// [`ReceiveError::Incomplete`] when the feed's directory cannot be listed.
    pub fn statements(&self, feed: &str) -> Result<BTreeSet<u64>, ReceiveError> {
        self.numbers(feed, StatementFiles::seq_of)
    }

    /// The files of the statement as of one batch.
    pub fn statement(&self, feed: &str, seq: u64) -> StatementFiles {
        StatementFiles::in_feed(&self.root.join(feed), seq)
    }

    fn numbers(&self, feed: &str, seq_of: fn(&str) -> Option<u64>) -> Result<BTreeSet<u64>, ReceiveError> {
        let list = || -> io::Result<BTreeSet<u64>> {
            let mut seqs = BTreeSet::new();
            for entry in fs::read_dir(self.root.join(feed))? {
                seqs.extend(entry?.file_name().to_str().and_then(seq_of));
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
    fn files(&self, feed: &str, seq: u64) -> BatchFiles {
        BatchFiles::in_feed(&self.root.join(feed), seq)
    }

    /// The batches of one feed.
    pub fn feed(&self, feed: &str) -> SpooledFeed {
        SpooledFeed { spool: self.clone(), feed: feed.to_owned(), present: None }
    }
}

/// The batches of one feed, read by number.
#[derive(Debug)]
pub struct SpooledFeed {
    spool: Spool,
    feed: String,
    /// The numbers that were there when reading began.
    present: Option<BTreeSet<u64>>,
}

#[async_trait]
impl Inbox for SpooledFeed {
    async fn next(&mut self, cursor: Option<Cursor>) -> Result<Option<Parcel>, ReceiveError> {
        if self.present.is_none() {
            let present = self.spool.seqs(&self.feed)?;
            self.check_loaded(cursor, &present)?;
            self.present = Some(present);
        }
        let expected = after(cursor);
        let next = self.present.as_ref().and_then(|present| present.range(expected..).next().copied());
        let Some(seq) = next else { return Ok(None) };
        if seq != expected {
            return Err(ReceiveError::Hole { feed: self.feed.clone(), expected, found: seq });
        }
        let files = self.spool.files(&self.feed, seq);
        let Envelope { manifest, signature } = read_envelope(&files, &batch_id(&self.feed, seq))?;
        let place = files.manifest.display().to_string();
        Ok(Some(Parcel { place, seq: Some(seq), manifest, signature, body: Content::File(files.body) }))
    }

    async fn settle(&mut self, _: Receipt) -> Result<(), ReceiveError> {
        Ok(()) // a directory takes no answers
    }

    async fn refuse(&mut self) -> Result<(), ReceiveError> {
        Ok(())
    }
}

impl SpooledFeed {
    /// The batch at the cursor, if it is still there, must be the one that was loaded.
    fn check_loaded(&self, cursor: Option<Cursor>, present: &BTreeSet<u64>) -> Result<(), ReceiveError> {
        let Some(cursor) = cursor.filter(|cursor| present.contains(&cursor.seq)) else { return Ok(()) };
        let batch = || batch_id(&self.feed, cursor.seq);
        let bytes = read_envelope(&self.spool.files(&self.feed, cursor.seq), &batch())?.manifest;
        if Manifest::digest_of(&bytes).is_ok_and(|digest| digest == cursor.manifest_digest.0) {
            return Ok(());
        }
        Err(ReceiveError::Fork { batch: batch(), what: "the batch loaded under this number was another one" })
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
pub(super) fn read_body(file: &Path, bytes: u64, name: &str) -> Result<Vec<u8>, ReceiveError> {
    let mut body = Vec::new();
    let read = File::open(file).and_then(|file| file.take(bytes.saturating_add(1)).read_to_end(&mut body));
    match read {
        Ok(_) => Ok(body),
        Err(error) => Err(incomplete(file, name, error.to_string())),
    }
}

/// Reads the token of time beside a batch; `None` when there is none.
pub(super) fn read_stamp(files: &BatchFiles, name: &str) -> Result<Option<Vec<u8>>, ReceiveError> {
    files.stamp.exists().then(|| read(&files.stamp, SIGNATURE_BYTES, name)).transpose()
}

/// Reads a file that may be so long.
pub(super) fn read(path: &Path, limit: u64, name: &str) -> Result<Vec<u8>, ReceiveError> {
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

//! Where a receiver stands in each feed, and the file that remembers it for targets without transactions.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ReceiveError;
use crate::batch::HexDigest;

/// The last batch that was loaded of one feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Its number.
    pub seq: u64,
    /// The digest of its manifest: what the next one's `previous` must be.
    pub manifest_digest: HexDigest,
}

const FORMAT: &str = "huiliu.cursor/1";

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    format: String,
    feeds: BTreeMap<String, Cursor>,
}

/// The cursors of all feeds of one target, in a JSON file that is replaced as a whole and synced. While it is open, a
/// second receiver on the same file is refused.
#[derive(Debug)]
pub(super) struct CursorFile {
    path: PathBuf,
    feeds: BTreeMap<String, Cursor>,
    /// Held, not read: closing it lets the next receiver in.
    _lock: File,
}

impl CursorFile {
    /// Opens and locks; a missing file is no feed yet.
    pub fn open(path: &Path) -> Result<Self, ReceiveError> {
        let target = path.display().to_string();
        let failed = |error: io::Error| ReceiveError::Target { target: target.clone(), why: error.to_string() };
        let lock = File::create(path.with_added_extension("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(failed(io::Error::other("another receiver is writing to it")));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let feeds = match fs::read(path) {
            Ok(bytes) => {
                {
                    let stored: Option<Stored> = serde_json::from_slice(&bytes).ok();
                    let stored = stored.filter(|stored| stored.format == FORMAT);
                    stored.ok_or_else(|| ReceiveError::CursorMismatch {
                        target: target.clone(),
                        what: format!("it is not a {FORMAT} file"),
                    })?
                }
                .feeds
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path: path.to_path_buf(), feeds, _lock: lock })
    }

    /// Where this feed stands.
    pub fn get(&self, feed: &str) -> Option<Cursor> {
        self.feeds.get(feed).copied()
    }

    /// Moves a feed's cursor, durably.
    pub fn set(&mut self, feed: &str, cursor: Cursor) -> Result<(), ReceiveError> {
        self.feeds.insert(feed.to_owned(), cursor);
        let stored = Stored { format: FORMAT.to_owned(), feeds: self.feeds.clone() };
        let write = || replace_file(&self.path, &serde_json::to_vec_pretty(&stored)?);
        write().map_err(|error: io::Error| ReceiveError::Target {
            target: self.path.display().to_string(),
            why: error.to_string(),
        })
    }
}

/// Writes a file under a temporary name, syncs it and renames it into place.
pub(super) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_added_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_remembered_and_guarded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor.json");
        let cursor = Cursor { seq: 3, manifest_digest: HexDigest([5; 32]) };
        let mut file = CursorFile::open(&path).unwrap();
        assert_eq!(file.get("a.b"), None);
        file.set("a.b", cursor).unwrap();
        assert_eq!(CursorFile::open(&path).unwrap_err().code(), "HL0744", "while another has it open");
        drop(file);
        assert_eq!(CursorFile::open(&path).unwrap().get("a.b"), Some(cursor));
        fs::write(&path, "{}").unwrap();
        assert_eq!(CursorFile::open(&path).unwrap_err().code(), "HL0745");
    }
}

//! Files in a directory, through OpenDAL, so that SFTP, FTP, S3 and WebDAV become configuration.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use opendal::Operator;
use opendal::services::Fs;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

use super::input::FileInput;
use super::pattern::matches;
use super::{Item, Listing, Source, SourceError};
use crate::decode::Input;

/// A file that changed more recently than this may still be being written.
const SETTLED: Duration = Duration::from_secs(2);

/// A directory and a file name pattern.
pub struct FilesSource {
    operator: Operator,
    root: String,
    local_root: PathBuf,
    pattern: String,
}

/// What a look at a file shows; two equal looks are a file that nobody writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl FilesSource {
    /// Over `root` (`file:` URL or path, relative to `dir`) and a pattern such as `QYDJ_*.csv`.
    pub fn new(dir: &Path, root: &str, pattern: &str) -> Result<Self, SourceError> {
        let address = |why: String| SourceError::Address { root: root.to_owned(), why };
        let path = match root.strip_prefix("file:") {
            Some(path) => PathBuf::from(format!("/{}", path.trim_start_matches('/'))),
            None => dir.join(root),
        };
        if !path.is_dir() {
            return Err(SourceError::NoRoot { root: root.to_owned() });
        }
        let local_root = path.canonicalize().map_err(|error| address(error.to_string()))?;
        let text = local_root.to_str().ok_or_else(|| address("its name is not UTF-8".into()))?;
        let operator = Operator::new(Fs::default().root(text)).map_err(|error| address(error.to_string()))?;
        Ok(Self { operator, root: root.to_owned(), local_root, pattern: pattern.to_owned() })
    }

    async fn look(&self, path: &str) -> Result<Look, SourceError> {
        let meta = self.operator.stat(path).await.map_err(|error| unreadable(path, &error))?;
        let modified = meta.last_modified().map(|at| SystemTime::from(at.into_inner()));
        Ok(Look { bytes: meta.content_length(), modified })
    }

    async fn input(&self, path: &str, bytes: u64) -> FileInput {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        let local = Some(self.local_root.join(path));
        FileInput {
            operator: self.operator.clone(),
            path: path.to_owned(),
            name,
            bytes,
            local,
            runtime: Handle::current(),
        }
    }

    /// Names below the root that the pattern means, sorted.
    async fn candidates(&self) -> Result<Vec<String>, SourceError> {
        let entries = self.operator.list("/").await.map_err(|error| unreadable(&self.root, &error))?;
        let mut paths: Vec<String> = entries
            .iter()
            .filter(|entry| entry.metadata().is_file() && matches(&self.pattern, entry.name()))
            .map(|entry| entry.path().to_owned())
            .collect();
        paths.sort();
        Ok(paths)
    }
}

#[async_trait]
impl Source for FilesSource {
    async fn list(&mut self) -> Result<Listing, SourceError> {
        let mut looks = Vec::new();
        for path in self.candidates().await? {
            let look = self.look(&path).await?;
            looks.push((path, look));
        }
        wait_until_settled(looks.iter().map(|(_, look)| *look)).await;
        let mut listing = Listing::default();
        for (path, first) in looks {
            let input = self.input(&path, first.bytes).await;
            let digest = digest(Arc::new(input)).await.map_err(|error| unreadable(&path, &error))?;
            let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
            if self.look(&path).await? == first {
                listing.items.push(Item { name, path, bytes: first.bytes, digest });
            } else {
                listing.still_writing.push(name);
            }
        }
        Ok(listing)
    }

    async fn open(&self, item: &Item) -> Result<Arc<dyn Input>, SourceError> {
        Ok(Arc::new(self.input(&item.path, item.bytes).await))
    }

    async fn settle(&mut self, _item: &Item) -> Result<(), SourceError> {
        // The store remembers what was taken; the department's directory is not ours to tidy.
        Ok(())
    }
}

/// Waits until the most recently changed of these files would count as settled, at most [`SETTLED`].
async fn wait_until_settled(looks: impl Iterator<Item = Look>) {
    let age = |look: Look| look.modified.and_then(|at| at.elapsed().ok()).unwrap_or(SETTLED);
    if let Some(rest) = looks.map(age).min().and_then(|youngest| SETTLED.checked_sub(youngest)) {
        tokio::time::sleep(rest).await;
    }
}

async fn digest(input: Arc<FileInput>) -> io::Result<String> {
    let hashed = tokio::task::spawn_blocking(move || {
        let mut reader = input.read_from(0)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                return Ok::<_, io::Error>(hasher.finalize());
            }
            hasher.update(&buffer[..read]);
        }
    });
    let hash = hashed.await.map_err(io::Error::other)??;
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unreadable(path: &str, error: &dyn std::fmt::Display) -> SourceError {
    SourceError::Unreadable { path: path.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    fn settled(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
        let past = SystemTime::now() - Duration::from_secs(60);
        fs::File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
    }

    #[tokio::test]
    async fn files_are_listed_by_name_with_the_digest_of_their_content() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("b.csv", "x"), ("a.csv", "x"), ("c.txt", "x")] {
            settled(&dir.path().join(name), bytes.as_bytes());
        }
        let mut source = FilesSource::new(dir.path(), ".", "*.csv").unwrap();
        let items = source.list().await.unwrap().items;
        let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["a.csv", "b.csv"]);
        assert_eq!(items[0].digest, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
        let mut text = String::new();
        source.open(&items[0]).await.unwrap().read_from(0).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    #[tokio::test]
    async fn a_file_that_grows_between_two_looks_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        fs::write(&path, "half").unwrap();
        let mut source = FilesSource::new(dir.path(), ".", "*.csv").unwrap();
        let (listing, ()) = tokio::join!(source.list(), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            fs::File::options().append(true).open(&path).unwrap().write_all(b" and more").unwrap();
        });
        let listing = listing.unwrap();
        assert_eq!((listing.items.len(), listing.still_writing), (0, vec!["a.csv".to_owned()]));
    }

    #[tokio::test]
    async fn a_missing_directory_is_said_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let error = FilesSource::new(dir.path(), "nowhere", "*").err().unwrap();
        assert_eq!(error.to_string(), "HL0301 there is no directory nowhere");
        assert_eq!(error.disposition(), crate::error::Disposition::Retry);
    }

    #[tokio::test]
    async fn bytes_that_are_not_local_arrive_range_by_range() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..10_000_000_u32).map(|n| n as u8).collect();
        settled(&dir.path().join("a.bin"), &bytes);
        let mut source = FilesSource::new(dir.path(), ".", "a.bin").unwrap();
        let item = source.list().await.unwrap().items.remove(0);
        let mut input = source.input(&item.path, item.bytes).await;
        input.local = None;
        let read = tokio::task::spawn_blocking(move || {
            let mut out = Vec::new();
            input.read_from(7).unwrap().read_to_end(&mut out).unwrap();
            out
        });
        assert!(read.await.unwrap() == bytes[7..]);
    }
}

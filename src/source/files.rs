//! Files in a directory, local now, SFTP, FTP, S3 and WebDAV by configuration later: all through OpenDAL.
//!
//! Decides: which files match, and which of them are finished. A file is finished when its size and time stay the same
//! between a first look, a last look after its digest was taken, and, if it was written a moment ago, a look after
//! that moment. Must not know: what is in them. Guarantees: an unfinished file is reported and not taken; a digest takes
//! bounded memory; the root is never made or changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::TryStreamExt;
use opendal::services::Fs;
use opendal::{Metadata, Operator};

use super::input::FileInput;
use super::{Item, Listing, Source, SourceError};
use crate::config::matches;
use crate::decode::Input;

/// A file written less than this ago may still be written to.
const QUIET: Duration = Duration::from_secs(2);

/// The files of one dataset.
pub struct FilesSource {
    root: Root,
    /// Directory of the files below the root, empty or ending with `/`.
    directory: String,
    /// Pattern of their names.
    pattern: String,
    quiet: Duration,
}

/// Where the root is.
#[derive(Debug, Clone)]
struct Root {
    /// As configured, for messages.
    shown: String,
    path: PathBuf,
}

/// What one look at a file showed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.content_length(), modified: metadata.last_modified().map(SystemTime::from) }
    }

    /// How long ago it was written; a time in the future counts as now.
    fn age(&self, now: SystemTime) -> Option<Duration> {
        self.modified.map(|m| now.duration_since(m).unwrap_or_default())
    }
}

/// A matching file at first look.
#[derive(Debug, Clone)]
struct Seen {
    name: String,
    path: String,
    look: Look,
}

impl FilesSource {
    /// The files below `root` whose path matches `path`: an optional literal directory and a name pattern with `*` and
    /// `?`. `root` is a directory, absolute or relative to `workspace`, or a `file:` URL.
    pub fn new(workspace: &Path, root: &str, path: &str) -> Result<Self, SourceError> {
        let (directory, pattern) = match path.rsplit_once('/') {
            Some((directory, pattern)) => (format!("{}/", directory.trim_matches('/')), pattern),
            None => (String::new(), path),
        };
        Ok(Self {
            root: Root { shown: root.to_owned(), path: workspace.join(local_root(root)?) },
            directory: directory.trim_start_matches('/').to_owned(),
            pattern: pattern.to_owned(),
            quiet: QUIET,
        })
    }

    /// Takes files that were written at least this long ago without waiting (default two seconds). Zero never waits.
    #[must_use]
    pub fn quiet_for(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }

    /// The service. It is asked for again at every listing: a directory may come and go.
    fn operator(&self) -> Result<Operator, SourceError> {
        // The service would make a missing root, and lists a missing directory as empty; a source must do neither.
        let no_root = || SourceError::NoRoot { root: self.shown() };
        match std::fs::metadata(self.root.path.join(&self.directory)) {
            Ok(m) if m.is_dir() => {}
            Ok(_) => return Err(no_root()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(no_root()),
            Err(e) => return Err(SourceError::reading(&self.root.shown, e)),
        }
        let service = Fs::default().root(&self.root.path.to_string_lossy());
        Operator::new(service).map_err(|e| SourceError::of_service(&self.root.shown, &e))
    }

    /// The directory of the files, as configured.
    fn shown(&self) -> String {
        match self.directory.trim_end_matches('/') {
            "" => self.root.shown.clone(),
            below => format!("{}/{below}", self.root.shown.trim_end_matches('/')),
        }
    }

    /// First look: matching files, by name.
    async fn look(&self, operator: &Operator) -> Result<Vec<Seen>, SourceError> {
        let failed = |e: opendal::Error| SourceError::of_service(&self.shown(), &e);
        let directory = if self.directory.is_empty() { "/" } else { &self.directory };
        let mut entries = operator.lister(directory).await.map_err(failed)?;
        let mut seen = Vec::new();
        while let Some(entry) = entries.try_next().await.map_err(failed)? {
            if entry.metadata().is_dir() || !matches(&self.pattern, entry.name()) {
                continue;
            }
            let path = entry.path().to_owned();
            // The listing need not have size and time, and does not follow links.
            if let Some(look) = self.look_at(operator, &path).await? {
                seen.push(Seen { name: entry.name().to_owned(), path, look });
            }
        }
        seen.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(seen)
    }

    /// A look at one file; `None` when it is gone or no file.
    async fn look_at(&self, operator: &Operator, path: &str) -> Result<Option<Look>, SourceError> {
        match operator.stat(path).await {
            Ok(m) if m.is_file() => Ok(Some(Look::of(&m))),
            Ok(_) => Ok(None),
            Err(e) if e.kind() == opendal::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(SourceError::of_service(path, &e)),
        }
    }

    /// Waits until every file has been left alone for the quiet time, once for all of them.
    #[expect(clippy::disallowed_methods, reason = "another machine's writing ends without an event to wait for")]
    async fn wait(&self, seen: &[Seen]) {
        let now = SystemTime::now();
        let youngest = seen.iter().filter_map(|s| s.look.age(now)).min().unwrap_or(self.quiet);
        if let Some(left) = self.quiet.checked_sub(youngest).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }

    /// Later looks: digests of the files that have not changed since the first.
    async fn confirm(&self, operator: &Operator, seen: Vec<Seen>) -> Result<Listing, SourceError> {
        let mut listing = Listing::default();
        for file in seen {
            let Some(before) = self.look_at(operator, &file.path).await? else { continue };
            if before != file.look {
                listing.still_writing.push(file.name);
                continue;
            }
            let digest = self.digest(operator, &file).await?;
            if self.look_at(operator, &file.path).await?.as_ref() != Some(&file.look) {
                listing.still_writing.push(file.name);
                continue;
            }
            listing.items.push(Item {
                name: file.name,
                path: file.path,
                bytes: file.look.bytes,
                modified: file.look.modified,
                digest,
            });
        }
        Ok(listing)
    }

    async fn digest(&self, operator: &Operator, file: &Seen) -> Result<String, SourceError> {
        let input = self.input(operator, &file.name, &file.path, file.look.bytes);
        let done = tokio::task::spawn_blocking(move || digest(input.as_ref())).await;
        match done {
            Ok(Ok(digest)) => Ok(digest),
            Ok(Err(e)) => Err(SourceError::reading(&file.name, e)),
            Err(e) => Err(SourceError::reading(&file.name, std::io::Error::other(e))),
        }
    }

    fn input(&self, operator: &Operator, name: &str, path: &str, bytes: u64) -> Arc<dyn Input> {
        let local = operator.info().scheme() == opendal::services::FS_SCHEME;
        Arc::new(FileInput {
            operator: operator.clone(),
            path: path.to_owned(),
            name: name.to_owned(),
            bytes,
            local: local.then(|| self.root.path.join(path)),
            runtime: tokio::runtime::Handle::current(),
        })
    }
}

#[async_trait]
impl Source for FilesSource {
    async fn list(&mut self) -> Result<Listing, SourceError> {
        let operator = self.operator()?;
        let seen = self.look(&operator).await?;
        self.wait(&seen).await;
        self.confirm(&operator, seen).await
    }

    async fn open(&self, item: &Item) -> Result<Arc<dyn Input>, SourceError> {
        let operator = self.operator()?;
        let now = self.look_at(&operator, &item.path).await?;
        let same = now.is_some_and(|l| l.bytes == item.bytes && l.modified == item.modified);
        if !same {
            return Err(SourceError::Changed { name: item.name.clone() });
        }
        Ok(self.input(&operator, &item.name, &item.path, item.bytes))
    }

    async fn settle(&mut self, _item: &Item) -> Result<(), SourceError> {
        Ok(())
    }
}

/// The directory of a root. Errors: [`SourceError::Address`].
fn local_root(root: &str) -> Result<&str, SourceError> {
    let unknown = || SourceError::Address { root: root.to_owned() };
    match root.split_once(':') {
        Some(("file", rest)) => {
            let path = rest.strip_prefix("//localhost").or_else(|| rest.strip_prefix("//")).unwrap_or(rest);
            if path.starts_with('/') { Ok(path) } else { Err(unknown()) }
        }
        Some((scheme, rest)) if rest.starts_with("//") && !scheme.contains('/') => Err(unknown()),
        _ => Ok(root),
    }
}

/// BLAKE3 of the content, lower-case hex, as `b3sum` prints it: as hard to forge as SHA-256 and several times faster,
/// for every file is read once more for it.
fn digest(input: &dyn Input) -> std::io::Result<String> {
    let mut reader = input.read_from(0)?;
    let mut hash = blake3::Hasher::new();
    let mut buffer = vec![0u8; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => hash.update(buffer.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
    }
    Ok(hash.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::*;
    use crate::error::Disposition;

    fn outbox() -> (tempfile::TempDir, FilesSource) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("outbox/sub.csv")).unwrap();
        let files = FilesSource::new(dir.path(), "outbox", "QY_*.csv").unwrap().quiet_for(Duration::ZERO);
        (dir, files)
    }

    fn write(dir: &tempfile::TempDir, name: &str, text: &str) {
        fs::write(dir.path().join("outbox").join(name), text).unwrap();
    }

    fn names(listing: &Listing) -> Vec<&str> {
        listing.items.iter().map(|i| i.name.as_str()).collect()
    }

    #[tokio::test]
    async fn matching_files_are_listed_by_name_with_size_and_digest() {
        let (dir, mut files) = outbox();
        assert_eq!(files.list().await.unwrap(), Listing::default());
        for (name, text) in [("QY_2.csv", "b"), ("QY_1.csv", "a"), ("QY_3.txt", "c"), (".QY_4.csv", "d")] {
            write(&dir, name, text);
        }
        let listing = files.list().await.unwrap();
        assert_eq!(names(&listing), ["QY_1.csv", "QY_2.csv"]);
        let first = &listing.items[0];
        assert_eq!((first.bytes, first.path.as_str(), first.modified.is_some()), (1, "QY_1.csv", true));
        assert_eq!(first.digest, "17762fddd969a453925d65717ac3eea21320b66b54342fde15128d6caf21215f");
        assert_eq!(files.list().await.unwrap(), listing);
    }

    #[tokio::test]
    async fn a_file_is_opened_as_it_was_listed_or_not_at_all() {
        let (dir, mut files) = outbox();
        write(&dir, "QY_1.csv", "a,b\n1,2\n");
        let item = files.list().await.unwrap().items.remove(0);
        let input = files.open(&item).await.unwrap();
        let mut text = String::new();
        input.read_from(4).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), input.len(), input.local_path().is_some()), ("1,2\n", 8, true));
        files.settle(&item).await.unwrap();
        write(&dir, "QY_1.csv", "a,b\n1,2\n3,4\n");
        let error = files.open(&item).await.err().unwrap();
        assert_eq!((error.code(), error.disposition()), ("HL0304", Disposition::Retry));
        fs::remove_file(dir.path().join("outbox/QY_1.csv")).unwrap();
        assert_eq!(files.open(&item).await.err().unwrap().code(), "HL0304");
        // What was opened before ends where the listed file ended, or fails; it never shows other bytes as its own.
        assert!(input.read_from(0).is_err());
    }

    #[tokio::test]
    async fn a_file_that_grows_between_two_looks_is_left_alone() {
        let (dir, mut files) = outbox();
        write(&dir, "QY_1.csv", "a");
        write(&dir, "QY_2.csv", "b");
        let operator = files.operator().unwrap();
        let seen = files.look(&operator).await.unwrap();
        write(&dir, "QY_1.csv", "a and more");
        let listing = files.confirm(&operator, seen).await.unwrap();
        assert_eq!(names(&listing), ["QY_2.csv"]);
        assert_eq!(listing.still_writing, ["QY_1.csv"]);
        assert_eq!(names(&files.list().await.unwrap()), ["QY_1.csv", "QY_2.csv"]);
    }

    #[tokio::test]
    async fn a_rewritten_file_gets_a_new_digest() {
        let (dir, mut files) = outbox();
        write(&dir, "QY_1.csv", "a");
        let before = files.list().await.unwrap().items.remove(0).digest;
        write(&dir, "QY_1.csv", "other");
        assert_ne!(files.list().await.unwrap().items.remove(0).digest, before);
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
            let mut files = FilesSource::new(dir.path(), &root, "*.csv").unwrap().quiet_for(Duration::ZERO);
            assert_eq!(names(&files.list().await.unwrap()), ["QY_1.csv"], "{root}");
        }
        let mut below = FilesSource::new(dir.path(), ".", "outbox/QY_?.csv").unwrap().quiet_for(Duration::ZERO);
        let item = below.list().await.unwrap().items.remove(0);
        assert_eq!((item.name.as_str(), item.path.as_str()), ("QY_1.csv", "outbox/QY_1.csv"));
        assert_eq!(below.open(&item).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_root_that_is_not_there_is_said_and_not_made() {
        let (dir, _) = outbox();
        let error = |root: &str| FilesSource::new(dir.path(), root, "*").map(|f| f.quiet_for(Duration::ZERO));
        let missing = error("nowhere").unwrap().list().await.unwrap_err();
        assert_eq!((missing.code(), missing.disposition()), ("HL0301", Disposition::Retry));
        assert_eq!(missing.to_string(), "HL0301 there is no directory nowhere");
        assert!(!dir.path().join("nowhere").exists());
        assert_eq!(error("sftp://exchange.example/out").err().unwrap().code(), "HL0302");
        let mut below = FilesSource::new(dir.path(), "outbox", "gone/*.csv").unwrap();
        assert_eq!(below.list().await.unwrap_err().code(), "HL0301");
    }

    #[tokio::test]
    async fn a_file_elsewhere_is_streamed_to_a_blocking_thread() {
        let (dir, files) = outbox();
        let text = "0123456789".repeat(100_000);
        write(&dir, "QY_1.csv", &text);
        let remote = Arc::new(FileInput {
            name: "QY_1.csv".into(),
            path: "QY_1.csv".into(),
            bytes: text.len() as u64,
            local: None,
            operator: files.operator().unwrap(),
            runtime: tokio::runtime::Handle::current(),
        });
        let input = remote.clone();
        let (digest, tail) = tokio::task::spawn_blocking(move || {
            let mut tail = String::new();
            input.read_from(999_995).unwrap().read_to_string(&mut tail).unwrap();
            (digest(input.as_ref()).unwrap(), tail)
        })
        .await
        .unwrap();
        assert_eq!((tail.as_str(), digest.len()), ("56789", 64));
        fs::write(dir.path().join("outbox/QY_1.csv"), "short").unwrap();
        let cut = tokio::task::spawn_blocking(move || remote.read_from(0).unwrap().read_to_end(&mut Vec::new())).await;
        assert!(cut.unwrap().is_err());
    }
}

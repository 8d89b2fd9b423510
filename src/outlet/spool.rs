//! The spool: a directory of batches as files, for subscribers who fetch by file transfer and for the embedded default.
//!
//! `<spool>/<feed>/<seq, 12 digits>.avro`, `.p7s`, `.manifest.json`, and later perhaps `.tsr`: each written under a temporary name, synced and
//! renamed, the manifest last, the directory synced before the batch counts as durable. A reader that sees a manifest
//! therefore sees the whole batch; after a power cut a manifest may be there without its body until the batch, which was
//! not durable yet, is delivered again.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{Delivered, Outlet, OutletError};
use crate::batch::{SealedBatch, batch_id};

const MANIFEST: &str = ".manifest.json";

/// The files of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchFiles {
    /// `.avro`
    pub body: PathBuf,
    /// `.p7s`
    pub signature: PathBuf,
    /// `.manifest.json`
    pub manifest: PathBuf,
    /// `.tsr`, where there is one: the time-stamp response over the signature.
    pub stamp: PathBuf,
}

impl BatchFiles {
    /// The files of batch `seq` in the directory of its feed.
    pub fn in_feed(directory: &Path, seq: u64) -> Self {
        let file = |extension| directory.join(format!("{seq:012}{extension}"));
        Self { body: file(".avro"), signature: file(".p7s"), manifest: file(MANIFEST), stamp: file(".tsr") }
    }

    /// The files that belong to a manifest file; `None` when its name is not a manifest's.
    pub fn beside(manifest: &Path) -> Option<Self> {
        let stem = manifest.file_name()?.to_str()?.strip_suffix(MANIFEST)?;
        let file = |extension| manifest.with_file_name(format!("{stem}{extension}"));
        let manifest = manifest.to_path_buf();
        Some(Self { body: file(".avro"), signature: file(".p7s"), manifest, stamp: file(".tsr") })
    }

    /// The sequence number in a manifest's file name; `None` for any other file.
    pub fn seq_of(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(MANIFEST)?;
        let plain = digits.len() >= 12 && digits.bytes().all(|b| b.is_ascii_digit());
        if plain { digits.parse().ok() } else { None }
    }
}

/// An outlet into a directory.
#[derive(Debug, Clone)]
pub struct Spool {
    root: PathBuf,
}

impl Spool {
    /// Into this directory, which is made when it is missing.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory of a feed; `None` when the feed's name cannot be a directory's.
    pub fn feed_directory(&self, feed: &str) -> Option<PathBuf> {
        let plain = !feed.is_empty() && !feed.starts_with('.') && !feed.contains(['/', '\\', '\0']);
        plain.then(|| self.root.join(feed))
    }

    fn write(&self, batch: &SealedBatch) -> Result<(), OutletError> {
        self.put((&batch.feed, batch.seq), |files| {
            vec![(files.body, &batch.body), (files.signature, &batch.signature), (files.manifest, &batch.manifest)]
        })
    }

    /// Puts these of a batch's files into place, in this order.
    fn put<'b>(
        &self,
        (feed, seq): (&str, u64),
        what: impl FnOnce(BatchFiles) -> Vec<(PathBuf, &'b Vec<u8>)>,
    ) -> Result<(), OutletError> {
        let unavailable = |place: &Path, error: io::Error| OutletError::Unavailable {
            batch: batch_id(feed, seq),
            place: place.display().to_string(),
            why: error.to_string(),
        };
        let directory = self.feed_directory(feed).ok_or_else(|| OutletError::Unavailable {
            batch: batch_id(feed, seq),
            place: self.root.display().to_string(),
            why: "the feed's name cannot be a directory's".into(),
        })?;
        make_directory(&directory).map_err(|error| unavailable(&directory, error))?;
        for (path, bytes) in what(BatchFiles::in_feed(&directory, seq)) {
            match holds(&path, bytes).map_err(|error| unavailable(&path, error))? {
                Held::Nothing => write_whole(&path, bytes).map_err(|error| unavailable(&path, error))?,
                Held::Same => {}
                Held::Other => {
                    let place = path.display().to_string();
                    return Err(OutletError::Conflict { batch: batch_id(feed, seq), place });
                }
            }
        }
        sync_directory(&directory).map_err(|error| unavailable(&directory, error))
    }

    /// Does this beside everything else, and says whose it was when it broke off.
    async fn aside(
        &self,
        batch: String,
        work: impl FnOnce(&Self) -> Result<(), OutletError> + Send + 'static,
    ) -> Result<(), OutletError> {
        let spool = self.clone();
        let broken = || OutletError::Unavailable {
            batch,
            place: self.root.display().to_string(),
            why: "the write was broken off".into(),
        };
        tokio::task::spawn_blocking(move || work(&spool)).await.unwrap_or_else(|_| Err(broken()))
    }
}

#[async_trait]
impl Outlet for Spool {
    async fn deliver(&self, batch: &SealedBatch) -> Result<Delivered, OutletError> {
        let owned = batch.clone();
        self.aside(batch.id(), move |spool| spool.write(&owned)).await.map(|()| Delivered::Durable)
    }

    async fn stamp(&self, (feed, seq): (&str, u64), token: &[u8]) -> Result<(), OutletError> {
        let (name, token) = (feed.to_owned(), token.to_vec());
        let put = move |spool: &Self| spool.put((&name, seq), |files| vec![(files.stamp, &token)]);
        self.aside(batch_id(feed, seq), put).await
    }
}

enum Held {
    Nothing,
    Same,
    Other,
}

/// Whether the file is there already, with these bytes or with others.
fn holds(path: &Path, bytes: &[u8]) -> io::Result<Held> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::Nothing),
        Err(error) => return Err(error),
    };
    if usize::try_from(file.metadata()?.len()) != Ok(bytes.len()) {
        return Ok(Held::Other);
    }
    let mut present = Vec::with_capacity(bytes.len());
    file.read_to_end(&mut present)?;
    Ok(if present == bytes { Held::Same } else { Held::Other })
}

pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// Writes under a temporary name, syncs and renames.
pub(super) fn write_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    // A leftover of an interrupted attempt has the same name and is written over.
    let temporary = path.with_added_extension("tmp");
    write_synced(&temporary, write)?;
    fs::rename(&temporary, path)
}

fn write_synced(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::create(path)?;
    write(&mut file)?;
    file.sync_all()
}

/// Makes a directory and those above it, each synced into its parent.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_directory(parent)?;
    }
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        other => other,
    }?;
    sync_directory(parent.unwrap_or(Path::new(".")))
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::chain;
    use crate::crypto::tests::CaAndSigner;
    use crate::error::Disposition;

    async fn code(spool: &Spool, batch: &SealedBatch) -> Result<Delivered, (&'static str, Disposition)> {
        spool.deliver(batch).await.map_err(|error| (error.code(), error.disposition()))
    }

    fn listing(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_batch_becomes_three_files_and_again_is_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path().join("a/spool"));
        let batch = chain(&CaAndSigner::new(), 1).remove(0);
        for _ in 0..2 {
            assert_eq!(code(&spool, &batch).await, Ok(Delivered::Durable));
        }
        let directory = spool.feed_directory("housing.enterprise").unwrap();
        assert_eq!(listing(&directory), ["000000000001.avro", "000000000001.manifest.json", "000000000001.p7s"]);
        let files = BatchFiles::in_feed(&directory, 1);
        assert_eq!(BatchFiles::beside(&files.manifest), Some(files.clone()));
        assert_eq!(fs::read(files.body).unwrap(), batch.body);
        assert_eq!(fs::read(files.signature).unwrap(), batch.signature);
        assert_eq!(fs::read(files.manifest).unwrap(), batch.manifest);
    }

    #[tokio::test]
    async fn a_token_of_time_lies_beside_its_batch_and_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        let batch = chain(&CaAndSigner::new(), 1).remove(0);
        spool.deliver(&batch).await.unwrap();
        for _ in 0..2 {
            assert_eq!(spool.stamp((&batch.feed, 1), b"token").await, Ok(()));
        }
        let files = BatchFiles::in_feed(&spool.feed_directory(&batch.feed).unwrap(), 1);
        assert_eq!(files.stamp.file_name().unwrap(), "000000000001.tsr");
        let other = spool.stamp((&batch.feed, 1), b"tokeN").await.unwrap_err();
        assert_eq!((other.code(), fs::read(files.stamp).unwrap()), ("HL0731", b"token".to_vec()));
        assert_eq!(code(&spool, &batch).await, Ok(Delivered::Durable), "the batch again, beside its token");
    }

    #[tokio::test]
    async fn an_interrupted_delivery_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        let batch = chain(&CaAndSigner::new(), 1).remove(0);
        let directory = spool.feed_directory(&batch.feed).unwrap();
        fs::create_dir(&directory).unwrap();
        let files = BatchFiles::in_feed(&directory, 1);
        fs::write(&files.body, &batch.body).unwrap();
        fs::write(directory.join("000000000001.p7s.tmp"), b"half").unwrap();
        assert_eq!(code(&spool, &batch).await, Ok(Delivered::Durable));
        assert_eq!(listing(&directory).len(), 3);
    }

    #[tokio::test]
    async fn another_batch_under_the_same_number_is_a_conflict_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        let batch = chain(&CaAndSigner::new(), 1).remove(0);
        spool.deliver(&batch).await.unwrap();
        for part in 0..3 {
            let mut other = batch.clone();
            match part {
                0 => other.body.push(0),
                1 => other.signature[9] ^= 1,
                _ => other.manifest[9] ^= 1,
            }
            assert_eq!(code(&spool, &other).await, Err(("HL0731", Disposition::Halt)), "part {part}");
        }
        assert_eq!(code(&spool, &batch).await, Ok(Delivered::Durable));
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let batch = chain(&CaAndSigner::new(), 1).remove(0);
        fs::write(dir.path().join("file"), b"").unwrap();
        for root in [dir.path().join("file"), dir.path().join("file/below"), PathBuf::from("/proc/spool")] {
            let found = code(&Spool::new(&root), &batch).await;
            assert_eq!(found, Err(("HL0730", Disposition::Retry)), "{}", root.display());
        }
        let mut odd = batch;
        odd.feed = "../up".into();
        assert_eq!(code(&Spool::new(dir.path()), &odd).await, Err(("HL0730", Disposition::Retry)));
    }

    #[test]
    fn a_full_disk_is_an_error_not_a_short_file() {
        let error = write_synced(Path::new("/dev/full"), |file| file.write_all(b"bytes")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn only_manifests_have_numbers() {
        assert_eq!(BatchFiles::seq_of("000000000042.manifest.json"), Some(42));
        for name in ["000000000042.avro", "42.manifest.json", "00000000004x.manifest.json", ".manifest.json", "文"] {
            assert_eq!(BatchFiles::seq_of(name), None, "{name}");
        }
    }
}

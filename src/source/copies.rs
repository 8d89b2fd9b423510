//! Copies of files on servers, made while their digests are taken: what a look has fetched need not be fetched again.
//!
//! Decides: how much is kept. A copy has no name, so nobody else can open it and it is gone with the process; there are
//! none in an installation that encrypts what it stores. Must not know: where files lie, what is in them. Guarantees: a
//! copy holds the bytes that the digest is of; where one cannot be made, the file is fetched twice.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes kept of one look.
const MOST: u64 = 2 << 30;
/// Bytes read at a time for a digest.
const PIECE: usize = 256 << 10;
/// Whoever reads as much of a copy at a time reads past its buffer.
const SMALL: usize = 64 << 10;

/// Copies of one look.
#[derive(Debug, Default)]
pub(super) struct Copies {
    directory: Option<PathBuf>,
    bytes: u64,
    files: HashMap<String, Arc<File>>,
}

impl Copies {
    /// In this directory.
    pub(super) fn below(directory: PathBuf) -> Self {
        Self { directory: Some(directory), ..Self::default() }
    }

    /// A new look: those of the last one go.
    pub(super) fn clear(&mut self) {
        self.files.clear();
        self.bytes = 0;
    }

    /// An empty file for so many bytes, if there is to be one.
    pub(super) fn begin(&self, bytes: u64) -> Option<File> {
        let directory = self.directory.as_ref().filter(|_| self.bytes.saturating_add(bytes) <= MOST)?;
        std::fs::create_dir_all(directory).ok()?;
        tempfile::tempfile_in(directory).ok()
    }

    /// The copy of the file at `path` is whole.
    pub(super) fn keep(&mut self, path: &str, file: File, bytes: u64) {
        self.bytes += bytes;
        self.files.insert(path.to_owned(), Arc::new(file));
    }

    /// The copy of the file at `path`.
    pub(super) fn of(&self, path: &str) -> Option<Arc<File>> {
        self.files.get(path).map(Arc::clone)
    }
}

/// BLAKE3 of what is read, lower-case hex, as `b3sum` prints it: as hard to forge as SHA-256 and several times faster, for
/// every file is read once more for it. Gives the copy back if it could be written.
pub(super) fn digest(mut from: impl Read, mut copy: Option<File>) -> io::Result<(String, Option<File>)> {
    let mut hash = blake3::Hasher::new();
    let mut buffer = vec![0u8; PIECE];
    loop {
        let piece = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => buffer.get(..n).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hash.update(piece);
        copy = copy.take().filter(|copy| (&*copy).write_all(piece).is_ok()); // a full disk is no reason to stop
    }
    Ok((hash.finalize().to_hex().to_string(), copy))
}

/// A copy from byte `from` to `end`. Several may be read at once.
pub(super) fn reading(copy: Arc<File>, from: u64, end: u64) -> Box<dyn Read + Send> {
    Box::new(io::BufReader::with_capacity(SMALL, Part { copy, next: from, end }))
}

struct Part {
    copy: Arc<File>,
    next: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let most = out.len().min(left);
        let read = self.copy.read_at(out.get_mut(..most).unwrap_or_default(), self.next)?;
        self.next += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_what_the_digest_is_of_and_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut copies = Copies::below(dir.path().join("state"));
        let text = b"a,b\n1,2\n";
        let (of_text, copy) = digest(&text[..], copies.begin(8)).unwrap();
        assert_eq!(of_text, blake3::hash(text).to_hex().to_string());
        copies.keep("x", copy.unwrap(), 8);
        assert_eq!(std::fs::read_dir(dir.path().join("state")).unwrap().count(), 0);
        let mut read = Vec::new();
        reading(copies.of("x").unwrap(), 4, 7).read_to_end(&mut read).unwrap();
        assert_eq!(read, b"1,2");
        assert!(copies.of("y").is_none());
        assert!(copies.begin(MOST).is_none(), "that would be more than is kept");
        copies.clear();
        assert!(copies.of("x").is_none() && copies.begin(MOST).is_some());
        assert!(Copies::default().begin(1).is_none());
    }

    #[test]
    fn a_copy_that_cannot_be_written_is_none() {
        let read_only = File::open("/dev/null").unwrap();
        let (of_text, copy) = digest(&b"a"[..], Some(read_only)).unwrap();
        assert_eq!((of_text.as_str(), copy.is_none()), (blake3::hash(b"a").to_hex().as_str(), true));
    }
}

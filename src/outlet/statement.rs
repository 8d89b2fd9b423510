//! Where statements lie: beside a feed's batches, as `<seq, 12 digits>.statement.json`, `.statement.p7s`,
//! `.statement.ranges`; or wherever a person says.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::spool::{make_directory, sync_directory, write_whole, write_with};

const STATEMENT: &str = ".statement.json";

/// Writes the content of a file of ranges.
pub type RangesWriter<'w> = &'w dyn Fn(&mut dyn Write) -> io::Result<()>;

/// The files of one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementFiles {
    /// JSON, as signed.
    pub statement: PathBuf,
    /// `.p7s`
    pub signature: PathBuf,
    /// `.ranges`: may be missing.
    pub ranges: PathBuf,
}

impl StatementFiles {
    /// Those as of batch `seq` in the directory of its feed.
    pub fn in_feed(directory: &Path, seq: u64) -> Self {
        Self::at(&directory.join(format!("{seq:012}{STATEMENT}")))
    }

    /// Those that belong to a statement's file.
    pub fn at(statement: &Path) -> Self {
        let with = |extension| statement.with_extension(extension);
        Self { signature: with("p7s"), ranges: with("ranges"), statement: statement.to_path_buf() }
    }

    /// The batch as of which a file in a feed's directory is a statement; `None` for any other file.
    pub fn seq_of(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(STATEMENT)?;
        let plain = digits.len() >= 12 && digits.bytes().all(|b| b.is_ascii_digit());
        if plain { digits.parse().ok() } else { None }
    }

    /// Writes a statement over an earlier one: ranges first, the statement last, each whole and synced.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, statement: &[u8], signature: &[u8], ranges: Option<RangesWriter<'_>>) -> io::Result<()> {
        let directory = self.statement.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        make_directory(directory)?;
        if let Some(ranges) = ranges {
            write_ranges(&self.ranges, ranges)?;
        }
        write_whole(&self.signature, signature)?;
        write_whole(&self.statement, statement)?;
        sync_directory(directory)
    }
}

/// Writes a file of ranges, whole and synced.
///
/// # Errors
/// Those of writing.
pub fn write_ranges(path: &Path, ranges: RangesWriter<'_>) -> io::Result<()> {
    write_with(path, |file| {
        let mut out = BufWriter::with_capacity(256 << 10, file);
        ranges(&mut out)?;
        out.flush()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statements_files_stand_together_and_are_no_batch() {
        let files = StatementFiles::in_feed(Path::new("s/a.b"), 42);
        assert_eq!(files.statement, Path::new("s/a.b/000000000042.statement.json"));
        assert_eq!(files.signature, Path::new("s/a.b/000000000042.statement.p7s"));
        let name = files.statement.file_name().unwrap().to_str().unwrap();
        assert_eq!((StatementFiles::seq_of(name), super::super::BatchFiles::seq_of(name)), (Some(42), None));
        assert_eq!(StatementFiles::seq_of("000000000042.manifest.json"), None);
        let dir = tempfile::tempdir().unwrap();
        let files = StatementFiles::in_feed(&dir.path().join("a.b"), 1);
        for text in [&b"one"[..], b"another"] {
            files.write(text, b"signature", Some(&|out| out.write_all(b"ranges"))).unwrap();
            assert_eq!(std::fs::read(&files.statement).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(dir.path().join("a.b")).unwrap().count(), 3);
    }
}

//! One file of the outbox, written as its department would: under a temporary name, then renamed. What services answer
//! with lies in such files, too.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use encoding_rs::GB18030;

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxFile {
    /// `market-regulation.enterprise`.
    pub dataset: &'static str,
    /// Where it lies.
    pub path: PathBuf,
    /// Data rows in it, flawed ones included; header and layout rows do not count.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Character set of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    Gb18030,
}

/// A text file being written.
pub(super) struct Draft {
    dataset: &'static str,
    path: PathBuf,
    out: BufWriter<File>,
    charset: Charset,
    rows: u64,
}

/// Path of a file of `dataset`'s system in the outbox; makes the directory.
pub(super) fn place(outbox: &Path, dataset: &str, file: &str) -> io::Result<PathBuf> {
    let system = dataset.split('.').next().unwrap_or(dataset);
    let directory = outbox.join(system);
    fs::create_dir_all(&directory)?;
    Ok(directory.join(file))
}

/// Writes a whole file of so many rows.
pub(super) fn put(
    outbox: &Path,
    (dataset, file): (&'static str, &str),
    rows: u64,
    bytes: &[u8],
) -> io::Result<OutboxFile> {
    let path = place(outbox, dataset, file)?;
    fs::write(unfinished(&path), bytes)?;
    fs::rename(unfinished(&path), &path)?;
    Ok(OutboxFile { dataset, path, rows, bytes: bytes.len() as u64 })
}

/// Name a file has until it is complete; connectors' patterns do not match it.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.part"))
}

impl Draft {
    pub(super) fn create(outbox: &Path, dataset: &'static str, file: &str, charset: Charset) -> io::Result<Self> {
        let path = place(outbox, dataset, file)?;
        let out = BufWriter::with_capacity(1 << 18, File::create(unfinished(&path))?);
        Ok(Self { dataset, path, out, charset, rows: 0 })
    }

    /// Writes text that is not a row.
    pub(super) fn layout(&mut self, text: &str) -> io::Result<()> {
        match self.charset {
            Charset::Utf8 => self.out.write_all(text.as_bytes()),
            Charset::Gb18030 => self.out.write_all(&GB18030.encode(text).0),
        }
    }

    /// Writes one row, its line end included.
    pub(super) fn row(&mut self, text: &str) -> io::Result<()> {
        self.several(1, text)
    }

    /// Writes what holds several rows.
    pub(super) fn several(&mut self, rows: u64, text: &str) -> io::Result<()> {
        self.rows += rows;
        self.layout(text)
    }

    /// Writes one row that a service is to answer with, after the time at which it is put out.
    pub(super) fn entry(&mut self, at: &str, text: &str) -> io::Result<()> {
        self.row(&format!("{at}\t{text}\n"))
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> io::Result<OutboxFile> {
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(unfinished(&self.path), &self.path)?;
        Ok(OutboxFile { dataset: self.dataset, path: self.path, rows: self.rows, bytes })
    }
}

//! A small writer of dBASE III tables, as statistical systems still hand them out: GBK, language driver 4D.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use chrono::{Datelike as _, NaiveDate};
use encoding_rs::GB18030;

use super::Writing;
use super::file::{OutboxFile, place, unfinished};

/// A column: name (ASCII, ten characters at most), `C` for text or `N` for numbers, bytes of a cell.
pub(super) struct Column(pub(super) &'static str, pub(super) u8, pub(super) u8);

/// A table being written.
pub(super) struct Table {
    dataset: &'static str,
    columns: &'static [Column],
    path: PathBuf,
    out: BufWriter<File>,
    rows: u32,
}

/// Bytes of the header before the columns, and of one column's description.
const BLOCK: usize = 32;

impl Table {
    /// Begins a table as it was saved on `day`.
    pub(super) fn create(
        writing: &Writing<'_>,
        (dataset, name): (&'static str, &str),
        columns: &'static [Column],
        day: NaiveDate,
    ) -> io::Result<Self> {
        let path = place(writing.dir, dataset, name)?;
        let mut out = BufWriter::new(File::create(unfinished(&path))?);
        let width: usize = 1 + columns.iter().map(|column| usize::from(column.2)).sum::<usize>();
        let mut head = [0; BLOCK];
        let year = u8::try_from(day.year() - 1900).unwrap_or_default();
        let date = [year, day.month() as u8, day.day() as u8];
        head[0] = 0x03;
        head[1..4].copy_from_slice(&date);
        head[8..10].copy_from_slice(&((BLOCK * (1 + columns.len()) + 1) as u16).to_le_bytes());
        head[10..12].copy_from_slice(&(width as u16).to_le_bytes());
        head[29] = 0x4D; // GBK
        out.write_all(&head)?;
        for Column(name, kind, bytes) in columns {
            let mut described = [0; BLOCK];
            described.iter_mut().zip(name.bytes().take(10)).for_each(|(to, byte)| *to = byte);
            described[11] = *kind;
            described[16] = *bytes;
            out.write_all(&described)?;
        }
        out.write_all(&[0x0D])?;
        Ok(Self { dataset, columns, path, out, rows: 0 })
    }

    /// Adds a row; cells are bytes of GBK. A deleted row stays in the table, marked.
    pub(super) fn row(&mut self, deleted: bool, cells: &[Vec<u8>]) -> io::Result<()> {
        self.out.write_all(if deleted { b"*" } else { b" " })?;
        for (Column(name, kind, bytes), cell) in self.columns.iter().zip(cells) {
            let room = usize::from(*bytes).checked_sub(cell.len());
            let pad = vec![b' '; room.ok_or_else(|| io::Error::other(format!("a cell of {name} is too long")))?];
            let (before, after) = if *kind == b'N' { (&pad, cell) } else { (cell, &pad) };
            self.out.write_all(before)?;
            self.out.write_all(after)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Says in the header how many rows there are, and gives the file its name.
    pub(super) fn finish(mut self) -> io::Result<OutboxFile> {
        self.out.write_all(&[0x1A])?;
        self.out.seek(SeekFrom::Start(4))?;
        self.out.write_all(&self.rows.to_le_bytes())?;
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(unfinished(&self.path), &self.path)?;
        Ok(OutboxFile { dataset: self.dataset, path: self.path, rows: u64::from(self.rows), bytes })
    }
}

/// A text as a cell.
pub(super) fn gbk(text: &str) -> Vec<u8> {
    GB18030.encode(text).0.into_owned()
}

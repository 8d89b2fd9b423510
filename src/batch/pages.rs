//! The file of ranges beside a statement: every range's entries, each range to be found by its offset, so that a
//! subscriber reads only those that differ.
//!
//! Decides: the file's form. Must not know: which ranges a reader wants, where the file is. Guarantees: a page is given
//! out only when it yields the root that its caller knows; no bytes make it panic; what is read is bounded.
//!
//! Lines of JSON. One for each range, parts before the whole: `{"from":…,"bits":…,"entries":[[key,n,"digest"],…],
//! "at":[[offset,length],…]}`, where `at` says where the pages of the entries lie; a bottom range has none. Then the
//! index `{"format":"huiliu.ranges/1","feed":…,"as_of":…,"top":[[from,bits,offset,length],…]}`, and a last line of twenty
//! digits: the offset of the index. Nothing is signed: every page is checked against the root above it, and the topmost
//! against the statement.

use std::io::{self, Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};

use super::ranges::{Entry, Range, STEP, root_of};
use super::{BatchError, Statement};
use crate::crypto::{Digest, DigestAlgorithm};

const FORMAT: &str = "huiliu.ranges/1";
/// Twenty digits and a line break.
const END: i64 = 21;
/// No page is longer: 64 entries.
const PAGE_BYTES: u64 = 64 << 10;
/// No index is longer.
const INDEX_BYTES: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Page {
    from: i64,
    bits: u32,
    entries: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    at: Vec<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Index {
    format: String,
    feed: String,
    as_of: u64,
    top: Vec<(i64, u32, u64, u64)>,
}

/// Writes the pages of these ranges, over the holdings that `statement` sums up.
///
/// # Errors
/// Those of writing.
pub fn write_pages(
    out: &mut dyn Write,
    statement: &Statement,
    records: &[Entry],
    wanted: impl IntoIterator<Item = Range>,
) -> io::Result<()> {
    let mut writer = Writer { out, offset: 0, algorithm: statement.algorithm };
    let mut index = Index { format: FORMAT.into(), feed: statement.feed.clone(), as_of: statement.as_of, top: vec![] };
    for range in wanted {
        let (offset, length) = writer.page(range, records)?;
        index.top.push((range.from, range.bits, offset, length));
    }
    let (offset, _) = writer.line(&index)?;
    writeln!(writer.out, "{offset:020}")
}

struct Writer<'o> {
    out: &'o mut dyn Write,
    offset: u64,
    algorithm: DigestAlgorithm,
}

impl Writer<'_> {
    fn page(&mut self, range: Range, records: &[Entry]) -> io::Result<(u64, u64)> {
        let inside = range.of(records);
        let entries = range.entries(self.algorithm, inside);
        let mut at = Vec::new();
        if range.bits > STEP {
            for part in &entries {
                at.push(self.page(Range { from: part.0, bits: range.bits - STEP }, inside)?);
            }
        }
        self.line(&Page { from: range.from, bits: range.bits, entries, at })
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<(u64, u64)> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        let (offset, length) = (self.offset, u64::try_from(line.len()).unwrap_or(u64::MAX));
        self.offset += length;
        Ok((offset, length))
    }
}

/// A file of ranges, being read.
#[derive(Debug)]
pub struct Pages<R> {
    file: R,
    top: Vec<(Range, (u64, u64))>,
    read: u64,
}

/// The entries of a range, and where their own pages lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Entries.
    pub entries: Vec<Entry>,
    at: Vec<(u64, u64)>,
}

impl Opened {
    /// Where the page of this entry lies.
    pub fn place(&self, entry: usize) -> Option<(u64, u64)> {
        self.at.get(entry).copied()
    }
}

impl<R: Read + Seek> Pages<R> {
    /// Reads the index of the file that belongs to `statement`.
    ///
    /// # Errors
    /// [`BatchError::Statement`].
    pub fn open(mut file: R, statement: &Statement) -> Result<Self, BatchError> {
        let end = file.seek(SeekFrom::End(-END)).map_err(|_| bad("it is too short"))?;
        let mut pages = Self { file, top: Vec::new(), read: 0 };
        let digits = pages.bytes(end, END.unsigned_abs())?;
        let offset = std::str::from_utf8(&digits).ok().and_then(|text| text.trim_end().parse::<u64>().ok());
        let offset = offset.filter(|offset| *offset < end).ok_or_else(|| bad("its last line"))?;
        let length = end - offset;
        if length > INDEX_BYTES {
            return Err(bad("its index"));
        }
        let index: Index = serde_json::from_slice(&pages.bytes(offset, length)?).map_err(|_| bad("its index"))?;
        if index.format != FORMAT || (index.feed, index.as_of) != (statement.feed.clone(), statement.as_of) {
            return Err(bad("it belongs to another statement"));
        }
        let top = index.top.into_iter();
        pages.top = top.map(|(from, bits, offset, length)| (Range { from, bits }, (offset, length))).collect();
        Ok(pages)
    }

    /// Where the page of one of the statement's ranges lies; `None` when the file does not have it.
    pub fn place(&self, range: Range) -> Option<(u64, u64)> {
        self.top.iter().find(|(top, _)| *top == range).map(|(_, place)| *place)
    }

    /// The page of `range`, which lies at `place` and has this root.
    ///
    /// # Errors
    /// [`BatchError::Statement`] when something else lies there.
    pub fn page(
        &mut self,
        (range, (offset, length)): (Range, (u64, u64)),
        (algorithm, root): (DigestAlgorithm, Digest),
    ) -> Result<Opened, BatchError> {
        if length > PAGE_BYTES {
            return Err(bad("a page is longer than any"));
        }
        let page: Page = serde_json::from_slice(&self.bytes(offset, length)?).map_err(|_| bad("a page"))?;
        let inside = |entry: &Entry| Range::around(entry.0, range.bits) == range;
        let ordered = page.entries.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        if (page.from, page.bits) != (range.from, range.bits) || !ordered || !page.entries.iter().all(inside) {
            return Err(bad("a page of another range lies there"));
        }
        if root_of(algorithm, &page.entries) != root {
            return Err(bad("a page does not give the root that the statement signs"));
        }
        Ok(Opened { entries: page.entries, at: page.at })
    }

    /// Bytes read so far.
    pub const fn read(&self) -> u64 {
        self.read
    }

    fn bytes(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, BatchError> {
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| bad("a length"))?];
        let read = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|error| bad(&format!("reading it: {error}")))?;
        self.read += length;
        Ok(bytes)
    }
}

fn bad(what: &str) -> BatchError {
    BatchError::Statement { what: format!("the file of ranges: {what}") }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::batch::ranges::tests::records;
    use crate::batch::statement::tests::standing;

    fn all(statement: &Statement) -> Vec<Range> {
        statement.ranges.iter().map(|entry| Range { from: entry.0, bits: statement.range_bits }).collect()
    }

    fn made(count: i64) -> (Statement, Vec<Entry>, Vec<u8>) {
        let records = records(0..count);
        let statement = Statement::over(standing(), DigestAlgorithm::Sha256, &records);
        let mut file = Vec::new();
        write_pages(&mut file, &statement, &records, all(&statement)).unwrap();
        (statement, records, file)
    }

    /// Reads down to the records of one range.
    fn down(
        pages: &mut Pages<Cursor<&Vec<u8>>>,
        at: (Range, (u64, u64)),
        entry: &Entry,
    ) -> Result<Vec<Entry>, BatchError> {
        let opened = pages.page(at, (DigestAlgorithm::Sha256, entry.2.0))?;
        if at.0.bits == STEP {
            return Ok(opened.entries);
        }
        let mut found = Vec::new();
        for (n, part) in opened.entries.iter().enumerate() {
            let range = Range { from: part.0, bits: at.0.bits - STEP };
            found.extend(down(pages, (range, opened.place(n).unwrap()), part)?);
        }
        Ok(found)
    }

    #[test]
    fn every_record_is_found_through_its_ranges_and_few_bytes_are_read_for_one() {
        let (statement, records, file) = made(40_000);
        let mut pages = Pages::open(Cursor::new(&file), &statement).unwrap();
        let mut found = Vec::new();
        for (range, entry) in all(&statement).into_iter().zip(&statement.ranges) {
            let place = pages.place(range).unwrap();
            found.extend(down(&mut pages, (range, place), entry).unwrap());
        }
        assert_eq!(found, records);
        let mut pages = Pages::open(Cursor::new(&file), &statement).unwrap();
        let range = all(&statement)[3];
        let place = pages.place(range).unwrap();
        let opened = pages.page((range, place), (DigestAlgorithm::Sha256, statement.ranges[3].2.0)).unwrap();
        let part = (Range { from: opened.entries[9].0, bits: STEP }, opened.place(9).unwrap());
        pages.page(part, (DigestAlgorithm::Sha256, opened.entries[9].2.0)).unwrap();
        assert!(pages.read() < 20_000, "{}", pages.read());
    }

    #[test]
    fn altered_pages_and_other_files_are_refused() {
        let (statement, _, file) = made(80);
        let (range, entry) = (all(&statement)[1], statement.ranges[1]);
        let digests = |bytes: &Vec<u8>| {
            let mut pages = Pages::open(Cursor::new(bytes), &statement)?;
            let place = pages.place(range).ok_or_else(|| bad("no page"))?;
            down(&mut pages, (range, place), &entry)
        };
        let honest = digests(&file).unwrap();
        for at in (0..file.len()).step_by(3) {
            let mut bytes = file.clone();
            bytes[at] ^= 1;
            if let Ok(found) = digests(&bytes) {
                assert_eq!(found, honest, "byte {at}");
            }
        }
        for end in (0..file.len()).step_by(7) {
            assert!(digests(&file[..end].to_vec()).is_err());
        }
        let other = Statement { as_of: 43, ..statement.clone() };
        assert_eq!(Pages::open(Cursor::new(&file), &other).unwrap_err().code(), "HL0751");
    }
}

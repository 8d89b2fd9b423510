//! What one endpoint has: files of rows, a file a night, each row on a line after the time at which it was put out.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// One page of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Rows of all pages.
    pub(super) total: u64,
    /// Rows of this one, as they are to be sent.
    pub(super) rows: Vec<Vec<u8>>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy)]
struct Mark {
    file: usize,
    byte: u64,
}

/// The pages of one question: since when, and how many rows a page has.
#[derive(Debug)]
struct Pages {
    total: u64,
    begin: Vec<Mark>,
}

/// Questions, of so many files, and their pages.
type Known = Arc<Mutex<HashMap<(String, usize, usize), Arc<Pages>>>>;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    dir: PathBuf,
    prefix: &'static str,
    known: Known,
}

impl Shelf {
    /// Files of `dir` whose names begin with `prefix`, in the order of their names.
    pub(super) fn new(dir: PathBuf, prefix: &'static str) -> Self {
        Self { dir, prefix, known: Arc::default() }
    }

    /// The `nth` page (from 0) of so many rows put out after `since`; empty behind the last.
    pub(super) async fn page(&self, since: String, (nth, size): (usize, usize)) -> io::Result<Page> {
        let shelf = self.clone();
        let read = tokio::task::spawn_blocking(move || shelf.read(&since, (nth, size.max(1))));
        read.await.map_err(io::Error::other)?
    }

    fn read(&self, since: &str, (nth, size): (usize, usize)) -> io::Result<Page> {
        let files = self.files()?;
        let pages = self.pages(&files, since, size)?;
        let mut page = Page { total: pages.total, rows: Vec::new() };
        if let Some(begin) = pages.begin.get(nth) {
            lines(&files, *begin, |_, at, row| {
                if at > since.as_bytes() {
                    page.rows.push(row.to_vec());
                }
                page.rows.len() < size
            })?;
        }
        Ok(page)
    }

    /// Where the pages begin: looked for at the first page, remembered for the others.
    fn pages(&self, files: &[PathBuf], since: &str, size: usize) -> io::Result<Arc<Pages>> {
        let question = (since.to_owned(), size, files.len());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pages) = known.get(&question) {
            return Ok(Arc::clone(pages));
        }
        let mut pages = Pages { total: 0, begin: Vec::new() };
        lines(files, Mark { file: 0, byte: 0 }, |mark, at, _| {
            if at > since.as_bytes() {
                if pages.total.is_multiple_of(size as u64) {
                    pages.begin.push(mark);
                }
                pages.total += 1;
            }
            true
        })?;
        let pages = Arc::new(pages);
        known.insert(question, Arc::clone(&pages));
        Ok(pages)
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        if self.dir.exists() {
            for entry in fs::read_dir(&self.dir)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(self.prefix) {
                    files.push(entry.path());
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

/// Shows line after line from a place on — where it begins, its time, its row — until `go_on` has enough.
fn lines(files: &[PathBuf], from: Mark, mut go_on: impl FnMut(Mark, &[u8], &[u8]) -> bool) -> io::Result<()> {
    let mut line = Vec::new();
    for (nth, path) in files.iter().enumerate().skip(from.file) {
        let mut byte = if nth == from.file { from.byte } else { 0 };
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(byte))?;
        let mut file = BufReader::new(file);
        loop {
            line.clear();
            let len = file.read_until(b'\n', &mut line)?;
            if len == 0 {
                break;
            }
            let mark = Mark { file: nth, byte };
            byte += len as u64;
            let mut parts = line.trim_ascii_end().splitn(2, |b| *b == b'\t');
            let (at, row) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            if !go_on(mark, at, row) {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_hold_what_came_after_a_time_across_files() {
        let dir = tempfile::tempdir().expect("temp");
        fs::write(dir.path().join("A_1.rows"), "1\ta\n2\tb\n2\tc\n").expect("written");
        fs::write(dir.path().join("A_2.rows"), "3\td\n1\told\n3\te\n").expect("written");
        fs::write(dir.path().join("B_1.rows"), "9\tother\n").expect("written");
        let shelf = Shelf::new(dir.path().to_owned(), "A_");
        let page = async |since: &str, nth, size| {
            let page = shelf.page(since.to_owned(), (nth, size)).await.expect("reads");
            let rows: Vec<_> = page.rows.iter().map(|row| String::from_utf8_lossy(row).into_owned()).collect();
            (page.total, rows.join(" "))
        };
        assert_eq!(page("", 0, 4).await, (6, "a b c d".to_owned()));
        assert_eq!(page("", 1, 4).await, (6, "old e".to_owned()));
        assert_eq!(page("1", 0, 3).await, (4, "b c d".to_owned()));
        assert_eq!(page("1", 1, 3).await, (4, "e".to_owned()));
        assert_eq!(page("1", 2, 3).await, (4, String::new()));
        assert_eq!(page("9", 0, 3).await, (0, String::new()));
        let none = Shelf::new(dir.path().join("nowhere"), "A_");
        assert_eq!(none.page(String::new(), (0, 1)).await.expect("reads"), Page { total: 0, rows: Vec::new() });
    }
}

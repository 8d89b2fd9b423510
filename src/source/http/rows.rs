//! The rows of all pages, as if they were of one file.

use std::io;

use arrow::array::{Array as _, AsArray as _};
use tokio::sync::mpsc;

use super::pages::Page;
use crate::decode::{Decode, DecodeError, Decoded, Header, Position};
use crate::error::Disposition;
use crate::source::SourceError;
use crate::source::bodies::{Reading, all_rows, joined, number_from};

/// Rows of one pull.
pub(super) struct PagedRows {
    header: Header,
    pages: mpsc::Receiver<Result<Page, SourceError>>,
    reading: Reading,
    /// Contract column of the cursor.
    column: Option<usize>,
    /// Where the pull began: all that counts until it is through.
    since: Option<String>,
    newest: Option<String>,
    position: Position,
    name: String,
    /// The page after the last one that was handed over: only then is it known whether there is one.
    ahead: Option<Result<Vec<Decoded>, DecodeError>>,
    done: bool,
    /// Digest of the last page's rows.
    last: Option<blake3::Hash>,
}

impl PagedRows {
    pub(super) fn new(
        pages: mpsc::Receiver<Result<Page, SourceError>>,
        reading: Reading,
        (column, since): (Option<usize>, Option<String>),
        name: String,
    ) -> Self {
        let header = Header { columns: None, kinds: Vec::new(), encoding: "as the service says".to_owned() };
        let position = Position { cursor: since.clone(), ..Position::default() };
        Self {
            header,
            pages,
            reading,
            column,
            newest: since.clone(),
            since,
            position,
            name,
            ahead: None,
            done: false,
            last: None,
        }
    }

    /// The next page's rows; `None` at the end.
    fn page(&mut self) -> Result<Option<Vec<Decoded>>, DecodeError> {
        let page = match self.pages.blocking_recv() {
            None => return Ok(None),
            Some(Err(error)) => return Err(self.failed(&error)),
            Some(Ok(page)) => page,
        };
        let name = format!("{} page {}", self.name, page.number);
        let broken = |error: DecodeError| incomplete(&name, &error);
        let (parts, rows) = self.reading.of(&name, page.bytes).map_err(broken)?;
        let mut digest = blake3::Hasher::new();
        for part in &parts {
            digest.update(&part.raw);
        }
        let digest = digest.finalize();
        if self.last.replace(digest) == Some(digest) && rows > 0 {
            return Err(self.failed(&SourceError::Endless { what: self.name.clone() }));
        }
        page.rows.send(rows).ok();
        Ok(Some(parts))
    }

    fn failed(&self, error: &SourceError) -> DecodeError {
        match error.disposition() {
            Disposition::Retry => {
                DecodeError::Io { file: self.name.clone(), source: io::Error::other(error.to_string()) }
            }
            _ => DecodeError::Broken { code: error.code(), file: self.name.clone(), message: error.to_string() },
        }
    }

    /// Takes a page's parts; says how many rows they have.
    fn take(&mut self, page: Vec<Decoded>, parts: &mut Vec<Decoded>) -> usize {
        let mut rows = 0;
        for mut part in page {
            self.number(&mut part);
            self.position.resume.row += all_rows(&part);
            rows += part.rows.num_rows() + part.undecodable.len();
            parts.push(part);
        }
        rows
    }

    /// Numbers rows through all pages, and remembers the newest cursor value.
    fn number(&mut self, part: &mut Decoded) {
        number_from(part, self.position.resume.row);
        if let Some(column) = self.column {
            let cells = part.rows.column(column).as_string::<i32>();
            let newest = (0..cells.len()).filter(|&i| !cells.is_null(i)).map(|i| cells.value(i)).fold(
                self.newest.take(),
                |newest, cell| match newest {
                    Some(newest) if !later(cell, &newest) => Some(newest),
                    _ => Some(cell.to_owned()),
                },
            );
            self.newest = newest;
        }
    }
}

/// Whether a cursor value comes after another: as times where both are, as numbers, else as texts.
fn later(a: &str, b: &str) -> bool {
    let time = |text: &str| crate::mapping::values::cn_timestamp(text).ok()?.value.map(|at| at.timestamp_micros());
    let number = |text: &str| text.trim().parse::<i128>().ok();
    match ((number(a), number(b)), (time(a), time(b))) {
        ((Some(a), Some(b)), _) => a > b,
        (_, (Some(a), Some(b))) => a > b,
        _ => a > b,
    }
}

/// A page that is no whole page is asked for again later: what it lacks may only be late.
fn incomplete(name: &str, error: &DecodeError) -> DecodeError {
    let why = SourceError::HalfPage { what: name.to_owned(), why: error.to_string() };
    DecodeError::Io { file: name.to_owned(), source: io::Error::other(why.to_string()) }
}

impl Decode for PagedRows {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self, max_rows: usize) -> Result<Option<Decoded>, DecodeError> {
        let mut parts: Vec<Decoded> = Vec::new();
        let mut rows = 0;
        while !self.done {
            let page = match self.ahead.take() {
                Some(page) => page,
                None => match self.page() {
                    Ok(Some(page)) => Ok(page),
                    Ok(None) => {
                        self.done = true;
                        break;
                    }
                    Err(error) => Err(error),
                },
            };
            match page {
                Err(error) if parts.is_empty() => {
                    self.done = true;
                    return Err(error);
                }
                // What came before the error is handed over first, as is what fills a chunk.
                page @ Err(_) => {
                    self.ahead = Some(page);
                    break;
                }
                page if rows >= max_rows => {
                    self.ahead = Some(page);
                    break;
                }
                Ok(page) => rows += self.take(page, &mut parts),
            }
        }
        if self.done {
            self.position.cursor = self.newest.clone().or_else(|| self.since.clone());
        }
        let Some(all) = joined(parts, &self.name)? else { return Ok(None) };
        Ok(Some(Decoded { position: self.position.clone(), ..all }))
    }
}

#[cfg(test)]
mod tests {
    use super::later;

    #[test]
    fn the_newest_is_the_latest_whatever_it_is_written_as() {
        assert!(later("10", "9") && !later("9", "10"));
        assert!(later("2026-10-02 00:00:00", "2026年9月30日") && !later("2026年9月30日", "2026-10-02 00:00:00"));
        assert!(later("b", "a"));
    }
}

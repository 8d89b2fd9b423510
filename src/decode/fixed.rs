//! Text in columns of a fixed number of bytes, each row a line or all rows in one piece.
//!
//! Decides: which bytes are which cell; blanks that pad a cell (also U+3000) are no part of it. Must not know: contracts
//! beyond column names. Guarantees: widths count bytes of the file, as the mainframes that write such files do: in
//! GB 18030 a hanzi is two of them; a cell that ends inside a character sets its row aside. A file without line ends
//! whose length is not a whole number of rows is cut off and refused before its first row.

use std::borrow::Cow;

use super::chunk::{Chunk, RAW_KEPT};
use super::csv::without_line_end;
use super::encoding::{Charset, decide};
use super::raw::{Raw, RawLine};
use super::records::Records;
use super::{DecodeError, Header, Job, Limits, Resume, Wanted, broken};
use crate::config::Encoding;

/// How the rows stand in the file.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Bytes of every column.
    pub(super) widths: Vec<u32>,
    /// Lines before the first row.
    pub(super) skip: u32,
    /// Rows end with a line end.
    pub(super) line_ends: bool,
    /// Rows may end early.
    pub(super) ragged: bool,
}

/// See the module.
pub(super) struct Fixed {
    raw: Raw,
    charset: Charset,
    header: Header,
    wanted: Vec<Wanted>,
    limits: Limits,
    layout: Layout,
    /// Bytes of a row.
    width: usize,
    rows: u64,
}

impl Fixed {
    /// Settles the encoding. Errors: `HL0317` when a file without line ends does not hold whole rows.
    pub(super) fn open(job: Job, encoding: Encoding, layout: Layout) -> Result<Self, DecodeError> {
        let decided = decide(job.input.as_ref(), encoding, None)?;
        let width: usize = layout.widths.iter().map(|w| *w as usize).sum();
        let mut raw = Raw::open(job.input.clone(), decided.mark as u64, job.resume)?;
        if job.resume.is_none() {
            for _ in 0..layout.skip {
                raw.skip_line(0)?;
            }
        }
        let fixed = Self {
            raw,
            charset: decided.charset,
            header: Header { columns: None, kinds: Vec::new(), encoding: decided.evidence },
            limits: job.limits,
            width: width.max(1),
            rows: job.rows(),
            layout,
            wanted: job.wanted,
        };
        fixed.check_length()?;
        Ok(fixed)
    }

    /// Without line ends, the length says whether the file is whole. One line end or Ctrl-Z at its end is allowed.
    fn check_length(&self) -> Result<(), DecodeError> {
        if self.layout.line_ends || self.rows > 0 {
            return Ok(());
        }
        let bytes = self.raw.input().len().saturating_sub(self.raw.place(0).byte);
        let (rows, rest) = (bytes / self.width as u64, bytes % self.width as u64);
        if rest <= 2 {
            return Ok(()); // what it is, is looked at when it is reached
        }
        let message =
            format!("{rows} whole rows of {} bytes, and {rest} bytes of another: the file is cut off", self.width);
        Err(broken(self.raw.input(), "HL0317", message))
    }

    /// The next row: its bytes without a line end, with it, and the line ends in it.
    fn find(&mut self) -> Result<Next, DecodeError> {
        if !self.layout.line_ends {
            let whole = self.raw.need(self.width)?;
            return Ok(match self.raw.unread() {
                [] | b"\x1A" | b"\n" | b"\r\n" => Next::End,
                unread if !whole => Next::Row { len: unread.len(), all: unread.len(), lines: 0 },
                _ => Next::Row { len: self.width, all: self.width, lines: 0 },
            });
        }
        loop {
            match self.raw.line(self.limits.row_bytes)? {
                RawLine::End => return Ok(Next::End),
                RawLine::TooLong => return Ok(Next::TooLong),
                RawLine::Whole(all) => {
                    let line = self.raw.unread().get(..all).unwrap_or_default();
                    let row = without_line_end(line);
                    let lines = u64::from(line.ends_with(b"\n"));
                    let last = self.raw.ended() && all == self.raw.unread().len();
                    if row.is_empty() || (last && row == b"\x1A") {
                        self.raw.consume(all, lines);
                        continue;
                    }
                    return Ok(Next::Row { len: row.len(), all, lines });
                }
            }
        }
    }

    fn take_row(&mut self, chunk: &mut Chunk, len: usize) {
        let place = self.raw.place(self.rows);
        let row = self.raw.unread().get(..len).unwrap_or_default();
        if let Some((code, at)) = self.charset.first_fault(row) {
            let byte = place.byte + at as u64;
            let detail = match code {
                "nul_byte" => format!("byte {byte} of the file is NUL"),
                _ => format!("byte {byte} of the file is not valid {}", self.charset.name()),
            };
            return chunk.set_aside(place, row, code, detail);
        }
        if len > self.width || (len < self.width && !self.layout.ragged) {
            return chunk.set_aside(place, row, "row_length", format!("{len} bytes, a row has {}", self.width));
        }
        let mut start = 0;
        let mut cells: Vec<Option<Cow<'_, str>>> = Vec::with_capacity(self.layout.widths.len());
        for (i, width) in self.layout.widths.iter().enumerate() {
            let end = start + *width as usize;
            let cell = row.get(start..end.min(len)).filter(|_| start < len || start == end);
            match cell.map(|bytes| self.charset.strict(bytes)) {
                None => cells.push(None),
                Some(Some(text)) => cells.push(Some(text)),
                Some(None) => {
                    let detail = format!("column {} of {end} bytes' width ends inside a character", i + 1);
                    return chunk.set_aside(place, row, "split_character", detail);
                }
            }
            start = end;
        }
        for column in 0..self.wanted.len() {
            chunk.cell(column, cells.get(column).and_then(|c| c.as_deref()).map(str::trim));
        }
        chunk.end_row(place, row);
    }
}

/// The next row.
enum Next {
    End,
    /// `len` bytes of row, `all` with its line end.
    Row {
        len: usize,
        all: usize,
        lines: u64,
    },
    TooLong,
}

impl Records for Fixed {
    fn header(&self) -> &Header {
        &self.header
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn step(&mut self, chunk: &mut Chunk) -> Result<bool, DecodeError> {
        match self.find()? {
            Next::End => return Ok(false),
            Next::Row { len, all, lines } => {
                self.rows += 1;
                self.take_row(chunk, len);
                self.raw.consume(all, lines);
            }
            Next::TooLong => {
                self.rows += 1;
                let place = self.raw.place(self.rows);
                let raw = self.raw.skip_line(RAW_KEPT)?;
                let detail = format!("longer than {} bytes", self.limits.row_bytes);
                chunk.set_aside(place, without_line_end(&raw), "row_too_long", detail);
            }
        }
        Ok(true)
    }

    fn resume(&self) -> Resume {
        self.raw.resume(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Format;
    use crate::decode::testing::{All, gbk, memory, read, resume_everywhere};

    fn format(widths: &[u32]) -> Format {
        Format::Fixed { encoding: Encoding::Auto, widths: widths.to_vec(), skip: 0, line_ends: true, ragged: false }
    }

    fn in_one_piece(widths: &[u32]) -> Format {
        Format::Fixed { encoding: Encoding::Auto, widths: widths.to_vec(), skip: 0, line_ends: false, ragged: false }
    }

    fn check(bytes: impl AsRef<[u8]>, format: &Format, expect: &[&str]) -> All {
        let input = memory(bytes);
        let all = read(&input, format, &["a", "b", "c"], Limits::default());
        assert_eq!(all.lines(), expect);
        resume_everywhere(&input, format, &["a", "b", "c"], Limits::default());
        all
    }

    #[test]
    fn widths_count_bytes_of_the_file() {
        let row = |name: &str| [gbk("01"), gbk(name), gbk("  12.5")].concat();
        let text = [row("青岛　　"), row("即墨区 "), b"".to_vec()].join(&b"\r\n"[..]);
        let all = check(text, &format(&[2, 8, 6]), &["01|青岛|12.5"]);
        assert_eq!(all.aside, ["2:2:18 row_length 15 bytes, a row has 16"]);
        check("01青岛 12.5\n02青岛    3\n\n\x1A", &format(&[2, 6, 5]), &["01|青岛|12.5", "02|青岛|3"]);
    }

    #[test]
    fn rows_in_one_piece_are_whole_or_the_file_is_cut_off() {
        let format = in_one_piece(&[2, 3, 1]);
        check("01abcx02defy", &format, &["01|abc|x", "02|def|y"]);
        check("01abcx02defy\r\n", &format, &["01|abc|x", "02|def|y"]);
        let cut = read(&memory("01abcx02de"), &format, &["a"], Limits::default());
        assert_eq!(cut.error.unwrap(), "HL0317 1 whole rows of 6 bytes, and 4 bytes of another: the file is cut off");
        let odd = read(&memory("01abcx02"), &format, &["a"], Limits::default());
        assert_eq!(odd.aside, ["2:1:6 row_length 2 bytes, a row has 6"]);
    }

    #[test]
    fn a_cell_that_ends_inside_a_character_sets_its_row_aside() {
        let bytes = [gbk("01青岛x"), b"\n".to_vec(), gbk("青岛01x")].concat();
        let all = check(bytes, &format(&[3, 3, 1]), &[]);
        assert_eq!(
            all.aside,
            [
                "1:1:0 split_character column 1 of 3 bytes' width ends inside a character",
                "2:2:8 split_character column 1 of 3 bytes' width ends inside a character"
            ]
        );
        let bad = [b"01abcx\n".to_vec(), vec![0xFF; 6], b"\n02abcy\n".to_vec()].concat();
        let utf8 =
            Format::Fixed { encoding: Encoding::Utf8, widths: vec![2, 3, 1], skip: 0, line_ends: true, ragged: false };
        let all = check(bad, &utf8, &["01|abc|x", "02|abc|y"]);
        assert_eq!(all.aside, ["2:2:7 bad_utf8 byte 7 of the file is not valid utf-8"]);
    }

    #[test]
    fn short_rows_are_accepted_where_defined() {
        let ragged =
            Format::Fixed { encoding: Encoding::Auto, widths: vec![2, 3, 1], skip: 1, line_ends: true, ragged: true };
        let all = check("title\n01abcx\n02a\n03\n", &ragged, &["01|abc|x", "02|a|␀", "03|␀|␀"]);
        assert_eq!(all.places, ["1:2:6", "2:3:13", "3:4:17"]);
    }
}

//! Workbooks as Excel 97 wrote them: BIFF8 in a compound file. Some departments still send nothing else, and no library we
//! use writes it.
//!
//! Texts only, for these departments type their numbers as texts. Source: MS-XLS §2.1.7 and §2.4, MS-CFB §2.

use std::io;

use super::Writing;
use super::file::{OutboxFile, place, unfinished};

/// Record types (MS-XLS §2.3).
const BOF: u16 = 0x0809;
const EOF: u16 = 0x000A;
const CODE_PAGE: u16 = 0x0042;
const WINDOW_1: u16 = 0x003D;
const FONT: u16 = 0x0031;
const XF: u16 = 0x00E0;
const STYLE: u16 = 0x0293;
const BOUND_SHEET: u16 = 0x0085;
const DIMENSIONS: u16 = 0x0200;
const WINDOW_2: u16 = 0x023E;
const MERGED_CELLS: u16 = 0x00E5;
const LABEL: u16 = 0x0204;

/// Lines that a sheet of this format holds.
const MOST_LINES: usize = 65_536;
/// The cell format among those of every workbook; the ones before it are of styles.
const CELL_FORMAT: u16 = 15;

/// One sheet: its lines, of which empty cells stay empty.
pub(super) struct Sheet {
    pub(super) name: &'static str,
    pub(super) hidden: bool,
    pub(super) lines: Vec<Vec<String>>,
    /// First and last line, first and last column.
    pub(super) merged: Vec<[u16; 4]>,
}

impl Sheet {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, hidden: false, lines: Vec::new(), merged: Vec::new() }
    }

    /// A line further down.
    pub(super) fn line<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.lines.push(cells.into_iter().map(Into::into).collect());
    }
}

/// Puts a workbook with `rows` data rows into the outbox.
pub(super) fn write(
    writing: &mut Writing<'_>,
    (dataset, name): (&'static str, &str),
    (sheets, rows): (&[Sheet], u64),
) -> io::Result<()> {
    let path = place(writing.dir, dataset, name)?;
    let book = workbook(sheets)?;
    std::fs::write(unfinished(&path), &book)?;
    std::fs::rename(unfinished(&path), &path)?;
    writing.files.push(OutboxFile { dataset, path, rows, bytes: book.len() as u64 });
    Ok(())
}

/// The bytes of a workbook.
fn workbook(sheets: &[Sheet]) -> io::Result<Vec<u8>> {
    let bodies = sheets.iter().map(sheet).collect::<io::Result<Vec<_>>>()?;
    // The globals name each sheet's place, and are as long whatever it is.
    let mut at = globals(sheets, &vec![0; sheets.len()]).len();
    let mut places = Vec::with_capacity(sheets.len());
    for body in &bodies {
        places.push(u32::try_from(at).map_err(io::Error::other)?);
        at += body.len();
    }
    let mut stream = globals(sheets, &places);
    stream.extend(bodies.into_iter().flatten());
    compound(stream)
}

fn record(stream: &mut Vec<u8>, kind: u16, data: &[u8]) {
    let len = u16::try_from(data.len()).unwrap_or(u16::MAX);
    stream.extend([kind, len].into_iter().flat_map(u16::to_le_bytes));
    stream.extend_from_slice(data);
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// UTF-16 behind the flag that says so; how many units it is.
fn text(text: &str) -> (u16, Vec<u8>) {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut bytes = vec![1];
    bytes.extend(words(&units));
    (u16::try_from(units.len()).unwrap_or(u16::MAX), bytes)
}

fn begin(stream: &mut Vec<u8>, what: u16) {
    record(stream, BOF, &words(&[0x0600, what, 0x0DBB, 0x07CC, 0, 0, 6, 0])); // Excel 97
}

/// What is said of the whole workbook.
fn globals(sheets: &[Sheet], places: &[u32]) -> Vec<u8> {
    let mut stream = Vec::new();
    begin(&mut stream, 0x0005);
    record(&mut stream, CODE_PAGE, &words(&[1200]));
    let shown = sheets.iter().position(|sheet| !sheet.hidden).unwrap_or(0);
    let shown = u16::try_from(shown).unwrap_or(0);
    record(&mut stream, WINDOW_1, &words(&[0, 0, 0x4000, 0x2000, 0x0038, shown, shown, 1, 600]));
    let (length, name) = text("宋体");
    for _ in 0..4 {
        let mut font = words(&[240, 0, 0x7FFF, 400, 0, 0, 0x0086]); // 12 points, the set of simplified Chinese
        font.push(u8::try_from(length).unwrap_or(0));
        font.extend_from_slice(&name);
        record(&mut stream, FONT, &font);
    }
    for format in 0..=CELL_FORMAT {
        let kind = if format == CELL_FORMAT { 0x0001 } else { 0xFFF5 };
        record(&mut stream, XF, &words(&[0, 0, kind, 0x0020, 0, 0, 0, 0, 0, 0x20C0]));
    }
    record(&mut stream, STYLE, &[0x00, 0x80, 0x00, 0xFF]);
    for (sheet, place) in sheets.iter().zip(places) {
        let (length, name) = text(sheet.name);
        let mut bound = place.to_le_bytes().to_vec();
        bound.extend([u8::from(sheet.hidden), 0, u8::try_from(length).unwrap_or(u8::MAX)]);
        bound.extend_from_slice(&name);
        record(&mut stream, BOUND_SHEET, &bound);
    }
    record(&mut stream, EOF, &[]);
    stream
}

fn sheet(sheet: &Sheet) -> io::Result<Vec<u8>> {
    if sheet.lines.len() > MOST_LINES {
        return Err(io::Error::other(format!(
            "{} lines are more than a sheet of this format holds",
            sheet.lines.len()
        )));
    }
    let mut stream = Vec::new();
    begin(&mut stream, 0x0010);
    let lines = u32::try_from(sheet.lines.len()).unwrap_or(u32::MAX);
    let columns = sheet.lines.iter().map(Vec::len).max().unwrap_or(0);
    let mut extent: Vec<u8> = [0, lines].into_iter().flat_map(u32::to_le_bytes).collect();
    extent.extend(words(&[0, u16::try_from(columns).unwrap_or(u16::MAX), 0]));
    record(&mut stream, DIMENSIONS, &extent);
    for (line, cells) in (0_u16..).zip(&sheet.lines) {
        for (column, cell) in (0_u16..).zip(cells).filter(|(_, cell)| !cell.is_empty()) {
            let (length, cell) = text(cell);
            let mut label = words(&[line, column, CELL_FORMAT, length]);
            label.extend_from_slice(&cell);
            record(&mut stream, LABEL, &label);
        }
    }
    record(&mut stream, WINDOW_2, &words(&[0x06B6, 0, 0, 0x0040, 0, 0, 0, 0, 0]));
    if !sheet.merged.is_empty() {
        let mut merged = words(&[u16::try_from(sheet.merged.len()).unwrap_or(0)]);
        merged.extend(sheet.merged.iter().flat_map(|area| words(area)));
        record(&mut stream, MERGED_CELLS, &merged);
    }
    record(&mut stream, EOF, &[]);
    Ok(stream)
}

const SECTOR: usize = 512;
/// Numbers of sectors that one sector lists.
const LISTED: usize = SECTOR / 4;
const FREE: u32 = 0xFFFF_FFFF;
const END_OF_CHAIN: u32 = 0xFFFF_FFFE;
const OF_TABLE: u32 = 0xFFFF_FFFD;
const OF_LIST: u32 = 0xFFFF_FFFC;
/// Table sectors that the header lists itself.
const IN_HEADER: usize = 109;
/// Streams below this size would have to lie in small sectors.
const SMALL: usize = 4096;

/// The stream in its container: header, stream, directory, table of chains, list of the table's further sectors.
fn compound(mut stream: Vec<u8>) -> io::Result<Vec<u8>> {
    let length = stream.len().max(SMALL);
    stream.resize(length.next_multiple_of(SECTOR), 0);
    let (of_stream, of_directory) = (stream.len() / SECTOR, 1);
    let (mut of_table, mut of_list) = (0, 0);
    while of_table * LISTED < of_stream + of_directory + of_table + of_list {
        of_table += 1;
        of_list = of_table.saturating_sub(IN_HEADER).div_ceil(LISTED - 1);
    }
    let number = |n: usize| u32::try_from(n).map_err(io::Error::other);
    let first_of_table = number(of_stream + of_directory)?;
    let first_of_list = first_of_table + number(of_table)?;
    let mut table: Vec<u32> = (1..number(of_stream)?).collect();
    table.extend([END_OF_CHAIN, END_OF_CHAIN]); // of the stream, and of the directory
    table.resize(table.len() + of_table, OF_TABLE);
    table.resize(table.len() + of_list, OF_LIST);
    table.resize(of_table * LISTED, FREE);

    let mut tables: Vec<u32> = (first_of_table..first_of_list).collect();
    tables.resize(tables.len().max(IN_HEADER), FREE);
    let (in_header, further) = tables.split_at(IN_HEADER);
    let mut list = Vec::with_capacity(of_list * LISTED);
    for (part, nth) in further.chunks(LISTED - 1).zip(1..) {
        list.extend_from_slice(part);
        list.resize(nth * LISTED - 1, FREE);
        list.push(if nth == of_list { END_OF_CHAIN } else { first_of_list + number(nth)? });
    }

    let mut file = vec![0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];
    file.extend([0; 16]);
    file.extend(words(&[0x003E, 0x0003, 0xFFFE, 9, 6, 0, 0, 0]));
    let list_begins = if of_list == 0 { END_OF_CHAIN } else { first_of_list };
    let head = [0, number(of_table)?, number(of_stream)?, 0, 0x1000, END_OF_CHAIN, 0, list_begins, number(of_list)?];
    file.extend(head.iter().chain(in_header).flat_map(|n| n.to_le_bytes()));
    file.extend(stream);
    file.extend(entry("Root Entry", 5, (1, END_OF_CHAIN, 0)));
    file.extend(entry("Workbook", 2, (FREE, 0, number(length)?)));
    file.extend(entry("", 0, (FREE, 0, 0)).repeat(2));
    file.extend(table.iter().chain(&list).flat_map(|n| n.to_le_bytes()));
    Ok(file)
}

/// A line of the directory; `child`, where it begins, its bytes.
fn entry(name: &str, kind: u8, (child, begins, length): (u32, u32, u32)) -> Vec<u8> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let named = if units.is_empty() { 0 } else { units.len() * 2 + 2 };
    units.resize(32, 0);
    let mut entry = words(&units);
    entry.extend(words(&[u16::try_from(named).unwrap_or(0)]));
    entry.extend([kind, 1]); // black
    entry.extend([FREE, FREE, child].iter().flat_map(|n| n.to_le_bytes()));
    entry.extend([0; 36]);
    entry.extend([begins, length, 0].iter().flat_map(|n| n.to_le_bytes()));
    entry
}

#[cfg(test)]
mod tests {
    use calamine::{Reader as _, SheetVisible, Xls};

    use super::*;

    fn read(sheets: &[Sheet]) -> Xls<io::Cursor<Vec<u8>>> {
        Xls::new(io::Cursor::new(workbook(sheets).expect("a workbook"))).expect("a workbook that reads")
    }

    #[test]
    fn what_is_written_reads_again() {
        let mut hidden = Sheet::new("取数公式");
        hidden.hidden = true;
        let mut shown = Sheet::new("月报");
        shown.line(["企业名称", "", "资产总额"]);
        shown.line(["青岛示例集团", "万元", "12.50"]);
        let mut book = read(&[hidden, shown]);
        let sheets = book.sheets_metadata().to_vec();
        assert_eq!(sheets.iter().map(|sheet| sheet.name.as_str()).collect::<Vec<_>>(), ["取数公式", "月报"]);
        assert!(sheets[0].visible == SheetVisible::Hidden && sheets[1].visible == SheetVisible::Visible);
        let range = book.worksheet_range("月报").expect("a sheet");
        let cell = |at| range.get_value(at).map(ToString::to_string).unwrap_or_default();
        assert_eq!([(0, 0), (0, 1), (1, 1), (1, 2)].map(cell), ["企业名称", "", "万元", "12.50"]);
    }

    /// So large that the header does not list all of the table.
    #[test]
    fn a_large_one_reads_to_its_last_cell() {
        let mut large = Sheet::new("大表");
        for line in 0..30_000 {
            large.line((0..8).map(|column| format!("第{line}行第{column}列的一个不短的文字")));
        }
        let range = read(&[large]).worksheet_range("大表").expect("a sheet");
        assert_eq!(
            range.get_value((29_999, 7)).map(ToString::to_string).as_deref(),
            Some("第29999行第7列的一个不短的文字")
        );
    }
}

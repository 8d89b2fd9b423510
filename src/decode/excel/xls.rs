//! .xls (MS-XLS, BIFF5 and BIFF8).
//!
//! The parser loads all sheets at once and believes every size it reads, so [`super::compound`] and this file look at
//! the sizes first.

use std::io::{Cursor, Read};

use calamine::{Reader, Xls, XlsError};

use super::compound::Compound;
use super::sheet::{Emitter, Stop, failed};
use super::value::text_of_owned;
use super::{Ask, Bytes};

/// Cells of all sheets' rectangles together. A loaded cell takes 32 bytes, three times while loading.
pub(super) const MOST_CELLS: u64 = 4_000_000;
/// Bytes of a file.
const MOST_BYTES: u64 = 128 << 20;

/// Record types (MS-XLS §2.3).
const BOF: u16 = 0x0809;
const EOF: u16 = 0x000A;
const BOUND_SHEET: u16 = 0x0085;
const DIMENSIONS: u16 = 0x0200;
const MUL_RK: u16 = 0x00BD;
/// NUMBER, LABEL, RSTRING, BOOLERR, RK, LABELSST, FORMULA: row and column first.
const CELLS: [u16; 7] = [0x0203, 0x0204, 0x00D6, 0x0205, 0x027E, 0x00FD, 0x0006];

/// Reads the asked sheet into `emitter`.
pub(super) fn read(bytes: Box<dyn Bytes>, ask: &Ask, emitter: &mut Emitter) -> Result<(), Stop> {
    let mut file = Vec::new();
    bytes.take(MOST_BYTES + 1).read_to_end(&mut file).map_err(|_| damaged())?;
    if file.len() as u64 > MOST_BYTES {
        return Err(failed("HL0314", "an .xls file of more than 128 MiB; save it as .xlsx"));
    }
    check(&file, ask.max_cells.min(MOST_CELLS))?;
    let mut book: Xls<Cursor<Vec<u8>>> = Xls::new(Cursor::new(file)).map_err(|e| stop(&e))?;
    let sheet = super::xlsx::choose(book.sheets_metadata(), ask.sheet.as_deref())?;
    let range = book.worksheet_range(&sheet).map_err(|e| stop(&e))?;
    let (first_row, first_column) = range.start().unwrap_or_default();
    let mut buffer = String::new();
    for (row, cells) in range.rows().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            let at = (row as u64 + u64::from(first_row) + 1, column + first_column as usize);
            emitter.cell(at.0, at.1, text_of_owned(cell, &mut buffer))?;
        }
    }
    Ok(())
}

fn damaged() -> Stop {
    failed("HL0317", "the workbook is damaged or cut off")
}

fn stop(e: &XlsError) -> Stop {
    match e {
        XlsError::Password => failed("HL0321", "the workbook is protected by a password"),
        _ => damaged(),
    }
}

/// Checks the container's chains and every sheet's extent.
fn check(file: &[u8], max_cells: u64) -> Result<(), Stop> {
    let compound = Compound::open(file).ok_or_else(damaged)?;
    if compound.has("EncryptedPackage") {
        return Err(failed("HL0321", "the workbook is protected by a password"));
    }
    if !compound.has("Workbook") && !compound.has("Book") {
        return Err(failed("HL0310", "this is an office document, but no workbook"));
    }
    let mut cells = 0u64;
    for name in ["Workbook", "Book"].into_iter().filter(|name| compound.has(name)) {
        let stream = compound.stream(name).ok_or_else(damaged)?;
        let sheets: Vec<usize> = records(&stream)
            .take_while(|r| r.kind != EOF)
            .filter(|r| r.kind == BOUND_SHEET)
            .filter_map(|r| r.u32_at(0))
            .map(|at| at as usize)
            .collect();
        for at in sheets {
            cells = cells.saturating_add(extent(stream.get(at..).ok_or_else(damaged)?)?);
            if cells > max_cells {
                let message = format!("the sheets take up more than {max_cells} cells; save the workbook as .xlsx");
                return Err(failed("HL0315", message));
            }
        }
    }
    Ok(())
}

/// Cells of the rectangle that one sheet declares or fills, whichever is more.
fn extent(sheet: &[u8]) -> Result<u64, Stop> {
    let mut declared = 0u64;
    let mut used: Option<[u64; 4]> = None;
    let mut depth = 0usize;
    for record in records(sheet) {
        match record.kind {
            BOF => depth += 1,
            EOF if depth <= 1 => break,
            EOF => depth -= 1,
            DIMENSIONS => declared = declared.saturating_add(declared_cells(record.data).ok_or_else(damaged)?),
            kind if CELLS.contains(&kind) || kind == MUL_RK => {
                let (Some(row), Some(first)) = (record.u16_at(0), record.u16_at(2)) else { return Err(damaged()) };
                let more = if kind == MUL_RK { record.data.len() as u64 / 6 } else { 0 };
                let (row, first) = (u64::from(row), u64::from(first));
                let [top, bottom, left, right] = used.unwrap_or([row, row, first, first]);
                used = Some([top.min(row), bottom.max(row), left.min(first), right.max(first + more)]);
            }
            _ => {}
        }
    }
    let filled = used.map_or(0, |[top, bottom, left, right]| (bottom - top + 1) * (right - left + 1));
    Ok(declared.max(filled))
}

/// MS-XLS §2.4.90; `None` when the end lies before the start.
fn declared_cells(data: &[u8]) -> Option<u64> {
    let record = Record { kind: DIMENSIONS, data };
    let (top, bottom, left, right) = match data.len() {
        10 => (u32::from(record.u16_at(0)?), u32::from(record.u16_at(2)?), record.u16_at(4)?, record.u16_at(6)?),
        _ => (record.u32_at(0)?, record.u32_at(4)?, record.u16_at(8)?, record.u16_at(10)?),
    };
    if bottom == 0 || right == 0 {
        return Some(1);
    }
    let left = if left > 0xFF || right < left { 0 } else { left };
    let rows = bottom.checked_sub(top)?;
    Some(u64::from(rows.max(1)) * u64::from(right.saturating_sub(left).max(1))).filter(|_| bottom > top && right > left)
}

/// One BIFF record.
struct Record<'a> {
    kind: u16,
    data: &'a [u8],
}

impl Record<'_> {
    fn u16_at(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.data.get(at..at + 2)?.try_into().ok()?))
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.data.get(at..at + 4)?.try_into().ok()?))
    }
}

/// The records of a stream, as far as they are whole.
fn records(mut stream: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = stream.split_at_checked(4)?;
        let kind = u16::from_le_bytes([*head.first()?, *head.get(1)?]);
        let len = usize::from(u16::from_le_bytes([*head.get(2)?, *head.get(3)?]));
        let (data, after) = rest.split_at_checked(len)?;
        stream = after;
        Some(Record { kind, data })
    })
}

//! Workbooks as departments make them: for people, with titles above and the header once a page.

use std::fs;
use std::io;

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Workbook, Worksheet, XlsxError};

use super::Writing;
use super::file::{OutboxFile, place, unfinished};

/// Fills a workbook and puts it into the outbox; `fill` answers the number of data rows, repeated headers included.
/// The same cells give the same bytes.
pub(super) fn write(
    writing: &mut Writing<'_>,
    (dataset, name): (&'static str, &str),
    fill: impl FnOnce(&mut Writing<'_>, &mut Workbook) -> Result<u64, XlsxError>,
) -> io::Result<()> {
    let path = place(writing.dir, dataset, name)?;
    let mut workbook = Workbook::new();
    let created = ExcelDateTime::parse_from_str("2026-11-20T18:00:00").map_err(io::Error::other)?;
    workbook.set_properties(&DocProperties::new().set_creation_datetime(&created));
    let rows = fill(writing, &mut workbook).map_err(io::Error::other)?;
    workbook.save(unfinished(&path)).map_err(io::Error::other)?;
    fs::rename(unfinished(&path), &path)?;
    let bytes = fs::metadata(&path)?.len();
    writing.files.push(OutboxFile { dataset, path, rows, bytes });
    Ok(())
}

/// Writes one line; empty cells stay empty.
pub(super) fn line(sheet: &mut Worksheet, line: u32, cells: &[String]) -> Result<(), XlsxError> {
    for (column, cell) in (0_u16..).zip(cells).filter(|(_, cell)| !cell.is_empty()) {
        sheet.write(line, column, cell.as_str())?;
    }
    Ok(())
}

//! .xlsx (ECMA-376), cell by cell.

use calamine::{Dimensions, Reader, Sheet, SheetType, SheetVisible, Xlsx, XlsxError};

use super::sheet::{Emitter, Stop, failed};
use super::value::text_of;
use super::{Ask, Bytes, archive};

/// Reads the asked sheet into `emitter`.
pub(super) fn read(mut bytes: Box<dyn Bytes>, ask: &Ask, emitter: &mut Emitter) -> Result<(), Stop> {
    archive::check(&mut bytes, ask.max_cells, ask.limits.row_bytes)?;
    let mut book: Xlsx<Box<dyn Bytes>> = Xlsx::new(bytes).map_err(|e| stop(&e, 0))?;
    let sheet = choose(book.sheets_metadata(), ask.sheet.as_deref())?;
    let mut cells = book.worksheet_cells_reader(&sheet).map_err(|e| stop(&e, 0))?;
    check_extent(cells.dimensions(), ask.max_cells)?;
    let mut buffer = String::new();
    let mut row = 0;
    while let Some(cell) = cells.next_cell().map_err(|e| stop(&e, row))? {
        let (index, column) = cell.get_position();
        row = u64::from(index) + 1;
        emitter.cell(row, column as usize, text_of(cell.get_value(), &mut buffer))?;
    }
    Ok(())
}

/// The sheet called `name`, or the first visible one with cells.
pub(super) fn choose(sheets: &[Sheet], name: Option<&str>) -> Result<String, Stop> {
    let wanted = |s: &&Sheet| match name {
        Some(name) => s.name == name,
        None => s.visible == SheetVisible::Visible && s.typ == SheetType::WorkSheet,
    };
    match (sheets.iter().find(wanted), name) {
        (Some(sheet), _) => Ok(sheet.name.clone()),
        (None, Some(name)) => {
            let all: Vec<&str> = sheets.iter().map(|s| s.name.as_str()).collect();
            Err(failed("HL0316", format!("there is no sheet {name}; the workbook has {}", all.join(", "))))
        }
        (None, None) => Err(failed("HL0316", "there is no visible sheet")),
    }
}

/// `HL0315` when the declared rectangle has more than `max_cells` cells.
fn check_extent(d: Dimensions, max_cells: u64) -> Result<(), Stop> {
    let side = |from: u32, to: u32| u64::from(to.saturating_sub(from)) + 1;
    let cells = side(d.start.0, d.end.0).saturating_mul(side(d.start.1, d.end.1));
    if cells > max_cells {
        return Err(failed("HL0315", format!("the sheet declares {cells} cells, the limit is {max_cells}")));
    }
    Ok(())
}

/// The parser's own messages can quote cells, so only their kind is passed on.
fn stop(e: &XlsxError, row: u64) -> Stop {
    match e {
        XlsxError::Password => failed("HL0321", "the workbook is protected by a password"),
        XlsxError::WorksheetNotFound(_) | XlsxError::NotAWorksheet(_) => {
            failed("HL0316", "the sheet is listed in the workbook but is not there, or holds no cells")
        }
        XlsxError::FileNotFound(_) | XlsxError::RelationshipNotFound => {
            failed("HL0310", "this is an archive, but a workbook's parts are missing")
        }
        _ => failed("HL0317", format!("the workbook is damaged or cut off after row {row}")),
    }
}

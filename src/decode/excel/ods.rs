//! .ods (OpenDocument 1.3, part 3 §9 and §19), row by row.
//!
//! Repeated cells and rows (`number-columns-repeated`) count as often as they stand for, against the same limit.

use std::io::{BufReader, Read, Seek};

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use zip::ZipArchive;

use super::sheet::{COLUMNS, Emitter, Stop, failed};
use super::value::number;
use super::{Ask, Bytes, archive};
use crate::decode::xml::local_name;

/// Most of the manifest that is looked at.
const MANIFEST: u64 = 1 << 20;
/// Blanks that one `text:s` may stand for.
const MOST_BLANKS: usize = 1024;

/// Reads the asked sheet into `emitter`.
pub(super) fn read(mut bytes: Box<dyn Bytes>, ask: &Ask, emitter: &mut Emitter) -> Result<(), Stop> {
    archive::check(&mut bytes, ask.max_cells, ask.limits.row_bytes)?;
    let mut archive = ZipArchive::new(bytes).map_err(|_| archive::damaged())?;
    refuse_protected(&mut archive)?;
    let content = archive.by_name("content.xml").map_err(|_| archive::damaged())?;
    let mut reader = Reader::from_reader(BufReader::new(content));
    reader.config_mut().expand_empty_elements = true;
    let mut document =
        Document { ask, emitter, hidden: Vec::new(), style: None, names: Vec::new(), sheet: None, row: 1 };
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer).map_err(|_| archive::damaged())?;
        if document.event(event)? {
            return document.end();
        }
    }
}

fn refuse_protected<R: Read + Seek>(archive: &mut ZipArchive<R>) -> Result<(), Stop> {
    let mut manifest = Vec::new();
    if let Ok(part) = archive.by_name("META-INF/manifest.xml") {
        part.take(MANIFEST).read_to_end(&mut manifest).map_err(|_| archive::damaged())?;
    }
    match memchr::memmem::find(&manifest, b"encryption-data") {
        Some(_) => Err(failed("HL0321", "the workbook is protected by a password")),
        None => Ok(()),
    }
}

/// Where reading stands in the document.
struct Document<'a> {
    ask: &'a Ask,
    emitter: &'a mut Emitter,
    /// Table styles that hide their sheet, and the style being defined.
    hidden: Vec<String>,
    style: Option<String>,
    /// Sheets seen, for the message.
    names: Vec<String>,
    sheet: Option<SheetState>,
    /// Next sheet row, from 1.
    row: u64,
}

/// The sheet being read.
#[derive(Default)]
struct SheetState {
    repeat: u64,
    cells: Vec<Cell>,
    cell: Option<Cell>,
    /// Bytes of text shown in the row.
    text: usize,
    paragraphs: usize,
    in_paragraph: bool,
    /// Depth inside a note, whose text is not the cell's.
    note: usize,
}

struct Cell {
    repeat: u64,
    /// Typed value, which wins over the text shown.
    value: Option<String>,
    error: bool,
    shown: String,
}

impl Document<'_> {
    /// Takes one event; true when the asked sheet is complete or the document has ended.
    fn event(&mut self, event: Event<'_>) -> Result<bool, Stop> {
        match event {
            Event::Start(e) => self.start(&e)?,
            Event::End(e) => return self.finish(local_name(e.name().as_ref())),
            Event::Text(e) => self.text(&e.xml10_content()),
            Event::CData(e) => self.text(&e.xml10_content()),
            Event::GeneralRef(e) => match e.resolve_char_ref() {
                Ok(Some(c)) => self.text(c.encode_utf8(&mut [0; 4])),
                _ => self.text(resolve_predefined_entity(&e).ok_or_else(archive::damaged)?),
            },
            Event::DocType(_) => return Err(failed("HL0318", "a document type declaration, which is refused")),
            Event::Eof => return Ok(true),
            Event::Empty(_) | Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
        }
        Ok(false)
    }

    fn start(&mut self, e: &BytesStart<'_>) -> Result<(), Stop> {
        let name = e.name();
        let name = local_name(name.as_ref());
        if self.sheet.is_none() {
            match name {
                "style" => self.style = attribute(e, "name")?,
                "table-properties" if attribute(e, "display")?.as_deref() == Some("false") => {
                    self.hidden.extend(self.style.take());
                }
                "table" => self.start_table(e)?,
                _ => {}
            }
            return Ok(());
        }
        let Some(sheet) = &mut self.sheet else { return Ok(()) };
        match name {
            "annotation" => sheet.note += 1,
            _ if sheet.note > 0 => {}
            "table-row" => {
                sheet.repeat = repeated(e, "number-rows-repeated")?;
                sheet.cells.clear();
                sheet.text = 0;
            }
            "table-cell" | "covered-table-cell" => {
                sheet.cell = Some(cell(e)?);
                sheet.paragraphs = 0;
            }
            "p" => {
                if sheet.paragraphs > 0 {
                    self.text_always("\n");
                }
                if let Some(sheet) = &mut self.sheet {
                    sheet.paragraphs += 1;
                    sheet.in_paragraph = true;
                }
            }
            "s" => {
                let blanks = usize::try_from(repeated(e, "c")?).unwrap_or(1).min(MOST_BLANKS);
                self.text(&" ".repeat(blanks));
            }
            "tab" => self.text("\t"),
            "line-break" => self.text("\n"),
            _ => {}
        }
        Ok(())
    }

    fn start_table(&mut self, e: &BytesStart<'_>) -> Result<(), Stop> {
        let name = attribute(e, "name")?.unwrap_or_default();
        let style = attribute(e, "style-name")?;
        let visible = style.is_none_or(|s| !self.hidden.contains(&s));
        if self.ask.sheet.as_deref().map_or(visible, |asked| asked == name) {
            self.sheet = Some(SheetState::default());
        }
        self.names.push(name);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.sheet.as_ref().is_some_and(|s| s.in_paragraph) {
            self.text_always(text);
        }
    }

    fn text_always(&mut self, text: &str) {
        let limit = self.ask.limits.row_bytes;
        if let Some(SheetState { cell: Some(cell), note: 0, text: row_text, .. }) = &mut self.sheet
            && *row_text <= limit
        {
            *row_text += text.len();
            cell.shown.push_str(text);
        }
    }

    fn finish(&mut self, name: &str) -> Result<bool, Stop> {
        let Some(sheet) = &mut self.sheet else { return Ok(false) };
        match name {
            "annotation" => sheet.note = sheet.note.saturating_sub(1),
            _ if sheet.note > 0 => {}
            "p" => sheet.in_paragraph = false,
            "table-cell" | "covered-table-cell" => {
                sheet.cells.extend(sheet.cell.take());
                if sheet.cells.len() > COLUMNS {
                    return Err(failed("HL0315", format!("row {} has more than {COLUMNS} cells", self.row)));
                }
            }
            "table-row" => self.end_row()?,
            "table" => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn end_row(&mut self) -> Result<(), Stop> {
        let Some(sheet) = &mut self.sheet else { return Ok(()) };
        let blank = sheet.cells.iter().all(|c| c.text().trim().is_empty());
        let rows = if blank { 0 } else { sheet.repeat };
        for offset in 0..rows {
            let mut column = 0usize;
            for cell in &sheet.cells {
                let text = cell.text();
                let times = if text.is_empty() { 0 } else { cell.repeat };
                for repeat in 0..times {
                    let at = column.saturating_add(usize::try_from(repeat).unwrap_or(usize::MAX));
                    self.emitter.cell(self.row + offset, at, text)?;
                }
                column = column.saturating_add(usize::try_from(cell.repeat).unwrap_or(usize::MAX));
            }
        }
        self.row = self.row.saturating_add(sheet.repeat);
        Ok(())
    }

    fn end(self) -> Result<(), Stop> {
        match (&self.sheet, &self.ask.sheet) {
            (Some(_), _) => Ok(()),
            (None, Some(name)) => {
                let all = self.names.join(", ");
                Err(failed("HL0316", format!("there is no sheet {name}; the workbook has {all}")))
            }
            (None, None) => Err(failed("HL0316", "there is no visible sheet")),
        }
    }
}

impl Cell {
    fn text(&self) -> &str {
        match &self.value {
            _ if self.error => "",
            Some(value) => value,
            None => &self.shown,
        }
    }
}

fn cell(e: &BytesStart<'_>) -> Result<Cell, Stop> {
    let mut cell = Cell { repeat: 1, value: None, error: false, shown: String::new() };
    let mut numeric = false;
    for a in e.attributes().with_checks(false) {
        let a = a.map_err(|_| archive::damaged())?;
        let text = a.normalized_value(XmlVersion::Explicit1_0).map_err(|_| archive::damaged())?;
        match local_name(a.key.as_ref()) {
            "number-columns-repeated" => cell.repeat = text.parse().map_err(|_| archive::damaged())?,
            "value" => {
                numeric = true;
                cell.value = Some(text.into_owned());
            }
            "date-value" | "time-value" | "boolean-value" | "string-value" => cell.value = Some(text.into_owned()),
            "value-type" => cell.error |= text == "error",
            _ => {}
        }
    }
    if numeric && let Some(value) = cell.value.as_ref().and_then(|v| v.parse::<f64>().ok()) {
        cell.value = Some(number(value, &mut String::new()).to_owned());
    }
    Ok(cell)
}

fn attribute(e: &BytesStart<'_>, name: &str) -> Result<Option<String>, Stop> {
    for a in e.attributes().with_checks(false) {
        let a = a.map_err(|_| archive::damaged())?;
        if local_name(a.key.as_ref()) == name {
            let text = a.normalized_value(XmlVersion::Explicit1_0).map_err(|_| archive::damaged())?;
            return Ok(Some(text.into_owned()));
        }
    }
    Ok(None)
}

fn repeated(e: &BytesStart<'_>, name: &str) -> Result<u64, Stop> {
    match attribute(e, name)? {
        Some(count) => count.parse().map_err(|_| archive::damaged()),
        None => Ok(1),
    }
}

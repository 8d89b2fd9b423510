//! Tables of dBASE III and IV, FoxBASE, FoxPro and Visual FoxPro (.dbf).
//!
//! Decides: what the header says about the rows, which encoding their texts are in, which rows are deleted (they are
//! dropped and counted). Memo files are not read: their cells are null. Must not know: contracts beyond column names.
//! Guarantees: a table that declares more rows than the file holds is refused before its first row, with both numbers;
//! one row is in memory at a time; a stopped table is resumed at the row.
//!
//! The encoding, in order of trust: what the connector says, the `.cpg` beside the file, the language driver in the
//! header (byte 29; 00 says nothing, and does so in most tables of Chinese origin), what the bytes are valid in.

mod field;

use super::chunk::Chunk;
use super::csv::refuse_duplicates;
use super::encoding::{Charset, Decided, decide_texts};
use super::raw::Raw;
use super::records::Records;
use super::{DecodeError, Header, Input, Job, Resume, Wanted, broken};
use crate::config::Encoding;
use field::{Field, Nulls};

/// Bytes of the header before the fields, and of the description of one field.
const BLOCK: usize = 32;
/// Rows looked at to find the encoding.
const SAMPLE: usize = 20_000;

/// See the module.
pub(super) struct Dbf {
    raw: Raw,
    charset: Charset,
    header: Header,
    wanted: Vec<Wanted>,
    fields: Vec<Field>,
    nulls: Nulls,
    /// For each wanted column, its field.
    field_of: Vec<Option<usize>>,
    /// Bytes of a row.
    width: usize,
    rows: u64,
    declared: u64,
    first: u64,
}

/// What stands in the first 32 bytes.
struct Head {
    rows: u64,
    header: usize,
    width: usize,
    driver: u8,
    foxpro: bool,
}

impl Dbf {
    /// Reads the header. Errors: `HL0310` no such table, `HL0312` a name twice, `HL0313` an encoding that is neither
    /// UTF-8 nor GB 18030, `HL0317` cut off.
    pub(super) fn open(job: Job, encoding: Encoding) -> Result<Self, DecodeError> {
        let input = job.input.as_ref();
        let mut raw = Raw::open(job.input.clone(), 0, None)?;
        let head = head(&mut raw)?;
        if !raw.need(head.header)? {
            return Err(broken(input, "HL0317", "the file ends inside its header"));
        }
        let described = raw.unread().get(BLOCK..head.header).unwrap_or_default().to_vec();
        let mut fields = field::fields(&described, head.width, head.foxpro)
            .ok_or_else(|| broken(input, "HL0317", "the header's fields do not make up a row"))?;
        if fields.len() > job.limits.columns {
            let message = format!("{} columns, the limit is {}", fields.len(), job.limits.columns);
            return Err(broken(input, "HL0315", message));
        }
        check_length(input, &head)?;
        raw.consume(head.header, 0);
        let decided = settle(input, encoding, &head, (&mut raw, &fields))?;
        for field in &mut fields {
            let name = decided.charset.strict(&field.raw_name);
            let unreadable =
                || broken(input, "HL0311", format!("a column's name is not valid {}", decided.charset.name()));
            field.name = name.ok_or_else(unreadable)?.trim().to_owned();
        }
        let nulls = Nulls::of(&fields);
        let own = || fields.iter().filter(|f| !f.is_system());
        let names: Vec<String> = own().map(|f| f.name.clone()).collect();
        let kinds = own().map(field::Field::kind).collect();
        refuse_duplicates(input, &names)?;
        let field_of =
            job.wanted.iter().map(|w| fields.iter().position(|f| f.name == w.name && !f.is_system())).collect();
        let first = head.header as u64;
        Ok(Self {
            raw: Raw::open(job.input.clone(), first, job.resume)?,
            charset: decided.charset,
            header: Header { columns: Some(names), kinds, encoding: decided.evidence },
            rows: job.rows(),
            field_of,
            nulls,
            fields,
            width: head.width,
            declared: head.rows,
            first,
            wanted: job.wanted,
        })
    }

    fn take_row(&self, chunk: &mut Chunk) {
        let place = self.raw.place(self.rows);
        let row = self.raw.unread().get(..self.width).unwrap_or_default();
        match row.first() {
            Some(b'*') => return chunk.drop_row(),
            Some(b' ') => {}
            _ => {
                let detail = "the byte before a row is neither blank nor an asterisk".to_owned();
                return chunk.set_aside(place, row, "bad_record", detail);
            }
        }
        let nulls = self.nulls.of_row(row);
        let mut cells = Vec::with_capacity(self.field_of.len());
        for field in self.field_of.iter().map(|at| at.and_then(|i| self.fields.get(i).map(|f| (i, f)))) {
            let cell = field.map(|(i, f)| f.cell(row, self.charset, nulls.get(i).copied().unwrap_or_default()));
            match cell.transpose() {
                Ok(cell) => cells.push(cell.flatten()),
                Err(at) => {
                    let byte = place.byte + at as u64;
                    let detail = format!("byte {byte} of the file is not valid {}", self.charset.name());
                    return chunk.set_aside(place, row, self.charset.fault_code(), detail);
                }
            }
        }
        for (column, cell) in cells.iter().enumerate() {
            chunk.cell(column, cell.as_deref());
        }
        chunk.end_row(place, row);
    }
}

impl Records for Dbf {
    fn header(&self) -> &Header {
        &self.header
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn step(&mut self, chunk: &mut Chunk) -> Result<bool, DecodeError> {
        if self.rows >= self.declared {
            return Ok(false);
        }
        if !self.raw.need(self.width)? {
            let message = format!("the file ends after {} of {} declared rows", self.rows, self.declared);
            return Err(broken(self.raw.input(), "HL0317", message));
        }
        self.rows += 1;
        self.take_row(chunk);
        self.raw.consume(self.width, 1);
        Ok(true)
    }

    fn resume(&self) -> Resume {
        let at = self.raw.resume(self.rows);
        if at.byte <= self.first { Resume { row: self.rows, ..at } } else { at }
    }
}

fn head(raw: &mut Raw) -> Result<Head, DecodeError> {
    let whole = raw.need(BLOCK)?;
    let input = raw.input();
    let bytes = raw.unread();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let version = at(0);
    let foxpro = matches!(version, 0x30..=0x32);
    let known = matches!(version, 0x02 | 0x03 | 0x43 | 0x63 | 0x83 | 0x8B | 0xCB | 0xF5 | 0xFB) || foxpro;
    if version == 0x04 || version == 0x8C {
        return Err(broken(input, "HL0310", "this is a table of dBASE 7; export it as dBASE IV"));
    }
    if !known || !whole {
        return Err(broken(input, "HL0310", "this is not a .dbf table"));
    }
    let head = Head {
        rows: u64::from(u32::from_le_bytes([at(4), at(5), at(6), at(7)])),
        header: usize::from(u16::from_le_bytes([at(8), at(9)])),
        width: usize::from(u16::from_le_bytes([at(10), at(11)])),
        driver: at(29),
        foxpro,
    };
    if at(15) == 1 {
        return Err(broken(input, "HL0321", "the table is encrypted"));
    }
    if head.header <= BLOCK || head.width == 0 {
        return Err(broken(input, "HL0310", "this is not a .dbf table: its header has no fields"));
    }
    Ok(head)
}

fn check_length(input: &dyn Input, head: &Head) -> Result<(), DecodeError> {
    let present = input.len().saturating_sub(head.header as u64) / head.width as u64;
    if present >= head.rows {
        return Ok(());
    }
    let message = format!("the header declares {} rows, the file holds {present}: it is cut off", head.rows);
    Err(broken(input, "HL0317", message))
}

/// Which encoding texts are in, and why.
fn settle(
    input: &dyn Input,
    encoding: Encoding,
    head: &Head,
    (raw, fields): (&mut Raw, &[Field]),
) -> Result<Decided, DecodeError> {
    let decided = |charset, evidence: String| Ok(Decided { charset, mark: 0, evidence });
    match encoding {
        Encoding::Utf8 => return decided(Charset::Utf8, "utf-8 (declared)".to_owned()),
        Encoding::Gb18030 => return decided(Charset::Gb18030, "gb18030 (declared)".to_owned()),
        Encoding::Auto => {}
    }
    let beside = input.beside("cpg").map_err(|e| super::read_error(input, e))?;
    if let Some(label) = beside.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_ascii_lowercase()) {
        let charset = by_page(&label).ok_or_else(|| {
            broken(input, "HL0313", "the .cpg beside the file names an encoding that is neither UTF-8 nor GB 18030")
        })?;
        return decided(charset, format!("{} (.cpg)", charset.name()));
    }
    match head.driver {
        0x4D | 0x7A => return decided(Charset::Gb18030, format!("gb18030 (language driver {:02X})", head.driver)),
        0x4F | 0x78 => {
            let message =
                format!("the language driver {:02X} says Big5; export the table as GBK or UTF-8", head.driver);
            return Err(broken(input, "HL0313", message));
        }
        _ => {}
    }
    let mut sample = Vec::new();
    for _ in 0..SAMPLE.min(usize::try_from(head.rows).unwrap_or(SAMPLE)) {
        if !raw.need(head.width)? {
            break;
        }
        let row = raw.unread().get(..head.width).unwrap_or_default();
        sample.extend(fields.iter().filter(|f| f.is_text()).map(|f| f.bytes(row).to_vec()));
        raw.consume(head.width, 1);
        if sample.iter().map(Vec::len).sum::<usize>() > 4 << 20 {
            break;
        }
    }
    let names = fields.iter().map(|f| f.raw_name.as_slice());
    Ok(decide_texts(names.chain(sample.iter().map(Vec::as_slice))))
}

/// The encoding that a .cpg names.
fn by_page(label: &str) -> Option<Charset> {
    match label {
        "utf-8" | "utf8" | "65001" | "cp65001" => Some(Charset::Utf8),
        "gbk" | "gb2312" | "gb18030" | "936" | "cp936" | "54936" | "oem 936" | "ansi 936" | "ms936" => {
            Some(Charset::Gb18030)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

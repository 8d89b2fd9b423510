//! Fields of a .dbf table: their description and the text of their cells.
//!
//! Text and numbers lose the blanks that pad them; dates stay `20200731`; `?` of a logical field, blank dates and memos
//! are null; the binary types of FoxPro become text (`I B Y T`). A number that did not fit its field (`****`) stays as
//! it is: its conversion fails and says so.

use std::borrow::Cow;

use super::super::encoding::Charset;

/// One field.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    /// Name as it stands in the header.
    pub(super) raw_name: Vec<u8>,
    /// The same as text.
    pub(super) name: String,
    kind: u8,
    /// Where its bytes begin in a row.
    start: usize,
    len: usize,
    flags: u8,
}

impl Field {
    /// Type and width, as dBASE lists them: `C(60)`.
    pub(super) fn kind(&self) -> String {
        format!("{}({})", char::from(self.kind), self.len)
    }
}

/// What the null flags of a row say about one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags {
    null: bool,
    /// The last byte of the field is its length.
    short: bool,
}

/// The fields described in `bytes`, if they make up a row of `width` bytes.
pub(super) fn fields(bytes: &[u8], width: usize, foxpro: bool) -> Option<Vec<Field>> {
    let described = || bytes.chunks(32).take_while(|b| b.first() != Some(&0x0D) && b.len() == 32);
    let lay = |long: bool| {
        let mut start = 1;
        let mut all = Vec::new();
        for block in described() {
            let at = |i: usize| block.get(i).copied().unwrap_or(0);
            let name = block.get(..11)?.split(|b| *b == 0).next()?.to_vec();
            let kind = at(11).to_ascii_uppercase();
            // Texts of more than 255 bytes keep the rest of their length where numbers keep their decimals.
            let len = usize::from(at(16)) + if long && kind == b'C' { usize::from(at(17)) << 8 } else { 0 };
            let flags = if foxpro { at(18) } else { 0 };
            all.push(Field { raw_name: name, name: String::new(), kind, start, len, flags });
            start += len;
        }
        (start == width && !all.is_empty()).then_some(all)
    };
    lay(false).or_else(|| lay(true))
}

impl Field {
    /// A field of the program's own, not the department's.
    pub(super) fn is_system(&self) -> bool {
        self.kind == b'0' || self.flags & 1 != 0
    }

    /// Whether its bytes are text.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.kind, b'C' | b'V') && self.flags & 4 == 0
    }

    /// Its bytes in a row.
    pub(super) fn bytes<'r>(&self, row: &'r [u8]) -> &'r [u8] {
        row.get(self.start..self.start + self.len).unwrap_or_default()
    }

    /// Its cell; the error is the offset in the row of a byte that is not in the encoding.
    pub(super) fn cell<'r>(
        &self,
        row: &'r [u8],
        charset: Charset,
        flags: Flags,
    ) -> Result<Option<Cow<'r, str>>, usize> {
        if flags.null {
            return Ok(None);
        }
        let bytes = self.bytes(row);
        match self.kind {
            b'M' | b'G' | b'P' | b'Q' | b'W' => Ok(None),
            b'I' | b'+' if self.len == 4 => Ok(integer(bytes, self.kind == b'+').map(Cow::Owned)),
            b'B' | b'O' if self.len == 8 => Ok(double(bytes).map(Cow::Owned)),
            b'Y' if self.len == 8 => Ok(currency(bytes).map(Cow::Owned)),
            b'T' | b'@' if self.len == 8 => Ok(moment(bytes).map(Cow::Owned)),
            b'L' => Ok(self.text(bytes, charset)?.filter(|text| !text.is_empty() && text != "?")),
            b'D' => Ok(self.text(bytes, charset)?.filter(|text| !text.is_empty() && text != "00000000")),
            b'V' if flags.short => {
                let len = usize::from(bytes.last().copied().unwrap_or(0)).min(bytes.len());
                self.text(bytes.get(..len).unwrap_or_default(), charset)
            }
            _ => self.text(bytes, charset),
        }
    }

    /// Blanks and NULs that pad a cell are no part of it.
    fn text<'r>(&self, bytes: &'r [u8], charset: Charset) -> Result<Option<Cow<'r, str>>, usize> {
        let end = bytes.iter().rposition(|b| !matches!(b, b' ' | 0)).map_or(0, |i| i + 1);
        let bytes = bytes.get(..end).unwrap_or_default();
        let bytes = bytes.get(bytes.iter().take_while(|b| **b == b' ').count()..).unwrap_or_default();
        match charset.strict(bytes) {
            Some(text) => Ok(Some(text)),
            None => Err(self.start + charset.first_fault(bytes).map_or(0, |(_, at)| at)),
        }
    }
}

/// Which bits of `_NullFlags` belong to which field (Visual FoxPro).
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Nulls {
    flags: Option<Field>,
    /// For each field, its bit for a short length and its bit for null.
    bits: Vec<(Option<usize>, Option<usize>)>,
}

impl Nulls {
    /// In the order of the fields, one bit for each of variable length and one for each that may be null.
    pub(super) fn of(fields: &[Field]) -> Self {
        let flags = fields.iter().find(|f| f.kind == b'0').cloned();
        let mut next = 0;
        let mut bit = |wanted: bool| {
            wanted.then(|| {
                next += 1;
                next - 1
            })
        };
        let bits = fields.iter().map(|f| (bit(matches!(f.kind, b'V' | b'Q')), bit(f.flags & 2 != 0))).collect();
        Self { flags, bits }
    }

    /// What they say in this row, field by field; nothing when the table has none.
    pub(super) fn of_row(&self, row: &[u8]) -> Vec<Flags> {
        let Some(flags) = &self.flags else { return Vec::new() };
        let bytes = flags.bytes(row);
        let set =
            |bit: Option<usize>| bit.is_some_and(|b| bytes.get(b / 8).is_some_and(|byte| byte >> (b % 8) & 1 == 1));
        self.bits.iter().map(|(short, null)| Flags { null: set(*null), short: set(*short) }).collect()
    }
}

fn integer(bytes: &[u8], big: bool) -> Option<String> {
    let bytes: [u8; 4] = bytes.try_into().ok()?;
    Some(if big { i32::from_be_bytes(bytes) } else { i32::from_le_bytes(bytes) }.to_string())
}

fn double(bytes: &[u8]) -> Option<String> {
    let number = f64::from_le_bytes(bytes.try_into().ok()?);
    number.is_finite().then(|| number.to_string())
}

/// Ten-thousandths.
fn currency(bytes: &[u8]) -> Option<String> {
    let units = i64::from_le_bytes(bytes.try_into().ok()?);
    let (whole, rest) = (units.unsigned_abs() / 10_000, units.unsigned_abs() % 10_000);
    Some(format!("{}{whole}.{rest:04}", if units < 0 { "-" } else { "" }))
}

/// A Julian day and milliseconds of the day.
fn moment(bytes: &[u8]) -> Option<String> {
    const JULIAN_1970: i64 = 2_440_588;
    let part = |range: std::ops::Range<usize>| Some(i32::from_le_bytes(bytes.get(range)?.try_into().ok()?));
    let (day, millis) = (i64::from(part(0..4)?), i64::from(part(4..8)?));
    if day == 0 {
        return None;
    }
    // Programs that compute with fractions of days are a millisecond off.
    let seconds = (millis + 500).div_euclid(1000);
    let at = chrono::DateTime::from_timestamp((day - JULIAN_1970).checked_mul(86_400)?.checked_add(seconds)?, 0)?;
    Some(at.format("%Y-%m-%dT%H:%M:%S").to_string())
}

//! Rows as PostgreSQL's binary COPY takes them.
//!
//! Source: PostgreSQL 15 documentation, `COPY`, "Binary Format"; the layout of a numeric is that of `numeric_recv`.

use sqlx::PgConnection;

use super::super::Result;
use super::connect::refused;
use crate::record::{DECIMAL_SCALE, Value};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's first day.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Bytes that are sent at a time: the server reads the first while the next are still on their way.
const PIECE: usize = 128 << 10;

/// Rows in the making.
pub(super) struct Rows {
    bytes: Vec<u8>,
    columns: i16,
    count: usize,
}

impl Rows {
    /// Of this many columns.
    pub(super) fn new(columns: usize) -> Self {
        Self::sized(columns, 0)
    }

    /// Of this many columns, and about so many bytes.
    pub(super) fn sized(columns: usize, about: usize) -> Self {
        let mut bytes = Vec::with_capacity(about);
        bytes.extend_from_slice(SIGNATURE);
        bytes.extend_from_slice(&[0; 8]); // no flags, no header extension
        Self { bytes, columns: i16::try_from(columns).unwrap_or(i16::MAX), count: 0 }
    }

    /// The next row begins.
    pub(super) fn row(&mut self) {
        self.count += 1;
        self.bytes.extend_from_slice(&self.columns.to_be_bytes());
    }

    pub(super) fn null(&mut self) {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    pub(super) fn raw(&mut self, cell: &[u8]) {
        let length = i32::try_from(cell.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(cell);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.raw(text.as_bytes());
    }

    pub(super) fn text_or_null(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    pub(super) fn bigint(&mut self, n: i64) {
        self.raw(&n.to_be_bytes());
    }

    /// A timestamptz, from microseconds since 1970.
    pub(super) fn instant(&mut self, micros: i64) {
        self.bigint(micros.saturating_sub(EPOCH_MICROS));
    }

    pub(super) fn value(&mut self, value: Option<&Value>) {
        match value {
            None => self.null(),
            Some(Value::Text(text)) => self.text(text),
            Some(Value::Integer(n)) => self.bigint(*n),
            Some(Value::Decimal(n)) => self.numeric(*n),
            Some(Value::Date(days)) => self.raw(&days.saturating_sub(EPOCH_DAYS).to_be_bytes()),
            Some(Value::Timestamp(micros)) => self.instant(*micros),
            Some(Value::Boolean(b)) => self.raw(&[u8::from(*b)]),
        }
    }

    /// Scaled by 10⁴, so that the fraction is exactly one digit of base 10⁴.
    fn numeric(&mut self, scaled: i128) {
        const { assert!(DECIMAL_SCALE == 4, "one base-10000 digit of fraction") };
        let mut digits: Vec<i16> = Vec::with_capacity(8);
        let mut rest = scaled.unsigned_abs();
        while rest > 0 {
            digits.push(i16::try_from(rest % 10_000).unwrap_or(0));
            rest /= 10_000;
        }
        let weight = i16::try_from(digits.len()).unwrap_or(0) - 2;
        digits.reverse();
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let (count, weight) = (digits.len(), if digits.is_empty() { 0 } else { weight });
        let sign: u16 = if scaled < 0 { 0x4000 } else { 0 };
        let length = i32::try_from(8 + 2 * count).unwrap_or(8);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&i16::try_from(count).unwrap_or(0).to_be_bytes());
        self.bytes.extend_from_slice(&weight.to_be_bytes());
        self.bytes.extend_from_slice(&sign.to_be_bytes());
        self.bytes.extend_from_slice(&i16::from(DECIMAL_SCALE).to_be_bytes());
        for digit in digits {
            self.bytes.extend_from_slice(&digit.to_be_bytes());
        }
    }

    /// A JSON text as jsonb takes it.
    pub(super) fn jsonb(&mut self, json: &str) {
        const VERSION: u8 = 1;
        let length = i32::try_from(json.len() + 1).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.push(VERSION);
        self.bytes.extend_from_slice(json.as_bytes());
    }

    /// All of them, for `table (columns)`.
    pub(super) fn into_table(mut self, into: String) -> Copied {
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        Copied { bytes: if self.count == 0 { Vec::new() } else { self.bytes }, into }
    }
}

/// Rows ready to be copied into their table.
pub(super) struct Copied {
    /// Empty when there are no rows.
    bytes: Vec<u8>,
    into: String,
}

impl Copied {
    /// Sends them.
    pub(super) async fn send(self, conn: &mut PgConnection) -> Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let sql = format!("copy {} from stdin (format binary)", self.into);
        let mut copy = conn.copy_in_raw(&sql).await.map_err(refused)?;
        for piece in self.bytes.chunks(PIECE) {
            if let Err(error) = copy.send(piece).await {
                copy.abort("not sent whole").await.ok();
                return Err(refused(error));
            }
        }
        copy.finish().await.map(|_| ()).map_err(refused)
    }
}

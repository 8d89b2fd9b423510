//! Values and their types as registers, claims and batches hold them.
//!
//! Pure data. Mapping produces Arrow columns of these types, linking compares them, the store keeps them in typed
//! columns, and a batch writes them as Avro. A value's canonical text ([`Value::to_text`]) is the same everywhere.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of one register field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Unicode text.
    Text,
    /// 64-bit signed integer.
    Integer,
    /// Exact decimal with four fraction digits and at most 24 digits in all; money in 元.
    Decimal,
    /// Calendar date without time or zone.
    Date,
    /// Instant in microseconds since 1970-01-01T00:00:00Z, shown in the installation's zone.
    Timestamp,
    /// True or false.
    Boolean,
}

impl FieldType {
    /// All types, in the order error messages list them.
    pub const ALL: [Self; 6] = [Self::Text, Self::Integer, Self::Decimal, Self::Date, Self::Timestamp, Self::Boolean];

    /// The type of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name users write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Boolean => "boolean",
        }
    }

    /// The Arrow type that columns of this field type have everywhere between mapping, store and batch.
    pub fn arrow(self) -> arrow::datatypes::DataType {
        use arrow::datatypes::{DataType, TimeUnit};
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Decimal => DataType::Decimal128(DECIMAL_PRECISION, DECIMAL_SCALE),
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            Self::Boolean => DataType::Boolean,
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Digits of a [`FieldType::Decimal`] in all.
pub const DECIMAL_PRECISION: u8 = 24;
/// Fraction digits of a [`FieldType::Decimal`].
pub const DECIMAL_SCALE: i8 = 4;

/// One cell of a register, claim or batch; `None` outside means "nothing claimed".
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// Unicode text.
    Text(String),
    /// Integer.
    Integer(i64),
    /// Decimal, scaled by 10⁴.
    Decimal(i128),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since the epoch, UTC.
    Timestamp(i64),
    /// Truth value.
    Boolean(bool),
}

impl Value {
    /// The type of this value.
    pub const fn field_type(&self) -> FieldType {
        match self {
            Self::Text(_) => FieldType::Text,
            Self::Integer(_) => FieldType::Integer,
            Self::Decimal(_) => FieldType::Decimal,
            Self::Date(_) => FieldType::Date,
            Self::Timestamp(_) => FieldType::Timestamp,
            Self::Boolean(_) => FieldType::Boolean,
        }
    }

    /// Canonical text: `5000000`, `0.1`, `2015-07-03`, `2026-10-01T02:30:00Z`, `true`.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(n) => n.to_string(),
            Self::Decimal(scaled) => decimal_text(*scaled),
            Self::Date(days) => date_text(*days),
            Self::Timestamp(micros) => timestamp_text(*micros),
            Self::Boolean(b) => b.to_string(),
        }
    }

    /// Reads canonical text back; `None` when it is not of this type.
    pub fn from_text(kind: FieldType, text: &str) -> Option<Self> {
        Some(match kind {
            FieldType::Text => Self::Text(text.to_owned()),
            FieldType::Integer => Self::Integer(text.parse().ok()?),
            FieldType::Decimal => Self::Decimal(decimal_from_text(text)?),
            FieldType::Date => Self::Date(text.parse::<chrono::NaiveDate>().ok()?.to_epoch_days()),
            FieldType::Timestamp => {
                Self::Timestamp(chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
            }
            FieldType::Boolean => Self::Boolean(text.parse().ok()?),
        })
    }
}

/// A decimal scaled by 10⁴ without superfluous zeros.
pub fn decimal_text(scaled: i128) -> String {
    let unit = 10_i128.pow(DECIMAL_SCALE.unsigned_abs().into());
    let (whole, fraction) = (scaled / unit, (scaled % unit).unsigned_abs());
    let sign = if scaled < 0 && whole == 0 { "-" } else { "" };
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let digits = format!("{fraction:04}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}

/// Plain decimal text (`-12.5`) scaled by 10⁴; `None` when it is not a number, has more than four fraction digits
/// or more than 24 digits in all.
pub fn decimal_from_text(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 20 || fraction.len() > 4 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let scaled: i128 = format!("{whole}{fraction:0<4}").parse().ok()?;
    Some(if negative { -scaled } else { scaled })
}

fn date_text(days: i32) -> String {
    chrono::NaiveDate::from_epoch_days(days).map_or_else(|| format!("day {days}"), |date| date.to_string()) // ISO 8601, written without a format to read
}

fn timestamp_text(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros)
        .map_or_else(|| format!("micros {micros}"), |at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_reads_back() {
        for (kind, text) in [
            (FieldType::Decimal, "5000000"),
            (FieldType::Decimal, "-0.5"),
            (FieldType::Decimal, "12.3456"),
            (FieldType::Date, "2015-07-03"),
            (FieldType::Timestamp, "2026-10-01T02:30:00Z"),
            (FieldType::Integer, "-7"),
            (FieldType::Boolean, "true"),
        ] {
            assert_eq!(Value::from_text(kind, text).map(|v| v.to_text()).as_deref(), Some(text));
        }
        assert_eq!(decimal_from_text("1.23456"), None);
    }
}

//! A typed cell → its text.
//!
//! Dates are ISO 8601 (`2019-07-03`, `2019-07-03T08:30:00`), times `08:30:00`, durations `26:30:00`; numbers are their
//! shortest text (`640`, `12.5`); booleans `true` and `false`; errors (`#N/A`) and empty cells are nothing.

use std::fmt::Write as _;

use calamine::{Data, DataRef, ExcelDateTime};

/// Serial number after 9999-12-31.
const END_OF_DAYS: f64 = 2_958_466.0;

/// Text of a cell of a streamed sheet, in `buffer` where it has to be made.
pub(super) fn text_of<'a>(cell: &'a DataRef<'_>, buffer: &'a mut String) -> &'a str {
    buffer.clear();
    match cell {
        DataRef::SharedString(s) => s,
        DataRef::String(s) | DataRef::DateTimeIso(s) | DataRef::DurationIso(s) => s,
        DataRef::Int(i) => made(buffer, format_args!("{i}")),
        DataRef::Float(f) => number(*f, buffer),
        DataRef::Bool(b) => {
            if *b {
                "true"
            } else {
                "false"
            }
        }
        DataRef::DateTime(d) => moment(d, buffer),
        DataRef::Error(_) | DataRef::Empty => "",
    }
}

/// Text of a cell of a loaded sheet.
pub(super) fn text_of_owned<'a>(cell: &'a Data, buffer: &'a mut String) -> &'a str {
    buffer.clear();
    match cell {
        Data::String(s) | Data::DateTimeIso(s) | Data::DurationIso(s) => s,
        Data::Int(i) => made(buffer, format_args!("{i}")),
        Data::Float(f) => number(*f, buffer),
        Data::Bool(b) => {
            if *b {
                "true"
            } else {
                "false"
            }
        }
        Data::DateTime(d) => moment(d, buffer),
        Data::Error(_) | Data::Empty => "",
    }
}

fn made<'a>(buffer: &'a mut String, text: std::fmt::Arguments<'_>) -> &'a str {
    // Writing into a String cannot fail.
    let _ = buffer.write_fmt(text);
    buffer
}

/// The shortest text that reads back as `f`, without a fraction of zero; nothing for what is no number.
pub(super) fn number(f: f64, buffer: &mut String) -> &str {
    if !f.is_finite() {
        return "";
    }
    // Plus zero turns minus zero into zero.
    made(buffer, format_args!("{}", f + 0.0))
}

fn moment<'a>(d: &ExcelDateTime, buffer: &'a mut String) -> &'a str {
    let serial = d.as_f64();
    if !(0.0..END_OF_DAYS).contains(&serial) {
        return number(serial, buffer);
    }
    if d.is_duration() {
        let seconds = (serial * 86_400.0).round() as u64;
        return made(buffer, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    }
    let (year, month, day, hour, minute, second, milli) = d.to_ymd_hms_milli();
    let date = serial >= 1.0;
    let time = !date || (hour, minute, second, milli) != (0, 0, 0, 0);
    if date {
        made(buffer, format_args!("{year:04}-{month:02}-{day:02}"));
    }
    if date && time {
        buffer.push('T');
    }
    if time {
        made(buffer, format_args!("{hour:02}:{minute:02}:{second:02}"));
    }
    if milli != 0 {
        made(buffer, format_args!(".{milli:03}"));
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use calamine::{CellErrorType, ExcelDateTimeType};

    #[test]
    fn every_kind_of_cell_has_one_text() {
        let check = |cell: Data, expect: &str| {
            assert_eq!(text_of_owned(&cell, &mut String::new()), expect, "{cell:?}");
        };
        let date = |v, is_1904| Data::DateTime(ExcelDateTime::new(v, ExcelDateTimeType::DateTime, is_1904));
        check(Data::Float(640.0), "640");
        check(Data::Float(0.29), "0.29");
        check(Data::Float(-0.0), "0");
        check(Data::Float(1e15), "1000000000000000");
        check(Data::Bool(true), "true");
        check(Data::Error(CellErrorType::NA), "");
        check(date(44043.0, false), "2020-07-31");
        check(date(42581.0, true), "2020-07-31");
        check(date(44_043.0 + 8.5 / 24.0, false), "2020-07-31T08:30:00");
        check(date(8.5 / 24.0, false), "08:30:00");
        check(date(-5.0, false), "-5");
        check(date(3e6, false), "3000000");
        let long = ExcelDateTime::new(26.5 / 24.0, ExcelDateTimeType::TimeDelta, false);
        check(Data::DateTime(long), "26:30:00");
    }
}

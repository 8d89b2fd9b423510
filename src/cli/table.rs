//! Tables and texts for people.
//!
//! Guarantees: columns align where Chinese and Latin stand side by side, and nothing that came from outside moves the
//! cursor, changes colours or breaks a line.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};

/// A column of a table: Chinese first, then the English word.
pub(super) struct Column {
    title: String,
    alignment: CellAlignment,
}

/// Text, from the left.
pub(super) fn text(title: &str) -> Column {
    Column { title: title.to_owned(), alignment: CellAlignment::Left }
}

/// Numbers, from the right.
pub(super) fn number(title: &str) -> Column {
    Column { title: title.to_owned(), alignment: CellAlignment::Right }
}

/// A table as text that ends with a line break.
pub(super) fn table<R>(columns: &[Column], rows: impl IntoIterator<Item = R>) -> String
where
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    let mut style = UTF8_HORIZONTAL_ONLY;
    style = style.row_separator(comfy_table::LineStyle::none());
    table.load_style(style);
    table.set_header(columns.iter().map(|column| Cell::new(&column.title)));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| Cell::new(shown(&cell))));
    }
    for (i, column) in columns.iter().enumerate() {
        if let Some(cells) = table.column_mut(i) {
            cells.set_cell_alignment(column.alignment);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// Text from outside on one line, its control characters made visible.
pub(super) fn shown(text: &str) -> String {
    if !text.chars().any(hidden) {
        return text.to_owned();
    }
    text.chars().map(|c| if hidden(c) { visible(c) } else { c.to_string() }).collect()
}

/// Controls, and characters that turn the direction of a line round.
fn hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn visible(c: char) -> String {
    match c {
        '\n' => "⏎".to_owned(),
        '\t' => "⇥".to_owned(),
        other => format!("\\u{{{:x}}}", u32::from(other)),
    }
}

/// An instant in microseconds as civil time of a zone, to the second.
pub(super) fn local(zone: Tz, micros: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp_micros(micros);
    at.map_or_else(|| "?".to_owned(), |at| at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string())
}

/// An instant in microseconds for programs: RFC 3339, UTC.
pub(super) fn rfc3339(micros: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp_micros(micros);
    at.map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// A count with a space between thousands: `12 345 678`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_under_chinese_titles() {
        let rows = [["法人库".to_owned(), "13642".to_owned()], ["person".to_owned(), "7".to_owned()]];
        insta::assert_snapshot!(table(&[text("登记库 register"), number("行数 rows")], rows), @r#"
        ─────────────────────────────
         登记库 register   行数 rows
        ═════════════════════════════
         法人库                13642
         person                    7
        ─────────────────────────────
        "#);
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(shown("青岛\u{1b}[2J海\n蓝\u{202e}"), "青岛\\u{1b}[2J海⏎蓝\\u{202e}");
        assert_eq!(shown("青岛海蓝（集团）"), "青岛海蓝（集团）");
    }

    #[test]
    fn counts_and_instants_read_easily() {
        for (n, expect) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(count(n), expect);
        }
        assert_eq!(local(Tz::Asia__Shanghai, 1_772_294_400_000_000), "2026-03-01 00:00:00");
        assert_eq!(rfc3339(1_772_294_400_000_000), "2026-02-28T16:00:00Z");
        assert_eq!(local(Tz::Asia__Shanghai, i64::MAX), "?");
    }
}

//! The writing of dates and periods: full-width digits, Chinese numerals, dashes and blanks brought to one form.
//!
//! Decides: which characters stand for digits and separators. Must not know: what a date is.

use std::borrow::Cow;

use super::text::{half_width, is_blank, is_dash};
use super::{Notes, note, numerals};

/// Half-width digits for full-width and Chinese ones, one kind of dash, no blanks beside separators; and what was done.
pub(super) fn plain_writing(text: &str) -> (Cow<'_, str>, Notes) {
    let mut notes = Notes::new();
    if text.is_ascii() && !text.contains(' ') {
        return (Cow::Borrowed(text), notes);
    }
    let mut out = String::with_capacity(text.len());
    let mut numeral = String::new();
    for c in text.chars() {
        if numerals::is_numeral(c) || (matches!(c, 'O' | 'o') && !numeral.is_empty()) {
            numeral.push(if c.is_ascii() { '〇' } else { c });
            continue;
        }
        write_numeral(&mut numeral, &mut out, &mut notes);
        match half_width(c) {
            Some(half) if half != ' ' => {
                note(&mut notes, "full_width");
                out.push(half);
            }
            _ if is_dash(c) => out.push('-'),
            _ if is_blank(c) => out.push(' '),
            _ => out.push(c),
        }
    }
    write_numeral(&mut numeral, &mut out, &mut notes);
    (Cow::Owned(without_stray_blanks(&out, &mut notes)), notes)
}

/// Writes the digits of a run of Chinese numerals; `七` alone is `7`, `零柒` is `07`.
fn write_numeral(numeral: &mut String, out: &mut String, notes: &mut Notes) {
    if numeral.is_empty() {
        return;
    }
    note(notes, "chinese_numerals");
    let digits: Option<String> =
        numeral.chars().map(|c| numerals::digit(c).and_then(|digit| char::from_digit(digit, 10))).collect();
    match (digits, numerals::integer(numeral)) {
        (Some(digits), _) => out.push_str(&digits),
        (None, Some(value)) => out.push_str(&value.to_string()),
        (None, None) => out.push_str(numeral),
    }
    numeral.clear();
}

/// Drops blanks beside 年月日 - / . and keeps the one before a time.
fn without_stray_blanks(text: &str, notes: &mut Notes) -> String {
    const SEPARATORS: [char; 7] = ['年', '月', '日', '号', '-', '/', '.'];
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != ' ' {
            out.push(c);
        } else if out.ends_with(SEPARATORS) || chars.peek().is_some_and(|next| SEPARATORS.contains(next)) {
            note(notes, "blanks");
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

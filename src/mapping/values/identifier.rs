//! What all coded identifiers share before they are judged: width, case, blanks, dashes.
//!
//! Decides: the harmless spellings of one code. Must not know: which standard the code follows.

use std::borrow::Cow;

use super::text::{half_width, is_blank, is_dash, trim};
use super::{Notes, note};

/// Brings a code to half-width upper case without blanks. Borrowed when it already is.
///
/// Notes: `full_width`, `lower_case`, `blanks` (inside the code; around it they are only cut off), `dash`.
pub(super) fn spell(text: &str) -> (Cow<'_, str>, Notes) {
    let text = trim(text);
    let mut notes = Notes::new();
    if text.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_lowercase()) {
        return (Cow::Borrowed(text), notes);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_blank(c) {
            note(&mut notes, "blanks");
            continue;
        }
        let half = if let Some(half) = half_width(c) {
            note(&mut notes, "full_width");
            half
        } else if c != '-' && is_dash(c) {
            note(&mut notes, "dash");
            '-'
        } else {
            c
        };
        if half.is_ascii_lowercase() {
            note(&mut notes, "lower_case");
        }
        out.push(half.to_ascii_uppercase());
    }
    (Cow::Owned(out), notes)
}

/// Whether every character is the same one (`000…`, `999…`): a filled-in form, not a code.
pub(super) fn is_one_character(code: &str) -> bool {
    let bytes = code.as_bytes();
    bytes.len() > 1 && bytes.iter().all(|b| Some(b) == bytes.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_brought_together() {
        let check = |input: &str, code: &str, notes: &[&str]| {
            let (got, got_notes) = spell(input);
            assert_eq!((got.as_ref(), got_notes.as_slice()), (code, notes), "{input:?}");
        };
        check(" 91370211MA3D28XC5X\u{3000}", "91370211MA3D28XC5X", &[]);
        check("9137 0211 ma3d28xc5x", "91370211MA3D28XC5X", &["blanks", "lower_case"]);
        check("９１３７ｘ", "9137X", &["full_width", "lower_case"]);
        check("D2143569－X", "D2143569-X", &["full_width"]);
        check("D2143569—X", "D2143569-X", &["dash"]);
        assert!(matches!(spell("91370211MA3D28XC5X").0, Cow::Borrowed(_)));
    }
}

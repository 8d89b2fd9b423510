//! Free text as it is stored: entities, private-use characters, composition, width and blanks.
//!
//! Decides: what counts as "nothing there", which characters may be folded in prose and which in names. Stored text
//! is NFC, never NFKC, which would turn ㈱ Ⅱ ① ² into other text. Guarantees: a text that is already clean comes
//! back borrowed; nothing is dropped but control characters, invisible characters and superfluous blanks.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::{Notes, Outcome, note, noted, nothing, private_use};

/// Words that departments write into a cell that holds nothing.
const NOTHING: [&str; 22] = [
    "-",
    "--",
    "---",
    "/",
    "//",
    "\\",
    "无",
    "N/A",
    "NA",
    "NULL",
    "(NULL)",
    "None",
    "NaN",
    "不详",
    "未知",
    "暂无",
    "空",
    "——",
    "－",
    "／",
    "。",
    "无数据",
];

/// The longest of [`NOTHING`] in bytes.
const NOTHING_BYTES: usize = 9;

/// Whether a cell says "nothing there": blank, `-`, `/`, `无`, `N/A`, `null`, `不详`, `暂无`, `0`, `*`, … in any
/// case and width of blank.
pub fn null_token(text: &str) -> bool {
    let text = trim(text);
    matches!(text, "0" | "*") || is_nothing(text)
}

/// [`null_token`] without `0` and `*`, which are values in amounts and free text. Expects trimmed text.
pub(super) fn is_nothing(trimmed: &str) -> bool {
    trimmed.is_empty()
        || (trimmed.len() <= NOTHING_BYTES && NOTHING.iter().any(|token| token.eq_ignore_ascii_case(trimmed)))
}

/// Cuts blanks and invisible characters off both ends: ASCII and full-width blanks, NBSP, BOM, zero-width, controls.
pub(super) fn trim(text: &str) -> &str {
    if has_shown_edges(text.as_bytes()) { text } else { text.trim_matches(is_blank) }
}

/// Whether a text surely begins and ends with ASCII that shows or with hanzi (U+4000–U+9FFF, three bytes from E4–E9 on).
fn has_shown_edges(text: &[u8]) -> bool {
    let begins = matches!(text, [b'!'..=b'~' | 0xE4..=0xE9, ..]);
    begins && matches!(text, [.., b'!'..=b'~'] | [.., 0xE4..=0xE9, _, 0x80..=0xBF])
}

/// Blanks, control characters, and characters that show nothing.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_invisible(c)
}

/// Zero-width and direction marks, soft hyphen, BOM.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
}

/// The ASCII form of a full-width character (U+FF01–U+FF5E, U+3000).
pub(super) fn half_width(c: char) -> Option<char> {
    match c {
        '\u{3000}' => Some(' '),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0),
        _ => None,
    }
}

/// Any of the dashes that people type for a hyphen.
pub(super) fn is_dash(c: char) -> bool {
    matches!(c, '-' | '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' | '－')
}

/// Cleans free text 自由文本 (scope, address, remark) for storage; full-width punctuation stays, letters and digits fold.
///
/// `None` for blank, N/A, 无. Never refuses. Notes: `html_entity` (decoded once), `private_use`,
/// `private_use_unresolved`, `nfc`, `full_width` (letters and digits), `control`, `invisible`, `blanks`, `lost_char`.
pub fn clean_text(text: &str) -> Outcome<Cow<'_, str>> {
    let text = trim(text);
    if is_nothing(text) {
        return nothing();
    }
    let (text, notes) = tidy(text, Style::Prose);
    if is_nothing(&text) { nothing() } else { noted(text, notes) }
}

/// What may be folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Sentences: only letters and digits change width; runs of blanks collapse to one.
    Prose,
    /// Names: all of ASCII and the square brackets change width; blanks beside Chinese characters go.
    Name,
}

/// The whole cleaning of trimmed text, and what was done.
pub(super) fn tidy(text: &str, style: Style) -> (Cow<'_, str>, Notes) {
    let mut notes = Notes::new();
    if is_tidy(text, style) {
        return (Cow::Borrowed(text), notes);
    }
    let decoded = decode_entities(text);
    if decoded != text {
        note(&mut notes, "html_entity");
    }
    let repair = private_use::repair(&decoded);
    if repair.repaired > 0 {
        note(&mut notes, "private_use");
    }
    if repair.unresolved > 0 {
        note(&mut notes, "private_use_unresolved");
    }
    let folded = fold(trim(&repair.text), style, &mut notes);
    let composed = compose(&folded); // last: folding can bring a letter before its accent
    if composed != folded {
        note(&mut notes, "nfc");
    }
    let result = if composed == text { Cow::Borrowed(text) } else { Cow::Owned(composed.into_owned()) };
    (result, notes)
}

/// Whether a trimmed text surely needs nothing; `false` only means "look closer".
fn is_tidy(text: &str, style: Style) -> bool {
    let prose = style == Style::Prose;
    let (mut before, mut at) = ('x', 0);
    loop {
        // Most of Chinese text is U+5000–U+9FFF, which the first of three bytes says.
        while let Some([0xE5..=0xE9, _, _, ..]) = text.as_bytes().get(at..).filter(|_| before != ' ') {
            (before, at) = ('一', at + 3);
        }
        let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else { return true };
        if !may_stay(c, before, (prose, text)) {
            return false;
        }
        (before, at) = (c, at + c.len_utf8());
    }
}

/// Whether a character may stay as it is behind another.
fn may_stay(c: char, previous: char, (prose, text): (bool, &str)) -> bool {
    let after_blank = previous == ' ';
    match c {
        ' ' => !after_blank && (prose || (text.is_ascii() && !matches!(previous, '(' | ')'))),
        '(' | ')' => prose || !after_blank,
        '&' | '?' => false,
        '!'..='~' => true,
        '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{b7}' | '“' | '”' | '、'..='』' => {
            prose || !after_blank
        }
        '【' | '】' | '！'..='／' | '：'..='＠' | '—' | '…' => prose,
        _ => false,
    }
}

fn compose(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        IsNormalized::No | IsNormalized::Maybe => Cow::Owned(text.nfc().collect()),
    }
}

/// Decodes HTML entities once; also `&8226;`, which a register export writes for `&#8226;`.
fn decode_entities(text: &str) -> Cow<'_, str> {
    let decoded = html_escape::decode_html_entities(text);
    if !decoded.contains('&') {
        return decoded;
    }
    let mut out = String::with_capacity(decoded.len());
    let mut parts = decoded.split('&');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        match bare_reference(part) {
            Some((c, rest)) => {
                out.push(c);
                out.push_str(rest);
            }
            None => {
                out.push('&');
                out.push_str(part);
            }
        }
    }
    if out == decoded { decoded } else { Cow::Owned(out) }
}

/// `8226;…` → the character and the rest, when it is a printable one beyond ASCII.
fn bare_reference(part: &str) -> Option<(char, &str)> {
    let (digits, rest) = part.split_once(';')?;
    let plausible = (3..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let c = char::from_u32(digits.parse().ok().filter(|_| plausible)?)?;
    (c > '\u{a0}').then_some((c, rest))
}

/// Width, brackets, blanks.
fn fold(text: &str, style: Style, notes: &mut Notes) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    let mut previous = None;
    for c in text.chars() {
        if is_invisible(c) {
            note(notes, "invisible");
            continue;
        }
        if is_blank(c) {
            blank = true;
            if c != ' ' {
                note(notes, if c.is_whitespace() { "blanks" } else { "control" });
            } else if previous == Some(' ') {
                note(notes, "blanks");
            }
            previous = Some(c);
            continue;
        }
        let folded = fold_char(c, style, notes);
        if blank {
            keep_blank(&mut out, folded, style, notes);
            blank = false;
        }
        if is_lost(c, &out) {
            note(notes, "lost_char");
        }
        out.push(folded);
        previous = Some(c);
    }
    out
}

/// Writes the one blank that stands for a run of them, unless names do without it.
fn keep_blank(out: &mut String, next: char, style: Style, notes: &mut Notes) {
    let beside_han = !next.is_ascii() || out.chars().next_back().is_some_and(|before| !before.is_ascii());
    let beside_bracket = matches!(next, '(' | ')') || out.ends_with(['(', ')']);
    if style == Style::Name && (beside_han || beside_bracket) {
        note(notes, "blanks");
    } else if !out.is_empty() {
        out.push(' ');
    }
}

fn fold_char(c: char, style: Style, notes: &mut Notes) -> char {
    let bracket = match c {
        '（' => Some('('),
        '）' => Some(')'),
        '【' | '［' => Some('['),
        '】' | '］' => Some(']'),
        _ => None,
    };
    match (style, bracket, half_width(c)) {
        (Style::Name, Some(bracket), _) => {
            note(notes, "brackets");
            bracket
        }
        (Style::Name, None, Some(half)) => {
            note(notes, "full_width");
            half
        }
        (Style::Prose, None, Some(half)) if half.is_ascii_alphanumeric() => {
            note(notes, "full_width");
            half
        }
        _ => c,
    }
}

/// U+FFFD, or a question mark where a converter had no character: directly after a Chinese character or at the start.
fn is_lost(c: char, before: &str) -> bool {
    c == '\u{fffd}' || (c == '?' && before.chars().next_back().is_none_or(|b| ('\u{3400}'..='\u{9fff}').contains(&b)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::values::vectors;

    fn check(input: &str, text: Option<&str>, notes: &[&str]) {
        let got = clean_text(input).expect("never refuses");
        assert_eq!((got.value.as_deref(), got.notes.as_slice()), (text, notes), "{input:?}");
    }

    #[test]
    fn clean_prose_is_borrowed() {
        for text in ["化肥、农膜零售", "青岛市市南区香港中路6号", "John Smith & Co", "a b", "「引」。"]
        {
            let got = clean_text(text).expect("never refuses");
            assert!(matches!(got.value, Some(Cow::Borrowed(same)) if same == text), "{text:?}");
            assert!(got.notes.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn repairs_are_noted() {
        check("星海&#8226;假日", Some("星海•假日"), &["html_entity"]);
        check("星海&8226;假日", Some("星海•假日"), &["html_entity"]);
        check("caf&eacute;", Some("café"), &["html_entity"]);
        check("&#163129;", Some("\u{27d39}"), &["html_entity"]);
        check("&amp;middot;", Some("&middot;"), &["html_entity"]);
        check("A&B;C&12;", Some("A&B;C&12;"), &[]);
        check("\u{e863}示例", Some("䶮示例"), &["private_use"]);
        check("长沙\u{e7d9}村", Some("长沙\u{e7d9}村"), &["private_use_unresolved"]);
        check("cafe\u{301}", Some("café"), &["nfc"]);
        check("第０３７号（化肥）", Some("第037号（化肥）"), &["full_width"]);
        check("一  二\u{3000}三", Some("一 二 三"), &["blanks"]);
        check("一\r\n二", Some("一 二"), &["blanks"]);
        check("一\u{0}二", Some("一 二"), &["control"]);
        check("家&8205;门口", Some("家门口"), &["html_entity", "invisible"]);
        check("朋友茶?店", Some("朋友茶?店"), &["lost_char"]);
        check("\u{fffd}店", Some("\u{fffd}店"), &["lost_char"]);
        check("why?", Some("why?"), &[]);
        check("㈱Ⅱ①²", Some("㈱Ⅱ①²"), &[]);
    }

    #[test]
    fn blanks_and_placeholders_are_nothing() {
        for text in ["", " ", "\u{3000}", "N/A", "n/a", "无", " 暂无 ", "&nbsp;", "NULL"] {
            check(text, None, &[]);
        }
        check("0", Some("0"), &[]);
        check("无线电", Some("无线电"), &[]);
    }

    #[test]
    fn null_tokens_are_those_seen_in_the_wild() {
        let inline = ["", "-", "--", "/", "\\", "无", "N/A", "NULL", "null", "None", "不详", "未知", "暂无", "空", "0"];
        for token in inline {
            assert!(null_token(token), "{token:?}");
        }
        if let Some(vectors) = vectors::json("mask_normalise") {
            for token in vectors::strings(&vectors, "null_tokens") {
                assert!(null_token(token), "{token:?}");
            }
        }
        for value in ["无锡", "1", "空港", "NAN HAI", "未知数学", "00"] {
            assert!(!null_token(value), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn cleaning_never_panics_and_is_idempotent(text in ".*|[&#;0-9a-z?（）【】 \u{3000}Ａ０\u{e863}\u{301}e中文]{0,40}") {
            let once = clean_text(&text).expect("never refuses");
            if let Some(value) = once.value && !value.contains('&') {
                let twice = clean_text(&value).expect("never refuses");
                prop_assert_eq!(twice.value.as_deref(), Some(value.as_ref()));
            }
        }

        #[test]
        fn the_shortcut_agrees_with_the_long_way(text in "[a-z 中文、。·()（），]{0,12}") {
            let text = trim(&text);
            for style in [Style::Prose, Style::Name] {
                if is_tidy(text, style) {
                    let mut notes = Notes::new();
                    prop_assert_eq!(fold(text, style, &mut notes), text);
                    prop_assert!(notes.is_empty());
                }
            }
        }
    }
}

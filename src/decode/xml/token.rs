//! XML markup, one piece at a time: where it ends and what it is. Nothing inside it is looked at.

/// One piece at the start of the text, and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// Character data up to the next `<`.
    Text(usize),
    /// `<name …>`, or `<name …/>` when `empty`.
    Start { len: usize, name: &'t str, empty: bool },
    /// `</name>`.
    End { len: usize, name: &'t str },
    /// Comment, CDATA section, processing instruction.
    Other(usize),
    /// `<!DOCTYPE` and everything else that begins with `<!`.
    Declaration,
    /// Its end is not in the text.
    More,
}

/// The first piece of `text`, which must not be empty.
pub(super) fn token(text: &str) -> Token<'_> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'<') {
        return Token::Text(memchr::memchr(b'<', bytes).unwrap_or(bytes.len()));
    }
    match bytes.get(1) {
        None => Token::More,
        Some(b'?') => other(bytes, 2, b"?>"),
        Some(b'/') => match memchr::memchr(b'>', bytes) {
            Some(i) => Token::End { len: i + 1, name: local_name(text.get(2..i).unwrap_or_default()) },
            None => Token::More,
        },
        Some(b'!') => bang(bytes),
        Some(_) => start(text),
    }
}

fn bang(bytes: &[u8]) -> Token<'static> {
    const COMMENT: &[u8] = b"<!--";
    const CDATA: &[u8] = b"<![CDATA[";
    if bytes.starts_with(COMMENT) {
        other(bytes, COMMENT.len(), b"-->")
    } else if bytes.starts_with(CDATA) {
        other(bytes, CDATA.len(), b"]]>")
    } else if COMMENT.starts_with(bytes) || CDATA.starts_with(bytes) {
        Token::More
    } else {
        Token::Declaration
    }
}

fn other(bytes: &[u8], from: usize, end: &[u8]) -> Token<'static> {
    match memchr::memmem::find(bytes.get(from..).unwrap_or_default(), end) {
        Some(i) => Token::Other(from + i + end.len()),
        None => Token::More,
    }
}

fn start(text: &str) -> Token<'_> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(i) = memchr::memchr3(b'>', b'"', b'\'', rest) else { return Token::More };
        let Some(b) = rest.get(i).filter(|b| **b != b'>') else {
            let len = at + i + 1;
            let inner = text.get(1..len - 1).unwrap_or_default();
            let empty = inner.ends_with('/');
            return Token::Start { len, name: local_name(inner), empty };
        };
        // A quoted attribute value may contain `>`.
        match memchr::memchr(*b, rest.get(i + 1..).unwrap_or_default()) {
            Some(close) => at += i + 1 + close + 1,
            None => return Token::More,
        }
    }
}

/// `ns:name attr="…"` → `name`.
pub(in crate::decode) fn local_name(inner: &str) -> &str {
    let name = inner.split(|c: char| c.is_ascii_whitespace() || c == '/').next().unwrap_or_default();
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_of_markup_is_measured() {
        let check = |text: &str, expect: Token| assert_eq!(token(text), expect, "{text}");
        check("abc<d>", Token::Text(3));
        check("abc", Token::Text(3));
        check("<行 号=\"a>b\">x", Token::Start { len: 15, name: "行", empty: false });
        check("<n:row/>", Token::Start { len: 8, name: "row", empty: true });
        check("<row a='/'>", Token::Start { len: 11, name: "row", empty: false });
        check("</n:row >", Token::End { len: 9, name: "row" });
        check("<!-- <a> -->x", Token::Other(12));
        check("<![CDATA[ ]] > ]]>x", Token::Other(18));
        check("<?xml version='1.0'?>x", Token::Other(21));
        check("<!DOCTYPE a>", Token::Declaration);
        check("<!ENTITY", Token::Declaration);
        for begun in ["<", "<!", "<!-", "<![CDA", "<!-- -", "<a b='>", "</a", "<?x ?"] {
            check(begun, Token::More);
        }
    }
}

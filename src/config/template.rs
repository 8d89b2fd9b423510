//! Templates of short texts with named gaps: `3003{bytes:8}{区划:6}{日期:8}`, `{name}|{rows}`.
//!
//! Decides: how a template is written and what a text says in its gaps. `{name:8}` stands for eight characters, `{name}`
//! for everything up to the literal text that follows, `{{` for a brace. Must not know: what the names mean.
//! Guarantees: a template that parses can be matched; matching is linear, and what is captured is the text as it stands.

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    written: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Gap { name: String, width: Option<usize> },
}

/// Most characters of a gap with a width.
const WIDEST: usize = 4096;

impl Template {
    /// Reads a template. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (part, after) = next_part(rest)?;
            match (parts.last_mut(), part) {
                (Some(Part::Literal(before)), Part::Literal(more)) => before.push_str(&more),
                (Some(Part::Gap { width: None, .. }), Part::Gap { .. }) => {
                    return Err("a gap without a width needs literal text after it");
                }
                (_, part) => parts.push(part),
            }
            rest = after;
        }
        let names: Vec<&str> = gaps(&parts).collect();
        if names.iter().enumerate().any(|(i, name)| names.iter().take(i).any(|before| before == name)) {
            return Err("a name stands twice in it");
        }
        if parts.is_empty() { Err("it is empty") } else { Ok(Self { written: text.to_owned(), parts }) }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The names of its gaps.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        gaps(&self.parts)
    }

    /// Matches the beginning of `text`: how many bytes, and what stands in the gaps. A last gap without a width goes to
    /// the end. `None` when the text does not match, or (unless `ended`) may be too short to tell.
    pub fn match_start(&self, text: &str, ended: bool) -> Match<'_> {
        let mut found = Vec::new();
        let mut at = 0;
        for (i, part) in self.parts.iter().enumerate() {
            let rest = text.get(at..).unwrap_or_default();
            let len = match part {
                Part::Literal(literal) if rest.starts_with(literal.as_str()) => literal.len(),
                Part::Literal(literal) if !ended && literal.starts_with(rest) => return Match::Short,
                Part::Literal(_) => return Match::No,
                Part::Gap { name, width } => {
                    let len = match (width, self.parts.get(i + 1)) {
                        (Some(width), _) => rest
                            .char_indices()
                            .nth(*width)
                            .map(|(end, _)| end)
                            .or_else(|| (ended && rest.chars().count() == *width).then_some(rest.len())),
                        (None, Some(Part::Literal(next))) => rest.find(next.as_str()),
                        (None, _) => ended.then_some(rest.len()),
                    };
                    let Some(len) = len else { return if ended { Match::No } else { Match::Short } };
                    found.push((name.as_str(), rest.get(..len).unwrap_or_default().to_owned()));
                    len
                }
            };
            at += len;
        }
        Match::Yes(Found { len: at, values: found })
    }

    /// Matches the whole of `text`.
    pub fn match_all(&self, text: &str) -> Option<Found<'_>> {
        match self.match_start(text, true) {
            Match::Yes(found) if found.len == text.len() => Some(found),
            _ => None,
        }
    }
}

/// How a match went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match<'t> {
    /// It matches.
    Yes(Found<'t>),
    /// It does not.
    No,
    /// The text is too short to tell.
    Short,
}

/// What a text says in the gaps of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'t> {
    /// Bytes of text that match.
    pub len: usize,
    /// Name and text of every gap.
    pub values: Vec<(&'t str, String)>,
}

impl Found<'_> {
    /// The text of a gap.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(own, _)| *own == name).map(|(_, text)| text.as_str())
    }

    /// A gap that holds a whole number; blanks around it and zeros before it do not count. `Some(None)` when it is there
    /// and no number.
    pub fn number(&self, name: &str) -> Option<Option<u64>> {
        self.get(name).map(|text| text.trim().parse().ok())
    }
}

fn gaps(parts: &[Part]) -> impl Iterator<Item = &str> {
    parts.iter().filter_map(|part| match part {
        Part::Gap { name, .. } => Some(name.as_str()),
        Part::Literal(_) => None,
    })
}

fn next_part(rest: &str) -> Result<(Part, &str), &'static str> {
    if let Some(after) = rest.strip_prefix("{{") {
        return Ok((Part::Literal("{".to_owned()), after));
    }
    let Some(after) = rest.strip_prefix('{') else {
        let end = rest.find('{').unwrap_or(rest.len());
        let (literal, after) = rest.split_at(end);
        return Ok((Part::Literal(literal.to_owned()), after));
    };
    let (inside, after) = after.split_once('}').ok_or("a brace is not closed; write {{ for a brace")?;
    let (name, width) = match inside.split_once(':') {
        Some((name, width)) => {
            let width = width.parse().ok().filter(|w| (1..=WIDEST).contains(w));
            (name, Some(width.ok_or("the width of a gap is a whole number from 1 to 4096")?))
        }
        None => (inside, None),
    };
    if name.is_empty() || name.chars().any(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-'))) {
        return Err("a gap has a name of letters, digits, _ and -");
    }
    Ok((Part::Gap { name: name.to_owned(), width }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_says_what_stands_in_its_gaps() {
        let check = |template: &str, text: &str, expect: Option<(usize, &[(&str, &str)])>| {
            let template = Template::parse(template).unwrap();
            let found = match template.match_start(text, true) {
                Match::Yes(found) => Some(found),
                Match::No | Match::Short => None,
            };
            let flat = found
                .as_ref()
                .map(|f| (f.len, f.values.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>()));
            assert_eq!(flat, expect.map(|(len, values)| (len, values.to_vec())), "{text}");
        };
        let bank = "3003{bytes:8}{区划:6}{日期:8}";
        let says: &[_] = &[("bytes", "00000151"), ("区划", "370200"), ("日期", "20130731")];
        check(bank, "30030000015137020020130731|||", Some((26, says)));
        check(bank, "300400000151", None);
        check("{区划}|{rows}|", "370200|103|76021,1.00|", Some((11, &[("区划", "370200"), ("rows", "103")])));
        check("T{rows}", "T103", Some((4, &[("rows", "103")])));
        check("{{{a}}", "{x}", Some((3, &[("a", "x")])));
        check("青{a:2}", "青岛市x", Some((9, &[("a", "岛市")])));
    }

    #[test]
    fn a_text_that_is_too_short_may_yet_match() {
        let template = Template::parse("3003{bytes:8}|").unwrap();
        for text in ["", "30", "3003", "3003000", "300300000151"] {
            assert_eq!(template.match_start(text, false), Match::Short, "{text}");
            assert_eq!(template.match_start(text, true), Match::No, "{text}");
        }
        assert_eq!(template.match_start("31", false), Match::No);
        assert!(template.match_all("300300000151|").is_some());
        assert!(template.match_all("300300000151| ").is_none());
    }

    #[test]
    fn a_template_that_cannot_be_matched_is_refused() {
        for text in ["", "{", "{}", "{a", "{a}{b}", "{a:0}", "{a:x}", "{a b}", "{a}x{a}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        assert!(Template::parse("{a:1}{b}").is_ok());
    }
}

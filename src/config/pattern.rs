//! Patterns of file names: `QYDJ_*.csv`, `????-参保.txt`, `{yyyy}/QYDJ_{yyyyMMdd}.csv`.
//!
//! `*` stands for any characters (also none) and `?` for one. In braces stand dates: `y M d H m s` for a digit each of
//! year, month, day, hour, minute, second, other signs for themselves. Everything else is literal, upper and lower case
//! differ. A name that begins with a dot is matched only by a pattern that does.

use chrono::{NaiveDate, NaiveTime};

/// A parsed pattern of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Literal(char),
    Any,
    One,
    /// A digit of this part of a date.
    Digit(char),
}

/// The parts of a date, largest first.
const PARTS: [char; 6] = ['y', 'M', 'd', 'H', 'm', 's'];

impl Pattern {
    /// Reads a pattern. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = rest.get(c.len_utf8()..).unwrap_or_default();
            if c != '{' {
                tokens.push(match c {
                    '*' => Token::Any,
                    '?' => Token::One,
                    c => Token::Literal(c),
                });
                rest = after;
                continue;
            }
            let (date, later) = after.split_once('}').ok_or("a brace is not closed")?;
            if !date.chars().any(|c| PARTS.contains(&c)) {
                return Err("in braces stands a date such as {yyyyMMdd}");
            }
            for c in date.chars() {
                tokens.push(match c {
                    c if PARTS.contains(&c) => Token::Digit(c),
                    c if c.is_alphanumeric() => return Err("of letters, a date in braces has only y M d H m s"),
                    c => Token::Literal(c),
                });
            }
            rest = later;
        }
        Ok(Self { tokens })
    }

    /// Whether it has neither wildcards nor dates.
    pub fn literal(&self) -> Option<String> {
        self.tokens.iter().map(|t| if let Token::Literal(c) = t { Some(*c) } else { None }).collect()
    }

    /// Whether `name` matches, and the date in it, largest part first (empty when the pattern has none). A date that does
    /// not exist does not match.
    pub fn find(&self, name: &str) -> Option<String> {
        if name.starts_with('.') && self.tokens.first() != Some(&Token::Literal('.')) {
            return None;
        }
        let name: Vec<char> = name.chars().collect();
        let mut found: Vec<char> = vec!['0'; self.tokens.len()];
        let (mut p, mut n) = (0, 0);
        // Where to go back to: after the last star, and the name's position it has reached.
        let mut star: Option<(usize, usize)> = None;
        while let Some(c) = name.get(n) {
            let one = match self.tokens.get(p) {
                Some(Token::Any) => {
                    star = Some((p + 1, n));
                    p += 1;
                    continue;
                }
                Some(Token::One) => true,
                Some(Token::Literal(own)) => own == c,
                Some(Token::Digit(_)) => {
                    if let Some(found) = found.get_mut(p) {
                        *found = *c;
                    }
                    c.is_ascii_digit()
                }
                None => false,
            };
            if one {
                p += 1;
                n += 1;
            } else {
                let (after, reached) = star?;
                star = Some((after, reached + 1));
                (p, n) = (after, reached + 1);
            }
        }
        let whole = self.tokens.get(p..)?.iter().all(|t| *t == Token::Any);
        if whole { self.date(&found) } else { None }
    }

    /// The digits of the date that was found, if there is such a day and time.
    fn date(&self, found: &[char]) -> Option<String> {
        let digits = |part: char| -> String {
            let of = |(token, c): (&Token, &char)| (*token == Token::Digit(part)).then_some(*c);
            self.tokens.iter().zip(found).filter_map(of).collect()
        };
        let [year, month, day, hour, minute, second] = PARTS.map(digits);
        let number = |text: &str, least: u32| if text.is_empty() { Some(least) } else { text.parse().ok() };
        let years = if year.is_empty() { Some(2000) } else { year.parse().ok() };
        NaiveDate::from_ymd_opt(years?, number(&month, 1)?, number(&day, 1)?)?;
        NaiveTime::from_hms_opt(number(&hour, 0)?, number(&minute, 0)?, number(&second, 0)?)?;
        Some([year, month, day, hour, minute, second].concat())
    }
}

/// Whether `name` matches `pattern`; a pattern that cannot be read matches itself.
pub fn matches(pattern: &str, name: &str) -> bool {
    Pattern::parse(pattern).map_or(pattern == name, |pattern| pattern.find(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        let check =
            |pattern: &str, name: &str, expect: bool| assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        check("QYDJ_*.csv", "QYDJ_20260101.csv", true);
        check("QYDJ_*.csv", "QYDJ_.csv", true);
        check("QYDJ_*.csv", "QYDJ_1.csv.tmp", false);
        check("QYDJ_*.csv", "qydj_1.csv", false);
        check("*", "企业.csv", true);
        check("????-参保.txt", "2026-参保.txt", true);
        check("?.txt", "参保.txt", false);
        check("*a*b", "aab", true);
        check("*a*b", "aba", false);
        check("a.csv", "a.csv", true);
        check("a.csv", "axcsv", false);
        check("", "", true);
        check("*", ".partial.csv", false);
        check(".*", ".partial.csv", true);
        check("**", "x", true);
        check(&"*a".repeat(30), &"a".repeat(200), true);
        check(&("*a".repeat(30) + "b"), &"a".repeat(200), false);
    }

    #[test]
    fn dates_match_only_days_that_exist_and_order_names() {
        let check = |pattern: &str, name: &str, expect: Option<&str>| {
            assert_eq!(Pattern::parse(pattern).unwrap().find(name).as_deref(), expect, "{pattern} {name}");
        };
        check("QY_{yyyyMMdd}.csv", "QY_20261120.csv", Some("20261120"));
        check("QY_{yyyyMMdd}.csv", "QY_20261320.csv", None);
        check("QY_{yyyyMMdd}.csv", "QY_2026112.csv", None);
        check("QY_{yyyyMMdd}.csv", "QY_latest.csv", None);
        check("QY_{ddMMyyyy}_*.csv", "QY_20112026_3.csv", Some("20261120"));
        check("*_{yyyy-MM-dd}_{HHmm}.txt", "a_b_2026-11-20_0230.txt", Some("202611200230"));
        check("{yyyyMM}", "202611", Some("202611"));
        check("QY_*.csv", "QY_1.csv", Some(""));
        for pattern in ["{", "{}", "{x}", "{yyyyQQ}", "QY_{name}.csv"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        assert_eq!(Pattern::parse("out").unwrap().literal().as_deref(), Some("out"));
        assert_eq!(Pattern::parse("o?t").unwrap().literal(), None);
    }
}

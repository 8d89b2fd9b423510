//! SQL text → syntax tree, with places in the file it stands in.
//!
//! Decides which characters make an identifier: Chinese names need no quotes and keep their case. Knows no columns.

use datafusion_sql::sqlparser::ast::{Expr, Spanned, Statement};
use datafusion_sql::sqlparser::dialect::Dialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Token, Tokenizer};

use super::depth;
use super::room::with_room;
use crate::error::{Place, Problem};

/// Where a piece of SQL starts in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    start: Place,
}

impl Origin {
    /// SQL that is a whole file.
    pub(crate) fn file(file: &str) -> Self {
        Self { start: Place::new(file, 1, 1) }
    }

    /// SQL that stands in a YAML file from this place on.
    pub(crate) fn inside(place: &Place) -> Self {
        Self { start: place.clone() }
    }

    /// The place in the file of a location in the SQL; the start for syntax without a location.
    pub(crate) fn place(&self, at: Location) -> Place {
        let (line, column) = (u32::try_from(at.line).unwrap_or(0), u32::try_from(at.column).unwrap_or(0));
        match line {
            0 => self.start.clone(),
            1 => Place::new(&self.start.file, self.start.line, self.start.column + column.saturating_sub(1)),
            _ => Place::new(&self.start.file, self.start.line + line - 1, column),
        }
    }

    /// The place where the SQL starts.
    pub(crate) fn place_of_start(&self) -> Place {
        self.start.clone()
    }

    /// The place of a syntax node.
    pub(crate) fn of(&self, node: &impl Spanned) -> Place {
        self.place(node.span().start)
    }
}

/// Identifiers start with a letter of any script or `_`; inside also digits, full-width brackets and the middle dot,
/// which column names of real systems contain.
#[derive(Debug)]
struct MappingDialect;

impl Dialect for MappingDialect {
    fn is_identifier_start(&self, ch: char) -> bool {
        ch == '_' || ch.is_alphabetic()
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch == '_' || ch.is_alphanumeric() || matches!(ch, '（' | '）' | '·' | '／' | '％')
    }
}

/// Parses one statement; a final semicolon is fine.
pub(crate) fn statement(sql: &str, origin: &Origin) -> Result<Statement, Box<Problem>> {
    let parse = || {
        let mut parser = parser(sql)?;
        let statement = parser.parse_statement()?;
        while parser.consume_token(&Token::SemiColon) {}
        end_of_text(&mut parser).map(|()| statement)
    };
    with_room(parse)
        .unwrap_or(Err(ParserError::RecursionLimitExceeded))
        .map_err(|e| Box::new(syntax_problem(&e, origin)))
}

/// Parses one expression.
pub(crate) fn expression(sql: &str, origin: &Origin) -> Result<Expr, Box<Problem>> {
    let parse = || {
        let mut parser = parser(sql)?;
        let expr = parser.parse_expr()?;
        end_of_text(&mut parser).map(|()| expr)
    };
    with_room(parse)
        .unwrap_or(Err(ParserError::RecursionLimitExceeded))
        .map_err(|e| Box::new(syntax_problem(&e, origin)))
}

fn parser(sql: &str) -> Result<Parser<'static>, ParserError> {
    let tokens = Tokenizer::new(&MappingDialect, sql).tokenize_with_location()?;
    match depth::too_deep(&tokens) {
        Some(at) => {
            Err(ParserError::ParserError(format!("more than {} operators in one expression{at}", depth::DEEPEST)))
        }
        None => Ok(Parser::new(&MappingDialect).with_tokens_with_locations(tokens)),
    }
}

fn end_of_text(parser: &mut Parser<'_>) -> Result<(), ParserError> {
    let next = parser.next_token();
    match next.token {
        Token::EOF => Ok(()),
        other => Err(ParserError::ParserError(format!("Expected: the end, found: {other}{}", next.span.start))),
    }
}

fn syntax_problem(error: &ParserError, origin: &Origin) -> Problem {
    let (ParserError::ParserError(text) | ParserError::TokenizerError(text)) = error else {
        return Problem::error("HL0201", "this SQL is nested too deeply").at(origin.place(Location::empty()));
    };
    let (message, at) = match text.rsplit_once(" at Line: ") {
        Some((message, at)) => (message, location(at)),
        None => (text.as_str(), None),
    };
    Problem::error("HL0201", "this is not valid SQL")
        .at(origin.place(at.unwrap_or_else(Location::empty)))
        .detail(message.trim().to_owned())
}

/// Reads `3, Column: 14`.
fn location(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_names_need_no_quotes_and_keep_their_case() {
        let expr = expression("ID号码 = '1' and 注册资本（万元） > 0", &Origin::file("a.sql")).expect("parses");
        assert_eq!(expr.to_string(), "ID号码 = '1' AND 注册资本（万元） > 0");
    }

    #[test]
    fn a_syntax_error_points_at_its_place_in_the_surrounding_file() {
        let check = |sql: &str, line, column| {
            let problem = expression(sql, &Origin::inside(&Place::new("f.yaml", 9, 7))).expect_err(sql);
            assert_eq!(problem.place, Some(Place::new("f.yaml", line, column)), "{problem}");
        };
        check("状态 = = 'a'", 9, 12);
        check("状态 = 'a' 和 b", 9, 16);
        check("状态 =\n  )", 10, 3);
        check("状态 = 'a", 9, 12);
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused_before_it_can_exhaust_the_stack() {
        let refused = |sql: &str| expression(sql, &Origin::file("a.sql")).map(|e| e.to_string()).is_err();
        let chain = |n: usize| vec!["a"; n].join(" and ");
        assert!(!refused(&chain(depth::DEEPEST)));
        assert!(refused(&chain(depth::DEEPEST + 2)));
        assert!(refused(&chain(1_000_000)));
        assert!(refused(&format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000))));
        assert!(refused(&"- ".repeat(100_000)));
        assert!(refused(&"not ".repeat(100_000)));
        assert!(refused(&format!("{}a", "case when a then ".repeat(100_000))));
        assert!(refused(&format!("a{}", " is null".repeat(100_000))));
        assert!(refused(&format!("a{}", "::text".repeat(100_000))));
        assert!(refused(&format!("{}a{}", format!("({} and ", chain(20)).repeat(40), ")".repeat(40))));
        assert!(statement(&vec!["select 1"; 100_000].join(" union "), &Origin::file("a.sql")).is_err());
    }

    proptest::proptest! {
        /// Whatever is typed: an answer, never a panic.
        #[test]
        fn any_text_is_parsed_or_refused(text in "[a代(),.'\"0-9=<>*+|:;（）\\-\\s]{0,60}|(select|case|when|then|end|and|not|[ (),a1'])*") {
            let origin = Origin::file("a.sql");
            let _ = statement(&text, &origin).map(|s| s.to_string());
            let _ = expression(&text, &origin).map(|e| e.to_string());
        }
    }

    #[test]
    fn a_full_width_comma_is_an_error_and_not_part_of_a_name() {
        let problem = statement("select uscc(代码)，a from source", &Origin::file("a.sql")).expect_err("refused");
        assert_eq!(problem.place, Some(Place::new("a.sql", 1, 16)), "{problem}");
    }
}

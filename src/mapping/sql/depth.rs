//! How deeply an expression will nest, told from its words before there is a tree.
//!
//! `a and b and c …` is a tree as deep as it is long, and everything that walks a tree — printing, planning, even
//! dropping it — needs stack for each level. A person never writes a hundred operators into one expression; a file that
//! does is refused while it is still a flat list.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// Operators and brackets on the way to the innermost value.
pub(super) const DEEPEST: usize = 100;

/// Where the text becomes too deep, if it does.
pub(super) fn too_deep(tokens: &[TokenWithSpan]) -> Option<Location> {
    let mut levels = vec![0_usize];
    let (mut depth, mut unions) = (0, 0);
    for token in tokens {
        match step(&token.token) {
            Step::Open => {
                levels.push(1);
                depth += 1;
            }
            Step::Close if levels.len() > 1 => depth -= levels.pop().unwrap_or(0),
            Step::Next => {
                let bracket = usize::from(levels.len() > 1);
                if let Some(level) = levels.last_mut() {
                    depth -= *level - bracket;
                    *level = bracket;
                }
            }
            Step::Operator => {
                depth += 1;
                levels.last_mut().into_iter().for_each(|level| *level += 1);
            }
            Step::Union => unions += 1,
            Step::Close | Step::Nothing => {}
        }
        if depth > DEEPEST || unions > DEEPEST {
            return Some(token.span.start);
        }
    }
    None
}

enum Step {
    /// Opens a level.
    Open,
    /// Closes one.
    Close,
    /// Begins another expression on the same level.
    Next,
    /// Makes the expression one deeper.
    Operator,
    /// Makes the statement one deeper.
    Union,
    /// A value, a name, a blank.
    Nothing,
}

fn step(token: &Token) -> Step {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Step::Open,
        Token::RParen | Token::RBracket | Token::RBrace => Step::Close,
        Token::Comma | Token::SemiColon => Step::Next,
        Token::Word(word) => match word.keyword {
            Keyword::CASE => Step::Open,
            Keyword::END => Step::Close,
            Keyword::SELECT | Keyword::FROM | Keyword::WHERE | Keyword::WHEN | Keyword::THEN | Keyword::ELSE => {
                Step::Next
            }
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN => Step::Union,
            Keyword::AND
            | Keyword::OR
            | Keyword::XOR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::NOTNULL
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::SIMILAR
            | Keyword::BETWEEN
            | Keyword::COLLATE
            | Keyword::AT => Step::Operator,
            _ => Step::Nothing,
        },
        Token::Whitespace(_) | Token::EOF | Token::Period => Step::Nothing,
        Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_) => Step::Nothing,
        _ => Step::Operator,
    }
}

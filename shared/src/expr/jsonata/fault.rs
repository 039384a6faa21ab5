//! What is wrong with the text of an expression, and where.
//!
//! The engine's parser says what, not where. It reads from left to right and stops at the first
//! token that doesn't fit, so the position is found by parsing ever shorter beginnings: the
//! shortest one with the same fault ends in that token.

use jsonata_core::parser::{self, ParserError};

use super::MAX_SOURCE;
use super::scan::{self, Token};

/// Why a text is no expression. Shows as `is no JSONata: expected `)` at position 12`, fit to be the
/// message of a [`crate::fault::Fault`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no JSONata: {message} at position {position}")]
pub struct ExpressionFault {
    /// What is wrong.
    pub message: String,
    /// Where, in characters from the start of the expression, from 0.
    pub position: usize,
}

/// What an expression may not use: the name of a function, and what to do.
pub(super) struct Refused {
    pub name: String,
    pub message: String,
}

impl ExpressionFault {
    pub(super) fn too_long() -> Self {
        Self {
            message: format!("is longer than {MAX_SOURCE} bytes"),
            position: 0,
        }
    }

    pub(super) fn crashed() -> Self {
        Self {
            message: "the JSONata engine crashed on it".to_owned(),
            position: 0,
        }
    }

    pub(super) fn of_refused(source: &str, refused: &Refused) -> Self {
        let letters: Vec<char> = source.chars().collect();
        let written = format!("${}", refused.name);
        let position = scan::tokens(&letters)
            .iter()
            .find(|token| text_of(&letters, token) == written)
            .map_or(0, |token| token.start);
        Self {
            message: refused.message.clone(),
            position,
        }
    }

    pub(super) fn of_parser(source: &str, error: &ParserError) -> Self {
        let letters: Vec<char> = source.chars().collect();
        let tokens = scan::tokens(&letters);
        if let Some(open) = tokens.last().filter(|token| token.open) {
            let what = match letters[open.start] {
                '/' if letters.get(open.start + 1) == Some(&'*') => "a comment",
                '/' => "a regular expression",
                '`' => "a name",
                _ => "a string",
            };
            return Self {
                message: format!("{what} isn't closed, it opens"),
                position: open.start,
            };
        }
        if at_end(error) {
            let message = match error {
                ParserError::Expected { expected, .. } => {
                    format!("ends where {} is expected,", symbol(expected))
                }
                _ => "ends too early,".to_owned(),
            };
            return Self {
                message,
                position: letters.len(),
            };
        }
        let offending = locate(&letters, &tokens, &error.to_string());
        let found = offending.map_or_else(
            || "the end".to_owned(),
            |token| format!("`{}`", text_of(&letters, &token)),
        );
        let message = match error {
            ParserError::Expected { expected, .. } => {
                format!("expected {}, found {found}", symbol(expected))
            }
            ParserError::UnexpectedToken(_) => format!("{found} can't stand"),
            ParserError::InvalidSyntax(text) if text.starts_with("S0201") => {
                format!("{found} can't stand")
            }
            ParserError::InvalidSyntax(text) => without_code(text).to_owned(),
            ParserError::InvalidNumber(_) => format!("{found} is no number,"),
            ParserError::InvalidEscape(_) => format!("{found} has an escape that JSONata lacks,"),
            ParserError::Coded { message, .. } => message.clone(),
            other => without_code(&other.to_string()).to_owned(),
        };
        Self {
            message,
            position: offending.map_or(letters.len(), |token| token.start),
        }
    }
}

/// Whether the source ended where something had to follow.
fn at_end(error: &ParserError) -> bool {
    match error {
        ParserError::UnexpectedEnd => true,
        ParserError::UnexpectedToken(token) => token == "Eof",
        ParserError::Expected { found, .. } => found == "Eof",
        _ => false,
    }
}

/// The token at whose end parsing first fails with `error`.
fn locate(letters: &[char], tokens: &[Token], error: &str) -> Option<Token> {
    let fails = |token: &Token| {
        let beginning: String = letters[..token.end].iter().collect();
        parser::parse(&beginning).is_err_and(|found| found.to_string() == error)
    };
    let first = tokens.partition_point(|token| !fails(token));
    tokens.get(first).or_else(|| tokens.last()).copied()
}

fn text_of(letters: &[char], token: &Token) -> String {
    const SHOWN: usize = 40;
    let all = &letters[token.start..token.end.min(letters.len())];
    let mut text: String = all.iter().take(SHOWN).collect();
    if all.len() > SHOWN {
        text.push('…');
    }
    text
}

/// `Invalid syntax: S0213: The literal …` without what only the engine's authors need.
fn without_code(text: &str) -> &str {
    let text = text.strip_prefix("Invalid syntax: ").unwrap_or(text);
    super::error::split_code(text).1
}

/// A token's name in the engine, as one writes it.
fn symbol(name: &str) -> String {
    let written = match name {
        "LeftParen" => "(",
        "RightParen" => ")",
        "LeftBracket" => "[",
        "RightBracket" => "]",
        "LeftBrace" => "{",
        "RightBrace" => "}",
        "Comma" => ",",
        "Colon" => ":",
        "Semicolon" => ";",
        "Pipe" => "|",
        "LessThan" => "<",
        "GreaterThan" => ">",
        "ColonEqual" => ":=",
        other => return format!("a {}", other.to_lowercase()),
    };
    format!("`{written}`")
}

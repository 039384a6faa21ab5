//! Why an evaluation gave no result, without a value of the record in it.

use std::fmt::Write as _;

use jsonata_core::evaluator::EvaluatorError;
use serde_json::Value;

use super::{MAX_DEPTH, MAX_SEQUENCE, MAX_TIME};
use crate::fault::kind_of;

/// Characters of the expression that a message shows.
const SHOWN_SOURCE: usize = 200;
/// Fields of the input that a message names.
const SHOWN_FIELDS: usize = 20;
/// Characters of a field's name that a message shows.
const SHOWN_NAME: usize = 40;
/// Characters of an expression's own message (`$error`) that are kept.
const SHOWN_MESSAGE: usize = 500;

/// Stands before the message of a bound that was passed; such an evaluation isn't tried again.
pub(super) const BOUND: &str = "bound: ";
/// Stands before the message of a function that isn't the engine's, which holds no value.
pub(super) const OWN: &str = "own: ";

/// An evaluation that failed. The engine knows no positions here, so the message shows the
/// expression, and of the input the names and types of its fields, never their values. Only `$error`
/// and `$assert` can bring in values: their messages are the expression's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}, in `{expression}` over {input}")]
pub struct EvaluationError {
    /// What went wrong.
    pub message: String,
    /// The expression, shortened.
    pub expression: String,
    /// The shape of the input, as `an object of id (a number), lines (an array)`.
    pub input: String,
}

impl EvaluationError {
    pub(super) fn new(message: String, source: &str, input: &Value) -> Self {
        Self {
            message,
            expression: shortened(source, SHOWN_SOURCE),
            input: shape(input),
        }
    }
}

fn shortened(text: &str, most: usize) -> String {
    let mut letters = text.chars();
    let mut short: String = letters.by_ref().take(most).collect();
    if letters.next().is_some() {
        short.push('…');
    }
    short
}

fn shape(input: &Value) -> String {
    match input {
        Value::Object(fields) if !fields.is_empty() => {
            let mut text = String::from("an object of ");
            for (i, (name, value)) in fields.iter().take(SHOWN_FIELDS).enumerate() {
                let separator = if i > 0 { ", " } else { "" };
                let name = shortened(name, SHOWN_NAME);
                // Writing to a string can't fail.
                let _ = write!(text, "{separator}{name} ({})", kind_of(value));
            }
            if fields.len() > SHOWN_FIELDS {
                let _ = write!(text, " and {} more", fields.len() - SHOWN_FIELDS);
            }
            text
        }
        Value::Array(items) => format!("an array of {}", items.len()),
        other => kind_of(other).to_owned(),
    }
}

/// Whether a bound was passed, so that trying again is no use.
pub(super) fn is_bound(error: &EvaluatorError) -> bool {
    let message = error.message();
    message.starts_with(BOUND)
        || matches!(
            split_code(message).0,
            Some("D1011" | "D1012" | "D2014" | "D2015" | "U1001" | "U1002")
        )
}

/// The message of an evaluation whose time is over.
pub(super) fn too_late() -> String {
    format!("took longer than {} ms", MAX_TIME.as_millis())
}

/// The message for what the engine, or a function it called, reports.
pub(super) fn of_engine(error: EvaluatorError) -> String {
    let message = match error {
        EvaluatorError::TypeError(message)
        | EvaluatorError::ReferenceError(message)
        | EvaluatorError::EvaluationError(message) => message,
    };
    if let Some(known) = message.strip_prefix(BOUND).or(message.strip_prefix(OWN)) {
        return known.to_owned();
    }
    let (code, text) = split_code(&message);
    let known = match code {
        Some("D1012") => return too_late(),
        Some("D1011" | "U1001" | "U1002") => {
            return format!(
                "nests deeper than {MAX_DEPTH} levels; does a function call itself without end?"
            );
        }
        Some("D2014" | "D2015") => {
            return format!("makes a sequence of more than {MAX_SEQUENCE} items");
        }
        // The expression's own words.
        Some("D3137" | "D3141") => return shortened(text, SHOWN_MESSAGE),
        // The engine's texts for these are about values, or say little without them.
        Some("D1001" | "D3001") => "a number is out of range",
        Some("D1009") => "two keys of an object are the same",
        Some("D3030") => "$number: the value is no number",
        Some("D3060") => "$sqrt: the number is negative",
        Some("D3086") => "$formatNumber: the picture has an invalid character",
        Some("D3100") => "$formatBase: the radix must be from 2 to 36",
        Some("D3110") => "$toMillis: the text is no timestamp of ISO 8601",
        Some("D3140") => "the text is no URL",
        Some("T1003") => "a key of an object must be a string",
        Some("T1006") if text.contains(": $") => text,
        Some("T1006") => "what is called is no function",
        Some("T2007") => "values of different types can't be sorted",
        Some("T2010") => "values of different types can't be compared",
        _ => without_values(text),
    };
    match code {
        Some(code) => format!("{known} ({code})"),
        None => known.to_owned(),
    }
}

/// The engine's text up to where it quotes a value.
fn without_values(text: &str) -> &str {
    let end = ["\"", "'", ": ", ", got"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    text[..end].trim_end()
}

/// `D3030: text` as its code and its text.
pub(super) fn split_code(message: &str) -> (Option<&str>, &str) {
    match jsonata_core::evaluator::error_code_prefix(message) {
        Some(code) => (Some(code), message[code.len() + 1..].trim_start()),
        None => (None, message),
    }
}

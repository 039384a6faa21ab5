//! Reading a JSON document from outside and naming everything that is wrong
//! with it at once, each fault with a JSON pointer (RFC 6901).
//!
//! A reader takes the fields it knows out of a [`Fields`]; what is left when
//! [`Fields::finish`] is called is unknown and becomes a fault, with the nearest
//! known name as a suggestion, so that a typo never passes silently.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

/// Faults reported for one document at most; the rest is summed up in one line.
pub const MAX_FAULTS: usize = 100;

/// Characters of a name that a suggestion is looked for at most: nobody misspells a longer one, and comparing takes as
/// long as it is.
const MAX_SUGGESTED_CHARS: usize = 64;
/// Characters of a name of the document that a fault repeats at most.
pub const MAX_SHOWN_CHARS: usize = 128;
/// Characters of a fault's message at most, whatever it repeats of the document.
const MAX_MESSAGE_CHARS: usize = 2_000;

/// One thing wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where, as a JSON pointer into the document; empty for the whole of it.
    pub pointer: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// Everything found wrong so far, in the order of the document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Adds a fault; past [`MAX_FAULTS`] it is dropped, since nobody mends more in one go; so is the same one again.
    pub fn push(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        let fault = Fault {
            pointer: pointer.into(),
            message: cut(&message.into(), MAX_MESSAGE_CHARS).into_owned(),
        };
        if self.0.len() < MAX_FAULTS && !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// `Ok(value)` when nothing was found wrong.
    ///
    /// # Errors
    /// The faults, when there are any.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            if fault.pointer.is_empty() {
                f.write_str(&fault.message)?;
            } else {
                write!(f, "{}: {}", fault.pointer, fault.message)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// `name` as a fault repeats it: cut, with `…` at its end, when it is long.
#[must_use]
pub fn shown(name: &str) -> Cow<'_, str> {
    cut(name, MAX_SHOWN_CHARS)
}

fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// `pointer` with one more reference token, as faults name places: a long token as [`shown`].
#[must_use]
pub fn child(pointer: &str, token: impl std::fmt::Display) -> String {
    place(pointer, &shown(&token.to_string()))
}

/// `pointer` with one more reference token, whole, escaped by RFC 6901 section 3.
#[must_use]
pub fn place(pointer: &str, token: &str) -> String {
    let token = token.replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{token}")
}

/// What a JSON value is called in a message: `a string`, `an object`, ….
#[must_use]
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The fields of one object that is being read.
pub struct Fields<'a> {
    object: &'a Map<String, Value>,
    pointer: String,
    known: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    /// `None`, and a fault, when `value` is no object.
    pub fn new(value: &'a Value, pointer: impl Into<String>, faults: &mut Faults) -> Option<Self> {
        let pointer = pointer.into();
        if let Value::Object(object) = value {
            Some(Self {
                object,
                pointer,
                known: BTreeSet::new(),
            })
        } else {
            faults.push(pointer, format!("must be an object, is {}", kind_of(value)));
            None
        }
    }

    /// The pointer of field `name`.
    #[must_use]
    pub fn pointer(&self, name: &str) -> String {
        child(&self.pointer, name)
    }

    /// The pointer of the object itself.
    #[must_use]
    pub fn own_pointer(&self) -> &str {
        &self.pointer
    }

    /// The value of `name` as it is; `null` counts as absent.
    pub fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.insert(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// The value of `name`, `null` included.
    pub fn nullable(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.insert(name);
        self.object.get(name)
    }

    /// As [`Self::value`], with a fault when it is missing.
    pub fn required(&mut self, name: &'static str, faults: &mut Faults) -> Option<&'a Value> {
        let value = self.value(name);
        if value.is_none() {
            faults.push(self.pointer(name), "is required");
        }
        value
    }

    fn typed<T>(
        &mut self,
        name: &'static str,
        faults: &mut Faults,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name)?;
        let read = read(value);
        if read.is_none() {
            faults.push(
                self.pointer(name),
                format!("must be {expected}, is {}", kind_of(value)),
            );
        }
        read
    }

    /// An optional string.
    pub fn string(&mut self, name: &'static str, faults: &mut Faults) -> Option<&'a str> {
        self.typed(name, faults, "a string", Value::as_str)
    }

    /// A string that must be there and not be empty.
    pub fn required_string(&mut self, name: &'static str, faults: &mut Faults) -> Option<&'a str> {
        self.required(name, faults)?;
        let text = self.string(name, faults)?;
        if text.trim().is_empty() {
            faults.push(self.pointer(name), "must not be empty");
            return None;
        }
        Some(text)
    }

    /// An optional boolean.
    pub fn boolean(&mut self, name: &'static str, faults: &mut Faults) -> Option<bool> {
        self.typed(name, faults, "a boolean", Value::as_bool)
    }

    /// An optional object.
    pub fn object(
        &mut self,
        name: &'static str,
        faults: &mut Faults,
    ) -> Option<&'a Map<String, Value>> {
        self.typed(name, faults, "an object", Value::as_object)
    }

    /// An optional array.
    pub fn array(&mut self, name: &'static str, faults: &mut Faults) -> Option<&'a Vec<Value>> {
        self.typed(name, faults, "an array", Value::as_array)
    }

    /// An optional whole number within `range`.
    pub fn integer(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<u64>,
        faults: &mut Faults,
    ) -> Option<u64> {
        let value = self.value(name)?;
        let number = value.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            faults.push(
                self.pointer(name),
                format!(
                    "must be a whole number from {} to {}",
                    range.start(),
                    range.end()
                ),
            );
        }
        number
    }

    /// One of a closed set of words.
    pub fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
        faults: &mut Faults,
    ) -> Option<T> {
        let text = self.string(name, faults)?;
        let found = choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = choices
                .iter()
                .map(|(word, _)| format!("`{word}`"))
                .collect();
            faults.push(
                self.pointer(name),
                format!("must be one of {}", words.join(", ")),
            );
        }
        found
    }

    /// A field that exists in the contract but not in this version: a fault
    /// that says so when it is used.
    pub fn not_supported_yet(&mut self, name: &'static str, faults: &mut Faults) {
        if self.value(name).is_some() {
            faults.push(self.pointer(name), "is not supported yet; leave it out");
        }
    }

    /// Accepts `name` and does nothing with it.
    pub fn ignore(&mut self, name: &'static str) {
        self.known.insert(name);
    }

    /// Makes every field that was never asked for a fault.
    pub fn finish(self, faults: &mut Faults) {
        for name in self.object.keys() {
            if !self.known.contains(name.as_str()) {
                let hint = suggestion(name, self.known.iter().copied());
                faults.push(
                    child(&self.pointer, name),
                    format!("is not a known field{hint}"),
                );
            }
        }
    }
}

/// `` ; did you mean `x`? `` with the candidate that `name` most likely is a
/// misspelling of, or nothing.
pub fn suggestion<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    if name.chars().nth(MAX_SUGGESTED_CHARS).is_some() {
        return String::new();
    }
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_huge_unknown_name_is_cut_and_gets_no_suggestion() {
        let huge = "ä".repeat(500_000);
        let mut faults = Faults::default();
        let document = json!({ huge.as_str(): 1 });
        let fields = Fields::new(&document, "", &mut faults).expect("an object");
        fields.finish(&mut faults);
        let cut = format!("/{}…", "ä".repeat(MAX_SHOWN_CHARS));
        assert_eq!(faults.as_slice()[0].pointer, cut);
        assert_eq!(suggestion(&huge, [huge.as_str()]), "");
    }

    #[test]
    fn every_fault_is_named_at_once_with_its_pointer() {
        let document = json!({"label": 3, "dependson": "x", "limit": 900, "a/b": 1});
        let mut faults = Faults::default();
        let mut fields = Fields::new(&document, "", &mut faults).expect("an object");
        fields.required_string("name", &mut faults);
        fields.string("label", &mut faults);
        fields.string("depends_on", &mut faults);
        fields.integer("limit", 1..=200, &mut faults);
        fields.finish(&mut faults);
        let found: Vec<_> = faults
            .as_slice()
            .iter()
            .map(|f| (f.pointer.as_str(), f.message.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("/name", "is required"),
                ("/label", "must be a string, is a number"),
                ("/limit", "must be a whole number from 1 to 200"),
                (
                    "/dependson",
                    "is not a known field; did you mean `depends_on`?"
                ),
                ("/a~1b", "is not a known field"),
            ]
        );
    }
}

//! What one evaluation has beside the expression: the numbers that were replaced by
//! markers, shared by the conversions and the functions that the engine calls.
//!
//! A marker is a string that begins with [`prefix`]; nobody outside can write one, since it
//! holds a random number of this process. Equal source texts share a marker.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::LazyLock;

use jsonata_core::value::JValue;
use serde_json::Number;

static PREFIX: LazyLock<String> =
    LazyLock::new(|| format!("\u{10fffd}{:032x}:", rand::random::<u128>()));
/// Ends a marker, so that it is found inside a longer string.
const END: char = '\u{10fffd}';

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// No number needs care.
    Plain,
    /// Numbers that need care are markers.
    Exact,
    /// They are doubles, because markers didn't do.
    Doubles,
}

pub(super) struct Session {
    mode: Mode,
    numbers: RefCell<Vec<Number>>,
    places: RefCell<HashMap<String, usize>>,
    wants_exact: Cell<bool>,
}

impl Session {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            numbers: RefCell::default(),
            places: RefCell::default(),
            wants_exact: Cell::new(false),
        }
    }

    pub(super) fn exact() -> Self {
        Self::new(Mode::Exact)
    }

    pub(super) fn plain() -> Self {
        Self::new(Mode::Plain)
    }

    pub(super) fn doubles() -> Self {
        Self::new(Mode::Doubles)
    }

    pub(super) fn has_no_numbers(&self) -> bool {
        self.numbers.borrow().is_empty()
    }

    /// Whether a plain evaluation met a number that needs care, in a text it parsed.
    pub(super) fn wants_exact(&self) -> bool {
        self.wants_exact.get()
    }

    /// The engine's value of a number that needs care.
    pub(super) fn number(&self, number: &Number) -> JValue {
        match self.mode {
            Mode::Exact => {}
            Mode::Plain => {
                self.wants_exact.set(true);
                return JValue::Null;
            }
            Mode::Doubles => return number.as_f64().map_or(JValue::Null, JValue::Number),
        }
        let mut numbers = self.numbers.borrow_mut();
        let place = *self
            .places
            .borrow_mut()
            .entry(number.as_str().to_owned())
            .or_insert_with(|| {
                numbers.push(number.clone());
                numbers.len() - 1
            });
        JValue::string(format!("{}{place}{END}", *PREFIX))
    }

    /// The number that `value` stands for, if it is a marker.
    pub(super) fn marked(&self, value: &JValue) -> Option<Number> {
        let JValue::String(text) = value else {
            return None;
        };
        if self.mode != Mode::Exact || !text.starts_with(END) {
            return None;
        }
        let place = text.strip_prefix(PREFIX.as_str())?.strip_suffix(END)?;
        self.numbers
            .borrow()
            .get(place.parse::<usize>().ok()?)
            .cloned()
    }

    /// `text` with the digits in place of the markers in it.
    pub(super) fn expanded(&self, text: &str) -> String {
        if self.mode != Mode::Exact || !text.contains(PREFIX.as_str()) {
            return text.to_owned();
        }
        let mut parts = text.split(PREFIX.as_str());
        let mut out = parts.next().unwrap_or_default().to_owned();
        let numbers = self.numbers.borrow();
        for part in parts {
            let found = part
                .split_once(END)
                .and_then(|(place, rest)| Some((numbers.get(place.parse::<usize>().ok()?)?, rest)));
            match found {
                Some((number, rest)) => {
                    out.push_str(number.as_str());
                    out.push_str(rest);
                }
                None => out.push_str(part),
            }
        }
        out
    }

    /// Each number by the bits of its double; `None` where several share one.
    pub(super) fn by_double(&self) -> HashMap<u64, Option<Number>> {
        let mut map = HashMap::new();
        for number in self.numbers.borrow().iter() {
            let Some(double) = number.as_f64() else {
                continue;
            };
            map.entry(double.to_bits())
                .and_modify(|known| *known = None)
                .or_insert_with(|| Some(number.clone()));
        }
        map
    }
}

impl Session {
    /// JSON text with numbers in place of the quoted markers in it.
    pub(super) fn unquoted(&self, text: &str) -> String {
        if self.mode != Mode::Exact || !text.contains(PREFIX.as_str()) {
            return text.to_owned();
        }
        let opening = format!("\"{}", *PREFIX);
        let closing = format!("{END}\"");
        let bare = text
            .replace(&opening, &PREFIX)
            .replace(&closing, &END.to_string());
        self.expanded(&bare)
    }
}

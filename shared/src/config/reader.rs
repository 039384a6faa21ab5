//! Takes typed values out of the layers and collects what is wrong with them.

use std::{net::SocketAddr, ops::RangeInclusive};

use toml::Value;

use super::{
    faults::SettingsFaults,
    layers::{Layers, variable},
};

pub(super) struct Reader<'a> {
    pub(super) layers: &'a Layers,
    pub(super) faults: &'a mut SettingsFaults,
}

impl Reader<'_> {
    /// Adds a fault of setting `name`, with its variable and where its value is from.
    pub(super) fn fault(&mut self, name: &str, message: impl Into<String>) {
        let origin = self
            .layers
            .get(name)
            .map(|given| format!(", from {}", given.origin))
            .unwrap_or_default();
        self.faults
            .push(format!("{name} ({}{origin})", variable(name)), message);
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.layers.get(name).map(|given| &given.value)
    }

    /// A text; empty counts as not set.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            _ => {
                self.fault(name, "must be a text in quotes");
                None
            }
        }
    }

    pub(super) fn address(&mut self, name: &str) -> Option<SocketAddr> {
        let text = self.text(name)?;
        let address = text.parse().ok();
        if address.is_none() {
            self.fault(
                name,
                format!(
                    "`{text}` must be an address and a port, e.g. `127.0.0.1:8080`, `[::]:8080`"
                ),
            );
        }
        address
    }

    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        let read = match self.value(name)? {
            Value::Boolean(value) => Some(*value),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        if read.is_none() {
            self.fault(name, "must be `true` or `false`");
        }
        read
    }

    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let read = number(self.value(name)?).filter(|number| range.contains(number));
        if read.is_none() {
            let (from, to) = range.into_inner();
            self.fault(name, format!("must be a whole number from {from} to {to}"));
        }
        read
    }

    /// One number that stands for both, or two: `64`, `"64,32"`, `[64, 32]`.
    pub(super) fn pair(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<(u32, u32)> {
        let numbers: Vec<Option<u32>> = match self.value(name)? {
            Value::Array(values) => values.iter().map(number).collect(),
            Value::String(text) => text
                .split(',')
                .map(|part| part.trim().parse().ok())
                .collect(),
            value => vec![number(value)],
        };
        let within = |number: &Option<u32>| number.filter(|number| range.contains(number));
        let read = match &numbers[..] {
            [both] => within(both).map(|both| (both, both)),
            [first, second] => within(first).zip(within(second)),
            _ => None,
        };
        if read.is_none() {
            let (from, to) = range.into_inner();
            self.fault(
                name,
                format!("must be one or two whole numbers from {from} to {to}"),
            );
        }
        read
    }

    /// An array of texts, or one text with commas.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let read: Option<Vec<String>> = match self.value(name) {
            None => Some(Vec::new()),
            Some(Value::String(text)) => Some(text.split(',').map(str::to_owned).collect()),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect(),
            Some(_) => None,
        };
        if read.is_none() {
            self.fault(name, "must be a list of texts");
        }
        let trimmed = read
            .unwrap_or_default()
            .into_iter()
            .map(|text| text.trim().to_owned());
        trimmed.filter(|text| !text.is_empty()).collect()
    }

    /// One of a closed set of words.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = choices
                .iter()
                .map(|(word, _)| format!("`{word}`"))
                .collect();
            self.fault(
                name,
                format!("`{text}` must be one of {}", words.join(", ")),
            );
        }
        found
    }
}

fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Integer(number) => u32::try_from(*number).ok(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

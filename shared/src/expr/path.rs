//! Dotted paths into JSON values.

use serde_json::Value;

/// A compiled dotted path: `data.orders`, `lines.0.sku`.
///
/// A segment is a member's name; in an array it is an index from 0, or, negative,
/// from the end (`lines.-1` is the last one; before the first one lies the first).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    text: String,
    segments: Vec<String>,
    /// For each segment, what it means in an array.
    indices: Vec<Option<Index>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Index {
    FromStart(usize),
    FromEnd(usize),
}

impl Path {
    /// # Errors
    /// When a segment is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        let segments: Vec<String> = text.split('.').map(str::to_owned).collect();
        if segments.iter().any(|segment| segment.trim().is_empty()) {
            return Err(format!(
                "the path `{text}` has an empty part: write one such as `data.orders` or `lines.0.sku`"
            ));
        }
        let indices = segments
            .iter()
            .map(|segment| Index::parse(segment))
            .collect();
        Ok(Self {
            text: text.to_owned(),
            segments,
            indices,
        })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The value at the path; `None` when any step is missing.
    #[must_use]
    pub fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.get_after(0, value)
    }

    /// The value at what is left of the path after the first `done` segments.
    pub(super) fn get_after<'v>(&self, done: usize, value: &'v Value) -> Option<&'v Value> {
        self.segments.iter().zip(&self.indices).skip(done).try_fold(
            value,
            |value, (segment, index)| match value {
                Value::Object(members) => members.get(segment),
                Value::Array(elements) => match (*index)? {
                    Index::FromStart(index) => elements.get(index),
                    Index::FromEnd(back) => elements.get(elements.len().saturating_sub(back)),
                },
                _ => None,
            },
        )
    }
}

impl Index {
    fn parse(segment: &str) -> Option<Self> {
        let (digits, from_end) = segment
            .strip_prefix('-')
            .map_or((segment, false), |digits| (digits, true));
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = digits.parse().ok()?;
        Some(if from_end {
            Self::FromEnd(number)
        } else {
            Self::FromStart(number)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn get(path: &str, value: &Value) -> Option<Value> {
        Path::parse(path).expect("a path").get(value).cloned()
    }

    #[test]
    fn a_path_leads_through_members_and_indices() {
        let value = json!({"data": {"orders": [{"sku": "a"}, {"sku": "b"}], "0": "zero"}});
        assert_eq!(get("data.orders.1.sku", &value), Some(json!("b")));
        assert_eq!(get("data.orders.-1.sku", &value), Some(json!("b")));
        assert_eq!(get("data.orders.-9.sku", &value), Some(json!("a")));
        assert_eq!(get("data.0", &value), Some(json!("zero")));
    }

    #[test]
    fn a_missing_step_gives_nothing() {
        let value = json!({"a": {"b": null}, "list": [1], "text": "abc"});
        for path in [
            "x",
            "a.x",
            "a.b.c",
            "list.1",
            "list.-0",
            "list.x",
            "list.length",
            "text.0",
            "list.+0",
        ] {
            assert_eq!(get(path, &value), None, "{path}");
        }
        assert_eq!(get("a.b", &value), Some(Value::Null));
    }

    #[test]
    fn an_empty_part_is_refused() {
        for text in ["", ".", "a.", ".a", "a..b", "a. .b"] {
            assert!(Path::parse(text).is_err(), "{text:?}");
        }
    }
}

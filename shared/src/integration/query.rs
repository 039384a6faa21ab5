//! Query parameters out of JSON: nested objects become `a[b]=c`, arrays what
//! `query_array_format` says, null and empty containers nothing.

use serde_json::{Map, Value};

use super::words::scalar_text;

/// How an array stands in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ArrayFormat {
    /// `a=1,2`
    #[default]
    Comma,
    /// `a[]=1&a[]=2`
    Brackets,
    /// `a[0]=1&a[1]=2`
    Indices,
    /// `a=1&a=2`
    Repeat,
}

pub(super) const ARRAY_FORMATS: &[(&str, ArrayFormat)] = &[
    ("comma", ArrayFormat::Comma),
    ("brackets", ArrayFormat::Brackets),
    ("indices", ArrayFormat::Indices),
    ("repeat", ArrayFormat::Repeat),
];

/// Name and value of each parameter, not yet percent-encoded.
pub(super) fn pairs(query: &Map<String, Value>, format: ArrayFormat) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (name, value) in query {
        add(name, value, format, &mut pairs);
    }
    pairs
}

fn add(name: &str, value: &Value, format: ArrayFormat, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(object) => {
            for (key, value) in object {
                add(&format!("{name}[{key}]"), value, format, pairs);
            }
        }
        Value::Array(list) => add_array(name, list, format, pairs),
        scalar => pairs.extend(scalar_text(scalar).map(|text| (name.to_owned(), text))),
    }
}

fn add_array(name: &str, list: &[Value], format: ArrayFormat, pairs: &mut Vec<(String, String)>) {
    let items = list.iter().filter(|item| !item.is_null());
    // Only an index can tell apart which object of a list a nested key belongs to.
    let nested = items
        .clone()
        .any(|item| item.is_object() || item.is_array());
    match if nested { ArrayFormat::Indices } else { format } {
        ArrayFormat::Comma => {
            let texts: Vec<String> = items.filter_map(scalar_text).collect();
            if !texts.is_empty() {
                pairs.push((name.to_owned(), texts.join(",")));
            }
        }
        ArrayFormat::Brackets => {
            let name = format!("{name}[]");
            items.for_each(|item| add(&name, item, format, pairs));
        }
        ArrayFormat::Indices => {
            for (index, item) in items.enumerate() {
                add(&format!("{name}[{index}]"), item, format, pairs);
            }
        }
        ArrayFormat::Repeat => items.for_each(|item| add(name, item, format, pairs)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(query: &Value, format: ArrayFormat) -> String {
        let query = query.as_object().expect("an object");
        let pairs: Vec<String> = pairs(query, format)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("&")
    }

    #[test]
    fn arrays_and_objects_of_a_query_are_written_as_the_format_says() {
        let query =
            json!({"a": [1, 2], "b": {"c": "x", "d": {"e": true}}, "n": null, "z": [], "y": {}});
        let nested = "b[c]=x&b[d][e]=true";
        for (format, arrays) in [
            (ArrayFormat::Comma, "a=1,2"),
            (ArrayFormat::Brackets, "a[]=1&a[]=2"),
            (ArrayFormat::Indices, "a[0]=1&a[1]=2"),
            (ArrayFormat::Repeat, "a=1&a=2"),
        ] {
            assert_eq!(shown(&query, format), format!("{arrays}&{nested}"));
        }
        let objects = json!({"a": [{"b": 1}, {"b": 2}]});
        assert_eq!(shown(&objects, ArrayFormat::Comma), "a[0][b]=1&a[1][b]=2");
    }

    #[test]
    fn numbers_of_a_query_keep_their_digits() {
        let query: Value =
            serde_json::from_str(r#"{"id": 9007199254740993, "price": 1.10, "tiny": 1e-7}"#)
                .expect("json");
        assert_eq!(
            shown(&query, ArrayFormat::Comma),
            "id=9007199254740993&price=1.10&tiny=1e-7"
        );
    }
}

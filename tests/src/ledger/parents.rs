//! Which values of its fields each stream has brought so far, to tell whether a child's parent came before it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

/// Fields of records that children were made from, looked at when a child first names one.
#[derive(Debug, Default)]
pub struct Parents {
    /// Streams that brought records, early or late.
    streams: BTreeSet<String>,
    records: BTreeMap<String, Vec<Value>>,
    /// Stream and path → the values of that field, as JSON, in as many of its records as are counted.
    fields: HashMap<(String, String), (HashSet<String>, usize)>,
}

impl Parents {
    /// `streams`: all that bring records of this run.
    pub fn new(streams: BTreeSet<String>) -> Self {
        Self {
            streams,
            ..Self::default()
        }
    }

    pub fn add(&mut self, stream: &str, record: Value) {
        self.records
            .entry(stream.to_owned())
            .or_default()
            .push(record);
    }

    /// Whether a record has come whose field is the `value` of a `placeholder`, such as `resources.wms.orders.id`; true too
    /// where that can't be told: the placeholder is of no stream that brings records, or their field was mapped away.
    pub fn came(&mut self, placeholder: &str, value: &Value) -> bool {
        let Some((stream, path)) = self.place(placeholder) else {
            return true;
        };
        let Some(records) = self.records.get(&stream) else {
            return false;
        };
        let (values, counted) = self.fields.entry((stream, path.clone())).or_default();
        for record in &records[*counted..] {
            values.extend(field(record, &path).map(Value::to_string));
        }
        *counted = records.len();
        values.is_empty() || values.contains(&value.to_string())
    }

    /// The stream with the longest name that fits, and the rest.
    fn place(&self, placeholder: &str) -> Option<(String, String)> {
        let rest = placeholder.strip_prefix("resources.")?;
        let fits = |stream: &&String| {
            let name = stream.replace('/', ".");
            rest.strip_prefix(&name)
                .is_some_and(|path| path.starts_with('.'))
        };
        let stream = self
            .streams
            .iter()
            .filter(fits)
            .max_by_key(|stream| stream.len())?;
        Some((stream.clone(), rest[stream.len() + 1..].to_owned()))
    }
}

fn field<'a>(record: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(record, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => value.get(part),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_parent_is_known_by_the_field_that_its_child_names() {
        let mut parents = Parents::new(BTreeSet::from(["wms/orders".to_owned()]));
        let id = "resources.wms.orders.id";
        assert!(!parents.came(id, &json!(7)), "nothing came");
        parents.add("wms/orders", json!({"id": 7, "lines": [{"sku": "a"}]}));
        assert!(parents.came(id, &json!(7)) && !parents.came(id, &json!(8)));
        assert!(!parents.came(id, &json!("7")), "a text is no number");
        parents.add("wms/orders", json!({"id": 8}));
        assert!(parents.came(id, &json!(8)));
        assert!(parents.came("resources.wms.orders.lines.0.sku", &json!("a")));
        assert!(
            parents.came("resources.wms.orders.gone", &json!(1)),
            "it was mapped away"
        );
        assert!(
            parents.came("loop.item", &json!(1)) && parents.came("resources.shops.id", &json!(1))
        );
    }
}

//! Deep merging, as `$truto_merge` does it.

use serde_json::Value;

/// `over` laid over `base`: objects member by member, arrays one after the other, all else replaced.
pub(super) fn merge(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (name, value) in over {
                let merged = match base.get_mut(&name) {
                    Some(slot) => merge(slot.take(), value),
                    None => value,
                };
                base.insert(name, merged);
            }
            Value::Object(base)
        }
        (Value::Array(mut base), Value::Array(over)) => {
            base.extend(over);
            Value::Array(base)
        }
        (_, over) => over,
    }
}

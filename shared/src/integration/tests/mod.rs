//! Whole documents: their faults, the requests they make, the pages they follow.

#![expect(
    clippy::needless_pass_by_value,
    reason = "the JSON is written where it is used"
)]

mod document;
mod guides;
mod pages;
mod request;

use serde_json::{Value, json};

use super::Integration;
use crate::fault::Faults;

/// A document with one method, `orders.list`, and `config` merged over a minimal one.
fn document(method: Value, config: Value) -> Value {
    let mut document = json!({
        "name": "acme", "label": "Acme",
        "config": {
            "base_url": "https://api.acme.test/v1",
            "credentials": {"format": "api_key", "config": {"fields": [{"name": "api_key", "type": "password", "required": true}]}},
            "resources": {"orders": {"list": method}},
        }
    });
    if let Value::Object(config) = config {
        for (name, value) in config {
            document["config"][name.as_str()] = value;
        }
    }
    document
}

fn compile(method: Value, config: Value) -> Integration {
    Integration::compile(&document(method, config)).expect("a sound document")
}

fn faults_of(document: &Value) -> Vec<(String, String)> {
    let faults: Faults = Integration::compile(document).expect_err("faults");
    let faults = faults.as_slice().iter();
    faults
        .map(|fault| (fault.pointer.clone(), fault.message.clone()))
        .collect()
}

//! `args_schema`: what the arguments of a job's runs must be, as JSON Schema 2020-12.
//!
//! Understood besides: `required: true` on a property instead of `required: [...]`
//! beside it, and a flat map of properties instead of an object's schema. Patterns
//! are those of the crate `regex`, so that no pattern takes longer than its text is
//! long; nothing is ever fetched: `$ref` leads to places of the same schema, and never in a circle.

use std::collections::BTreeMap;

use jsonschema::{PatternOptions, Validator, error::ValidationErrorKind};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::fault::{self, Faults, MAX_FAULTS, child, shown};

/// Schemas within schemas, references followed.
const MAX_DEPTH: usize = 100;
/// Schemas in a schema, references written out; with the bound on the arguments it bounds the time of a check.
const MAX_SIZE: usize = 2_000;
/// Bytes of the names on the way to a schema; each schema below is counted by its place.
const MAX_PLACE_BYTES: usize = 4 * 1024;
/// Keywords of an object's schema whose value is an object: what has one of these is a schema, not a map of properties.
const OBJECT_KEYWORDS: &[&str] = &[
    "$defs",
    "additionalProperties",
    "definitions",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "not",
    "patternProperties",
    "properties",
    "propertyNames",
    "then",
    "unevaluatedProperties",
];
/// Keywords whose value is a schema, an array of schemas, or a map of schemas.
const ONE: &[&str] = &[
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const MANY: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems"];
const NAMED: &[&str] = &[
    "$defs",
    "definitions",
    "dependentSchemas",
    "patternProperties",
    "properties",
];

/// A compiled `args_schema`.
#[derive(Debug)]
pub struct ArgsSchema(Validator);

impl ArgsSchema {
    /// Compiles a schema; what is wrong with it becomes faults below `pointer`.
    pub fn compile(given: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let schema = normalised(given);
        let before = faults.as_slice().len();
        for error in jsonschema::draft202012::meta::validator()
            .iter_errors(&schema)
            .take(MAX_FAULTS)
        {
            faults.push(
                format!("{pointer}{}", error.instance_path()),
                format!("is no JSON Schema: {}", shortened(&error.to_string())),
            );
        }
        if faults.as_slice().len() == before {
            let mut size = Size {
                root: &schema,
                known: BTreeMap::new(),
            };
            if let Err(refusal) = size.of("", 0) {
                faults.push(format!("{pointer}{}", refusal.place), refusal.message);
            }
        }
        if faults.as_slice().len() > before {
            return None;
        }
        let built = jsonschema::draft202012::options()
            .with_pattern_options(PatternOptions::regex())
            .offline()
            .build(&schema);
        match built {
            Ok(validator) => Some(Self(validator)),
            Err(error) => {
                let place = error.instance_path();
                let message = format!("can't be used: {}", shortened(&error.to_string()));
                faults.push(format!("{pointer}{place}"), message);
                None
            }
        }
    }

    /// What is wrong with the arguments of a run, below `pointer`.
    pub fn check(&self, args: &Value, pointer: &str, faults: &mut Faults) {
        for error in self.0.iter_errors(args).take(MAX_FAULTS) {
            let place = format!("{pointer}{}", error.instance_path());
            match error.kind() {
                ValidationErrorKind::Required { property } => {
                    let name = property.as_str().unwrap_or_default();
                    faults.push(child(&place, name), "is required by the job's args_schema");
                }
                ValidationErrorKind::AdditionalProperties { unexpected }
                | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                    for name in unexpected {
                        faults.push(child(&place, name), "is not in the job's args_schema");
                    }
                }
                _ => {
                    let message = error.masked_with("the value").to_string();
                    let message = format!("{}, says the job's args_schema", shortened(&message));
                    faults.push(place, message);
                }
            }
        }
    }
}

/// Messages quote what they are about, which may be long.
fn shortened(message: &str) -> String {
    const MOST: usize = 200;
    if message.chars().count() <= MOST {
        return message.to_owned();
    }
    message.chars().take(MOST).chain("…".chars()).collect()
}

/// The schema in the standard's own words.
fn normalised(given: &Value) -> Value {
    let mut schema = match given {
        Value::Object(map) if is_flat(map) => json!({"type": "object", "properties": map}),
        _ => given.clone(),
    };
    if let Some(map) = schema.as_object_mut() {
        map.shift_remove("$schema");
    }
    normalise(&mut schema);
    schema
}

/// Whether this is a map of properties: every value is an object, and none is there for a keyword.
fn is_flat(map: &Map<String, Value>) -> bool {
    !map.is_empty()
        && map
            .iter()
            .all(|(name, value)| value.is_object() && !OBJECT_KEYWORDS.contains(&name.as_str()))
}

/// Moves `required: true` from properties to the list beside them, here and below.
fn normalise(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    if map.get("required").is_some_and(Value::is_boolean) {
        map.shift_remove("required");
    }
    let mut required = Vec::new();
    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            if property.get("required") == Some(&Value::Bool(true)) {
                required.push(Value::String(name.clone()));
            }
        }
    }
    if !required.is_empty() {
        let list = map.entry("required").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            required.retain(|name| !list.contains(name));
            list.append(&mut required);
        }
    }
    for (name, value) in map.iter_mut() {
        let name = name.as_str();
        if ONE.contains(&name) {
            normalise(value);
        } else if MANY.contains(&name) {
            value
                .as_array_mut()
                .into_iter()
                .flatten()
                .for_each(normalise);
        } else if NAMED.contains(&name) {
            let named = value.as_object_mut().into_iter();
            named.flat_map(Map::values_mut).for_each(normalise);
        }
    }
}

/// How large a schema is with its references written out: that many looks at a value at most. Each place is counted once,
/// and the size never ends where references go in a circle.
struct Size<'a> {
    root: &'a Value,
    /// By place; `None` while it is being counted.
    known: BTreeMap<String, Option<usize>>,
}

/// Why a schema can't be used, and where.
struct Refusal {
    place: String,
    message: String,
}

impl Size<'_> {
    fn of(&mut self, place: &str, depth: usize) -> Result<usize, Refusal> {
        let refuse = |message: &str| {
            Err(Refusal {
                place: shown(place).into_owned(),
                message: message.to_owned(),
            })
        };
        match self.known.get(place) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return refuse("refers to itself; `args_schema` must not"),
            None if depth > MAX_DEPTH => return refuse("is nested too deep"),
            None if place.len() > MAX_PLACE_BYTES => return refuse("has names that are too long"),
            None => {}
        }
        let Some(schema) = self.root.pointer(place) else {
            return refuse("refers to a place that isn't there");
        };
        let Value::Object(map) = schema else {
            return Ok(1);
        };
        if ["$dynamicRef", "$id", "$anchor", "$dynamicAnchor"]
            .iter()
            .any(|name| map.contains_key(*name))
        {
            return refuse(
                "uses `$id`, `$anchor` or `$dynamicRef`; only `$ref` to a place of the schema (`#/$defs/…`) can be used",
            );
        }
        let mut below = Vec::new();
        if let Some(target) = map.get("$ref") {
            let target = target.as_str().and_then(|target| target.strip_prefix('#'));
            let Some(target) = target.filter(|target| target.is_empty() || target.starts_with('/'))
            else {
                return refuse(
                    "refers to something else than a place of the schema (`#/$defs/…`); nothing is fetched",
                );
            };
            below.push(percent_decode_str(target).decode_utf8_lossy().into_owned());
        }
        for (name, value) in map {
            let at = fault::place(place, name);
            match (name.as_str(), value) {
                // Counted where they are referred to.
                ("$defs" | "definitions", _) => {}
                (keyword, Value::Array(all)) if MANY.contains(&keyword) && all.len() > MAX_SIZE => {
                    return refuse("is too large");
                }
                (keyword, Value::Object(all))
                    if NAMED.contains(&keyword) && all.len() > MAX_SIZE =>
                {
                    return refuse("is too large");
                }
                (keyword, _) if ONE.contains(&keyword) => below.push(at),
                (keyword, Value::Array(all)) if MANY.contains(&keyword) => {
                    below.extend((0..all.len()).map(|index| fault::place(&at, &index.to_string())));
                }
                (keyword, Value::Object(all)) if NAMED.contains(&keyword) => {
                    below.extend(all.keys().map(|name| fault::place(&at, name)));
                }
                _ => {}
            }
        }
        self.known.insert(place.to_owned(), None);
        let mut size = 1_usize;
        for next in below {
            size = size.saturating_add(self.of(&next, depth + 1)?);
        }
        if size > MAX_SIZE {
            return refuse("is too large with its references written out");
        }
        self.known.insert(place.to_owned(), Some(size));
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(schema: &Value, args: &Value) -> Vec<(String, String)> {
        let mut faults = Faults::default();
        if let Some(schema) = ArgsSchema::compile(schema, "/args_schema", &mut faults) {
            schema.check(args, "/args", &mut faults);
        }
        let all = faults.as_slice().iter();
        all.map(|fault| (fault.pointer.clone(), fault.message.clone()))
            .collect()
    }

    fn pointers(schema: &Value, args: &Value) -> Vec<String> {
        let mut all: Vec<_> = faults(schema, args).into_iter().map(|(at, _)| at).collect();
        all.sort();
        all
    }

    #[test]
    fn a_place_with_a_long_name_is_found() {
        let long = "x".repeat(1000);
        let schema = json!({"properties": {&long: {"$ref": format!("#/$defs/{long}")}},
            "$defs": {&long: {"type": "integer"}}});
        assert_eq!(faults(&schema, &json!({&long: 1})), []);
        assert_eq!(faults(&schema, &json!({&long: "1"})).len(), 1);
        let longer = "x".repeat(MAX_PLACE_BYTES);
        let refused = faults(&json!({"properties": {&longer: {}}}), &json!({}));
        assert!(refused[0].1.contains("too long"), "{refused:?}");
    }

    #[test]
    fn arguments_that_miss_the_schema_are_named_each_by_its_pointer() {
        let schema = json!({"type": "object", "required": ["warehouse", "since"], "additionalProperties": false,
            "properties": {"warehouse": {"type": "integer"}, "since": {"type": "string"},
                           "lines": {"type": "array", "items": {"type": "object", "required": ["sku"]}}}});
        let args = json!({"warehouse": "x", "lines": [{"sku": 1}, {}], "other": 1});
        assert_eq!(
            pointers(&schema, &args),
            [
                "/args/lines/1/sku",
                "/args/other",
                "/args/since",
                "/args/warehouse"
            ]
        );
        let args = json!({"warehouse": 9_007_199_254_740_993_u64, "since": "x"});
        assert_eq!(pointers(&schema, &args), Vec::<String>::new());
    }

    #[test]
    fn required_on_a_property_and_a_flat_map_of_properties_are_understood() {
        let flat = json!({"warehouse": {"type": "string", "required": true}, "since": {"type": "string", "required": false},
                          "items": {"type": "array"}});
        assert_eq!(
            pointers(&flat, &json!({"items": 1})),
            ["/args/items", "/args/warehouse"]
        );
        assert_eq!(
            pointers(&flat, &json!({"warehouse": "a"})),
            Vec::<String>::new()
        );
        let nested = json!({"type": "object", "properties": {"a": {"type": "object", "required": true,
            "properties": {"b": {"type": "integer", "required": true}}}}});
        assert_eq!(pointers(&nested, &json!({})), ["/args/a"]);
        assert_eq!(pointers(&nested, &json!({"a": {}})), ["/args/a/b"]);
    }

    #[test]
    fn what_is_no_schema_is_refused_with_the_place() {
        let all = [
            (
                json!({"type": "object", "properties": {"a": {"type": "strin"}}}),
                "/args_schema/properties/a/type",
            ),
            (
                json!({"type": "object", "properties": {"a": {"pattern": "("}}}),
                "/args_schema/properties/a/pattern",
            ),
            (
                json!({"type": "object", "properties": {"a": {"$ref": "https://example.com/x.json"}}}),
                "/args_schema/properties/a",
            ),
            (
                json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}),
                "/args_schema/$defs/none",
            ),
            (json!("text"), "/args_schema"),
        ];
        for (schema, pointer) in all {
            let found = pointers(&schema, &json!({}));
            assert!(
                found.iter().any(|at| at.starts_with(pointer)),
                "{schema}: {found:?}"
            );
        }
    }

    #[test]
    fn references_within_the_schema_work_unless_they_go_in_a_circle_or_grow_without_end() {
        let schema = json!({"type": "object", "properties": {"from": {"$ref": "#/$defs/day"}, "to": {"$ref": "#/$defs/day"}},
            "$defs": {"day": {"type": "string", "maxLength": 10}}});
        let args = json!({"from": "2024-05-01", "to": 7});
        assert_eq!(pointers(&schema, &args), ["/args/to"]);
        let mut growing = json!({"type": "object", "$ref": "#/$defs/d0", "$defs": {"d40": {}}});
        for i in 0..40 {
            let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
            growing["$defs"][format!("d{i}")] = json!({"anyOf": [next, next]});
        }
        for schema in [
            json!({"$ref": "#"}),
            json!({"type": "object", "allOf": [{"$ref": "#"}]}),
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}),
            json!({"type": "object", "properties": {"below": {"$ref": "#"}}}),
            growing,
        ] {
            assert_eq!(faults(&schema, &json!({})).len(), 1, "{schema}");
        }
    }

    #[test]
    fn a_pattern_takes_no_longer_than_its_text_is_long() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
        let args = json!({"a": format!("{}b", "a".repeat(50_000))});
        assert_eq!(pointers(&schema, &args), ["/args/a"]);
    }
}

//! What a method needs of a sync job, known before any request is made.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Method;
use crate::{expr::template::Scope, integration::placeholders::split_root};

impl Method {
    /// Placeholders of path, base URL, headers and body that a sync job's resource leaves without value,
    /// given what it has for `query` (its text, before placeholders are filled), `id`, `body` and `path`.
    #[must_use]
    pub fn missing(
        &self,
        query: &Value,
        has_id: bool,
        body: Option<&Value>,
        path: Option<&Value>,
    ) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        let texts = [&self.path, &self.base_url];
        let parts = texts
            .iter()
            .map(|text| &text.compiled)
            .chain(self.headers.iter().map(|header| &header.value))
            .chain(&self.body);
        for part in parts {
            // Whatever isn't the job's to give counts as given.
            let given = |placeholder: &str| match split_root(placeholder) {
                ("id", _) => has_id,
                ("query", rest) => gives(Some(query), rest),
                ("body", rest) => gives(body, rest),
                ("path", rest) => gives(path, rest),
                _ => true,
            };
            let mut filled: BTreeMap<String, Value> = part
                .paths
                .iter()
                .filter(|path| given(path))
                .map(|path| (path.clone(), Value::from(1)))
                .collect();
            // Only rendering knows which placeholders have a fallback or default.
            while let Err(unresolved) = part.template.render(&Scope {
                exact: Some(&filled),
                ..Scope::default()
            }) {
                let placeholder = unresolved.placeholder;
                let known = filled.len();
                let alternatives = placeholder
                    .split("?:")
                    .next()
                    .unwrap_or_default()
                    .split('|');
                filled.extend(alternatives.map(|path| {
                    let path = path.split(':').next().unwrap_or_default();
                    (path.trim().to_owned(), Value::from(1))
                }));
                if filled.len() == known {
                    break;
                }
                if !missing.contains(&placeholder) {
                    missing.push(placeholder);
                }
            }
        }
        missing
    }
}

/// Whether a job's value has something at a dotted path; a placeholder on the way may hold it.
fn gives(value: Option<&Value>, path: &str) -> bool {
    let Some(mut place) = value else {
        return false;
    };
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let next = match place {
            Value::Object(object) => object.get(step),
            Value::Array(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
            Value::String(text) => return text.contains("{{"),
            _ => None,
        };
        match next {
            Some(next) => place = next,
            None => return false,
        }
    }
    !place.is_null()
}

//! What a customer enters to connect: the declared fields, and the check of
//! what was entered against them.

use serde_json::Value;

use super::{
    names::{check_name, listed},
    suggestion,
    words::{NOT_SUPPORTED, word},
};
use crate::fault::{Faults, Fields, child, kind_of};

/// Fields of an integration's credentials at most.
const MAX_FIELDS: usize = 50;

/// Ways to connect that the format knows and this version doesn't.
const LATER_FORMATS: &[&str] = &[
    "oauth2",
    "oauth2_client_credentials",
    "oauth2_refresh_token",
    "session",
    "jwt",
];

/// The declared credential fields; none when the source needs none.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    name: String,
    kind: Kind,
    required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Boolean,
}

const KINDS: &[(&str, Kind)] = &[
    ("text", Kind::Text),
    ("string", Kind::Text),
    ("password", Kind::Text),
    ("number", Kind::Number),
    ("boolean", Kind::Boolean),
];

impl Credentials {
    /// Reads `config.credentials`: one object with a `format`, or a map by format.
    pub fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Self {
        let Value::Object(object) = value else {
            faults.push(pointer, format!("must be an object, is {}", kind_of(value)));
            return Self::default();
        };
        if object.contains_key("format") || object.contains_key("config") {
            return Self::read_one(value, pointer, true, faults);
        }
        let mut credentials = Self::default();
        for (format, value) in object {
            let pointer = child(pointer, format);
            if format == "api_key" {
                credentials = Self::read_one(value, &pointer, false, faults);
            } else if LATER_FORMATS.contains(&format.as_str()) {
                faults.push(pointer, NOT_SUPPORTED);
            } else {
                let hint = suggestion(format, ["api_key", "format", "config"]);
                faults.push(
                    pointer,
                    format!("is no format of credentials; use `api_key`{hint}"),
                );
            }
        }
        credentials
    }

    fn read_one(value: &Value, pointer: &str, format_required: bool, faults: &mut Faults) -> Self {
        let Some(mut fields) = Fields::new(value, pointer, faults) else {
            return Self::default();
        };
        if format_required {
            fields.required("format", faults);
        }
        word(
            &mut fields,
            "format",
            &[("api_key", ())],
            LATER_FORMATS,
            faults,
        );
        let at = fields.pointer("config");
        let credentials = fields
            .required("config", faults)
            .map(|config| Self::read_config(config, &at, faults))
            .unwrap_or_default();
        fields.finish(faults);
        credentials
    }

    fn read_config(value: &Value, pointer: &str, faults: &mut Faults) -> Self {
        let mut credentials = Self::default();
        let Some(mut config) = Fields::new(value, pointer, faults) else {
            return credentials;
        };
        let at = config.pointer("fields");
        config.required("fields", faults);
        let list = config
            .array("fields", faults)
            .map_or(&[][..], Vec::as_slice);
        if list.len() > MAX_FIELDS {
            faults.push(&at, format!("must not hold more than {MAX_FIELDS} fields"));
        }
        for (index, field) in list.iter().take(MAX_FIELDS).enumerate() {
            let at = child(&at, index);
            let Some(field) = Field::read(field, &at, faults) else {
                continue;
            };
            if credentials
                .fields
                .iter()
                .any(|other| other.name == field.name)
            {
                faults.push(
                    child(&at, "name"),
                    format!("`{}` is declared twice", field.name),
                );
            }
            credentials.fields.push(field);
        }
        config.finish(faults);
        credentials
    }

    /// Names of the declared fields, in the order of the document.
    pub fn names(&self) -> Vec<String> {
        self.fields.iter().map(|field| field.name.clone()).collect()
    }

    /// Faults of what was entered; messages never hold a value.
    pub fn check(&self, entered: &Value, faults: &mut Faults) {
        const POINTER: &str = "/credentials";
        let empty = serde_json::Map::new();
        let entered = match entered {
            Value::Object(object) => object,
            Value::Null => &empty,
            other => {
                faults.push(POINTER, format!("must be an object, is {}", kind_of(other)));
                return;
            }
        };
        for field in &self.fields {
            let pointer = child(POINTER, &field.name);
            match entered.get(&field.name).filter(|value| !value.is_null()) {
                None if field.required => faults.push(pointer, "is required"),
                None => {}
                Some(value) => field.check(value, &pointer, faults),
            }
        }
        let declared = || self.fields.iter().map(|field| field.name.as_str());
        for name in entered
            .keys()
            .filter(|name| declared().all(|known| known != *name))
        {
            faults.push(
                child(POINTER, name),
                format!(
                    "is not a credential of this integration, which takes {}{}",
                    listed(declared()),
                    suggestion(name, declared())
                ),
            );
        }
    }
}

impl Field {
    fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults)?;
        let name = fields.required_string("name", faults);
        if let Some(name) = name {
            check_name(name, &fields.pointer("name"), faults);
        }
        let kind = fields.choice("type", KINDS, faults).unwrap_or(Kind::Text);
        let required = fields.boolean("required", faults).unwrap_or(false);
        for text in ["label", "description", "placeholder"] {
            fields.string(text, faults);
        }
        fields.finish(faults);
        Some(Self {
            name: name?.to_owned(),
            kind,
            required,
        })
    }

    fn check(&self, value: &Value, pointer: &str, faults: &mut Faults) {
        let (fits, expected) = match self.kind {
            Kind::Text => (value.is_string(), "a string"),
            Kind::Number => (value.is_number(), "a number"),
            Kind::Boolean => (value.is_boolean(), "a boolean"),
        };
        if !fits {
            faults.push(
                pointer,
                format!("must be {expected}, is {}", kind_of(value)),
            );
        } else if self.required && value.as_str().is_some_and(|text| text.trim().is_empty()) {
            faults.push(pointer, "must not be empty");
        }
    }
}

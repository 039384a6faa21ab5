//! How a request carries its credentials.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use serde_json::Value;

use super::{
    defaults::read_header_name,
    placeholders::{Known, Text},
    request::{RequestError, header_value},
    words::{either, word},
};
use crate::{
    expr::template::{Scope, Unresolved},
    fault::{Faults, Fields},
};

/// The compiled `authorization` of a document or method.
#[derive(Debug, Clone, Default)]
pub(super) enum Authorization {
    #[default]
    None,
    /// `Authorization: Bearer <token>`, RFC 6750.
    Bearer(Text),
    /// `Authorization: Basic <base64>`, RFC 7617.
    Basic { username: Text, password: Text },
    /// One header of any name.
    Header { name: HeaderName, value: Text },
    /// One query parameter.
    Query { key: String, value: Text },
}

#[derive(Clone, Copy)]
enum Format {
    None,
    Bearer,
    Basic,
    Header,
    Query,
}

impl Authorization {
    /// Reads `{"format": …, "config": {…}}`.
    pub fn read(value: &Value, pointer: &str, known: Known<'_>, faults: &mut Faults) -> Self {
        let Some(mut fields) = Fields::new(value, pointer, faults) else {
            return Self::None;
        };
        fields.required("format", faults);
        let format = word(
            &mut fields,
            "format",
            &[
                ("bearer", Format::Bearer),
                ("basic", Format::Basic),
                ("header", Format::Header),
                ("query", Format::Query),
                ("none", Format::None),
            ],
            &["oauth2", "session", "jwt"],
            faults,
        );
        let at = fields.pointer("config");
        let authorization = match format {
            None | Some(Format::None) => {
                fields.ignore("config");
                Self::None
            }
            Some(format) => fields
                .required("config", faults)
                .and_then(|config| Self::read_config(format, config, &at, known, faults))
                .unwrap_or_default(),
        };
        fields.finish(faults);
        authorization
    }

    fn read_config(
        format: Format,
        config: &Value,
        pointer: &str,
        known: Known<'_>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let mut config = Fields::new(config, pointer, faults)?;
        let text = |config: &mut Fields<'_>, name: &'static str, faults: &mut Faults| {
            let source = config.required_string(name, faults)?;
            Some(Text::new(source, &config.pointer(name), known, faults))
        };
        let authorization = match format {
            Format::None => Some(Self::None),
            Format::Bearer => text(&mut config, "token", faults).map(Self::Bearer),
            Format::Basic => {
                let username = text(&mut config, "username", faults);
                // A password may be empty: some sources want the key as user name alone.
                let password = config.string("password", faults).unwrap_or_default();
                let password = Text::new(password, &config.pointer("password"), known, faults);
                username.map(|username| Self::Basic { username, password })
            }
            Format::Header => {
                config.not_supported_yet("expression", faults);
                let at = config.pointer("header_name");
                let name = config
                    .required_string("header_name", faults)
                    .and_then(|name| read_header_name(name, &at, faults));
                let value = text(&mut config, "header_value", faults);
                name.zip(value)
                    .map(|(name, value)| Self::Header { name, value })
            }
            Format::Query => {
                let key = either(&mut config, "query_key", "query_param", faults);
                if key.is_none() {
                    config.required("query_key", faults);
                }
                let value = text(&mut config, "query_value", faults);
                key.zip(value).map(|(key, value)| Self::Query {
                    key: key.to_owned(),
                    value,
                })
            }
        };
        config.finish(faults);
        authorization
    }

    /// The query parameter that carries a credential.
    pub fn query_key(&self) -> Option<&str> {
        match self {
            Self::Query { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Every text in it.
    pub fn texts(&self) -> Vec<&Text> {
        match self {
            Self::None => Vec::new(),
            Self::Bearer(text)
            | Self::Header { value: text, .. }
            | Self::Query { value: text, .. } => vec![text],
            Self::Basic { username, password } => vec![username, password],
        }
    }

    /// Adds the header it consists of, marked sensitive.
    pub fn add_header(
        &self,
        headers: &mut HeaderMap,
        scope: &Scope<'_>,
    ) -> Result<(), RequestError> {
        let (name, text) = match self {
            Self::None | Self::Query { .. } => return Ok(()),
            Self::Bearer(token) => (AUTHORIZATION, format!("Bearer {}", fill(token, scope)?)),
            Self::Basic { username, password } => {
                let pair = format!("{}:{}", fill(username, scope)?, fill(password, scope)?);
                (AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)))
            }
            Self::Header { name, value } => (name.clone(), fill(value, scope)?),
        };
        let mut value: HeaderValue = header_value(&name, &text)?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    }

    /// The query parameter it consists of.
    pub fn query_parameter(
        &self,
        scope: &Scope<'_>,
    ) -> Result<Option<(&str, String)>, RequestError> {
        match self {
            Self::Query { key, value } => Ok(Some((key, fill(value, scope)?))),
            _ => Ok(None),
        }
    }
}

fn fill(text: &Text, scope: &Scope<'_>) -> Result<String, Unresolved> {
    text.compiled.template.render_text(scope, str::to_owned)
}

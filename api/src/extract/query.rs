//! Query parameters: known ones only, each at most once; and those of lists.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use shared::store::PageRequest;

use crate::error::ApiError;

/// Rows of a page when the client doesn't say.
pub const DEFAULT_LIMIT: u32 = 50;
/// Rows of a page at most.
pub const MAX_LIMIT: u32 = 200;

/// The parameters of a request.
#[derive(Debug)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn parse(text: &str, known: &[&str]) -> Result<Self, ApiError> {
        let mut values = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let known = if known.is_empty() {
                    "none are known here".to_owned()
                } else {
                    format!("known ones are: {}", known.join(", "))
                };
                return Err(ApiError::invalid_parameter(
                    &name,
                    format!("is not known; {known}"),
                ));
            }
            if values
                .insert(name.clone().into_owned(), value.into_owned())
                .is_some()
            {
                return Err(ApiError::invalid_parameter(
                    &name,
                    "is given more than once",
                ));
            }
        }
        Ok(Self(values))
    }

    /// A parameter as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter as something else.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T::Err: Display,
    {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|error| ApiError::invalid_parameter(name, format!("is {error}")))
            })
            .transpose()
    }

    /// A parameter as `true` or `false`.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.choice(name, &[("true", true), ("false", false)])
    }

    /// A parameter as one of a closed set of words.
    pub fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let found = choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        found.map(Some).ok_or_else(|| {
            let words: Vec<_> = choices
                .iter()
                .map(|(word, _)| format!("`{word}`"))
                .collect();
            ApiError::invalid_parameter(name, format!("must be one of {}", words.join(", ")))
        })
    }
}

/// The parameters of a list.
#[derive(Debug)]
pub struct ListQuery {
    pub page: PageRequest,
    pub filters: Query,
}

impl ListQuery {
    pub(super) fn parse(
        text: &str,
        filters: &[&str],
        is_row: impl Fn(&str) -> bool,
    ) -> Result<Self, ApiError> {
        let known = [&["limit", "next_cursor"], filters].concat();
        let query = Query::parse(text, &known)?;
        let limit = match query.text("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| {
                    ApiError::invalid_parameter(
                        "limit",
                        format!("must be a whole number from 1 to {MAX_LIMIT}"),
                    )
                })?,
        };
        // Clients of the API elsewhere send an empty cursor for the first page.
        let after = match query
            .text("next_cursor")
            .filter(|cursor| !cursor.is_empty())
        {
            None => None,
            Some(cursor) => Some(decode_cursor(cursor).filter(|row| is_row(row)).ok_or_else(
                || {
                    ApiError::invalid_parameter(
                        "next_cursor",
                        "is not a cursor of this list; use the one of the last answer",
                    )
                },
            )?),
        };
        Ok(Self {
            page: PageRequest { limit, after },
            filters: query,
        })
    }
}

/// A cursor for the page after `row`.
pub fn encode_cursor(row: &str) -> String {
    URL_SAFE_NO_PAD.encode(row)
}

fn decode_cursor(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_and_a_foreign_one_is_refused() {
        let text = format!("next_cursor={}&limit=3", encode_cursor("wh_1"));
        let query = ListQuery::parse(&text, &[], |row| row.starts_with("wh_")).expect("a query");
        assert_eq!(
            query.page,
            PageRequest {
                limit: 3,
                after: Some("wh_1".to_owned())
            }
        );
        assert!(ListQuery::parse(&text, &[], |row| row.starts_with("job_")).is_err());
        assert!(ListQuery::parse("next_cursor=%21", &[], |_| true).is_err());
    }

    #[test]
    fn an_empty_cursor_is_the_first_page() {
        let query = ListQuery::parse("next_cursor=", &[], |_| true).expect("a query");
        assert_eq!(
            query.page,
            PageRequest {
                limit: DEFAULT_LIMIT,
                after: None
            }
        );
    }
}

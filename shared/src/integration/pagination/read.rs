//! Reading `pagination` out of a document.

use http::HeaderName;
use serde_json::Value;

use super::{CursorPlace, DEFAULT_MAX_PAGES, Format, Pagination};
use crate::{
    expr::path::Path,
    fault::{Faults, Fields},
    integration::words::{either, word},
};

/// What a document may set `max_limit` to.
const LIMITS: std::ops::RangeInclusive<u64> = 1..=1_000_000;

/// What a document may set `max_pages` to.
const MAX_PAGES: std::ops::RangeInclusive<u64> = 1..=10_000_000;

/// What a document may set `start_page` to.
const START_PAGES: std::ops::RangeInclusive<u64> = 0..=1_000_000;

#[derive(Clone, Copy)]
enum Kind {
    Page,
    Offset,
    Cursor,
    LinkHeader,
}

const KINDS: &[(&str, Kind)] = &[
    ("page", Kind::Page),
    ("offset", Kind::Offset),
    ("cursor", Kind::Cursor),
    ("link_header", Kind::LinkHeader),
];

const LATER: &[&str] = &["range", "last_record", "dynamic"];

impl Pagination {
    /// Reads `{"format": …, "config": {…}}`.
    pub fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults)?;
        fields.required("format", faults);
        let kind = word(&mut fields, "format", KINDS, LATER, faults);
        let at = fields.pointer("config");
        let empty = Value::Object(serde_json::Map::new());
        let config = match kind {
            // Everything of a link header is optional.
            Some(Kind::LinkHeader) => Some(fields.value("config").unwrap_or(&empty)),
            Some(_) => fields.required("config", faults),
            None => {
                fields.ignore("config");
                None
            }
        };
        fields.finish(faults);
        let mut config = Fields::new(config?, at, faults)?;
        let pagination = Self::read_config(kind?, &mut config, faults);
        config.finish(faults);
        pagination
    }

    fn read_config(kind: Kind, config: &mut Fields<'_>, faults: &mut Faults) -> Option<Self> {
        let limit_key = either(config, "limit_key", "limit_param", faults).map(str::to_owned);
        let max_limit = config.integer("max_limit", LIMITS, faults);
        if limit_key.is_some() && config.value("max_limit").is_none() {
            faults.push(
                config.pointer("max_limit"),
                "is required with `limit_key`: the records to ask for in a page",
            );
        }
        let max_pages = config
            .integer("max_pages", MAX_PAGES, faults)
            .and_then(|pages| u32::try_from(pages).ok())
            .unwrap_or(DEFAULT_MAX_PAGES);
        let mut in_body = false;
        let format = match kind {
            Kind::Page => {
                let page_key = key(config, "page_key", "page_param", faults);
                let start_page = config
                    .integer("start_page", START_PAGES, faults)
                    .unwrap_or(1);
                let total_pages = path(config, "total_pages_path", faults);
                let has_next = path(config, "has_next_path", faults);
                Format::Page {
                    page_key: page_key?,
                    start_page,
                    total_pages,
                    has_next,
                }
            }
            Kind::Offset => {
                let offset_key = key(config, "offset_key", "offset_param", faults);
                let total = path(config, "total_path", faults);
                Format::Offset {
                    offset_key: offset_key?,
                    total,
                }
            }
            Kind::Cursor => {
                in_body = config.boolean("add_to_body", faults).unwrap_or(false);
                cursor(config, in_body, faults)?
            }
            Kind::LinkHeader => Format::LinkHeader,
        };
        Some(Self {
            format,
            limit_key,
            max_limit,
            max_pages,
            in_body,
        })
    }
}

fn cursor(config: &mut Fields<'_>, in_body: bool, faults: &mut Faults) -> Option<Format> {
    let in_header = config
        .choice(
            "cursor_path_object",
            &[("body", false), ("header", true)],
            faults,
        )
        .unwrap_or(false);
    let at = config.pointer("cursor_path");
    let text = config.required_string("cursor_path", faults);
    let place = text.and_then(|text| {
        if in_header {
            let name = HeaderName::from_bytes(text.as_bytes());
            if name.is_err() {
                faults.push(
                    &at,
                    "must be a header's name, since `cursor_path_object` is `header`",
                );
            }
            name.ok().map(CursorPlace::Header)
        } else {
            parse_path(text, &at, faults).map(CursorPlace::Body)
        }
    });
    let is_link = config.boolean("is_link", faults).unwrap_or(false);
    let has_next = path(config, "has_next_path", faults);
    if is_link {
        if in_body {
            faults.push(
                config.pointer("add_to_body"),
                "has no meaning with `is_link`: the next URL is requested as it is; leave one of them out",
            );
        }
        if either(config, "cursor_key", "cursor_param", faults).is_some() {
            faults.push(
                config.pointer("cursor_key"),
                "has no meaning with `is_link`: the next URL is requested as it is; leave it out",
            );
        }
    }
    let cursor_key = if is_link {
        None
    } else {
        Some(key(config, "cursor_key", "cursor_param", faults)?)
    };
    Some(Format::Cursor {
        place: place?,
        cursor_key,
        has_next,
    })
}

/// A parameter's name that must be there.
fn key(
    config: &mut Fields<'_>,
    name: &'static str,
    alias: &'static str,
    faults: &mut Faults,
) -> Option<String> {
    if config.value(name).is_none() && config.value(alias).is_none() {
        faults.push(config.pointer(name), "is required");
    }
    either(config, name, alias, faults).map(str::to_owned)
}

/// An optional dotted path into the body.
fn path(config: &mut Fields<'_>, name: &'static str, faults: &mut Faults) -> Option<Path> {
    let text = config.string(name, faults)?;
    parse_path(text, &config.pointer(name), faults)
}

fn parse_path(text: &str, pointer: &str, faults: &mut Faults) -> Option<Path> {
    Path::parse(text)
        .map_err(|problem| faults.push(pointer, problem))
        .ok()
}

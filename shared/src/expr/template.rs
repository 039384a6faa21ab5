//! `{{placeholders}}` in any JSON value, compiled once.
//!
//! The syntax is that of the npm package `@truto/replace-placeholders` 1.0.11:
//!
//! | written | means |
//! |---|---|
//! | `{{a.b.0.c}}` | the value at a path; a number indexes an array, a negative one from its end |
//! | `{{a:int}}` | cast: `str int num bool json any null undefined ignore-empty-str` |
//! | `{{a\|b}}` | the first path that has a value; null is a value |
//! | `{{a?:x}}`, `{{a?:1:int}}` | a literal when none has one |
//! | `{{a:null}}`, `{{a:undefined}}` | null, or nothing (an empty string inside a longer one), when none has one |
//! | `{{a\|b:ignore-empty-str}}` | an empty string counts as no value |
//! | `"$truto_merge": "{{a:json}}"` | deep-merges an object, or each of several, into the object it stands in |
//!
//! Where it differs from the package, on purpose:
//! - A string that is one placeholder without a cast keeps the value's JSON type. Inside a longer string a value
//!   becomes text: an array of plain values is joined by commas as there, but an object becomes JSON instead of
//!   `[object Object]`.
//! - A placeholder without value is an error ([`Unresolved`]), never literal text; only in `$truto_merge` it is
//!   skipped, as there.
//! - Numbers keep their digits: `1.10` stays `1.10`, `9007199254740993` stays exact, also through `:int` and `:num`.
//! - What can't be right is a fault when it is compiled, not when it is reached: an unknown cast, `{{}}`, a
//!   placeholder that isn't closed (`{{ a b`), an empty alternative, a second `?:`.
//! - Paths are plain: no spaces (a union there), no slices, no `/patterns/`, no empty parts, and no JavaScript
//!   properties such as `length`. A numeric part also names a member of an object.
//! - `:null` inside a longer string keeps a value that is there; the package writes `null` over it.
//! - A merge directly inside what is merged in is done first; the package leaves its key behind.
//! - An element of an array that is nothing (`:undefined`) is left out; the package leaves a hole.
//! - Values are data: braces and `$truto_merge` inside them are never looked at.
//!
//! `{{` before anything a placeholder can't hold (`{{#if}}`, `{{"a"}}`) is literal text, as in the package. Rendering
//! neither parses nor searches. `docs/guides/placeholders.md` is the same for users.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cast::text_of;
use super::node::{Node, Rendered};
use super::path::Path;
use super::placeholder::{Found, Piece, Placeholder};
use crate::fault::Faults;

/// A compiled JSON value whose strings may hold placeholders.
#[derive(Debug, Clone)]
pub struct Template {
    root: Node,
    paths: Vec<(String, String)>,
}

/// What placeholders are looked up in.
#[derive(Debug, Clone, Default)]
pub struct Scope<'a> {
    /// Root name → value: `query`, `credentials`, `context`, …
    pub roots: Vec<(&'a str, &'a Value)>,
    /// Whole placeholder paths with a ready value: `resources.wms.orders.id` → 7. Looked at first.
    pub exact: Option<&'a BTreeMap<String, Value>>,
    /// Whole placeholder paths whose entry is left out of the enclosing object or array when they have no value
    /// (`previous_run_date` on a first run). Containers emptied thereby go too.
    pub omit: &'a [&'a str],
}

impl<'a> Scope<'a> {
    /// The value of a placeholder's path.
    pub(super) fn find(&self, path: &Path) -> Option<&'a Value> {
        if let Some(value) = self.exact.and_then(|exact| exact.get(path.as_str())) {
            return Some(value);
        }
        let root = path.segments().first()?;
        let (_, value) = self.roots.iter().find(|(name, _)| name == root)?;
        path.get_after(1, value)
    }
}

/// A placeholder that nothing in the scope fills.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the placeholder {{{{{placeholder}}}}} has no value")]
pub struct Unresolved {
    /// What stands between the braces.
    pub placeholder: String,
}

impl Template {
    /// Compiles; syntax faults go to `faults` with `pointer` as base.
    #[must_use]
    pub fn compile(value: &Value, pointer: &str, faults: &mut Faults) -> Self {
        let mut paths = Vec::new();
        let root = Node::compile(value, pointer, faults, &mut paths);
        Self { root, paths }
    }

    /// Every path the placeholders name (fallbacks as entries of their own), with the pointer of its string.
    #[must_use]
    pub fn paths(&self) -> Vec<(String, String)> {
        self.paths.clone()
    }

    /// # Errors
    /// [`Unresolved`] naming the first placeholder without value, fallback or default.
    /// `Ok(None)` when the whole value was left out.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Option<Value>, Unresolved> {
        Ok(match self.root.render(scope)? {
            Rendered::Value(value) => Some(value),
            Rendered::Undefined | Rendered::Omitted => None,
        })
    }

    /// As [`Self::render`] for text; a value that isn't a string becomes text as it would inside a longer string.
    /// `encode` is applied to each substituted value (percent-encoding of path segments), not to the literal parts.
    ///
    /// # Errors
    /// As [`Self::render`]; a text can't be left out, so a path in [`Scope::omit`] without value is an error too.
    pub fn render_text(
        &self,
        scope: &Scope<'_>,
        encode: fn(&str) -> String,
    ) -> Result<String, Unresolved> {
        match &self.root {
            Node::Constant(value) => Ok(text_of(value).into_owned()),
            Node::Whole(placeholder) => substitute(placeholder, scope, true, encode)?
                .ok_or_else(|| placeholder.unresolved()),
            Node::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Literal(literal) => text.push_str(literal),
                        Piece::Placeholder(placeholder) => {
                            let value = substitute(placeholder, scope, false, encode)?;
                            text.push_str(&value.ok_or_else(|| placeholder.unresolved())?);
                        }
                    }
                }
                Ok(text)
            }
            Node::Array(_) | Node::Object(_) => Ok(self
                .render(scope)?
                .map(|value| encode(&text_of(&value)))
                .unwrap_or_default()),
        }
    }
}

/// The encoded text of a placeholder; `None` when its entry is to be left out.
fn substitute(
    placeholder: &Placeholder,
    scope: &Scope<'_>,
    whole: bool,
    encode: fn(&str) -> String,
) -> Result<Option<String>, Unresolved> {
    Ok(match placeholder.find(scope, whole)? {
        Found::Value(value) => Some(encode(&text_of(&value))),
        Found::Undefined => Some(String::new()),
        Found::Omitted => None,
    })
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;

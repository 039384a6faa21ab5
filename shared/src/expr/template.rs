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
//! - An element of an array that is nothing (`:undefined`) is left out; the package leaves a hole.
//! - Values are data: braces and `$truto_merge` inside them are never looked at.
//!
//! `{{` before anything a placeholder can't hold (`{{#if}}`, `{{"a"}}`) is literal text, as in the package. Rendering
//! neither parses nor searches. `docs/guides/placeholders.md` is the same for users.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::cast::text_of;
use super::merge::merge;
use super::path::Path;
use super::placeholder::{Found, Piece, Placeholder, parse_text};
use crate::fault::{Faults, child};

/// The member whose value is merged into the object around it.
const MERGE_KEY: &str = "$truto_merge";

/// A compiled JSON value whose strings may hold placeholders.
#[derive(Debug, Clone)]
pub struct Template {
    root: Node,
    paths: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
enum Node {
    /// No placeholder in it.
    Constant(Value),
    /// A string that is one placeholder.
    Whole(Placeholder),
    /// A string with placeholders in it.
    Text(Vec<Piece>),
    Array(Vec<Node>),
    Object(Object),
}

#[derive(Debug, Clone)]
struct Object {
    members: Vec<(String, Node)>,
    merges: Merges,
}

/// The value of [`MERGE_KEY`].
#[derive(Debug, Clone)]
enum Merges {
    None,
    /// An object, or, from a placeholder, an array of them.
    One(Box<Node>),
    Several(Vec<Node>),
}

/// What is left of a node after rendering.
enum Rendered {
    Value(Value),
    Undefined,
    /// As `Undefined`, but containers emptied by it go too.
    Omitted,
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

impl Node {
    fn compile(
        value: &Value,
        pointer: &str,
        faults: &mut Faults,
        paths: &mut Vec<(String, String)>,
    ) -> Self {
        let constant = || Self::Constant(value.clone());
        match value {
            Value::String(text) => match parse_text(text) {
                Ok(mut pieces) => {
                    for piece in &pieces {
                        if let Piece::Placeholder(placeholder) = piece {
                            paths.extend(
                                placeholder
                                    .paths()
                                    .map(|path| (path.to_owned(), pointer.to_owned())),
                            );
                        }
                    }
                    match pieces.pop() {
                        None | Some(Piece::Literal(_)) if pieces.is_empty() => constant(),
                        Some(Piece::Placeholder(placeholder)) if pieces.is_empty() => {
                            Self::Whole(placeholder)
                        }
                        last => {
                            pieces.extend(last);
                            Self::Text(pieces)
                        }
                    }
                }
                Err(message) => {
                    faults.push(pointer, message);
                    constant()
                }
            },
            Value::Array(elements) => {
                let nodes = Self::compile_elements(elements, pointer, faults, paths);
                if nodes.iter().all(Self::is_constant) {
                    constant()
                } else {
                    Self::Array(nodes)
                }
            }
            Value::Object(object) => {
                let mut members = Vec::with_capacity(object.len());
                let mut merges = Merges::None;
                for (name, value) in object {
                    let pointer = child(pointer, name);
                    if name == MERGE_KEY {
                        merges = match value {
                            Value::Array(several) => Merges::Several(Self::compile_elements(
                                several, &pointer, faults, paths,
                            )),
                            one => {
                                Merges::One(Box::new(Self::compile(one, &pointer, faults, paths)))
                            }
                        };
                    } else {
                        members.push((name.clone(), Self::compile(value, &pointer, faults, paths)));
                    }
                }
                if matches!(merges, Merges::None)
                    && members.iter().all(|(_, node)| node.is_constant())
                {
                    constant()
                } else {
                    Self::Object(Object { members, merges })
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => constant(),
        }
    }

    fn compile_elements(
        elements: &[Value],
        pointer: &str,
        faults: &mut Faults,
        paths: &mut Vec<(String, String)>,
    ) -> Vec<Self> {
        let compile = |(i, element)| Self::compile(element, &child(pointer, i), faults, paths);
        elements.iter().enumerate().map(compile).collect()
    }

    fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// Whether the template has a string here.
    fn is_text(&self) -> bool {
        matches!(self, Self::Whole(_) | Self::Text(_))
    }

    fn render(&self, scope: &Scope<'_>) -> Result<Rendered, Unresolved> {
        match self {
            Self::Constant(value) => Ok(Rendered::Value(value.clone())),
            Self::Whole(placeholder) => Ok(match placeholder.find(scope, true)? {
                Found::Value(value) => Rendered::Value(value.into_owned()),
                Found::Undefined => Rendered::Undefined,
                Found::Omitted => Rendered::Omitted,
            }),
            Self::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Literal(literal) => text.push_str(literal),
                        Piece::Placeholder(placeholder) => match placeholder.find(scope, false)? {
                            Found::Value(value) => text.push_str(&text_of(&value)),
                            Found::Undefined => {}
                            Found::Omitted => return Ok(Rendered::Omitted),
                        },
                    }
                }
                Ok(Rendered::Value(Value::String(text)))
            }
            Self::Array(nodes) => {
                let mut elements = Vec::with_capacity(nodes.len());
                let mut omitted = false;
                for node in nodes {
                    match node.render(scope)? {
                        Rendered::Value(value) => elements.push(value),
                        Rendered::Undefined => {}
                        Rendered::Omitted => omitted = true,
                    }
                }
                let gone = omitted && elements.is_empty();
                Ok(if gone {
                    Rendered::Omitted
                } else {
                    Rendered::Value(Value::Array(elements))
                })
            }
            Self::Object(object) => object.render(scope, Vec::new()),
        }
    }

    /// As [`Self::render`], with `over` merged over it one after the other.
    fn render_under(&self, scope: &Scope<'_>, over: Vec<Value>) -> Result<Rendered, Unresolved> {
        if over.is_empty() {
            return self.render(scope);
        }
        let mut over = over.into_iter().peekable();
        let mut merged = match self {
            Self::Object(object) => {
                let mut objects = Vec::new();
                while let Some(Value::Object(members)) = over.next_if(Value::is_object) {
                    objects.push(members);
                }
                if over.peek().is_none() {
                    return object.render(scope, objects);
                }
                // Something that is no object replaces all that was before it.
                None
            }
            _ => match self.render(scope) {
                Ok(Rendered::Value(value)) => Some(value),
                Ok(Rendered::Undefined | Rendered::Omitted) => None,
                Err(_) if self.is_text() => None,
                Err(unresolved) => return Err(unresolved),
            },
        };
        for value in over {
            merged = Some(match merged {
                Some(base) => merge(base, value),
                None => value,
            });
        }
        Ok(merged.map_or(Rendered::Undefined, Rendered::Value))
    }
}

impl Object {
    /// `over` is what the objects around this one merge into it; it comes before what this one merges itself.
    fn render(
        &self,
        scope: &Scope<'_>,
        mut over: Vec<Map<String, Value>>,
    ) -> Result<Rendered, Unresolved> {
        self.merges.render(scope, &mut over)?;
        let mut members = Map::with_capacity(self.members.len());
        let mut omitted = false;
        for (name, node) in &self.members {
            let over_member = over
                .iter_mut()
                .filter_map(|over| over.shift_remove(name))
                .collect();
            match node.render_under(scope, over_member)? {
                Rendered::Value(value) => {
                    members.insert(name.clone(), value);
                }
                Rendered::Undefined => {}
                Rendered::Omitted => omitted = true,
            }
        }
        let mut merged = Value::Object(members);
        for over in over {
            merged = merge(merged, Value::Object(over));
        }
        let gone = omitted && merged.as_object().is_some_and(Map::is_empty);
        Ok(if gone {
            Rendered::Omitted
        } else {
            Rendered::Value(merged)
        })
    }
}

impl Merges {
    /// Adds the objects to merge; what is no object, or has no value, is passed over.
    fn render(
        &self,
        scope: &Scope<'_>,
        into: &mut Vec<Map<String, Value>>,
    ) -> Result<(), Unresolved> {
        let (nodes, one) = match self {
            Self::None => return Ok(()),
            Self::One(node) => (std::slice::from_ref(node.as_ref()), true),
            Self::Several(nodes) => (nodes.as_slice(), false),
        };
        for node in nodes {
            match node.render(scope) {
                Ok(Rendered::Value(Value::Object(object))) => into.push(object),
                Ok(Rendered::Value(Value::Array(values))) if one => {
                    into.extend(values.into_iter().filter_map(|value| match value {
                        Value::Object(object) => Some(object),
                        _ => None,
                    }));
                }
                Ok(_) => {}
                Err(_) if node.is_text() => {}
                Err(unresolved) => return Err(unresolved),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;

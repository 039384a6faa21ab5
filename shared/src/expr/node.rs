//! The tree a template is compiled to, and rendering it.

use serde_json::{Map, Value};

use super::cast::text_of;
use super::merge::merge;
use super::placeholder::{Found, Piece, Placeholder, parse_text};
use super::template::{Scope, Unresolved};
use crate::fault::{Faults, child};

/// The member whose value is merged into the object around it.
pub(super) const MERGE_KEY: &str = "$truto_merge";

#[derive(Debug, Clone)]
pub(super) enum Node {
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
pub(super) struct Object {
    members: Vec<(String, Node)>,
    merges: Merges,
}

/// The value of [`MERGE_KEY`].
#[derive(Debug, Clone)]
pub(super) enum Merges {
    None,
    /// An object, or, from a placeholder, an array of them.
    One(Box<Node>),
    Several(Vec<Node>),
}

/// What is left of a node after rendering.
pub(super) enum Rendered {
    Value(Value),
    Undefined,
    /// As `Undefined`, but containers emptied by it go too.
    Omitted,
}

impl Node {
    pub(super) fn compile(
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

    pub(super) fn render(&self, scope: &Scope<'_>) -> Result<Rendered, Unresolved> {
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
            // Only an array is added to, by another one; and only a placeholder can turn out to be an object.
            Self::Text(_) => None,
            Self::Array(_) if !over.peek().is_some_and(Value::is_array) => None,
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

//! The inside of `{{…}}`, and finding it in a string.

use std::borrow::Cow;

use serde_json::Value;

use super::cast::Cast;
use super::path::Path;
use super::template::{Scope, Unresolved};

/// A stretch of a string.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Literal(String),
    Placeholder(Placeholder),
}

/// One compiled placeholder.
#[derive(Debug, Clone)]
pub(super) struct Placeholder {
    /// What stood between the braces, for messages.
    text: String,
    alternatives: Vec<Alternative>,
    default: Option<Default>,
    /// `:null`, `:undefined` and `:ignore-empty-str` on any alternative count for all of them.
    null: bool,
    undefined: bool,
    ignore_empty: bool,
}

#[derive(Debug, Clone)]
struct Alternative {
    path: Path,
    cast: Option<Cast>,
}

#[derive(Debug, Clone)]
struct Default {
    text: Value,
    cast: Option<Cast>,
}

/// What a placeholder came to.
pub(super) enum Found<'v> {
    Value(Cow<'v, Value>),
    /// Nothing, and `:undefined` says that this is fine.
    Undefined,
    /// Nothing, and the scope says that the entry is to be left out.
    Omitted,
}

/// Characters a placeholder is made of.
fn is_inside(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(character, '_' | '-' | '.' | '/' | '|' | ':' | '?')
        || character.is_whitespace()
}

/// Splits a string at its placeholders.
pub(super) fn parse_text(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let inside = &rest[at + 2..];
        let end = inside
            .find(|character| !is_inside(character))
            .unwrap_or(inside.len());
        let (inside, after) = inside.split_at(end);
        if let Some(after) = after.strip_prefix("}}") {
            literal.push_str(&rest[..at]);
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Placeholder(Placeholder::parse(inside)?));
            rest = after;
        } else if after.is_empty() || after.starts_with('}') {
            return Err(format!(
                "the placeholder `{{{{{inside}` isn't closed: end it with `}}}}`"
            ));
        } else {
            // A character that no placeholder has: this is text, though another one may begin inside.
            literal.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

impl Placeholder {
    fn parse(inside: &str) -> Result<Self, String> {
        let text = inside.trim();
        let fault = |what: &str| Err(format!("in `{{{{{text}}}}}`: {what}"));
        if text.is_empty() {
            return Err(
                "the placeholder `{{}}` is empty: name a path, such as `{{args.since}}`".to_owned(),
            );
        }
        let mut halves = inside.split("?:");
        let (paths, default) = (halves.next().unwrap_or_default(), halves.next());
        if halves.next().is_some() {
            return fault("only one `?:` is allowed");
        }
        let mut alternatives = Vec::new();
        let mut flags = Vec::new();
        for part in paths.split('|') {
            let (path, casts) =
                split_casts(part).map_err(|what| format!("in `{{{{{text}}}}}`: {what}"))?;
            let path = path.trim();
            if path.is_empty() {
                return fault("a path is missing beside `|`, `:` or `?:`");
            }
            if path.contains(char::is_whitespace) {
                return fault("a path has no spaces: put `|` between alternatives");
            }
            if path.contains(':') {
                return fault("a cast is missing after `:`");
            }
            let path = Path::parse(path).map_err(|what| format!("in `{{{{{text}}}}}`: {what}"))?;
            let pattern =
                |segment: &String| segment.starts_with('/') && segment.rfind('/') > Some(1);
            if path.segments().iter().any(pattern) {
                return fault("patterns (`/…/`) aren't supported in paths");
            }
            alternatives.push(Alternative {
                path,
                cast: casts.first().copied(),
            });
            flags.extend(casts);
        }
        let default = match default {
            None | Some("") => None,
            Some(default) => {
                let (default, casts) =
                    split_casts(default).map_err(|what| format!("in `{{{{{text}}}}}`: {what}"))?;
                Some(Default {
                    text: Value::String(default.to_owned()),
                    cast: casts.first().copied(),
                })
            }
        };
        Ok(Self {
            text: text.to_owned(),
            alternatives,
            default,
            null: flags.contains(&Cast::Null),
            undefined: flags.contains(&Cast::Undefined),
            ignore_empty: flags.contains(&Cast::IgnoreEmptyStr),
        })
    }

    /// The paths it names, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.alternatives
            .iter()
            .map(|alternative| alternative.path.as_str())
    }

    /// `whole`: it is the whole string.
    pub(super) fn find<'v>(&self, scope: &Scope<'v>, whole: bool) -> Result<Found<'v>, Unresolved> {
        for Alternative { path, cast } in &self.alternatives {
            let Some(value) = scope.find(path) else {
                continue;
            };
            if self.ignore_empty && value.as_str() == Some("") {
                continue;
            }
            return Ok(Found::Value(match cast {
                None => Cow::Borrowed(value),
                Some(cast) => Cow::Owned(cast.apply(value, whole)),
            }));
        }
        if let Some(Default { text, cast }) = &self.default {
            return Ok(Found::Value(Cow::Owned(
                cast.map_or_else(|| text.clone(), |cast| cast.apply(text, whole)),
            )));
        }
        if self.undefined {
            Ok(Found::Undefined)
        } else if self.null {
            Ok(Found::Value(Cow::Owned(Value::Null)))
        } else if self.paths().any(|path| scope.omit.contains(&path)) {
            Ok(Found::Omitted)
        } else {
            Err(self.unresolved())
        }
    }

    pub(super) fn unresolved(&self) -> Unresolved {
        Unresolved {
            placeholder: self.text.clone(),
        }
    }
}

/// What stands before the first cast, and the casts: each begins at a colon with a letter, digit or space after it.
fn split_casts(part: &str) -> Result<(&str, Vec<Cast>), String> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for (at, _) in part.match_indices(':') {
        let next = part[at + 1..].chars().next();
        if next
            .is_some_and(|next| next.is_ascii_alphanumeric() || next == '_' || next.is_whitespace())
        {
            pieces.push(&part[from..at]);
            from = at + 1;
        }
    }
    pieces.push(&part[from..]);
    let casts = pieces[1..]
        .iter()
        .map(|name| {
            let name = name.trim();
            Cast::parse(name)
                .ok_or_else(|| format!("`:{name}` is no cast: use one of {}", Cast::NAMES))
        })
        .collect::<Result<_, _>>()?;
    Ok((pieces[0], casts))
}

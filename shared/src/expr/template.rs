//! `{{placeholders}}` in any JSON value, compiled once.
use crate::fault::Faults;
use serde_json::Value;
use std::collections::BTreeMap;

/// A compiled JSON value whose strings may hold placeholders.
#[derive(Debug, Clone)]
pub struct Template {}

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

/// A placeholder that nothing in the scope fills.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the placeholder {{{{{placeholder}}}}} has no value")]
pub struct Unresolved {
    pub placeholder: String,
}

impl Template {
    /// Compiles; syntax faults go to `faults` with `pointer` as base.
    #[must_use]
    pub fn compile(value: &Value, pointer: &str, faults: &mut Faults) -> Self {
        let _ = (value, pointer, faults);
        unimplemented!()
    }
    /// Every path the placeholders name (fallbacks as entries of their own), with the pointer of its string.
    #[must_use]
    pub fn paths(&self) -> Vec<(String, String)> {
        unimplemented!()
    }
    /// # Errors
    /// [`Unresolved`] naming the first placeholder without value, fallback or default.
    /// `Ok(None)` when the whole value was left out.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Option<Value>, Unresolved> {
        let _ = scope;
        unimplemented!()
    }
    /// As [`Self::render`] for text; a value that isn't a string becomes its JSON text. `encode` is applied to each
    /// substituted value (percent-encoding of path segments), not to the literal parts.
    /// # Errors
    /// As [`Self::render`].
    pub fn render_text(
        &self,
        scope: &Scope<'_>,
        encode: fn(&str) -> String,
    ) -> Result<String, Unresolved> {
        let _ = (scope, encode);
        unimplemented!()
    }
}

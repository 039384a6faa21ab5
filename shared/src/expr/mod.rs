//! Expressions: dotted paths and `{{placeholders}}`. (JSONata gets its place beside them.)
pub mod path;
pub mod template;

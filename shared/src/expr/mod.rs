//! Expressions: dotted paths and `{{placeholders}}`. (`JSONata` gets its place beside them.)

mod cast;
mod merge;
mod node;
pub mod path;
mod placeholder;
pub mod template;

//! Expressions: dotted paths, `{{placeholders}}` and JSONata.

mod cast;
pub mod jsonata;
mod merge;
mod node;
pub mod path;
mod placeholder;
pub mod template;

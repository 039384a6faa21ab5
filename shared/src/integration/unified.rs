//! Unified names: `wms/orders` stands for a method of the integration's own.

/// What is done to each record of a method before it is delivered.
///
/// This is the place of `record_mapping`: a compiled mapping becomes a variant
/// here, and the worker asks [`super::Method::record_mapping`] for each page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordMapping {
    /// Records are delivered with the bytes they came with.
    #[default]
    None,
}

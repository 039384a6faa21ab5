//! Dotted paths into JSON values.
use serde_json::Value;

/// A compiled dotted path: `data.orders`, `lines.0.sku`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    text: String,
    segments: Vec<String>,
}

impl Path {
    /// # Errors
    /// When a segment is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        let _ = text;
        unimplemented!()
    }
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }
    /// The value at the path; `None` when any step is missing.
    #[must_use]
    pub fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let _ = value;
        unimplemented!()
    }
}

//! Integrations that come with the program: the files in `shared/integrations`.

/// Name and document, as JSON text, of each.
#[must_use]
pub fn bundled() -> &'static [(&'static str, &'static str)] {
    &[("sample", include_str!("../../integrations/sample.json"))]
}

//! `syncline-api openapi`

/// Prints the document.
///
/// # Errors
/// Standard output can't be written to.
pub fn print() -> anyhow::Result<()> {
    println!(
        "{}",
        serde_json::to_string_pretty(&crate::openapi::document())?
    );
    Ok(())
}

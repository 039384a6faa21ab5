//! One page of a list.

/// Which part of a list is asked for: newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows at most, 1 to 200.
    pub limit: u32,
    /// The last row already seen; the page starts after it.
    pub after: Option<String>,
}

/// Rows, and where the next page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// `after` of the next request; `None` on the last page.
    pub next: Option<String>,
}

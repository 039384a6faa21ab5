//! Splitting a page's body into records while it arrives, in bounded memory.
use serde_json::Value;

/// A compiled `response_path`: dotted, `*` over arrays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponsePath {}
impl ResponsePath {
    /// # Errors
    /// When a segment is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        let _ = text;
        unimplemented!()
    }
}

#[derive(Debug, Clone, Copy)]
pub struct SplitLimits {
    /// one record, bytes
    pub record_bytes: usize,
    /// everything but the records, bytes
    pub envelope_bytes: usize,
    /// nesting
    pub depth: usize,
}

/// Why a body could not be split.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RecordsError {
    /// `invalid_body`, `record_too_large`, `envelope_too_large`, `response_path_missing`, `too_deep`
    pub code: &'static str,
    pub message: String,
}

/// Push parser: bytes in, the raw bytes of each record out.
pub struct RecordSplitter {}
impl RecordSplitter {
    #[must_use]
    pub fn new(path: Option<&ResponsePath>, limits: SplitLimits) -> Self {
        let _ = (path, limits);
        unimplemented!()
    }
    /// Calls `record` with the exact bytes of each record completed by `bytes`.
    /// # Errors
    /// As soon as the body can't be JSON or a limit is passed.
    pub fn push(
        &mut self,
        bytes: &[u8],
        record: &mut dyn FnMut(&[u8]),
    ) -> Result<(), RecordsError> {
        let _ = (bytes, record);
        unimplemented!()
    }
    /// The end of the body: the document without its records (`[]` in their place). May still emit records (no path given).
    /// # Errors
    /// When the document is incomplete or nothing was found at the path.
    pub fn finish(self, record: &mut dyn FnMut(&[u8])) -> Result<Value, RecordsError> {
        let _ = record;
        unimplemented!()
    }
}

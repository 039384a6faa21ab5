//! Not written yet.
pub fn claimed(queue: &'static str, ready_since_ms: i64) {
    let _ = (queue, ready_since_ms);
}

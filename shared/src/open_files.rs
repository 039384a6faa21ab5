//! The bound on open files: a worker may hold some thousand connections, and the
//! usual soft limit of 1,024 stands for programs that use `select(2)`, which none of
//! ours does.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process may need: connections to receivers that are waited for, to sources, from callers, to Redis.
const ENOUGH: u64 = 4_096;

/// Raises the soft limit to the hard one; warns where that is less than a busy process may need.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files can't be raised");
            limit.current
        }
    };
    // `None`: there is no limit.
    if let Some(files) = current.filter(|files| *files < ENOUGH) {
        tracing::warn!(
            files,
            "few files may be open at once (ulimit -Hn): with many slow receivers or sources connections will fail; allow {ENOUGH}"
        );
    }
}

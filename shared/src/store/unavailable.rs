//! What a failed call to Redis means: one classification, for callers and for figures.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why Redis didn't carry out a call that may work later; `None`: it answered, and
/// would answer the same again. A word of a small closed set, as labels of figures are.
pub(super) fn reason(error: &RedisError) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => Some("timeout"),
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::Client => Some("connection"),
        ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
            Some("auth")
        }
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => {
            Some("readonly")
        }
        ErrorKind::Server(ServerErrorKind::BusyLoading) => Some("loading"),
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            let says = |what| error.detail().is_some_and(|detail| detail.contains(what));
            if says("max number of clients") {
                // The server says so and closes the connection.
                Some("connection")
            } else if says("unauthenticated") {
                // To many or large arguments before a login, which it doesn't read at all (`networking.c`).
                Some("auth")
            } else {
                None
            }
        }
        ErrorKind::Server(_) => Some("other"),
        // Those that have no kind of their own.
        ErrorKind::Extension => Some(match code(error).as_deref() {
            Some("OOM") => "oom",
            Some("MISCONF") => "misconf",
            Some("NOREPLICAS") => "noreplicas",
            Some("NOAUTH" | "WRONGPASS") => "auth",
            _ => "other",
        }),
        _ => None,
    }
}

/// The first word of what the server answered; of a pipeline, to its first command that failed.
fn code(error: &RedisError) -> Option<String> {
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_, error)| error.code().to_owned())
}

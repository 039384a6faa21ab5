//! What a Redis URL may look like. Messages never quote it: it may hold a password.

use url::Url;

/// # Errors
/// What is wrong and what to do.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.contains(',') {
        return Err("several URLs (Redis Cluster) are not supported yet; give one".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error}); {EXAMPLES}"))?;
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    match url.scheme() {
        "redis" | "rediss" if has_host => Ok(()),
        "redis" | "rediss" => Err(format!("names no host; {EXAMPLES}")),
        "redis+unix" if has_host => {
            Err("takes three slashes before the path: redis+unix:///path/to/socket".to_owned())
        }
        "redis+unix" if url.path().len() > 1 => Ok(()),
        "redis+unix" => Err(format!("names no socket; {EXAMPLES}")),
        "redis+sentinel" | "rediss+sentinel" => {
            Err("Redis Sentinel is not supported yet; give the URL of the primary".to_owned())
        }
        _ => Err(format!("has an unknown scheme; {EXAMPLES}")),
    }
}

/// `text` without its password.
pub(super) fn masked(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return crate::seal::REDACTED.to_owned();
    };
    if url.password().is_some() && url.set_password(Some("redacted")).is_err() {
        return crate::seal::REDACTED.to_owned();
    }
    // A socket's password is a parameter of the query.
    if url.query().is_some() {
        url.set_query(Some("redacted"));
    }
    url.into()
}

const EXAMPLES: &str = "write e.g. redis://127.0.0.1:6379, rediss://user:password@host:6380/0, redis+unix:///run/redis.sock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_or_socket_is_a_redis_url() {
        for text in [
            "redis://127.0.0.1",
            "redis://:pw@[::1]:6379/3",
            "rediss://u:p@redis.example:6380/0",
            "redis+unix:///run/redis.sock?db=1",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_without_quoting_the_password() {
        for (text, says) in [
            (
                "redis://:hunter2@a,redis://:hunter2@b",
                "Cluster) are not supported yet",
            ),
            (
                "redis+sentinel://:hunter2@a/mymaster",
                "Sentinel is not supported yet",
            ),
            ("http://:hunter2@a", "unknown scheme"),
            ("redis://", "no host"),
            ("redis+unix://run/redis.sock", "three slashes"),
            ("redis+unix:///", "no socket"),
            ("hunter2", "not a URL"),
        ] {
            let message = check(text).expect_err(text);
            assert!(
                message.contains(says) && !message.contains("hunter2"),
                "{text}: {message}"
            );
        }
    }

    #[test]
    fn a_masked_url_has_no_password() {
        assert_eq!(
            masked("redis://u:hunter2@a:1/0"),
            "redis://u:redacted@a:1/0"
        );
        assert_eq!(
            masked("redis+unix:///s?pass=hunter2"),
            "redis+unix:///s?redacted"
        );
        assert_eq!(masked("redis://a:1"), "redis://a:1");
    }
}

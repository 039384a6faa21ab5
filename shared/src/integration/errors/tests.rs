use http::{HeaderValue, header::HeaderName};

use super::*;
use crate::expr::template::Unresolved;

/// 2024-05-01T12:00:00Z
const NOW: Timestamp = Timestamp(1_714_564_800_000);

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        })
        .collect()
}

fn answer(status: u16, list: &[(&str, &str)]) -> Classified {
    let failure = Failure::Status {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: &headers(list),
        body_prefix: b"",
    };
    classify(&failure, NOW)
}

#[test]
fn each_status_has_its_verdict_and_code() {
    let retry = Verdict::Retry { after: None };
    for (status, verdict, code) in [
        (400, Verdict::Fail, "http_error"),
        (401, Verdict::Unauthorized, "unauthorized"),
        (403, Verdict::Fail, "http_error"),
        (404, Verdict::Fail, "http_error"),
        (302, Verdict::Fail, "http_error"),
        (408, retry, "http_error"),
        (425, retry, "http_error"),
        (500, retry, "http_error"),
        (502, retry, "http_error"),
        (503, retry, "http_error"),
        (599, retry, "http_error"),
        (
            429,
            Verdict::RateLimited {
                wait: Duration::from_secs(1),
            },
            "rate_limited",
        ),
    ] {
        let found = answer(status, &[]);
        assert_eq!(
            (found.verdict, found.code, found.status),
            (verdict, code, Some(status))
        );
    }
}

#[test]
fn a_wait_is_read_from_every_header_that_says_one_and_absurd_ones_are_ignored() {
    let second = 1;
    for (list, seconds) in [
        (&[("retry-after", "30")][..], 30),
        (&[("retry-after", " 2.0 ")], 2),
        (&[("retry-after", "Wed, 01 May 2024 12:01:30 GMT")], 90),
        (&[("retry-after", "Wed, 01 May 2024 11:59:00 GMT")], second),
        (&[("retry-after", "0")], second),
        (&[("retry-after", "-5")], second),
        (&[("retry-after", "86400")], 86_400),
        (&[("retry-after", "86401")], second),
        (&[("retry-after", "NaN")], second),
        (&[("retry-after", "soon")], second),
        (&[("ratelimit-reset", "17")], 17),
        (&[("x-ratelimit-reset", "1714564860")], 60),
        (&[("x-ratelimit-reset", "1714564860000")], 60),
        (&[("x-ratelimit-reset", "1714564700")], second),
        (&[("x-ratelimit-reset", "1914564700")], second),
        (&[("x-ratelimit-reset", "900000")], second),
        (&[("x-ratelimit-reset", "inf")], second),
        (
            &[("ratelimit-reset", "soon"), ("x-ratelimit-reset", "7")],
            7,
        ),
        (&[("retry-after", "5"), ("x-ratelimit-reset", "600")], 5),
        (
            &[("retry-after", "99999999"), ("x-ratelimit-reset", "6")],
            6,
        ),
    ] {
        let wait = Duration::from_secs(seconds);
        assert_eq!(
            answer(429, list).verdict,
            Verdict::RateLimited { wait },
            "{list:?}"
        );
    }
}

#[test]
fn a_503_is_a_rate_limit_only_with_a_usable_retry_after() {
    let limited = |seconds| Verdict::RateLimited {
        wait: Duration::from_secs(seconds),
    };
    assert_eq!(answer(503, &[("retry-after", "12")]).verdict, limited(12));
    let retry = Verdict::Retry { after: None };
    assert_eq!(answer(503, &[("retry-after", "9999999")]).verdict, retry);
    assert_eq!(answer(503, &[("x-ratelimit-reset", "12")]).verdict, retry);
    let after = Some(Duration::from_secs(12));
    assert_eq!(
        answer(502, &[("retry-after", "12")]).verdict,
        Verdict::Retry { after }
    );
}

#[test]
fn what_goes_wrong_below_http_is_retried_unless_the_target_or_size_is_the_reason() {
    let retry = Verdict::Retry { after: None };
    for (kind, verdict, code) in [
        (OutboundErrorKind::Dns, retry, "source_unreachable"),
        (OutboundErrorKind::Connect, retry, "source_unreachable"),
        (OutboundErrorKind::Tls, retry, "source_unreachable"),
        (OutboundErrorKind::Timeout, retry, "source_timeout"),
        (OutboundErrorKind::Reset, retry, "source_reset"),
        (OutboundErrorKind::Protocol, retry, "source_protocol"),
        (OutboundErrorKind::Blocked, Verdict::Fail, "blocked_target"),
        (
            OutboundErrorKind::BodyTooLarge,
            Verdict::Fail,
            "response_too_large",
        ),
    ] {
        let found = classify(
            &Failure::Outbound {
                kind,
                message: "why",
            },
            NOW,
        );
        assert_eq!(
            (found.verdict, found.code, found.message.as_str()),
            (verdict, code, "why")
        );
    }
}

#[test]
fn what_another_attempt_would_not_change_fails_with_its_own_code() {
    let unresolved = RequestError::Unresolved(Unresolved {
        placeholder: "query.order_id".to_owned(),
    });
    let invalid = RequestError::Invalid("no URL".to_owned());
    let pagination = PaginationError {
        code: "pagination_loop",
        message: "again".to_owned(),
    };
    let foreign = RequestError::Pagination(PaginationError {
        code: "pagination_origin",
        ..pagination.clone()
    });
    let records = RecordsError {
        code: "invalid_body",
        message: "no JSON".to_owned(),
    };
    for (failure, code) in [
        (Failure::Request(&unresolved), "placeholder_missing"),
        (Failure::Request(&invalid), "request_invalid"),
        (Failure::Request(&foreign), "pagination_origin"),
        (Failure::Pagination(&pagination), "pagination_loop"),
        (Failure::Records(&records), "invalid_body"),
    ] {
        let found = classify(&failure, NOW);
        assert_eq!(
            (found.verdict, found.code, found.status),
            (Verdict::Fail, code, None)
        );
    }
}

#[test]
fn an_error_body_is_shown_up_to_200_bytes_on_one_line_without_control_characters() {
    let message = |body: &[u8]| {
        let failure = Failure::Status {
            status: StatusCode::NOT_FOUND,
            headers: &HeaderMap::new(),
            body_prefix: body,
        };
        classify(&failure, NOW).message
    };
    assert_eq!(message(b""), "the source answered 404 Not Found");
    assert_eq!(
        message(b"{\n  \"error\":\x1b[31m \"gone\"\0}"),
        "the source answered 404 Not Found: { \"error\": [31m \"gone\" }"
    );
    let long = message("ä".repeat(101).as_bytes());
    assert_eq!(
        long,
        format!("the source answered 404 Not Found: {}", "ä".repeat(100))
    );
    let cut = message(format!("x{}", "ä".repeat(101)).as_bytes());
    assert!(cut.ends_with('ä'), "{cut}");
}

#[test]
fn backoff_has_full_jitter_and_five_attempts_span_about_two_minutes() {
    let average: Duration = (1..MAX_ATTEMPTS).map(|attempt| backoff(attempt, 0.5)).sum();
    assert!((100..=140).contains(&average.as_secs()), "{average:?}");
    for attempt in 1..=MAX_ATTEMPTS {
        assert_eq!(backoff(attempt, 0.0), Duration::ZERO);
        assert!(backoff(attempt, 0.2) < backoff(attempt, 0.9));
        assert!(attempt == 1 || backoff(attempt, 1.0) > backoff(attempt - 1, 1.0));
    }
    assert_eq!(backoff(0, 1.0), backoff(1, 1.0));
    assert_eq!(backoff(u32::MAX, 1.0), backoff(MAX_ATTEMPTS, 1.0));
}

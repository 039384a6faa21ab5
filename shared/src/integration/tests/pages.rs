use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use url::Url;

use super::compile;
use crate::{
    expr::template::Scope,
    integration::{Cursor, Integration, PageSeen, PaginationError, RequestError},
};

/// A source's answer to one page.
struct Page {
    records: u64,
    envelope: Value,
    headers: HeaderMap,
}

fn page(records: u64, envelope: Value) -> Page {
    Page {
        records,
        envelope,
        headers: HeaderMap::new(),
    }
}

fn page_with_header(records: u64, name: &'static str, value: &str) -> Page {
    let value = HeaderValue::from_str(value).expect("a value");
    let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
    Page {
        records,
        envelope: json!({}),
        headers,
    }
}

fn paged(pagination: Value) -> Integration {
    compile(
        json!({"path": "/orders"}),
        json!({"pagination": pagination}),
    )
}

fn url_of(integration: &Integration, cursor: &Cursor) -> Result<Url, RequestError> {
    let (query, credentials) = (json!({"status": "open"}), json!({"api_key": "k3y"}));
    let scope = Scope {
        roots: vec![("query", &query), ("credentials", &credentials)],
        ..Scope::default()
    };
    Ok(integration
        .method("orders", "list")
        .expect("there")
        .request(&scope, cursor)?
        .url)
}

/// Follows `pages`, each with records of its own; path and query of each request, and how it ended.
fn walk(integration: &Integration, pages: Vec<Page>) -> (Vec<String>, Result<(), PaginationError>) {
    let method = integration.method("orders", "list").expect("there");
    let mut cursor = method.first_cursor();
    let mut requests = Vec::new();
    for (digest, answer) in (1..).zip(pages) {
        let url = url_of(integration, &cursor).expect("a request");
        requests.push(url[url::Position::BeforePath..].to_owned());
        let seen = PageSeen {
            records: answer.records,
            digest,
            envelope: &answer.envelope,
            headers: &answer.headers,
            previous_digest: None,
            url: &url,
        };
        match method.next(&cursor, &seen) {
            Ok(Some(next)) => cursor = stored(&next),
            Ok(None) => return (requests, Ok(())),
            Err(error) => return (requests, Err(error)),
        }
    }
    let url = url_of(integration, &cursor).expect("a request");
    requests.push(format!("… {}", &url[url::Position::BeforePath..]));
    (requests, Ok(()))
}

/// The cursor as it comes back from the store.
fn stored(cursor: &Cursor) -> Cursor {
    let text = serde_json::to_string(cursor).expect("JSON");
    serde_json::from_str(&text).expect("a cursor")
}

fn ends_after(pagination: &Value, pages: Vec<Page>, expected: &[&str]) {
    let (requests, end) = walk(&paged(pagination.clone()), pages);
    assert_eq!(end, Ok(()), "{pagination}");
    let expected: Vec<String> = expected
        .iter()
        .map(|query| match query.strip_prefix("… ") {
            Some(query) => format!("… /v1/orders?status=open{query}"),
            None => format!("/v1/orders?status=open{query}"),
        })
        .collect();
    assert_eq!(requests, expected, "{pagination}");
}

#[test]
fn numbered_pages_end_by_flag_or_total_if_given_else_with_a_short_or_empty_page() {
    let format = |mut config: Value| {
        config["page_key"] = json!("p");
        json!({"format": "page", "config": config})
    };
    let limit = json!({"limit_key": "n", "max_limit": 2});
    let none = json!({});
    ends_after(
        &format(limit.clone()),
        vec![page(2, none.clone()), page(1, none.clone())],
        &["&n=2&p=1", "&n=2&p=2"],
    );
    ends_after(
        &format(limit.clone()),
        vec![page(2, none.clone()), page(0, none.clone())],
        &["&n=2&p=1", "&n=2&p=2"],
    );
    ends_after(
        &format(json!({})),
        vec![
            page(2, none.clone()),
            page(1, none.clone()),
            page(0, none.clone()),
        ],
        &["&p=1", "&p=2", "&p=3"],
    );
    ends_after(
        &format(json!({"start_page": 0})),
        vec![page(2, none.clone()), page(0, none.clone())],
        &["&p=0", "&p=1"],
    );

    let flag = format(json!({"limit_key": "n", "max_limit": 2, "has_next_path": "meta.more"}));
    let more = |more: Value| json!({"meta": {"more": more}});
    ends_after(
        &flag,
        vec![
            page(1, more(json!(true))),
            page(0, more(json!("yes"))),
            page(2, more(json!(false))),
        ],
        &["&n=2&p=1", "&n=2&p=2", "&n=2&p=3"],
    );
    for last in [json!(null), json!(0), json!(""), json!("false")] {
        ends_after(&flag, vec![page(2, more(last))], &["&n=2&p=1"]);
    }
    // A source that leaves the flag out is taken by the length of its pages.
    ends_after(
        &flag,
        vec![page(2, json!({})), page(1, json!({}))],
        &["&n=2&p=1", "&n=2&p=2"],
    );

    let total = format(json!({"total_pages_path": "pages", "start_page": 0}));
    ends_after(
        &total,
        vec![page(2, json!({"pages": 2})), page(2, json!({"pages": "2"}))],
        &["&p=0", "&p=1"],
    );
}

#[test]
fn offsets_advance_by_the_records_of_a_page() {
    let format = |config: Value| json!({"format": "offset", "config": config});
    let short = format(json!({"offset_param": "o", "limit_param": "n", "max_limit": 2}));
    ends_after(
        &short,
        vec![page(2, json!({})), page(2, json!({})), page(1, json!({}))],
        &["&n=2&o=0", "&n=2&o=2", "&n=2&o=4"],
    );
    let total = format(json!({"offset_key": "o", "max_limit": 2, "total_path": "total"}));
    let of = |total: u64| json!({"total": total});
    ends_after(
        &total,
        vec![page(1, of(4)), page(0, of(4)), page(1, of(4))],
        &["&o=0", "&o=1", "&o=3"],
    );
    ends_after(&total, vec![page(2, of(2))], &["&o=0"]);
    let unknown = format(json!({"offset_key": "o", "total_path": "total"}));
    ends_after(
        &unknown,
        vec![page(3, of(9)), page(0, of(9))],
        &["&o=0", "&o=3"],
    );
}

#[test]
fn a_cursor_is_taken_from_body_or_header_until_it_is_null_empty_or_absent() {
    let body = json!({"format": "cursor", "config": {"cursor_path": "meta.next", "cursor_key": "c", "limit_key": "n", "max_limit": 2}});
    let next = |next: Value| json!({"meta": {"next": next}});
    for last in [
        next(json!(null)),
        next(json!("")),
        next(json!(false)),
        json!({"meta": {}}),
        json!({}),
    ] {
        ends_after(
            &body,
            vec![
                page(2, next(json!("a b"))),
                page(0, next(json!(17))),
                page(2, last),
            ],
            &["&n=2", "&n=2&c=a+b", "&n=2&c=17"],
        );
    }
    let header = json!({"format": "cursor", "config": {"cursor_path": "X-Next", "cursor_path_object": "header", "cursor_param": "c"}});
    ends_after(
        &header,
        vec![page_with_header(2, "x-next", "abc"), page(2, json!({}))],
        &["", "&c=abc"],
    );
    let flagged = json!({"format": "cursor", "config": {"cursor_path": "next", "cursor_key": "c", "has_next_path": "more"}});
    ends_after(
        &flagged,
        vec![
            page(2, json!({"next": "a", "more": true})),
            page(2, json!({"next": "b", "more": false})),
        ],
        &["", "&c=a"],
    );
}

#[test]
fn a_cursor_goes_into_the_body_where_the_document_says_so() {
    let acme = compile(
        json!({"path": "/search", "method": "post", "body": {"q": "*", "variables": {"x": 1}}}),
        json!({"pagination": {"format": "cursor", "config": {
            "cursor_path": "next", "cursor_key": "variables.after", "limit_key": "variables.first", "max_limit": 2, "add_to_body": true}}}),
    );
    let method = acme.method("orders", "list").expect("there");
    let body = |value: Value| {
        let cursor = Cursor {
            value,
            page: 1,
            digest: None,
        };
        let body = method
            .request(&Scope::default(), &cursor)
            .expect("a request")
            .body
            .expect("a body");
        serde_json::from_slice::<Value>(&body).expect("JSON")
    };
    assert_eq!(
        body(json!(null)),
        json!({"q": "*", "variables": {"x": 1, "first": 2}})
    );
    assert_eq!(
        body(json!("c")),
        json!({"q": "*", "variables": {"x": 1, "first": 2, "after": "c"}})
    );
}

#[test]
fn next_links_of_body_and_link_header_are_followed_as_they_are() {
    let link = json!({"format": "cursor", "config": {"cursor_path": "next", "is_link": true}});
    let pages = vec![
        page(
            2,
            json!({"next": "https://api.acme.test/v1/orders?page=2&x=%20#top"}),
        ),
        page(2, json!({"next": "?page=3"})),
        page(2, json!({"next": "/v2/more"})),
        page(2, json!({"next": null})),
    ];
    let (requests, end) = walk(&paged(link), pages);
    assert_eq!(end, Ok(()));
    assert_eq!(
        requests,
        [
            "/v1/orders?status=open",
            "/v1/orders?page=2&x=%20",
            "/v1/orders?page=3",
            "/v2/more"
        ]
    );

    let pages = vec![
        page_with_header(
            2,
            "link",
            "</v1/orders?page=1>; rel=\"first\", </v1/orders?page=2>; rel=\"next\"",
        ),
        page_with_header(2, "link", "</v1/orders?page=1>; rel=\"prev\""),
    ];
    let (requests, end) = walk(&paged(json!({"format": "link_header"})), pages);
    assert_eq!((requests.len(), end), (2, Ok(())));
    assert_eq!(requests[1], "/v1/orders?page=2");
}

#[test]
fn a_next_link_to_another_origin_is_refused_unless_the_document_allows_it() {
    let link = json!({"format": "cursor", "config": {"cursor_path": "next", "is_link": true}});
    for target in [
        "https://evil.test/?page=2",
        "http://api.acme.test/x",
        "https://api.acme.test:8443/x",
        "//evil.test/x",
    ] {
        let (_, end) = walk(&paged(link.clone()), vec![page(2, json!({"next": target}))]);
        let error = end.expect_err(target);
        assert_eq!(error.code, "pagination_origin");
        assert!(error.message.contains("allowed_origins"), "{error}");
    }
    let allowing = compile(
        json!({"path": "/orders"}),
        json!({"pagination": link, "allowed_origins": ["https://b.acme.test"]}),
    );
    let pages = || {
        vec![
            page(2, json!({"next": "https://b.acme.test/x"})),
            page(2, json!({"next": "https://api.acme.test/y"})),
            page(2, json!({})),
        ]
    };
    assert_eq!(
        walk(&allowing, pages()),
        (
            vec![
                "/v1/orders?status=open".to_owned(),
                "/x".to_owned(),
                "/y".to_owned()
            ],
            Ok(())
        )
    );
    // A checkpoint is checked again before it is requested.
    let cursor = Cursor {
        value: json!("https://evil.test/x"),
        page: 1,
        digest: None,
    };
    let error = url_of(&allowing, &cursor).expect_err("refused");
    assert!(matches!(
        error,
        RequestError::Pagination(PaginationError {
            code: "pagination_origin",
            ..
        })
    ));
}

#[test]
fn a_credential_in_the_query_is_not_stored_with_a_next_link_and_sent_with_it_again() {
    let acme = compile(
        json!({"path": "/orders", "query": {"token": "{{credentials.api_key}}"}}),
        json!({
            "authorization": {"format": "query", "config": {"query_param": "key", "query_value": "{{credentials.api_key}}"}},
            "pagination": {"format": "link_header"},
        }),
    );
    let method = acme.method("orders", "list").expect("there");
    let url = url_of(&acme, &Cursor::first()).expect("a request");
    let answer = page_with_header(2, "link", "</v1/orders?key=k3y&page=2&token=k3y>; rel=next");
    let seen = PageSeen {
        records: 2,
        digest: 1,
        envelope: &answer.envelope,
        headers: &answer.headers,
        previous_digest: None,
        url: &url,
    };
    let next = method
        .next(&Cursor::first(), &seen)
        .expect("readable")
        .expect("a page");
    assert_eq!(next.value, json!("https://api.acme.test/v1/orders?page=2"));
    let url = url_of(&acme, &next).expect("a request");
    assert_eq!(url.query(), Some("page=2&token=k3y&key=k3y"));
}

#[test]
fn the_same_cursor_or_the_same_page_twice_is_a_loop_but_an_empty_page_twice_is_not() {
    let format = json!({"format": "cursor", "config": {"cursor_path": "next", "cursor_key": "c"}});
    let same = || page(2, json!({"next": "a"}));
    let (requests, end) = walk(&paged(format.clone()), vec![same(), same(), same()]);
    assert_eq!(
        (requests.len(), end.expect_err("a loop").code),
        (2, "pagination_loop")
    );

    let acme = paged(format);
    let method = acme.method("orders", "list").expect("there");
    let url: Url = "https://api.acme.test/v1/orders".parse().expect("a URL");
    let next = |cursor: &Cursor, records, digest, previous_digest, value: &str| {
        let envelope = json!({"next": value});
        let headers = HeaderMap::new();
        method.next(
            cursor,
            &PageSeen {
                records,
                digest,
                envelope: &envelope,
                headers: &headers,
                previous_digest,
                url: &url,
            },
        )
    };
    let first = next(&Cursor::first(), 2, 99, None, "a")
        .expect("readable")
        .expect("a page");
    assert_eq!(
        next(&first, 2, 99, None, "b").expect_err("a loop").code,
        "pagination_loop"
    );
    assert_eq!(
        next(&first, 2, 98, Some(98), "b").expect_err("a loop").code,
        "pagination_loop"
    );
    let empty = next(&Cursor::first(), 0, 0, None, "a")
        .expect("readable")
        .expect("a page");
    assert!(next(&empty, 0, 0, Some(0), "b").is_ok());
}

#[test]
fn pages_are_bounded_in_number_and_cursors_in_kind_and_length() {
    let format = json!({"format": "page", "config": {"page_key": "p", "max_pages": 2}});
    let (requests, end) = walk(
        &paged(format),
        vec![page(2, json!({})), page(2, json!({})), page(2, json!({}))],
    );
    assert_eq!(
        (requests.len(), end.expect_err("bounded").code),
        (2, "max_pages")
    );

    let cursor = json!({"format": "cursor", "config": {"cursor_path": "next", "cursor_key": "c"}});
    for next in [
        json!({"a": 1}),
        json!([1]),
        json!(true),
        json!("x".repeat(9000)),
    ] {
        let (_, end) = walk(&paged(cursor.clone()), vec![page(2, json!({"next": next}))]);
        assert_eq!(end.expect_err("unreadable").code, "pagination_invalid");
    }
    let total = json!({"format": "page", "config": {"page_key": "p", "total_pages_path": "pages"}});
    let (_, end) = walk(&paged(total), vec![page(2, json!({"pages": "many"}))]);
    assert_eq!(end.expect_err("unreadable").code, "pagination_invalid");
}

#[test]
fn only_list_has_pages_and_null_switches_them_off() {
    let default = json!({"pagination": {"format": "page", "config": {"page_key": "p"}}});
    let off = compile(
        json!({"path": "/orders", "pagination": null}),
        default.clone(),
    );
    let (requests, _) = walk(&off, vec![page(2, json!({})), page(2, json!({}))]);
    assert_eq!(requests, ["/v1/orders?status=open"]);

    let mut document = super::document(json!({"path": "/orders"}), default);
    document["config"]["resources"]["orders"]["search"] = json!({"path": "/search"});
    let acme = Integration::compile(&document).expect("sound");
    assert!(
        acme.method("orders", "list")
            .is_ok_and(crate::integration::Method::is_paged)
    );
    assert!(
        acme.method("orders", "search")
            .is_ok_and(|method| !method.is_paged())
    );
}

#[test]
fn a_checkpoint_written_before_digests_were_kept_can_be_read() {
    let cursor: Cursor = serde_json::from_str(r#"{"value": 3, "page": 2}"#).expect("a cursor");
    assert_eq!(
        cursor,
        Cursor {
            value: json!(3),
            page: 2,
            digest: None
        }
    );
}

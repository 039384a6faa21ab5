use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::compile;
use crate::{
    expr::template::Scope,
    integration::{Cursor, HttpRequest, Integration, RequestError, bundled},
};

const SECRET: &str = "s3cret key/é";

/// What a worker gives a method, `given` over it.
fn request_of(
    integration: &Integration,
    resource: &str,
    method: &str,
    given: &Value,
) -> Result<HttpRequest, RequestError> {
    let method = integration.method(resource, method).expect("there");
    let mut roots = json!({
        "credentials": {"api_key": SECRET},
        "context": {"shop": "acme", "base_url": "http://127.0.0.1:9000/api"},
        "account": {"id": "acc_1", "tenant_id": "t1"},
        "args": {"from": "2024-01-01"},
        "run": {"id": "run_1", "started_at": "2024-05-01T12:00:00.000Z"},
        "query": {},
        "body": null,
    });
    for (name, value) in given.as_object().expect("an object") {
        roots[name.as_str()] = value.clone();
    }
    let roots: Vec<(&str, &Value)> = roots
        .as_object()
        .expect("an object")
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    let scope = Scope {
        roots,
        ..Scope::default()
    };
    method.request(&scope, &method.first_cursor())
}

fn request(method: Value, config: Value, given: &Value) -> Result<HttpRequest, RequestError> {
    request_of(&compile(method, config), "orders", "list", given)
}

fn url(method: Value, config: Value, given: &Value) -> String {
    request(method, config, given)
        .expect("a request")
        .url
        .to_string()
}

fn header<'r>(request: &'r HttpRequest, name: &str) -> &'r str {
    request.headers.get(name).map_or("", |value| {
        std::str::from_utf8(value.as_bytes()).expect("text")
    })
}

#[test]
fn urls_are_built_of_base_path_and_query() {
    let none = json!({});
    for (method, config, given, expected) in [
        (
            json!({"path": "/orders"}),
            none.clone(),
            none.clone(),
            "https://api.acme.test/v1/orders",
        ),
        (
            json!({"path": "orders/"}),
            json!({"base_url": "https://x.test/"}),
            none.clone(),
            "https://x.test/orders/",
        ),
        (
            json!({"path": "/"}),
            none.clone(),
            none.clone(),
            "https://api.acme.test/v1/",
        ),
        (
            json!({"path": "/o", "base_url": "https://{{context.shop}}.x.test/a"}),
            none.clone(),
            none.clone(),
            "https://acme.x.test/a/o",
        ),
        (
            json!({"path": "/o", "base_url": "{{context.base_url}}"}),
            none.clone(),
            none.clone(),
            "http://127.0.0.1:9000/api/o",
        ),
        (
            json!({"path": "/o/{{id}}"}),
            none.clone(),
            json!({"id": "a/b c?d#e%f"}),
            "https://api.acme.test/v1/o/a%2Fb%20c%3Fd%23e%25f",
        ),
        (
            json!({"path": "/o/{{id}}"}),
            none.clone(),
            json!({"id": 7}),
            "https://api.acme.test/v1/o/7",
        ),
        (
            json!({"path": "/o", "query": {"a": "1", "b": null}}),
            json!({"query": {"a": "0", "b": "2", "c": true}}),
            none.clone(),
            "https://api.acme.test/v1/o?c=true&a=1",
        ),
        (
            json!({"path": "/o", "query": {"ids": [1, 2]}, "query_array_format": "repeat"}),
            none.clone(),
            none.clone(),
            "https://api.acme.test/v1/o?ids=1&ids=2",
        ),
        (
            json!({"path": "/o", "query": {"from": "{{args.from}}"}}),
            none.clone(),
            none.clone(),
            "https://api.acme.test/v1/o?from=2024-01-01",
        ),
    ] {
        assert_eq!(url(method, config, &given), expected);
    }
}

#[test]
fn the_jobs_query_is_passed_on_except_for_what_placeholders_take() {
    let given = json!({"query": {"order_id": 7, "updated_at": {"gt": "2024"}, "none": null, "status": ["a", "b"]}});
    let list = json!({"path": "/orders/{{query.order_id}}/lines", "query": {"status": "open"}});
    assert_eq!(
        url(list, json!({}), &given),
        "https://api.acme.test/v1/orders/7/lines?status=a%2Cb&updated_at%5Bgt%5D=2024"
    );
    let mapped = json!({"path": "/orders", "query": {"since": "{{query.updated_at.gt}}", "by": "{{query.sort}}"}});
    assert_eq!(
        url(mapped, json!({}), &given),
        "https://api.acme.test/v1/orders?since=2024&order_id=7&status=a%2Cb"
    );
}

#[test]
fn a_parameter_whose_query_placeholder_the_job_does_not_give_is_left_out() {
    let method = json!({"path": "/orders", "query": {"since": "{{query.updated_at.gt}}"}});
    assert_eq!(
        url(method, json!({}), &json!({})),
        "https://api.acme.test/v1/orders"
    );
    let other = json!({"path": "/orders", "query": {"since": "{{args.since}}"}});
    assert!(matches!(
        request(other, json!({}), &json!({})),
        Err(RequestError::Unresolved(_))
    ));
}

#[test]
fn a_path_placeholder_never_reaches_another_resource() {
    for id in [json!(""), json!(".."), json!(".")] {
        let error = request(
            json!({"path": "/orders/{{id}}/lines"}),
            json!({}),
            &json!({"id": id}),
        );
        let error = error.expect_err("refused").to_string();
        assert!(
            error.contains("`/orders/{{id}}/lines` is empty, `.` or `..`"),
            "{error}"
        );
    }
    let escaped = url(
        json!({"path": "/orders/{{id}}"}),
        json!({}),
        &json!({"id": "%2e%2e/x"}),
    );
    assert_eq!(escaped, "https://api.acme.test/v1/orders/%252e%252e%2Fx");
}

#[test]
fn a_placeholder_in_the_host_cannot_name_another_host() {
    let method = || json!({"path": "/o", "base_url": "https://{{context.shop}}.acme.test"});
    for shop in [
        "evil.test/",
        "evil.test#",
        "evil.test?x=",
        "u@evil.test\\",
        "",
    ] {
        let error =
            request(method(), json!({}), &json!({"context": {"shop": shop}})).expect_err(shop);
        assert!(!error.to_string().contains("evil"), "{error}");
    }
    let host = request(
        method(),
        json!({}),
        &json!({"context": {"shop": "evil.test"}}),
    )
    .expect("a request");
    assert_eq!(host.url.host_str(), Some("evil.test.acme.test"));
}

#[test]
fn authorization_is_carried_as_the_document_says_and_marked_sensitive() {
    let key = "{{credentials.api_key}}";
    let ascii = json!({"credentials": {"api_key": "k3y"}});
    for (authorization, name, expected) in [
        (
            json!({"format": "bearer", "config": {"token": key}}),
            "authorization",
            "Bearer k3y",
        ),
        (
            json!({"format": "basic", "config": {"username": "u", "password": key}}),
            "authorization",
            "Basic dTprM3k=",
        ),
        (
            json!({"format": "basic", "config": {"username": key}}),
            "authorization",
            "Basic azN5Og==",
        ),
        (
            json!({"format": "header", "config": {"header_name": "X-Key", "header_value": "k={{credentials.api_key}}"}}),
            "x-key",
            "k=k3y",
        ),
    ] {
        let made = request(
            json!({"path": "/o"}),
            json!({"authorization": authorization}),
            &ascii,
        )
        .expect("a request");
        assert_eq!(header(&made, name), expected);
        assert!(made.headers[name].is_sensitive());
        assert!(!format!("{made:?}").contains("k3y"));
        let without = json!({"path": "/o", "no_auth": true});
        let made =
            request(without, json!({"authorization": authorization}), &ascii).expect("a request");
        assert!(!made.headers.contains_key(name));
    }
    let query = json!({"authorization": {"format": "query", "config": {"query_key": "key", "query_value": key}}});
    let made = request(
        json!({"path": "/o"}),
        query,
        &json!({"query": {"key": "mine"}}),
    )
    .expect("a request");
    assert_eq!(made.url.query(), Some("key=s3cret+key%2F%C3%A9"));
    assert_eq!(made.display_url(), "https://api.acme.test/v1/o");
}

#[test]
fn headers_of_a_method_go_over_the_defaults_and_null_removes_one() {
    let config = json!({"headers": {"Accept": "text/csv", "X-A": "1", "X-B": "2", "X-Token": "{{credentials.api_key}}"}});
    let made = request(
        json!({"path": "/o", "headers": {"x-a": "3", "x-b": null}}),
        config,
        &json!({}),
    )
    .expect("a request");
    assert_eq!(
        (header(&made, "accept"), header(&made, "x-a")),
        ("text/csv", "3")
    );
    assert!(!made.headers.contains_key("x-b"));
    assert!(made.headers["x-token"].is_sensitive() && !made.headers["x-a"].is_sensitive());
    let plain = request(json!({"path": "/o"}), json!({}), &json!({})).expect("a request");
    assert_eq!(header(&plain, "accept"), "application/json");
}

#[test]
fn bodies_are_written_in_their_format_and_get_has_none() {
    let job = json!({"body": {"ids": [1, 2], "filter": {"a": 1.10}, "skip": "x"}, "query": {}});
    let merged =
        json!({"path": "/o", "method": "post", "body": {"kind": "order", "n": "{{body.skip}}"}});
    for (method, content_type, expected) in [
        (
            merged.clone(),
            "application/json",
            r#"{"kind":"order","n":"x","ids":[1,2],"filter":{"a":1.1}}"#,
        ),
        (
            json!({"path": "/o", "method": "post"}),
            "application/json",
            r#"{"ids":[1,2],"filter":{"a":1.1},"skip":"x"}"#,
        ),
        (
            json!({"path": "/o", "method": "post", "body_format": "form", "query_array_format": "brackets"}),
            "application/x-www-form-urlencoded",
            "ids%5B%5D=1&ids%5B%5D=2&filter%5Ba%5D=1.1&skip=x",
        ),
        (
            json!({"path": "/o", "method": "put", "body": "<q>{{body.skip}}</q>", "body_format": "raw", "headers": {"content-type": "text/xml"}}),
            "text/xml",
            "<q>x</q>",
        ),
    ] {
        let made = request(method, json!({}), &job).expect("a request");
        let body = made.body.as_deref().map(String::from_utf8_lossy);
        assert_eq!(
            (header(&made, "content-type"), body.as_deref()),
            (content_type, Some(expected))
        );
    }
    let get = request(json!({"path": "/o"}), json!({}), &job).expect("a request");
    assert_eq!((get.body, get.headers.get("content-type")), (None, None));
    let empty = request(
        json!({"path": "/o", "method": "post"}),
        json!({}),
        &json!({}),
    )
    .expect("a request");
    assert_eq!(empty.body, None);
    let form = json!({"path": "/o", "method": "post", "body_format": "form"});
    assert!(request(form, json!({}), &json!({"body": [1]})).is_err());
}

#[test]
fn numbers_of_a_parent_record_keep_their_digits_in_path_query_and_body() {
    let query: Value =
        serde_json::from_str(r#"{"order_id": 9007199254740993, "price": 1.10}"#).expect("json");
    let method = json!({"path": "/o/{{query.order_id}}", "method": "post", "body": {"price": "{{query.price}}"}});
    let made = request(method, json!({}), &json!({"query": query})).expect("a request");
    assert_eq!(
        made.url.as_str(),
        "https://api.acme.test/v1/o/9007199254740993"
    );
    assert_eq!(made.body.as_deref(), Some(&br#"{"price":1.10}"#[..]));
}

#[test]
fn no_error_or_shown_url_holds_a_value() {
    let secret_path = json!({"path": "/bot{{credentials.api_key}}/updates"});
    let made = request(secret_path, json!({}), &json!({})).expect("a request");
    assert!(made.url.path().contains("s3cret"));
    assert_eq!(
        made.display_url(),
        "https://api.acme.test/v1/bot{{credentials.api_key}}/updates"
    );
    assert!(!format!("{made:?}").contains("s3cret"));

    let port = HttpRequest {
        shown_url: None,
        url: "https://u:p@x.test:8443/a?k=v#f".parse().expect("a URL"),
        ..made
    };
    assert_eq!(port.display_url(), "https://x.test:8443/a");

    let given = json!({"credentials": {"api_key": "s3cret\nx"}, "context": {"base_url": "s3cret"}});
    for (method, config) in [
        (
            json!({"path": "/o"}),
            json!({"authorization": {"format": "bearer", "config": {"token": "{{credentials.api_key}}"}}}),
        ),
        (
            json!({"path": "/o", "headers": {"x-k": "{{credentials.api_key}}"}}),
            json!({}),
        ),
        (
            json!({"path": "/o"}),
            json!({"base_url": "{{context.base_url}}"}),
        ),
    ] {
        let error = request(method, config, &given).expect_err("refused");
        assert!(
            !format!("{error} {error:?}").contains("s3cret"),
            "{error:?}"
        );
    }
}

#[test]
fn the_sample_makes_the_requests_of_the_reference_job() {
    let sample =
        Integration::compile(&serde_json::from_str(bundled()[0].1).expect("JSON")).expect("sound");
    let since = json!({"query": {"updated_at": {"gt": "2024-05-01T12:00:00.000Z"}}, "credentials": {"api_key": "k"}});
    let orders = request_of(&sample, "wms/orders", "list", &since).expect("a request");
    assert_eq!(
        orders.url.as_str(),
        "http://127.0.0.1:9000/api/orders?updated_at%5Bgt%5D=2024-05-01T12%3A00%3A00.000Z&limit=50&page=1"
    );
    assert_eq!(header(&orders, "x-api-key"), "k");
    let lines = request_of(
        &sample,
        "wms/order-items",
        "list",
        &json!({"query": {"order_id": 7}}),
    )
    .expect("a request");
    assert_eq!(
        lines.url.as_str(),
        "http://127.0.0.1:9000/api/orders/7/lines"
    );
    let one = request_of(&sample, "orders", "get", &json!({"id": 7})).expect("a request");
    assert_eq!(one.url.as_str(), "http://127.0.0.1:9000/api/orders/7");

    let me = &sample.validation()[0];
    let (credentials, context) = (
        json!({"api_key": "k"}),
        json!({"base_url": "http://127.0.0.1:9000"}),
    );
    let scope = Scope {
        roots: vec![("credentials", &credentials), ("context", &context)],
        ..Scope::default()
    };
    let made = me.request(&scope, &Cursor::first()).expect("a request");
    assert_eq!(
        (made.url.as_str(), header(&made, "x-api-key")),
        ("http://127.0.0.1:9000/me", "k")
    );
    assert_eq!(made.body, None);
}

#[test]
fn placeholders_that_a_job_leaves_without_value_are_known_before_the_request() {
    let acme = compile(
        json!({"path": "/{{query.a}}/{{query.b|query.c}}/{{query.d?:1}}/{{id}}/{{context.x}}", "query": {"e": "{{query.e}}"}}),
        json!({}),
    );
    let method = acme.method("orders", "list").expect("there");
    assert_eq!(
        method.missing(&json!({}), false, None, None),
        ["query.a", "query.b|query.c", "id"]
    );
    assert_eq!(
        method.missing(&json!({"a": 1, "c": "{{args.c}}"}), true, None, None),
        [""; 0]
    );
    let nested = compile(json!({"path": "/{{query.a.b}}"}), json!({}));
    let method = nested.method("orders", "list").expect("there");
    assert_eq!(
        method.missing(&json!({"a": "{{args.a}}"}), false, None, None),
        [""; 0]
    );
    assert_eq!(
        method.missing(&json!({"a": "x"}), false, None, None),
        ["query.a.b"]
    );
}

#[test]
fn values_of_a_parent_record_may_come_ready() {
    let acme = compile(json!({"path": "/o/{{query.order_id}}"}), json!({}));
    let method = acme.method("orders", "list").expect("there");
    let query = json!({"order_id": 3});
    let exact = BTreeMap::from([("query.order_id".to_owned(), json!(4))]);
    let scope = Scope {
        roots: vec![("query", &query)],
        exact: Some(&exact),
        omit: &[],
    };
    let made = method.request(&scope, &Cursor::first()).expect("a request");
    assert_eq!(made.url.path(), "/v1/o/4");
}

#[test]
fn a_validation_step_sends_its_own_body_and_parameters_only() {
    let step = json!({"type": "request", "config": {"path": "/check", "method": "post"}});
    let acme = compile(
        json!({"path": "/orders"}),
        json!({"actions": {"validation": {"steps": [step]}}}),
    );
    let given = json!({"a": 1});
    let scope = Scope {
        roots: vec![("query", &given), ("body", &given)],
        ..Scope::default()
    };
    let made = acme.validation()[0]
        .request(&scope, &Cursor::first())
        .expect("a request");
    assert_eq!((made.url.query(), made.body), (None, None));
}

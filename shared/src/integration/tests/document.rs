use serde_json::{Value, json};

use super::{compile, document, faults_of};
use crate::{
    fault::Faults,
    integration::{Integration, RecordMapping, bundled},
};

#[test]
fn every_bundled_integration_compiles_under_its_name() {
    for (name, text) in bundled() {
        let document: Value = serde_json::from_str(text).expect("JSON");
        let integration = Integration::compile(&document).map_err(|faults| faults.to_string());
        assert_eq!(
            integration.map(|integration| integration.name),
            Ok((*name).to_owned())
        );
    }
}

#[test]
fn the_sample_lists_its_capabilities_and_how_it_is_validated() {
    let document = serde_json::from_str(bundled()[0].1).expect("JSON");
    let sample = Integration::compile(&document).expect("sound");
    assert_eq!(
        sample.capabilities(),
        json!({
            "proxy": {"orders": ["list", "get"], "order_lines": ["list"]},
            "unified": {"wms/orders": ["list", "get"], "wms/order-items": ["list"]},
        })
    );
    assert_eq!(sample.validation().len(), 1);
    let orders = sample.method("wms/orders", "list").expect("there");
    assert_eq!(
        (orders.is_paged(), orders.record_mapping()),
        (true, RecordMapping::None)
    );
    assert!(
        !sample
            .method("wms/order-items", "list")
            .expect("there")
            .is_paged()
    );
}

#[test]
fn every_fault_of_a_document_is_named_at_once_with_its_pointer() {
    let document = json!({
        "name": "Acme WMS", "description": "x", "colour": "red",
        "config": {
            "base_url": "ftp://x.test",
            "headers": {"Host": "x", "a b": "x", "x-key": "{{credentials.apikey}}", "x-n": ["a"]},
            "query_array_format": "pipes",
            "credentials": {"format": "api_key", "config": {"fields": [{"name": "api_key"}, {"name": "api_key"}, {"label": "x"}]}},
            "authorization": {"format": "header", "config": {"header_name": "X-Key"}},
            "pagination": {"format": "page", "config": {"limit_key": "limit", "start_page": -1}},
            "allowed_origins": ["https://files.acme.test", "https://files.acme.test/x"],
            "resources": {
                "orders": {
                    "list": {"pth": "/orders", "method": "fetch", "timeout_ms": 1, "response_path": "a..b"},
                    "get": {"path": "https://other.test/{{id}}", "body": {}, "pagination": {"format": "page"}},
                    "tag": {"path": "/orders?x=1", "no_auth": true, "authorization": {"format": "none"}},
                    "up": {"path": "/a/../b", "query": {"since": "{{previous_run_date}}", "by": "{{account.tenant}}"}}
                },
                "a.b": 3
            },
            "unified": {"wms": {
                "orders": {"list": {"resource": "order", "method": "list"}, "get": {"resource": "orders", "method": "gte"}},
                "items": {"list": {"resource": {"expression": "x"}, "method": "list"}}
            }},
            "actions": {"validation": {"steps": [{"type": "reqest", "config": {"path": "/me/{{args.x}}"}}]}}
        }
    });
    let faults = faults_of(&document);
    let pointers: Vec<&str> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
    let orders = "/config/resources/orders";
    for expected in [
        "/name",
        "/label",
        "/colour",
        "/config/base_url",
        "/config/headers/Host",
        "/config/headers/a b",
        "/config/headers/x-key",
        "/config/headers/x-n",
        "/config/query_array_format",
        "/config/credentials/config/fields/1/name",
        "/config/credentials/config/fields/2/name",
        "/config/authorization/config/header_value",
        "/config/pagination/config/max_limit",
        "/config/pagination/config/page_key",
        "/config/pagination/config/start_page",
        "/config/allowed_origins/1",
        &format!("{orders}/list/path"),
        &format!("{orders}/list/pth"),
        &format!("{orders}/list/method"),
        &format!("{orders}/list/timeout_ms"),
        &format!("{orders}/list/response_path"),
        &format!("{orders}/get/path"),
        &format!("{orders}/get/body"),
        &format!("{orders}/get/pagination"),
        &format!("{orders}/tag/path"),
        &format!("{orders}/tag/no_auth"),
        &format!("{orders}/up/path"),
        &format!("{orders}/up/query/since"),
        &format!("{orders}/up/query/by"),
        "/config/resources/a.b",
        "/config/unified/wms/orders/list/resource",
        "/config/unified/wms/orders/get/method",
        "/config/unified/wms/items/list/resource",
        "/config/actions/validation/steps/0/type",
        "/config/actions/validation/steps/0/config/path",
    ] {
        assert!(
            pointers.contains(&expected),
            "{expected} is missing in {faults:#?}"
        );
    }
    let message = |pointer: &str| {
        let found = faults.iter().find(|(at, _)| at == pointer);
        found
            .map(|(_, message)| message.clone())
            .unwrap_or_default()
    };
    assert!(message(&format!("{orders}/list/pth")).contains("did you mean `path`?"));
    assert!(message("/config/unified/wms/orders/list/resource").contains("did you mean `orders`?"));
    assert!(message("/config/headers/x-key").contains("did you mean `api_key`?"));
}

#[test]
fn what_a_later_version_will_understand_is_refused_and_never_ignored() {
    let method = |extra: Value| {
        let mut method = json!({"path": "/orders"});
        for (name, value) in extra.as_object().expect("an object") {
            method[name.as_str()] = value.clone();
        }
        document(method, json!({}))
    };
    let config =
        |name: &str, value: Value| document(json!({"path": "/orders"}), json!({name: value}));
    let paging = |format: &str| json!({"format": format, "config": {"max_limit": 5}});
    let unified = |extra: &str| {
        config(
            "unified",
            json!({"wms": {"orders": {"list": {"resource": "orders", "method": "list", extra: "x"}}}}),
        )
    };
    let list = "/config/resources/orders/list";
    let wms = "/config/unified/wms/orders/list";
    let mut cases = vec![
        (
            config(
                "rate_limit",
                json!({"budget": {"concurrency": 1}, "is_rate_limited": "x"}),
            ),
            "/config/rate_limit/is_rate_limited".to_owned(),
        ),
        (
            config("error_expression", json!("x")),
            "/config/error_expression".to_owned(),
        ),
        (
            config("error_rules", json!([])),
            "/config/error_rules".to_owned(),
        ),
        (
            config(
                "credentials",
                json!({"format": "oauth2", "config": {"fields": []}}),
            ),
            "/config/credentials/format".to_owned(),
        ),
        (
            config("credentials", json!({"oauth2": {}})),
            "/config/credentials/oauth2".to_owned(),
        ),
        (
            config("actions", json!({"post_install": {}})),
            "/config/actions/post_install".to_owned(),
        ),
        (
            config("actions", json!({"refresh_token": {}})),
            "/config/actions/refresh_token".to_owned(),
        ),
        (
            config("pagination", paging("range")),
            "/config/pagination/format".to_owned(),
        ),
        (
            method(json!({"pagination": paging("dynamic")})),
            format!("{list}/pagination/format"),
        ),
        (
            method(json!({"pagination": paging("last_record")})),
            format!("{list}/pagination/format"),
        ),
        (
            method(json!({"response_format": "csv"})),
            format!("{list}/response_format"),
        ),
        (
            method(json!({"response_format": "jsonl"})),
            format!("{list}/response_format"),
        ),
        (
            method(
                json!({"authorization": {"format": "header", "config": {"expression": "x", "header_name": "a", "header_value": "b"}}}),
            ),
            format!("{list}/authorization/config/expression"),
        ),
    ];
    for name in [
        "graphql",
        "query_schema",
        "error_expression",
        "error_rules",
        "before",
        "after",
    ] {
        cases.push((method(json!({name: {}})), format!("{list}/{name}")));
    }
    for name in [
        "query_mapping",
        "request_body_mapping",
        "path_mapping",
        "response_mapping",
        "record_mapping",
        "error_mapping",
        "before",
        "after",
    ] {
        cases.push((unified(name), format!("{wms}/{name}")));
    }
    for (document, pointer) in cases {
        let faults = faults_of(&document);
        let said = faults.iter().any(|(at, message)| {
            *at == pointer && message.contains("is not supported yet; leave it out")
        });
        assert!(said, "{pointer}: {faults:?}");
    }
}

#[test]
fn base_url_is_required_unless_every_method_has_its_own() {
    let mut lacking = document(json!({"path": "/orders"}), json!({}));
    lacking["config"]
        .as_object_mut()
        .expect("an object")
        .remove("base_url");
    let faults = faults_of(&lacking);
    assert_eq!(
        faults,
        [(
            "/config/base_url".to_owned(),
            "is required, unless every method has its own".to_owned()
        )]
    );
    lacking["config"]["resources"]["orders"]["list"]["base_url"] = json!("https://x.test");
    assert!(Integration::compile(&lacking).is_ok());
}

#[test]
fn links_are_not_followed_where_they_would_be_stored_with_a_credential_in_their_path() {
    let links = json!({"pagination": {"format": "link_header"}});
    let faults = faults_of(&document(
        json!({"path": "/{{credentials.api_key}}/orders"}),
        links,
    ));
    assert_eq!(faults[0].0, "/config/resources/orders/list");
}

#[test]
fn an_unknown_resource_or_method_is_answered_with_what_there_is() {
    let acme = compile(json!({"path": "/orders"}), json!({}));
    let resource = acme.method("order", "list").expect_err("unknown");
    assert_eq!(
        resource,
        "the integration `acme` has no resource `order`; it has `orders`; did you mean `orders`?"
    );
    let method = acme.method("orders", "lst").expect_err("unknown");
    assert_eq!(
        method,
        "`orders` has no method `lst`; it has `list`; did you mean `list`?"
    );
}

#[test]
fn entered_credentials_are_checked_against_the_declared_fields_without_being_shown() {
    let fields = json!([
        {"name": "api_key", "type": "password", "required": true},
        {"name": "shop", "type": "text", "required": true},
        {"name": "port", "type": "number"},
        {"name": "sandbox", "type": "boolean"},
    ]);
    let acme = compile(
        json!({"path": "/orders"}),
        json!({"credentials": {"api_key": {"config": {"fields": fields}}}}),
    );
    let check = |credentials: Value| {
        let mut faults = Faults::default();
        acme.check_credentials(&credentials, &mut faults);
        faults.to_string()
    };
    assert_eq!(
        check(json!({"api_key": "s3cret", "shop": "a", "port": 1, "sandbox": true})),
        ""
    );
    let said = check(json!({"api_key": 77_777, "shop": " ", "port": "s3cret", "apikey": "s3cret"}));
    assert_eq!(
        said,
        "/credentials/api_key: must be a string, is a number; /credentials/shop: must not be empty; \
         /credentials/port: must be a number, is a string; /credentials/apikey: is not a credential of this \
         integration, which takes `api_key`, `shop`, `port` and `sandbox`; did you mean `api_key`?"
    );
    assert_eq!(
        check(Value::Null),
        "/credentials/api_key: is required; /credentials/shop: is required"
    );
    assert_eq!(
        check(json!("s3cret")),
        "/credentials: must be an object, is a string"
    );
}

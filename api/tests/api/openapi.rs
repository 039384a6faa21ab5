//! The OpenAPI document against the routes.

use reqwest::Method;
use serde_json::Value;

use crate::support::{BASE, Client, send, start};

/// Every operation: verb, path, and what the document says about it.
pub fn operations() -> Vec<(Method, String, Value)> {
    let document = serde_json::to_value(api::openapi::document()).expect("JSON");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (verb, operation) in item.as_object().expect("an item") {
            let verb: Method = verb.to_uppercase().parse().expect("a verb");
            operations.push((verb, path.clone(), operation.clone()));
        }
    }
    operations
}

/// A request of an operation, with `id` in its path.
pub fn request(
    client: &Client,
    verb: &Method,
    path: &str,
    id: &str,
    query: &str,
) -> reqwest::RequestBuilder {
    let path = path
        .replace("{id}", id)
        .replace("{name}", id)
        .replace("{event_id}", "evt_00000000000000000000000000")
        .replace("{redrive_id}", "rdv_00000000000000000000000000");
    let request = client.request(verb.clone(), &format!("/{path}{query}"));
    if *verb == Method::GET || *verb == Method::DELETE {
        request
    } else {
        request.json(&serde_json::json!({}))
    }
}

#[test]
fn the_document_is_openapi_3_1_and_describes_every_operation_fully() {
    let document = serde_json::to_value(api::openapi::document()).expect("JSON");
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1"))
    );
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    for (verb, path, operation) in operations() {
        let name = format!("{verb} {path}");
        assert!(operation["operationId"].is_string(), "{name}");
        assert!(
            operation["summary"].is_string() || operation["description"].is_string(),
            "{name}"
        );
        if !path.starts_with(BASE) {
            continue;
        }
        let statuses = operation["responses"].as_object().expect("responses");
        for status in ["400", "401", "403", "503"] {
            assert!(statuses.contains_key(status), "{name} lacks {status}");
        }
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let has = |wanted: &str| {
            parameters
                .iter()
                .any(|parameter| parameter["name"] == wanted)
        };
        assert_eq!(
            has("id") || has("name") && path.contains('{'),
            path.contains('{'),
            "{name}"
        );
        assert_eq!(has("Idempotency-Key"), verb == Method::POST, "{name}");
    }
    // No reference leads nowhere.
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let schema = reference.split('"').next().expect("a name");
        assert!(
            document["components"]["schemas"].get(schema).is_some(),
            "{schema} is missing"
        );
    }
}

#[tokio::test]
async fn every_documented_operation_is_routed_and_wants_a_token() {
    let api = start().await;
    for (verb, path, _) in operations() {
        if !path.starts_with(BASE) {
            continue;
        }
        let path = path.replace("{id}", "x").replace("{name}", "x");
        let request = api
            .client
            .anonymous(verb.clone(), path.strip_prefix(BASE).expect("the base"));
        send(request).await.refused(401, "unauthorized");
    }
}

#[tokio::test]
async fn every_operation_refuses_an_unknown_parameter_by_name() {
    let api = start().await;
    let webhook = api.client.webhook().await;
    for (verb, path, _) in operations() {
        if !path.starts_with(BASE) {
            continue;
        }
        let id = match path.split('/').nth(4) {
            Some("webhook") => webhook.clone(),
            Some("integrated-account") => "acc_00000000000000000000000000".to_owned(),
            Some("sync-job") => "job_00000000000000000000000000".to_owned(),
            Some("sync-job-cron-trigger") => "cron_00000000000000000000000000".to_owned(),
            Some("workflow") => "wf_00000000000000000000000000".to_owned(),
            Some("workflow-run") => "wfr_00000000000000000000000000".to_owned(),
            Some("sync-job-run") => "run_00000000000000000000000000".to_owned(),
            _ => "any".to_owned(),
        };
        let reply = send(request(
            &api.client,
            &verb,
            &path,
            &id,
            "?no_such_parameter=1",
        ))
        .await;
        assert_eq!(
            reply.refused(400, "invalid_parameter"),
            ["no_such_parameter"],
            "{verb} {path}"
        );
    }
}

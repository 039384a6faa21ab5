//! `/integration`

use serde_json::{Value, json};
use shared::model::token::Scope;

use crate::support::{client, start};

fn document(path: &str) -> Value {
    json!({
        "label": "Acme",
        "config": {
            "base_url": "https://acme.example/api",
            "authorization": {"format": "none"},
            "resources": {"orders": {"list": {"path": path}}},
        },
    })
}

#[tokio::test]
async fn a_put_makes_an_integration_and_then_new_versions_of_it() {
    let api = start().await;
    let made = api
        .client
        .put("/integration/acme", document("/orders"))
        .await
        .expect(201)
        .json();
    assert_eq!(
        (&made["name"], &made["version"], &made["source"]),
        (&json!("acme"), &json!(1), &json!("custom"))
    );
    let same = api
        .client
        .put("/integration/acme", document("/orders"))
        .await
        .expect(200)
        .json();
    assert_eq!((&same["version"], &same["id"]), (&json!(1), &made["id"]));
    let newer = api
        .client
        .put("/integration/acme", document("/v2/orders"))
        .await
        .expect(200)
        .json();
    assert_eq!((&newer["version"], &newer["id"]), (&json!(2), &made["id"]));
    let id = made["id"].as_str().expect("an id");
    for path in ["/integration/acme", &format!("/integration/{id}")] {
        let shown = api.client.get(path).await.expect(200).json();
        assert_eq!(
            shown["config"]["resources"]["orders"]["list"]["path"], "/v2/orders",
            "{path}"
        );
    }
}

#[tokio::test]
async fn every_fault_of_a_document_has_its_pointer() {
    let api = start().await;
    let mut wrong = document("/orders");
    wrong["name"] = json!("other");
    wrong["config"]["resources"]["orders"]["list"]["pth"] = json!("/x");
    let pointers = api
        .client
        .put("/integration/acme", wrong)
        .await
        .refused(422, "validation_failed");
    assert!(pointers.contains(&"/name".to_owned()), "{pointers:?}");
    assert!(
        pointers.contains(&"/config/resources/orders/list/pth".to_owned()),
        "{pointers:?}"
    );
    api.client
        .get("/integration/acme")
        .await
        .refused(404, "not_found");
    api.client
        .post("/integration", document("/orders"))
        .await
        .refused(422, "validation_failed");
}

#[tokio::test]
async fn a_bundled_integration_can_be_read_and_shadowed_but_not_deleted() {
    let api = start().await;
    let bundled = api
        .client
        .get("/integration/sample")
        .await
        .expect(200)
        .json();
    assert_eq!(bundled["source"], "bundled");
    let by_id = api
        .client
        .get(&format!(
            "/integration/{}",
            bundled["id"].as_str().expect("an id")
        ))
        .await
        .expect(200);
    assert_eq!(by_id.json(), bundled);
    api.client
        .delete("/integration/sample")
        .await
        .refused(409, "conflict");

    let custom = api
        .client
        .put("/integration/sample", document("/orders"))
        .await
        .expect(201)
        .json();
    assert_eq!(
        api.client.get("/integration/sample").await.json()["source"],
        "custom"
    );
    let list = api.client.get("/integration?name=sample").await.json();
    assert_eq!(list["result"].as_array().map(Vec::len), Some(1));
    let deleted = api.client.delete("/integration/sample").await.expect(200);
    assert_eq!(deleted.json()["id"], custom["id"]);
    assert_eq!(
        api.client.get("/integration/sample").await.json()["source"],
        "bundled"
    );
}

#[tokio::test]
async fn a_list_has_custom_ones_before_the_bundled_ones_page_by_page() {
    let api = start().await;
    for name in ["a", "b"] {
        api.client
            .put(&format!("/integration/{name}"), document("/orders"))
            .await
            .expect(201);
    }
    let whole = api.client.get("/integration").await.expect(200).json();
    let names = |page: &Value| -> Vec<String> {
        page["result"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(&whole)[..2], ["b", "a"]);
    assert!(names(&whole).contains(&"sample".to_owned()));
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api
            .client
            .get(&format!("/integration?limit=1&next_cursor={cursor}"))
            .await
            .expect(200)
            .json();
        seen.extend(names(&page));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        next.clone_into(&mut cursor);
    }
    assert_eq!(seen, names(&whole));
    assert_eq!(
        names(&api.client.get("/integration?source=custom").await.json()),
        ["b", "a"]
    );
    assert!(
        !names(&api.client.get("/integration?source=bundled").await.json())
            .contains(&"a".to_owned())
    );
}

#[tokio::test]
async fn capabilities_list_resources_and_methods() {
    let api = start().await;
    let capabilities = api
        .client
        .get("/integration/sample/capabilities")
        .await
        .expect(200)
        .json();
    assert_eq!(capabilities["unified"]["wms/order-items"], json!(["list"]));
    assert_eq!(capabilities["proxy"]["orders"], json!(["list", "get"]));
    api.client
        .get("/integration/nothing/capabilities")
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn a_custom_integration_is_seen_in_its_own_environment_only() {
    let api = start().await;
    let id = api
        .client
        .put("/integration/acme", document("/orders"))
        .await
        .expect(201)
        .id();
    let other = client(&api.store, &api.origin, "second", Scope::Admin).await;
    for name in ["acme", &id] {
        other
            .get(&format!("/integration/{name}"))
            .await
            .refused(404, "not_found");
        other
            .delete(&format!("/integration/{name}"))
            .await
            .refused(404, "not_found");
    }
    other
        .put("/integration/acme", document("/mine"))
        .await
        .expect(201);
    assert_eq!(
        api.client.get("/integration/acme").await.json()["version"],
        1
    );
}

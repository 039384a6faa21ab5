//! `/sync-job`

use serde_json::json;

use crate::support::{reference_job, start};

#[tokio::test]
async fn the_reference_job_is_made_as_it_was_given() {
    let api = start().await;
    let made = api
        .client
        .post("/sync-job", reference_job())
        .await
        .expect(201);
    let job = made.json();
    assert_eq!(job["resources"], reference_job()["resources"]);
    assert_eq!(
        api.client
            .get(&format!("/sync-job/{}", made.id()))
            .await
            .expect(200)
            .json(),
        job
    );
    let list = api
        .client
        .get("/sync-job?integration_name=sample")
        .await
        .expect(200)
        .json();
    assert_eq!(list["result"], json!([job]));
    assert_eq!(
        api.client
            .get("/sync-job?integration_name=other")
            .await
            .json()["result"],
        json!([])
    );
}

#[tokio::test]
async fn faults_of_the_job_and_of_its_resources_come_together() {
    let api = start().await;
    let mut job = reference_job();
    job["mutex_key"] = json!("{{x}}");
    job["lable"] = json!("x");
    job["resources"][1]["depends_on"] = json!("wms/ordres");
    job["resources"][0]["method"] = json!("lst");
    let pointers = api
        .client
        .post("/sync-job", job)
        .await
        .refused(422, "validation_failed");
    for pointer in [
        "/mutex_key",
        "/lable",
        "/resources/1/depends_on",
        "/resources/0/method",
    ] {
        assert!(
            pointers.contains(&pointer.to_owned()),
            "{pointer} is not in {pointers:?}"
        );
    }
}

#[tokio::test]
async fn a_job_of_an_unknown_integration_is_refused_with_its_other_faults() {
    let api = start().await;
    let mut job = reference_job();
    job["integration_name"] = json!("nothing");
    job["resources"][0]["depend_on"] = json!("x");
    let pointers = api
        .client
        .post("/sync-job", job)
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers, ["/integration_name", "/resources/0/depend_on"]);
}

#[tokio::test]
async fn a_job_without_an_integration_is_refused_with_the_faults_of_its_resources() {
    let api = start().await;
    let body = json!({"resources": [{"resource": "wms/orders", "depend_on": "x"}]});
    let refused = api.client.post("/sync-job", body).await;
    assert_eq!(
        refused.refused(422, "validation_failed"),
        ["/integration_name", "/resources/0/depend_on"]
    );
}

#[tokio::test]
async fn a_patched_job_is_checked_as_a_whole() {
    let api = start().await;
    let path = format!("/sync-job/{}", api.client.sync_job().await);
    let changed = api
        .client
        .patch(
            &path,
            json!({"label": "new", "error_handling": "fail_fast"}),
        )
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&changed["label"], &changed["error_handling"]),
        (&json!("new"), &json!("fail_fast"))
    );
    assert_eq!(changed["resources"], reference_job()["resources"]);
    let broken = json!({"resources": [{"resource": "wms/nothing", "method": "list"}]});
    api.client
        .patch(&path, broken)
        .await
        .refused(422, "validation_failed");
    let pointers = api
        .client
        .patch(&path, json!({"integration_name": "other"}))
        .await;
    assert_eq!(
        pointers.refused(422, "validation_failed"),
        ["/integration_name"]
    );
    assert_eq!(api.client.get(&path).await.json(), changed);
}

#[tokio::test]
async fn a_job_whose_integration_is_gone_can_be_named_but_not_get_other_resources() {
    let api = start().await;
    api.client.shop().await;
    let job = json!({"integration_name": "shop", "resources": [{"resource": "orders"}]});
    let made = api.client.post("/sync-job", job).await.expect(201);
    let path = format!("/sync-job/{}", made.id());
    api.client.delete("/integration/shop").await.expect(200);
    let named = api.client.patch(&path, json!({"label": "old"})).await;
    assert_eq!(named.expect(200).json()["label"], "old");
    let other = json!({"resources": [{"resource": "parts"}]});
    let refused = api.client.patch(&path, other).await;
    assert_eq!(
        refused.refused(422, "validation_failed"),
        ["/integration_name"]
    );
}

#[tokio::test]
async fn a_deleted_job_is_gone() {
    let api = start().await;
    let path = format!("/sync-job/{}", api.client.sync_job().await);
    api.client.delete(&path).await.expect(200);
    api.client.get(&path).await.refused(404, "not_found");
    api.client.delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn the_plan_of_a_job_shows_its_nodes_and_where_each_placeholder_comes_from() {
    let api = start().await;
    let job = json!({"integration_name": "sample", "lookback_minutes": 5, "resources": [
        {"resource": "wms/order-items", "depends_on": "wms/orders", "loop_on": "{{resources.wms.orders.parts}}",
         "filter": "quantity > 0", "persist": false, "error_handling": "batch",
         "query": {"order_id": "{{resources.wms.orders.id}}", "part": "{{loop.item.no}}"}},
        {"resource": "wms/orders", "query": {"updated_at": {"gt": "{{previous_run_date}}"}}}
    ]});
    let made = api.client.post("/sync-job", job).await.expect(201);
    assert_eq!(made.json()["lookback_minutes"], 5);
    let path = format!("/sync-job/{}/plan", made.id());
    let plan = api.client.get(&path).await.expect(200).json();
    assert_eq!(plan["sync_job_id"], made.id());
    let [orders, items] = plan["nodes"].as_array().expect("nodes").as_slice() else {
        panic!("two nodes in {plan}")
    };
    assert_eq!(
        (&orders["name"], &orders["parent"], &orders["children"]),
        (
            &json!("wms/orders"),
            &json!(null),
            &json!(["wms/order-items"])
        )
    );
    assert_eq!(orders["incremental"], true);
    assert_eq!(
        orders["carries"],
        json!([
            {"placeholder": "resources.wms.orders.id", "path": "id"},
            {"placeholder": "resources.wms.orders.parts", "path": "parts"}
        ])
    );
    assert_eq!(
        orders["placeholders"],
        json!([{"placeholder": "previous_run_date", "source": "previous_run_date"}])
    );
    assert_eq!(orders["request"]["method"], "GET");
    assert!(
        orders["request"]["path"]
            .as_str()
            .expect("a path")
            .starts_with('/')
    );
    assert_eq!(items["parent"], "wms/orders");
    assert_eq!(items["loop_on"], "{{resources.wms.orders.parts}}");
    assert_eq!(
        (
            &items["filter"],
            &items["persist"],
            &items["error_handling"]
        ),
        (&json!("quantity > 0"), &json!(false), &json!("batch"))
    );
    assert_eq!(
        items["placeholders"],
        json!([
            {"placeholder": "resources.wms.orders.id", "source": "parent_record", "of": "wms/orders", "path": "id"},
            {"placeholder": "loop.item.no", "source": "loop_item", "of": "wms/order-items", "path": "no"},
            {"placeholder": "resources.wms.orders.parts", "source": "parent_record", "of": "wms/orders", "path": "parts"}
        ])
    );
    let missing = api
        .client
        .get("/sync-job/job_00000000000000000000000000/plan")
        .await;
    missing.refused(404, "not_found");
}

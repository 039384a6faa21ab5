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
    job["mutex_key"] = json!("x");
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
async fn a_deleted_job_is_gone() {
    let api = start().await;
    let path = format!("/sync-job/{}", api.client.sync_job().await);
    api.client.delete(&path).await.expect(200);
    api.client.get(&path).await.refused(404, "not_found");
    api.client.delete(&path).await.refused(404, "not_found");
}

//! `/sync-job-cron-trigger`

use serde_json::{Value, json};

use crate::{
    source,
    support::{Api, start},
};

const PATH: &str = "/sync-job-cron-trigger";

/// The ids of a job, an account and a webhook that fit together.
async fn subject(api: &Api) -> Value {
    json!({
        "sync_job_id": api.client.sync_job().await,
        "integrated_account_id": api.client.account(&source::start()).await,
        "webhook_id": api.client.webhook().await,
    })
}

fn with(base: &Value, more: Value) -> Value {
    let mut merged = base.clone();
    if let (Some(all), Value::Object(more)) = (merged.as_object_mut(), more) {
        all.extend(more);
    }
    merged
}

#[tokio::test]
async fn a_cron_trigger_is_made_shown_changed_and_deleted() {
    let api = start().await;
    let subject = subject(&api).await;
    let body = with(&subject, json!({"cron_expression": "0 */6 * * *"}));
    let made = api.client.post(PATH, body).await.expect(201);
    let path = format!("{PATH}/{}", made.id());
    let made = made.json();
    let expected = json!({"timezone": "UTC", "overlap": "skip", "is_active": true, "jitter_seconds": 0, "last_run_id": null});
    for (name, value) in expected.as_object().expect("fields") {
        assert_eq!(&made[name], value, "{name} of {made}");
    }
    let next = made["next_run_at"].as_str().expect("a time");
    assert!(next.ends_with(":00:00.000Z"), "{next}");

    let patch = json!({"timezone": "europe/berlin", "cron_expression": "30 4 * * MON-FRI", "overlap": "queue"});
    let changed = api.client.patch(&path, patch).await.expect(200).json();
    assert_eq!(changed["timezone"], "Europe/Berlin");
    let off = json!({"is_active": false});
    let off = api.client.patch(&path, off).await.expect(200).json();
    assert_eq!(off["next_run_at"], Value::Null);
    let schedule = format!("{path}/schedule");
    let on = api
        .client
        .post(&schedule, json!({}))
        .await
        .expect(200)
        .json();
    assert_eq!(on["next_run_at"], changed["next_run_at"]);
    let again = api
        .client
        .post(&schedule, json!({}))
        .await
        .expect(200)
        .json();
    assert_eq!(again["next_run_at"], on["next_run_at"]);

    let of_job = format!(
        "{PATH}?sync_job_id={}",
        subject["sync_job_id"].as_str().expect("an id")
    );
    let list = api.client.get(&of_job).await.expect(200).json();
    assert_eq!(list["result"][0]["id"], made["id"]);
    let none = api
        .client
        .get(&format!("{PATH}?is_active=false"))
        .await
        .json();
    assert_eq!(none["result"], json!([]));
    api.client.delete(&path).await.expect(200);
    api.client.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_null_for_an_argument_that_is_not_there_adds_none_however_often_it_is_sent() {
    let api = start().await;
    let more = json!({"cron_expression": "* * * * *", "args": {"a": 1, "b": 2}});
    let body = with(&subject(&api).await, more);
    let path = format!("{PATH}/{}", api.client.post(PATH, body).await.id());
    for _ in 0..2 {
        let patch = json!({"args": {"b": null, "x": null}});
        let changed = api.client.patch(&path, patch).await.expect(200).json();
        assert_eq!(changed["args"], json!({"a": 1}));
    }
    let misspelt = api.client.patch(&path, json!({"lable": null})).await;
    assert_eq!(misspelt.refused(422, "validation_failed"), ["/lable"]);
}

#[tokio::test]
async fn a_cron_trigger_of_what_is_gone_can_be_named_and_switched_off_but_not_on() {
    let api = start().await;
    let subject = subject(&api).await;
    let body = with(&subject, json!({"cron_expression": "* * * * *"}));
    let path = format!("{PATH}/{}", api.client.post(PATH, body).await.id());
    let job = subject["sync_job_id"].as_str().expect("an id");
    let deleted = api.client.delete(&format!("/sync-job/{job}")).await;
    deleted.expect(200);
    for patch in [json!({"label": "old"}), json!({"is_active": false})] {
        api.client.patch(&path, patch).await.expect(200);
    }
    for patch in [json!({"is_active": true}), json!({"args": {"a": 1}})] {
        let refused = api.client.patch(&path, patch).await;
        assert_eq!(refused.refused(422, "validation_failed"), ["/sync_job_id"]);
    }
}

#[tokio::test]
async fn a_change_that_loses_to_many_others_says_when_to_try_again() {
    let api = start().await;
    let body = with(
        &subject(&api).await,
        json!({"cron_expression": "* * * * *"}),
    );
    let path = format!("{PATH}/{}", api.client.post(PATH, body).await.id());
    let changes = (0..60).map(|number| {
        let (client, path) = (api.client.clone(), path.clone());
        async move { client.patch(&path, json!({"jitter_seconds": number})).await }
    });
    for reply in futures::future::join_all(changes).await {
        if reply.status != 200 {
            reply.refused(409, "conflict");
            assert_eq!(reply.headers["retry-after"], "1");
        }
    }
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_cron_trigger_is_named_at_once() {
    let api = start().await;
    let subject = subject(&api).await;
    let only_expression = ["/cron_expression"];
    let cases = [
        (
            json!({"cron_expression": "61 * * * *"}),
            &only_expression[..],
        ),
        (json!({"cron_expression": "@every 5m"}), &only_expression),
        (json!({"cron_expression": ""}), &only_expression),
        (json!({}), &only_expression),
        (json!({"cron_expression": "0 0 30 2 *"}), &only_expression),
        (json!({"cron_expression": "0 0 0 * * *"}), &only_expression),
        (
            json!({"cron_expression": "* * * *", "timezone": "Mars/Base", "overlap": "maybe", "jitter_seconds": 9999, "webhook_id": "wh_1"}),
            &[
                "/cron_expression",
                "/jitter_seconds",
                "/overlap",
                "/timezone",
                "/webhook_id",
            ],
        ),
        (
            json!({"cron_expression": "* * * * *", "sync_job_id": "job_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2", "cron": 1}),
            &["/cron", "/sync_job_id"],
        ),
    ];
    for (more, pointers) in cases {
        let body = with(&subject, more);
        let mut found = api
            .client
            .post(PATH, body.clone())
            .await
            .refused(422, "validation_failed");
        found.sort_unstable();
        assert_eq!(found, pointers, "{body}");
    }
}

#[tokio::test]
async fn what_a_cron_trigger_is_of_cannot_be_changed() {
    let api = start().await;
    let one = subject(&api).await;
    let other = subject(&api).await;
    let body = with(&one, json!({"cron_expression": "* * * * *"}));
    let made = api.client.post(PATH, body).await.expect(201);
    let path = format!("{PATH}/{}", made.id());
    let patch = json!({"sync_job_id": other["sync_job_id"]});
    let refused = api.client.patch(&path, patch).await;
    assert_eq!(refused.refused(422, "validation_failed"), ["/sync_job_id"]);
    let patch = json!({"webhook_id": other["webhook_id"]});
    api.client.patch(&path, patch).await.expect(200);
}

//! The examples of the guides are what the program accepts.

use serde_json::{Value, json};

use crate::{integration::Integration, plan::Plan};

const INTEGRATIONS: &str = include_str!("../../../../docs/guides/integrations.md");
const SYNC_JOBS: &str = include_str!("../../../../docs/guides/sync-jobs.md");

fn examples(guide: &str) -> Vec<Value> {
    let blocks = guide.split("```json\n").skip(1);
    blocks
        .filter_map(|block| block.split("```").next())
        .map(|text| serde_json::from_str(text).expect("JSON"))
        .collect()
}

#[test]
fn every_example_of_the_guides_is_accepted() {
    let documents = examples(INTEGRATIONS);
    assert_eq!(documents.len(), 1);
    let mut document = documents[0].clone();
    Integration::compile(&document).expect("a sound document");
    // What no warehouse has: folders in folders.
    document["config"]["resources"]["folders"] = json!({"list": {"path": "/folders"}});
    let integration = Integration::compile(&document).expect("a sound document");
    let jobs = examples(SYNC_JOBS);
    assert_eq!(jobs.len(), 5);
    for job in jobs {
        // A whole job, its resources, or one of them.
        let resources = match job.get("resources") {
            Some(resources) => resources.clone(),
            None if job.is_object() => json!([job]),
            None => job,
        };
        let plan = Plan::compile(&resources, &integration);
        assert!(plan.is_ok(), "{plan:?}");
    }
}

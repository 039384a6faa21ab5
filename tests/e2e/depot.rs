//! A strict source of five levels: whatever request isn't exactly right is answered with 400.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use syncline_tests::http::Request;

use crate::scenario::integration_of;

pub const ZONES: [&str; 2] = ["n", "s"];
pub const FLAGS: [&str; 2] = ["x", "y"];

/// What the source describes itself as.
pub fn integration(base_url: &str) -> Value {
    integration_of(
        base_url,
        json!({
            "regions": {"list": {"path": "/regions", "response_path": "data"}},
            "warehouses": {"list": {"path": "/regions/{{path.region}}/warehouses", "response_path": "data"}},
            "shelves": {"list": {"path": "/warehouses/{{path.warehouse}}/bays/{{query.bay}}/shelves", "response_path": "data"}},
            "items": {"search": {"path": "/shelves/{{path.shelf}}/search", "method": "post", "response_path": "data"}},
            "details": {"get": {"path": "/items/{{id}}"}}
        }),
    )
}

/// The job: a loop over arguments at the root and at the leaves, one over each parent's record in between.
pub fn resources() -> Value {
    json!([
        {"resource": "regions", "loop_on": "zones", "query": {"zone": "{{loop.item}}"}},
        {"resource": "warehouses", "depends_on": "regions",
         "path": {"region": "{{resources.regions.code}}"}, "query": {"zone": "{{loop.item}}"}},
        {"resource": "shelves", "depends_on": "warehouses", "loop_on": "{{resources.warehouses.bays}}",
         "path": {"warehouse": "{{resources.warehouses.wid}}"},
         "query": {"bay": "{{loop.item.no}}", "kind": "{{loop.item.kind}}"}},
        {"resource": "items", "method": "search", "depends_on": ["regions", "shelves"],
         "path": {"shelf": "{{resources.shelves.sid}}"},
         "body": {"region": "{{resources.regions.code}}", "bay": "{{loop.item.no}}", "of": "{{resources.warehouses.wid}}"}},
        {"resource": "details", "method": "get", "depends_on": "items", "loop_on": "{{args.flags}}",
         "id": "{{resources.items.iid}}",
         "query": {"flag": "{{loop.item}}", "region": "{{resources.regions.code}}",
                   "where": "{{resources.warehouses.wid}}/{{resources.shelves.sid}}"}}
    ])
}

fn regions(zone: &str) -> Vec<String> {
    (1..=2).map(|n| format!("{zone}{n}")).collect()
}

/// Each region has two warehouses; the second one has no bays.
fn warehouses(region: &str) -> Vec<(String, Vec<Value>)> {
    let bays = |n| match n {
        1 => vec![json!({"no": 1, "kind": "a"}), json!({"no": 2, "kind": "b"})],
        _ => Vec::new(),
    };
    (1..=2)
        .map(|n| (format!("{region}w{n}"), bays(n)))
        .collect()
}

/// Every request that a right sync makes, once: method, target and body.
pub fn right_requests() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for zone in ZONES {
        all.insert(format!("GET /regions?zone={zone} "));
        for region in regions(zone) {
            all.insert(format!("GET /regions/{region}/warehouses?zone={zone} "));
            for (warehouse, bays) in warehouses(&region) {
                for bay in bays {
                    let (no, kind) = (&bay["no"], bay["kind"].as_str().unwrap_or_default());
                    all.insert(format!(
                        "GET /warehouses/{warehouse}/bays/{no}/shelves?kind={kind} "
                    ));
                    for shelf in 1..=2 {
                        let shelf = format!("{warehouse}b{no}s{shelf}");
                        all.insert(format!(
                            r#"POST /shelves/{shelf}/search {{"region":"{region}","bay":{no},"of":"{warehouse}"}}"#
                        ));
                        for item in 1..=2 {
                            for flag in FLAGS {
                                all.insert(format!(
                                    "GET /items/{shelf}i{item}?flag={flag}&region={region}&where={warehouse}%2F{shelf} "
                                ));
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

/// The records of each resource, in no particular order.
pub fn counts() -> [(&'static str, usize); 5] {
    [
        ("regions", 4),
        ("warehouses", 8),
        ("shelves", 16),
        ("items", 32),
        ("details", 64),
    ]
}

/// Answers a right request, anything else with 400.
pub fn answer(right: &BTreeSet<String>, request: &Request) -> (u16, String) {
    let asked = said(request);
    if !right.contains(&asked) {
        return (
            400,
            json!({"error": format!("what is `{asked}`?")}).to_string(),
        );
    }
    let data = |records: Vec<Value>| (200, json!({"data": records}).to_string());
    let parts: Vec<&str> = request.path().split('/').skip(1).collect();
    match parts.as_slice() {
        ["regions"] => {
            let zone = request.query("zone").unwrap_or_default();
            data(
                regions(zone)
                    .iter()
                    .map(|code| json!({"code": code}))
                    .collect(),
            )
        }
        ["regions", region, "warehouses"] => {
            let record = |(wid, bays): &(String, Vec<Value>)| json!({"wid": wid, "bays": bays});
            data(warehouses(region).iter().map(record).collect())
        }
        ["warehouses", warehouse, "bays", bay, "shelves"] => data(
            (1..=2)
                .map(|n| json!({"sid": format!("{warehouse}b{bay}s{n}")}))
                .collect(),
        ),
        ["shelves", shelf, "search"] => data(
            (1..=2)
                .map(|n| json!({"iid": format!("{shelf}i{n}")}))
                .collect(),
        ),
        _ => (200, json!({"detail": asked}).to_string()),
    }
}

/// A request in one line.
pub fn said(request: &Request) -> String {
    let body = String::from_utf8_lossy(&request.body);
    format!("{} {} {body}", request.method, request.target)
}

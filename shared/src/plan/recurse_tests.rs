use std::collections::BTreeMap;

use serde_json::json;

use super::{
    tests::{carried, faults, pairs, plan},
    *,
};

#[test]
fn a_recursion_lays_its_config_over_the_request() {
    let plan = plan(json!([
        {"resource": "orders"},
        {"resource": "parts", "depends_on": "orders", "query": {"in": {"id": "root"}, "order": "{{resources.orders.id}}", "top": 1},
         "recurse": {"if": "{{record.kids}}", "config": {"query": {"in": {"id": "{{record.id}}"}, "top": null, "n": "{{resources.parts.n}}"}}}},
    ]));
    let [orders, parts] = plan.nodes.as_slice() else {
        panic!("two nodes")
    };
    assert_eq!(carried(orders), [("resources.orders.id", "id")]);
    let recursion = parts.recurse.as_ref().expect("a recursion");
    assert_eq!(
        pairs(&recursion.carried),
        [("record.id", "id"), ("resources.parts.n", "n")]
    );
    let exact = BTreeMap::from([
        ("resources.orders.id".to_owned(), json!(7)),
        ("record.id".to_owned(), json!("f1")),
        ("resources.parts.n".to_owned(), json!(2)),
    ]);
    let scope = Scope {
        exact: Some(&exact),
        ..Scope::default()
    };
    let query = |depth| parts.given(&scope, depth).expect("filled").query;
    assert_eq!(
        query(0),
        json!({"in": {"id": "root"}, "order": 7, "top": 1})
    );
    assert_eq!(query(1), json!({"in": {"id": "f1"}, "order": 7, "n": 2}));
}

#[test]
fn a_recursion_goes_on_where_its_condition_holds() {
    let holds = |condition: &str, record: Value| {
        let plan = plan(
            json!([{"resource": "parts", "recurse": {"if": condition, "config": {"query": {"in": "{{record.id}}"}}}}]),
        );
        let recursion = plan.nodes[0].recurse.as_ref().expect("a recursion");
        let exact = BTreeMap::from([("resources.parts.kids".to_owned(), json!(true))]);
        let args = json!({"deep": true});
        recursion
            .holds(
                &record,
                &Scope {
                    roots: vec![("args", &args)],
                    exact: Some(&exact),
                    ..Scope::default()
                },
            )
            .expect("no fault")
    };
    for condition in [
        "{{record.kids:bool}}",
        "{{resources.parts.kids:bool}}",
        "kids = true or kids = 'true'",
    ] {
        assert!(holds(condition, json!({"kids": true})), "{condition}");
        assert!(holds(condition, json!({"kids": "true"})), "{condition}");
        for record in [
            json!({"kids": false}),
            json!({"kids": "false"}),
            json!({"kids": null}),
            json!({}),
            json!(1),
        ] {
            assert!(!holds(condition, record.clone()), "{condition} of {record}");
        }
    }
    assert!(holds("{{args.deep}}", json!({})));
}

#[test]
fn faults_of_recursions_are_named_at_once() {
    assert_eq!(
        faults(json!([
            {"resource": "orders", "recurse": {"config": {}}},
            {"resource": "parts", "recurse": {"if": "{{record.a}}", "config": {"qery": {}, "id": "{{record.id}}", "path": {"x": 1}}}},
            {"resource": "parts", "name": "b", "recurse": true},
            {"resource": "parts", "name": "d", "filter": "a =", "map": 1, "recurse": {"if": "kids >", "config": {"id": 1}}},
            {"resource": "parts", "name": "c", "query": {"a": "{{record.id}}"},
             "recurse": {"if": "{{record}}", "config": {"query": {"b": "{{resources.parts.id}}"}}}},
        ])),
        [
            "/resources/0/recurse/if: is required",
            "/resources/0/recurse/config: changes nothing, so every call would ask for the same; give `query`, `id`, `body` or `path`",
            "/resources/1/recurse/config/qery: is not a known field; did you mean `query`?",
            "/resources/2/recurse: must be an object, is a boolean",
            "/resources/3/recurse/if: is no JSONata: ends too early, at position 6",
            "/resources/3/filter: is no JSONata: ends too early, at position 3",
            "/resources/3/map: must be a string, is a number",
            "/resources/1/recurse/config/path/x: `list` of `parts` has no `{{path.x}}`; its path is `/parts`",
            "/resources/1/recurse/config/id: `list` of `parts` takes no id; use `query`, or the method `get`",
            "/resources/3/recurse/config/id: `list` of `parts` takes no id; use `query`, or the method `get`",
            "/resources/4/query/a: `{{record.id}}` can't be filled: `record` is the record that `recurse` looks at; elsewhere name the parent: `{{resources.<name>.<path>}}`",
            "/resources/4/recurse/if: `{{record}}` can't be filled: name a field of the record, such as `id`, after `record`",
            "/resources/4/recurse/config/query/b: `{{resources.parts.id}}` can't be filled: this resource doesn't depend on `parts`; add it to `depends_on`",
        ]
    );
}

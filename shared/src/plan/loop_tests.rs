#![expect(
    clippy::needless_pass_by_value,
    reason = "the JSON is written where it is used"
)]

use serde_json::{Value, json};

use super::{
    tests::{carried, faults, pairs, plan},
    *,
};

/// The elements that a root's `loop_on` gives, or the code of its error.
fn elements(loop_on: Value, args: Value) -> Result<Vec<Value>, &'static str> {
    let plan = plan(json!([{"resource": "parts", "loop_on": loop_on}]));
    let over = plan.nodes[0].loop_on.as_ref().expect("a loop");
    let scope = Scope {
        roots: vec![("args", &args)],
        ..Scope::default()
    };
    over.elements(&scope).map_err(|error| error.code())
}

#[test]
fn a_loop_goes_over_an_argument_a_path_a_placeholder_or_an_array() {
    let args = json!({"warehouses": [1, "b"], "deep": {"list": [7]}, "account": ["x"]});
    for (loop_on, expected) in [
        (json!("warehouses"), json!([1, "b"])),
        (json!("args.warehouses"), json!([1, "b"])),
        (json!("deep.list"), json!([7])),
        (json!(" {{args.warehouses}} "), json!([1, "b"])),
        (json!("{{args.missing|args.warehouses}}"), json!([1, "b"])),
        (json!("{{args.missing:undefined}}"), json!([])),
        (json!([3, "{{args.deep.list.0}}"]), json!([3, 7])),
        (json!([]), json!([])),
    ] {
        let found = elements(loop_on.clone(), args.clone());
        assert_eq!(found.map(Value::from), Ok(expected), "{loop_on}");
    }
}

#[test]
fn what_is_no_array_or_too_long_is_no_loop() {
    let long: Vec<usize> = (0..=MAX_LOOP_ITEMS).collect();
    for (args, code) in [
        (json!({"a": "1,2"}), "loop_not_an_array"),
        (json!({"a": {"0": 1}}), "loop_not_an_array"),
        (json!({"a": null}), "loop_not_an_array"),
        (json!({}), "placeholder_missing"),
        (json!({"a": long}), "loop_too_long"),
    ] {
        assert_eq!(elements(json!("a"), args), Err(code));
    }
}

#[test]
fn faults_of_loops_are_named_at_once() {
    let long = vec![0; MAX_LOOP_ITEMS + 1];
    assert_eq!(
        faults(json!([
            {"resource": "orders", "loop_on": ""},
            {"resource": "parts", "name": "b", "loop_on": "a {{args.b}}"},
            {"resource": "parts", "name": "c", "loop_on": "{{account.id}}"},
            {"resource": "parts", "name": "d", "loop_on": long},
            {"resource": "parts", "name": "e", "loop_on": "resources.order.lines"},
            {"resource": "parts", "name": "f", "loop_on": "{{loop.item.kids}}", "query": {"a": "{{loop.index}}"}},
        ])),
        [
            "/resources/0/loop_on: the path `` has an empty part: write one such as `data.orders` or `lines.0.sku`; or the name of an argument, or a placeholder",
            "/resources/1/loop_on: must be one placeholder with nothing beside it, such as `{{args.warehouses}}`",
            "/resources/2/loop_on: `account` holds no array to loop over",
            "/resources/3/loop_on: must not have more than 10000 elements",
            "/resources/4/loop_on: `{{resources.order.lines}}` can't be filled: it names no resource of this job; did you mean `orders`?",
            "/resources/5/query/a: `{{loop.index}}` can't be filled: `loop` has `item`, the current element: `{{loop.item}}`",
            "/resources/5/loop_on: `{{loop.item.kids}}` can't be filled: no resource that this one depends on has `loop_on`",
        ]
    );
}

#[test]
fn only_the_loop_itself_gets_the_array_of_a_parents_record() {
    let plan = plan(json!([
        {"resource": "orders"},
        {"resource": "parts", "depends_on": "orders", "loop_on": "{{resources.orders.lines}}",
         "query": {"sku": "{{loop.item.sku}}", "order": "{{resources.orders.id}}"}},
        {"resource": "lines", "name": "below", "depends_on": "parts", "query": {"order_id": "{{loop.item.n}}"}},
        {"resource": "lines", "name": "deep", "depends_on": "below", "loop_on": "{{resources.orders.tags}}",
         "query": {"order_id": "{{resources.orders.tags}}"}},
        {"resource": "orders", "name": "sees", "depends_on": "deep", "query": {"all": "{{resources.orders.tags}}"}},
    ]));
    let [orders, parts, below, deep, _] = plan.nodes.as_slice() else {
        panic!("five nodes")
    };
    // `tags` is needed below its loop, so all carry it; `lines` goes to the loop and no further.
    assert_eq!(
        carried(orders),
        [
            ("resources.orders.id", "id"),
            ("resources.orders.tags", "tags")
        ]
    );
    let over = parts.loop_on.as_ref().expect("a loop");
    assert_eq!(
        pairs(&over.from_parent),
        [("resources.orders.lines", "lines")]
    );
    assert_eq!(over.spent, ["resources.orders.lines"]);
    assert_eq!(pairs(&parts.elements), [("loop.item.sku", "sku")]);
    assert_eq!(pairs(&below.elements), [("loop.item.n", "n")]);
    let over = deep.loop_on.as_ref().expect("a loop");
    assert!(over.from_parent.is_empty() && over.spent.is_empty());
    // In the requests of a loop, what is looped over is the current element.
    let source = |name: &str| {
        let found = deep.placeholders.iter().find(|(path, _)| path == name);
        found.map(|(_, source)| source.clone())
    };
    assert_eq!(over.placeholder(), Some("resources.orders.tags"));
    assert!(matches!(
        source("resources.orders.tags"),
        Some(Source::Ancestor(0, _) | Source::Element(3, None))
    ));
}

#[test]
fn values_for_the_path_go_where_the_path_has_a_placeholder() {
    plan(json!([{"resource": "bins", "path": {"warehouse": "{{args.w}}"}}]));
    assert_eq!(
        faults(json!([
            {"resource": "bins"},
            {"resource": "bins", "name": "b", "path": {"warehose": 1}},
            {"resource": "parts", "path": {"x": 1}},
            {"resource": "bins", "name": "c", "path": "w"},
        ])),
        [
            "/resources/3/path: must be an object, is a string",
            "/resources/0/path: `list` of `bins` needs `{{path.warehouse}}`; give it here",
            "/resources/1/path: `list` of `bins` needs `{{path.warehouse}}`; give it here",
            "/resources/1/path/warehose: `list` of `bins` has no `{{path.warehose}}`; its path is `/warehouses/{{path.warehouse}}/bins`",
            "/resources/2/path/x: `list` of `parts` has no `{{path.x}}`; its path is `/parts`",
            "/resources/3/path: `list` of `bins` needs `{{path.warehouse}}`; give it here",
        ]
    );
}

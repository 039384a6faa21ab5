#![expect(
    clippy::needless_pass_by_value,
    reason = "the JSON is written where it is used"
)]

use serde_json::{Value, json};

use super::*;

fn integration() -> Integration {
    let document = json!({
        "name": "acme", "label": "Acme",
        "config": {
            "base_url": "https://api.acme.test",
            "resources": {
                "bins": {"list": {"path": "/warehouses/{{path.warehouse}}/bins"}},
                "orders": {"list": {"path": "/orders"}, "get": {"path": "/orders/{{id}}"}},
                "lines": {"list": {"path": "/orders/{{query.order_id}}/lines"}},
                "parts": {"list": {"path": "/parts"}, "search": {"path": "/parts/search", "method": "post"}},
            },
            "unified": {"wms": {
                "orders": {"list": {"resource": "orders"}},
                "order-items": {"list": {"resource": "lines"}},
            }}
        }
    });
    Integration::compile(&document).expect("a sound document")
}

pub(super) fn plan(resources: Value) -> Plan {
    Plan::compile(&resources, &integration()).expect("a sound job")
}

pub(super) fn faults(resources: Value) -> Vec<String> {
    let faults = Plan::compile(&resources, &integration()).expect_err("faults");
    faults
        .as_slice()
        .iter()
        .map(|fault| format!("{}: {}", fault.pointer, fault.message))
        .collect()
}

pub(super) fn carried(node: &Node) -> Vec<(&str, &str)> {
    pairs(&node.carried)
}

pub(super) fn pairs(carried: &[Carried]) -> Vec<(&str, &str)> {
    carried
        .iter()
        .map(|carried| (carried.placeholder.as_str(), carried.path.as_str()))
        .collect()
}

#[test]
fn the_reference_job_is_two_nodes_and_carries_the_order_id() {
    let plan = plan(json!([
        {"resource": "wms/orders", "method": "list", "query": {"updated_at": {"gt": "{{previous_run_date}}"}}},
        {"resource": "wms/order-items", "method": "list", "depends_on": "wms/orders",
         "query": {"order_id": "{{resources.wms.orders.id}}"}, "error_handling": "fail_fast", "persist": false}
    ]));
    let [orders, items] = plan.nodes.as_slice() else {
        panic!("two nodes")
    };
    assert_eq!(
        (
            orders.name.as_str(),
            orders.parent,
            orders.children.as_slice()
        ),
        ("wms/orders", None, &[1][..])
    );
    assert_eq!(carried(orders), [("resources.wms.orders.id", "id")]);
    assert!(orders.incremental && orders.persist && orders.error_handling.is_none());
    assert_eq!(
        (items.index, items.parent, items.incremental, items.persist),
        (1, Some(0), false, false)
    );
    assert_eq!(items.error_handling, Some(ErrorHandling::FailFast));
    assert!(items.carried.is_empty());
}

#[test]
fn nodes_are_sorted_parents_first_and_indices_follow() {
    let plan = plan(json!([
        {"resource": "parts", "name": "leaf", "depends_on": ["top", "middle"], "query": {"a": "{{resources.top.x.0.y}}", "b": "{{resources.middle.id}}"}},
        {"resource": "parts", "name": "middle", "depends_on": "top", "query": {"a": "{{resources.top.x.0.y}}"}},
        {"resource": "orders", "name": "top"},
        {"resource": "orders"}
    ]));
    let shown: Vec<_> = plan
        .nodes
        .iter()
        .map(|node| {
            (
                node.index,
                node.name.as_str(),
                node.parent,
                node.children.clone(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (0, "top", None, vec![1]),
            (1, "middle", Some(0), vec![2]),
            (2, "leaf", Some(1), vec![]),
            (3, "orders", None, vec![])
        ]
    );
    assert_eq!(carried(&plan.nodes[0]), [("resources.top.x.0.y", "x.0.y")]);
    assert_eq!(carried(&plan.nodes[1]), [("resources.middle.id", "id")]);
}

#[test]
fn a_placeholder_means_the_ancestor_with_the_longest_name() {
    let plan = plan(json!([
        {"resource": "orders", "name": "wms"},
        {"resource": "wms/orders", "depends_on": "wms", "query": {"w": "{{resources.wms.order}}"}},
        {"resource": "parts", "depends_on": "wms/orders", "query": {"o": "{{resources.wms.orders.id}}", "w": "{{resources.wms.ordersid}}"}}
    ]));
    assert_eq!(
        carried(&plan.nodes[0]),
        [
            ("resources.wms.order", "order"),
            ("resources.wms.ordersid", "ordersid")
        ]
    );
    assert_eq!(carried(&plan.nodes[1]), [("resources.wms.orders.id", "id")]);
}

#[test]
fn every_fault_of_a_job_is_named_at_once_with_its_pointer() {
    assert_eq!(
        faults(json!([
            {"resource": "wms/order"},
            {"resource": "orders", "method": "lst", "dependson": "x"},
            {"resource": "orders", "method": "get"},
            {"resource": "orders", "name": "a.b", "id": true, "query": [1], "error_handling": "batch", "loop_on": 3},
            7,
            {"method": "list"},
            {"resource": "parts", "error_handling": "stop", "filter": "x +", "include_remote_data": true, "persist": "no", "body": {}, "id": 4}
        ])),
        [
            "/resources/1/dependson: is not a known field; did you mean `depends_on`?",
            "/resources/3/name: `a.b` is no name; use letters, digits, `_`, `-` and `/`, starting with a letter or digit, at most 129 characters",
            "/resources/3/query: must be an object, is an array",
            "/resources/3/id: must be a string or number, is a boolean",
            "/resources/3/loop_on: must be an array, a placeholder such as `{{args.warehouses}}` or the name of an argument, is a number",
            "/resources/4: must be an object, is a number",
            "/resources/5/resource: is required",
            "/resources/6/persist: must be a boolean, is a string",
            "/resources/6/error_handling: must be one of `ignore`, `fail_fast`, `batch`",
            "/resources/6/include_remote_data: belongs to the job as a whole; put it beside `resources`",
            "/resources/6/filter: is no JSONata: ends too early, at position 3",
            "/resources/0/resource: the integration `acme` has no resource `wms/order`; it has `wms/orders`, `wms/order-items`, `bins`, `orders`, `lines` and `parts`; did you mean `wms/orders`?",
            "/resources/1/method: `orders` has no method `lst`; it has `list` and `get`; did you mean `list`?",
            "/resources/2/id: `get` of `orders` needs `{{id}}`; give it here",
            "/resources/6/id: `list` of `parts` takes no id; use `query`, or the method `get`",
            "/resources/6/body: `list` of `parts` sends no body; use `query`",
            "/resources/2/resource: `orders` is there already; give this one a `name` of its own",
        ]
    );
}

#[test]
fn a_dependency_that_is_nothing_or_the_resource_itself_is_refused() {
    assert_eq!(
        faults(json!([
            {"resource": "orders", "name": "top"},
            {"resource": "parts", "depends_on": "tops", "query": {"a": "{{resources.top.id}}"}},
            {"resource": "lines", "depends_on": "lines", "query": {"order_id": 1}},
            {"resource": "wms/orders", "depends_on": ["orders", 3]},
            {"resource": "parts", "name": "x", "depends_on": []},
            {"resource": "parts", "name": "y", "depends_on": {}}
        ])),
        [
            "/resources/3/depends_on/1: must be a string, is a number",
            "/resources/4/depends_on: must not be empty; leave it out for a resource without parent",
            "/resources/5/depends_on: must be a name or an array of names, is an object",
            "/resources/1/depends_on: `tops` is no resource of this job; did you mean `top`?",
            "/resources/2/depends_on: names the resource itself; name its parent",
            "/resources/3/depends_on/0: `orders` is no resource of this job; that resource has the name `top` here",
        ]
    );
}

#[test]
fn a_cycle_is_named_once_and_what_hangs_below_it_is_not_blamed() {
    let named =
        |name: &str, parent: &str| json!({"resource": "parts", "name": name, "depends_on": parent});
    assert_eq!(
        faults(json!([
            named("below", "a"),
            named("a", "b"),
            named("b", "c"),
            named("c", "a")
        ])),
        ["/resources/1/depends_on: depends on itself: a → b → c → a"]
    );
}

#[test]
fn several_ancestors_must_lie_on_one_chain() {
    assert_eq!(
        faults(json!([
            {"resource": "orders"},
            {"resource": "parts"},
            {"resource": "wms/orders", "depends_on": ["orders", "parts"]}
        ])),
        [
            "/resources/2/depends_on: must lie on one chain, but neither of `orders` and `parts` depends on the other"
        ]
    );
}

#[test]
fn a_placeholder_that_nothing_can_fill_is_refused_with_the_reason() {
    assert_eq!(
        faults(json!([
            {"resource": "orders"},
            {"resource": "parts", "query": {"a": "{{resources.orders.id}}"}},
            {"resource": "wms/orders", "depends_on": "orders", "query": {
                "a": "{{resources.orders}}", "b": "{{resources.order.id}}", "c": "{{arg.x}}", "d": "{{account.tenant}}",
                "e": "{{run.finished_at}}", "f": "{{previous_run_date.x}}", "g": "{{loop.item}}", "h": "{{credentials.k}}",
                "i": "{{args.x}}", "j": "{{context.y}}", "k": "{{account.id}}", "l": "{{run.id}}", "m": "{{resources.wms.orders.id}}"}}
        ])),
        [
            "/resources/1/query/a: `{{resources.orders.id}}` can't be filled: this resource doesn't depend on `orders`; add it to `depends_on`",
            "/resources/2/query/a: `{{resources.orders}}` can't be filled: name a field of the parent's record, such as `id`, after the resource",
            "/resources/2/query/b: `{{resources.order.id}}` can't be filled: it names no resource of this job; did you mean `orders`?",
            "/resources/2/query/c: `{{arg.x}}` can't be filled: placeholders start with `resources`, `previous_run_date`, `args`, `context`, `account`, `run` or `loop`; did you mean `args`?",
            "/resources/2/query/d: `{{account.tenant}}` can't be filled: `account` has `id` and `tenant_id`; did you mean `tenant_id`?",
            "/resources/2/query/e: `{{run.finished_at}}` can't be filled: `run` has `id` and `started_at`",
            "/resources/2/query/f: `{{previous_run_date.x}}` can't be filled: `previous_run_date` has no fields",
            "/resources/2/query/g: `{{loop.item}}` can't be filled: neither this resource nor one that it depends on has `loop_on`",
            "/resources/2/query/h: `{{credentials.k}}` can't be filled: credentials are for the integration alone",
            "/resources/2/query/m: `{{resources.wms.orders.id}}` can't be filled: it names the resource itself",
        ]
    );
}

#[test]
fn a_child_whose_method_needs_what_the_job_does_not_give_is_refused() {
    assert_eq!(
        faults(json!([
            {"resource": "orders"},
            {"resource": "wms/order-items", "depends_on": "orders", "query": {"orderid": "{{resources.orders.id}}"}}
        ])),
        [
            "/resources/1/query: `list` of `wms/order-items` needs `{{query.order_id}}`; give it here"
        ]
    );
    plan(json!([{"resource": "parts", "method": "search", "body": {"a": "{{args.x}}"}}]));
    plan(json!([{"resource": "orders", "method": "get", "id": "{{args.id}}"}]));
}

#[test]
fn a_job_has_at_least_one_resource_and_a_bounded_number_of_them() {
    assert_eq!(
        faults(json!([])),
        ["/resources: must hold at least one resource"]
    );
    assert_eq!(
        faults(json!({})),
        ["/resources: must be an array, is an object"]
    );
    let many: Vec<Value> = (0..=MAX_NODES)
        .map(|index| json!({"resource": "parts", "name": format!("p{index}")}))
        .collect();
    assert_eq!(
        faults(json!(many)),
        ["/resources: must not hold more than 50 resources"]
    );
    assert_eq!(plan(json!(many[1..])).nodes.len(), MAX_NODES);
}

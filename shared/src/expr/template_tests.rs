use proptest::prelude::*;
use serde_json::{Map, json};

use super::super::node::MERGE_KEY;
use super::*;
use crate::fault::Fault;

fn compile(template: &Value) -> Template {
    let mut faults = Faults::default();
    let template = Template::compile(template, "", &mut faults);
    assert!(faults.is_empty(), "{faults}");
    template
}

fn faults(template: &Value, pointer: &str) -> Vec<Fault> {
    let mut faults = Faults::default();
    let _ = Template::compile(template, pointer, &mut faults);
    faults.as_slice().to_vec()
}

fn scope<'a>(roots: &'a Value, omit: &'a [&'a str]) -> Scope<'a> {
    let roots = roots
        .as_object()
        .expect("an object")
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    Scope {
        roots,
        exact: None,
        omit,
    }
}

fn render(template: &Value, roots: &Value) -> Result<Option<Value>, Unresolved> {
    compile(template).render(&scope(roots, &[]))
}

fn omitting(template: &Value, roots: &Value) -> Option<Value> {
    compile(template)
        .render(&scope(roots, &["previous_run_date"]))
        .expect("no placeholder lacks a value")
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_string_that_is_one_placeholder_keeps_the_values_type() {
    let roots = json!({"id": 7, "flag": false, "list": [1], "object": {"a": null}});
    for (template, value) in [
        ("{{id}}", json!(7)),
        ("{{flag}}", json!(false)),
        ("{{ list }}", json!([1])),
        ("{{object}}", json!({"a": null})),
    ] {
        assert_eq!(render(&json!(template), &roots), Ok(Some(value)));
    }
    assert_eq!(render(&json!("{{id:str}}"), &roots), Ok(Some(json!("7"))));
    assert_eq!(render(&json!("no {{id}}"), &roots), Ok(Some(json!("no 7"))));
}

#[test]
fn numbers_keep_their_digits() {
    let roots = read(
        r#"{"price":1.10,"id":9007199254740993,"text":"1.10","fine":0.1000000000000000055511151231257827}"#,
    );
    for (template, rendered) in [
        ("{{price}}", "1.10"),
        ("{{id}}", "9007199254740993"),
        ("{{id:int}}", "9007199254740993"),
        ("{{price:num}}", "1.10"),
        ("{{text:num}}", "1.10"),
        ("{{price:str}}", "\"1.10\""),
        (
            "{{price}}/{{id}}/{{fine}}",
            "\"1.10/9007199254740993/0.1000000000000000055511151231257827\"",
        ),
    ] {
        let value = render(&json!(template), &roots).unwrap().unwrap();
        assert_eq!(value.to_string(), rendered, "{template}");
    }
}

#[test]
fn a_placeholder_without_value_is_an_error_that_names_it() {
    let error = render(
        &json!({"a": ["x {{ args.since | context.x:int }}"]}),
        &json!({"args": {}}),
    )
    .unwrap_err();
    assert_eq!(error.placeholder, "args.since | context.x:int");
    assert_eq!(
        error.to_string(),
        "the placeholder {{args.since | context.x:int}} has no value"
    );
}

#[test]
fn exact_paths_come_before_roots() {
    let roots = json!({"resources": {"orders": {"id": 1, "name": "n"}}});
    let exact = BTreeMap::from([("resources.orders.id".to_owned(), json!(7))]);
    let scope = Scope {
        exact: Some(&exact),
        ..scope(&roots, &[])
    };
    let template = compile(&json!([
        "{{ resources.orders.id }}",
        "{{resources.orders.name}}"
    ]));
    assert_eq!(template.render(&scope), Ok(Some(json!([7, "n"]))));
}

#[test]
fn an_omitted_entry_goes_and_takes_emptied_containers_with_it() {
    let template = json!({"updated_at": {"gt": "{{previous_run_date}}"}, "list": [["since {{previous_run_date}}"]], "limit": 5, "empty": {}});
    assert_eq!(
        omitting(&template, &json!({})),
        Some(json!({"limit": 5, "empty": {}}))
    );
    let full = json!({"updated_at": {"gt": "d"}, "list": [["since d"]], "limit": 5, "empty": {}});
    assert_eq!(
        omitting(&template, &json!({"previous_run_date": "d"})),
        Some(full)
    );
    assert_eq!(
        omitting(&json!({"a": [{"b": "{{previous_run_date}}"}]}), &json!({})),
        None
    );
    assert_eq!(
        omitting(&json!(["{{previous_run_date}}", 1]), &json!({})),
        Some(json!([1]))
    );
}

#[test]
fn fallbacks_and_defaults_come_before_omission() {
    assert_eq!(
        omitting(&json!("{{previous_run_date|since}}"), &json!({"since": 1})),
        Some(json!(1))
    );
    assert_eq!(
        omitting(&json!("{{previous_run_date?:1970-01-01}}"), &json!({})),
        Some(json!("1970-01-01"))
    );
    assert_eq!(
        omitting(&json!(["{{previous_run_date:null}}"]), &json!({})),
        Some(json!([null]))
    );
    assert_eq!(
        omitting(&json!("{{since|previous_run_date}}"), &json!({})),
        None
    );
}

#[test]
fn only_listed_paths_are_omitted() {
    let template = compile(&json!({"a": "{{previous_run_date.x}}"}));
    assert!(
        template
            .render(&scope(&json!({}), &["previous_run_date"]))
            .is_err()
    );
}

#[test]
fn undefined_leaves_its_entry_out_but_keeps_the_container() {
    assert_eq!(
        render(
            &json!({"a": {"b": "{{x:undefined}}"}, "c": ["{{x:undefined}}"]}),
            &json!({})
        ),
        Ok(Some(json!({"a": {}, "c": []})))
    );
    assert_eq!(render(&json!("{{x:undefined}}"), &json!({})), Ok(None));
    assert_eq!(
        render(&json!("a{{x:undefined}}b"), &json!({})),
        Ok(Some(json!("ab")))
    );
}

#[test]
fn an_object_merged_in_brings_the_members_that_a_template_lacks() {
    let template =
        json!({"fixed": 1, "deep": {"a": "{{x}}"}, "$truto_merge": ["{{user}}", "{{missing}}"]});
    let roots = json!({"x": 5, "user": {"deep": {"b": 2}, "more": true}});
    assert_eq!(
        render(&template, &roots),
        Ok(Some(
            json!({"fixed": 1, "deep": {"a": 5, "b": 2}, "more": true})
        ))
    );
}

#[test]
fn an_omitted_entry_does_not_take_what_is_merged_in() {
    let template = json!({"since": "{{previous_run_date}}", "$truto_merge": "{{user}}"});
    assert_eq!(
        omitting(&template, &json!({"user": {"limit": 1}})),
        Some(json!({"limit": 1}))
    );
    assert_eq!(omitting(&template, &json!({"user": {}})), None);
}

#[test]
fn values_are_never_looked_into_for_placeholders() {
    let roots = json!({"a": "{{secret}}", "o": {"x": "{{secret}}", "$truto_merge": {"y": 1}}, "secret": "s"});
    assert_eq!(
        render(&json!({"k": "{{a}}", "t": "<{{a}}>"}), &roots),
        Ok(Some(json!({"k": "{{secret}}", "t": "<{{secret}}>"})))
    );
    let merged = render(&json!({"k": {"$truto_merge": "{{o}}"}}), &roots)
        .unwrap()
        .unwrap();
    assert_eq!(merged, json!({"k": roots["o"]}));
}

#[test]
fn text_encodes_substituted_values_and_nothing_else() {
    let encode = |text: &str| text.replace('/', "%2F").replace(' ', "%20");
    let roots = json!({"id": "a/b c", "n": 7, "list": [1, 2]});
    let text = |template: Value| {
        compile(&template).render_text(&scope(&roots, &["previous_run_date"]), encode)
    };
    assert_eq!(
        text(json!("/orders/{{id}}/x y")),
        Ok("/orders/a%2Fb%20c/x y".to_owned())
    );
    assert_eq!(text(json!("{{id}}")), Ok("a%2Fb%20c".to_owned()));
    assert_eq!(text(json!("{{n}}")), Ok("7".to_owned()));
    assert_eq!(text(json!("{{list}}")), Ok("1,2".to_owned()));
    assert_eq!(text(json!("a/b")), Ok("a/b".to_owned()));
    assert_eq!(text(json!(5)), Ok("5".to_owned()));
    assert_eq!(text(json!("{{x:undefined}}")), Ok(String::new()));
    assert_eq!(text(json!("/{{x}}")).unwrap_err().placeholder, "x");
    assert_eq!(
        text(json!("/{{previous_run_date}}"))
            .unwrap_err()
            .placeholder,
        "previous_run_date"
    );
}

#[test]
fn paths_lists_every_alternative_with_its_place() {
    let template = compile(
        &json!({"a/b": ["x {{p.q:int|r}} {{ s ?:d}}"], "$truto_merge": "{{m:json}}", "c": "{d}"}),
    );
    let owned = |path: &str, pointer: &str| (path.to_owned(), pointer.to_owned());
    assert_eq!(
        template.paths(),
        [
            owned("p.q", "/a~1b/0"),
            owned("r", "/a~1b/0"),
            owned("s", "/a~1b/0"),
            owned("m", "/$truto_merge")
        ]
    );
}

#[test]
fn every_fault_is_reported_with_its_pointer() {
    let template = json!({"a": "{{x:integer}}", "b": ["ok {{x}}", "{{}}", "{{x"], "c": "{{x}", "d": "{{|x}}", "e": "{{a b}}", "f": "{{a..b}}", "g": "{{x?:a?:b}}"});
    let found = faults(&template, "/query");
    let pointers: Vec<&str> = found.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/query/a",
            "/query/b/1",
            "/query/b/2",
            "/query/c",
            "/query/d",
            "/query/e",
            "/query/f",
            "/query/g"
        ]
    );
    assert!(
        found[0]
            .message
            .contains("`:integer` is no cast: use one of str, int"),
        "{}",
        found[0].message
    );
    assert!(
        found[2].message.contains("isn't closed"),
        "{}",
        found[2].message
    );
}

#[test]
fn braces_around_what_no_placeholder_holds_are_text() {
    for text in [
        "{{#each x}}",
        "{{\"a\"}}",
        "{ {a} }",
        "}}",
        "{",
        "{\"a\":{\"b\":{}}}",
        "{{a+b}}",
    ] {
        assert_eq!(render(&json!(text), &json!({})), Ok(Some(json!(text))));
    }
    assert_eq!(
        render(&json!("{{{id}}}"), &json!({"id": 7})),
        Ok(Some(json!("{7}")))
    );
}

#[test]
fn the_examples_of_the_guide_hold() {
    let roots = read(
        r#"{"order": {"id": 7, "total": 1.10, "lines": [{"sku": "A"}, {"sku": "B"}]}, "since": "", "page": " 3 ", "ids": [1, 2]}"#,
    );
    for (template, rendered) in [
        (r#""{{order.id}}""#, "7"),
        (r#""order {{order.id}}""#, r#""order 7""#),
        (r#""{{order.lines.0.sku}}""#, r#""A""#),
        (r#""{{order.lines.-1.sku}}""#, r#""B""#),
        (r#""ids={{ids}}""#, r#""ids=1,2""#),
        (r#""{{order.total}}""#, "1.10"),
        (r#""{{order.id:str}}""#, r#""7""#),
        (r#""{{page:int}}""#, "3"),
        (r#""{{order.note|order.id}}""#, "7"),
        (r#""{{since|order.id:ignore-empty-str}}""#, "7"),
        (r#""{{limit?:50:int}}""#, "50"),
        (r#"{"a": "{{limit:undefined}}", "b": 1}"#, r#"{"b":1}"#),
        (r#""{{limit:null}}""#, "null"),
        (
            r#"{"page": 1, "$truto_merge": "{{order}}"}"#,
            r#"{"page":1,"id":7,"total":1.10,"lines":[{"sku":"A"},{"sku":"B"}]}"#,
        ),
    ] {
        let value = render(&read(template), &roots).unwrap().unwrap();
        assert_eq!(value.to_string(), rendered, "{template}");
    }
    assert!(render(&json!("{{limit}}"), &roots).is_err());
}

fn any_value(text: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-c]|[$]truto_merge", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn without_merges(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(name, _)| name != MERGE_KEY)
            .map(|(name, value)| (name, without_merges(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(elements) => elements.into_iter().map(without_merges).collect(),
        other => other,
    }
}

proptest! {
    #[test]
    fn rendering_never_panics(
        template in any_value("([{]{0,3}[a-c.0-9:|?/ -]{0,6}(:(str|int|num|bool|json|any|null|undefined))?[}]{0,3}|\\PC{0,4}){0,3}"),
        roots in any_value("\\PC{0,8}|[0-9eE.+-]{1,8}|[\\[{\"0-9,}\\]]{0,6}"),
    ) {
        let mut faults = Faults::default();
        let template = Template::compile(&template, "", &mut faults);
        let scope = Scope { roots: vec![("a", &roots), ("b", &roots)], exact: None, omit: &["c"] };
        let _ = template.render(&scope);
        let _ = template.render_text(&scope, str::to_owned);
    }

    #[test]
    fn a_template_without_placeholders_renders_as_it_is(template in any_value("[^{]{0,8}|[{][^{]{0,5}")) {
        let template = without_merges(template);
        prop_assert_eq!(render(&template, &json!({})), Ok(Some(template)));
    }
}

//! Placeholders against the npm package `@truto/replace-placeholders` whose syntax they have: what it was recorded to
//! do, always, and what it does, where node is at hand.
//!
//! The package makes a string of every castless placeholder, Syncline keeps the value's type. So that the two can be
//! compared, Syncline gets the template with `:str` written where no cast is.

use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use shared::expr::template::{Scope, Template};
use shared::fault::Faults;

const PACKAGE: &str = "@truto/replace-placeholders@1.0.11";
const RECORDED: &str = include_str!("placeholder_cases/recorded.json");
const GENERATED_CASES: usize = 500;

#[test]
fn recorded_cases_render_as_the_package_renders_them() {
    let groups: Vec<Value> = serde_json::from_str(RECORDED).expect("the recorded cases are JSON");
    let mut compared = 0;
    for group in &groups {
        for case in cases(group) {
            if case.get("differs").is_none() {
                let ours = render(&with_str(&case["template"]), &group["scope"]);
                assert!(
                    agree(&ours, &case["library"]),
                    "{}: {ours}, the package {}",
                    case["template"],
                    case["library"]
                );
                compared += 1;
            }
        }
    }
    assert!(compared >= 120, "only {compared} cases");
}

#[test]
fn where_syncline_differs_from_the_package_it_differs_as_documented() {
    let groups: Vec<Value> = serde_json::from_str(RECORDED).expect("the recorded cases are JSON");
    for group in &groups {
        for case in cases(group) {
            if let Some(why) = case.get("differs") {
                let ours = render(&case["template"], &group["scope"]);
                assert!(
                    agree(&ours, &case["syncline"]),
                    "{}: {ours}, {why}",
                    case["template"]
                );
                assert!(
                    !agree(&ours, &case["library"]),
                    "{} doesn't differ: {ours}",
                    case["template"]
                );
            }
        }
    }
}

#[test]
fn generated_cases_render_as_the_installed_package_renders_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    if let Err(reason) = install(folder.path()) {
        println!("skipped: {reason}");
        return;
    }
    let scope = scope();
    let mut runner = TestRunner::deterministic();
    let strategy = template();
    let templates: Vec<Value> = (0..GENERATED_CASES)
        .map(|_| {
            strategy
                .new_tree(&mut runner)
                .expect("a template")
                .current()
        })
        .collect();
    let asked: Vec<Value> = templates
        .iter()
        .map(|template| json!({"template": template}))
        .collect();
    let answered = ask(folder.path(), &json!([{"scope": scope, "cases": asked}]));

    let mut compared = 0;
    for case in cases(&answered[0]) {
        // An object as text is JSON for Syncline.
        if case["library"].to_string().contains("[object Object]") {
            continue;
        }
        let ours = render(&with_str(&case["template"]), &scope);
        assert!(
            agree(&ours, &case["library"]),
            "{}: {ours}, the package {}",
            case["template"],
            case["library"]
        );
        compared += 1;
    }
    assert!(
        compared > GENERATED_CASES / 2,
        "only {compared} cases could be compared"
    );
}

fn cases(group: &Value) -> &Vec<Value> {
    group["cases"].as_array().expect("a list of cases")
}

/// What Syncline makes of a template, in the words of the recorded cases.
fn render(template: &Value, scope: &Value) -> Value {
    let mut faults = Faults::default();
    let template = Template::compile(template, "", &mut faults);
    if !faults.is_empty() {
        return json!({"invalid": true, "faults": faults.to_string()});
    }
    let roots = scope
        .as_object()
        .expect("a scope")
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    match template.render(&Scope {
        roots,
        ..Scope::default()
    }) {
        Ok(Some(value)) => json!({"value": value}),
        Ok(None) => json!({"absent": true}),
        Err(_) => json!({"unresolved": true}),
    }
}

/// Whether two answers mean the same.
fn agree(ours: &Value, expected: &Value) -> bool {
    let has =
        |answer: &Value, names: [&str; 2]| names.iter().any(|name| answer.get(name).is_some());
    match (ours.get("value"), expected.get("value")) {
        (Some(ours), Some(expected)) => same(ours, expected),
        (None, None) => [
            ["absent", "undefined"],
            ["unresolved", "unresolved"],
            ["invalid", "throws"],
        ]
        .into_iter()
        .any(|names| has(ours, names) && has(expected, names)),
        _ => false,
    }
}

/// Equal values; numbers by size, since JavaScript doesn't keep their spelling.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// The template with `:str` in every placeholder that is a whole string, where it has no cast.
fn with_str(template: &Value) -> Value {
    match template {
        Value::String(text) => Value::String(text_with_str(text).unwrap_or_else(|| text.clone())),
        Value::Array(elements) => elements.iter().map(with_str).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), with_str(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn text_with_str(text: &str) -> Option<String> {
    let inside = text.strip_prefix("{{")?.strip_suffix("}}")?;
    let held =
        |character: char| character.is_ascii_alphanumeric() || "_-./|:? \t\n".contains(character);
    if inside.trim().is_empty() || !inside.chars().all(held) {
        return None;
    }
    let cast = |part: &str| {
        if part.contains(':') {
            part.to_owned()
        } else {
            format!("{part}:str")
        }
    };
    let (paths, default) = inside
        .split_once("?:")
        .map_or((inside, None), |(paths, default)| (paths, Some(default)));
    // An empty path is a fault either way; with a cast it would be another one.
    let mut paths = paths.split('|').map(cast).collect::<Vec<_>>().join("|");
    if let Some(default) = default {
        paths.push_str("?:");
        paths.push_str(&if default.is_empty() {
            String::new()
        } else {
            cast(default)
        });
    }
    Some(format!("{{{{{paths}}}}}"))
}

fn scope() -> Value {
    json!({
        "text": "abc", "spaced": " 12.5px ", "empty": "", "null": null, "word": "null", "yes": "true", "no": false,
        "count": 42, "ratio": -2.25, "digits": "007", "hex": "0xff", "json": "{\"a\":[1,{\"b\":null}]}", "half": "[1,",
        "object": {"key": "v", "deep": {"n": 7}}, "list": [3, [1, 2], "x"], "objects": [{"id": 1}, {"id": 2}]
    })
}

/// Paths with a value and without; containers apart, since JavaScript reads them as numbers.
fn scalar_path() -> impl Strategy<Value = String> {
    select(vec![
        "text",
        "spaced",
        "empty",
        "null",
        "word",
        "yes",
        "no",
        "count",
        "ratio",
        "digits",
        "hex",
        "json",
        "half",
        "object.key",
        "object.deep.n",
        "list.0",
        "list.-1",
        "list.1.1",
        "objects.1.id",
        "objects.-2.id",
        "missing",
        "object.missing",
        "list.9",
        "null.x",
        "text.x",
    ])
    .prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![4 => scalar_path(), 1 => select(vec!["object", "list", "objects", "list.1", "object.deep"]).prop_map(str::to_owned)]
}

/// One alternative: a path with or without a cast.
fn alternative(whole: bool) -> BoxedStrategy<String> {
    let any = if whole {
        vec![
            "",
            ":str",
            ":any",
            ":json",
            ":bool",
            ":null",
            ":ignore-empty-str",
        ]
    } else {
        vec!["", ":str", ":any", ":bool", ":ignore-empty-str"]
    };
    prop_oneof![
        (path(), select(any)).prop_map(|(path, cast)| format!("{path}{cast}")),
        (scalar_path(), select(vec![":int", ":num", " : int "]))
            .prop_map(|(path, cast)| format!("{path}{cast}")),
    ]
    .boxed()
}

fn placeholder(whole: bool) -> impl Strategy<Value = String> {
    let default = select(vec![
        "",
        "",
        "",
        "?:d",
        "?:1.5:num",
        "?: two words",
        "?:false:bool",
        "?:x:int",
        "?:12:int",
        "?:",
    ]);
    (
        prop::collection::vec(alternative(whole), 1..4),
        select(vec!["|", " | "]),
        default,
        select(vec!["", " "]),
    )
        .prop_map(|(alternatives, bar, default, space)| {
            // Space after a default's cast is refused by the package.
            let end = if default.is_empty() { space } else { "" };
            format!("{{{{{space}{}{default}{end}}}}}", alternatives.join(bar))
        })
}

fn text() -> impl Strategy<Value = String> {
    let literal = select(vec!["", " ", "a", "{", "}", "{{#x}}", "é", "/orders/", "$"]);
    prop_oneof![
        3 => placeholder(true),
        2 => prop::collection::vec((literal, placeholder(false)), 1..4)
            .prop_map(|parts| {
                parts.into_iter().flat_map(|(literal, text)| [literal.to_owned(), text]).collect::<String>() + "."
            }),
        1 => select(vec!["constant", "", "{a}"]).prop_map(str::to_owned),
    ]
}

fn template() -> impl Strategy<Value = Value> {
    let tree = text()
        .prop_map(Value::String)
        .prop_recursive(3, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::btree_map(
                    select(vec!["a", "key", "deep", "$truto_merge"]),
                    inner,
                    1..4
                )
                .prop_map(|members| {
                    members
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), merged_once(name, value)))
                        .collect::<Map<_, _>>()
                        .into()
                }),
            ]
        });
    prop_oneof![2 => text().prop_map(Value::String), 1 => tree]
}

/// A merge inside what is merged is left half done by the package.
fn merged_once(name: &str, value: Value) -> Value {
    fn without_merges(value: Value) -> Value {
        match value {
            Value::Object(members) => {
                let members = members
                    .into_iter()
                    .filter(|(name, _)| name != "$truto_merge");
                members
                    .map(|(name, value)| (name, without_merges(value)))
                    .collect::<Map<_, _>>()
                    .into()
            }
            Value::Array(elements) => elements.into_iter().map(without_merges).collect(),
            other => other,
        }
    }
    if name == "$truto_merge" {
        without_merges(value)
    } else {
        value
    }
}

fn install(folder: &Path) -> Result<(), String> {
    for program in ["node", "npm"] {
        let found = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            return Err(format!(
                "{program} isn't installed, so {PACKAGE} can't be asked"
            ));
        }
    }
    let installed = Command::new("npm")
        .args([
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--fetch-retries=0",
            "--fetch-timeout=20000",
            PACKAGE,
        ])
        .current_dir(folder)
        .output()
        .map_err(|error| format!("npm can't be started: {error}"))?;
    if installed.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&installed.stderr);
    Err(format!(
        "npm couldn't install {PACKAGE}: {}",
        said.lines().next().unwrap_or_default()
    ))
}

/// What the installed package makes of the cases.
fn ask(folder: &Path, groups: &Value) -> Value {
    let questions = folder.join("questions.json");
    std::fs::write(&questions, groups.to_string()).expect("the questions can be written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/placeholder_cases/record.mjs");
    let answer = Command::new("node")
        .arg(script)
        .current_dir(folder)
        .stdin(std::fs::File::open(questions).expect("the questions can be read"))
        .output()
        .expect("node can be started");
    assert!(
        answer.status.success(),
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
    serde_json::from_slice(&answer.stdout).expect("the answers are JSON")
}

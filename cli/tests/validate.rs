//! `syncline validate` as its user runs it.

use std::{
    path::Path,
    process::{Command, Output},
};

const SYNC_JOB: &str = r#"{"integration_name": "sample", "resources": [
  {"resource": "wms/orders", "method": "list", "query": {"updated_at": {"gt": "{{previous_run_date}}"}}},
  {"resource": "wms/order-items", "method": "list", "depends_on": "wms/orders",
   "query": {"order_id": "{{resources.wms.orders.id}}"}}]}"#;

const INTEGRATION: &str = r"
name: acme
label: Acme
config:
  base_url: https://acme.example/api
  resources:
    orders:
      list: {path: /orders, response_path: data}
";

fn validate(directory: &Path, file: &str, text: &str, more: &[&str]) -> Output {
    std::fs::write(directory.join(file), text).expect("a file");
    run(directory, &[&["validate", file], more].concat())
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncline"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the program runs")
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn a_sync_job_is_checked_against_its_bundled_integration_and_its_plan_shown() {
    let directory = directory();
    let output = validate(directory.path(), "job.json", SYNC_JOB, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(
        out(&output),
        "ok: sync job for the integration `sample`\n\
         \x20 wms/orders         list, only what changed since the previous run\n\
         \x20   wms/order-items  list, once for each record of wms/orders\n"
    );
}

#[test]
fn what_a_resource_does_with_its_records_is_shown() {
    let directory = directory();
    let job = r#"{"integration_name": "acme", "resources": [
        {"resource": "orders", "loop_on": "shops", "filter": "total > 0", "map": "{'id': id}",
         "query": {"shop": "{{loop.item}}"}, "recurse": {"if": "more", "config": {"query": {"in": "{{record.id}}"}}}}]}"#;
    std::fs::write(directory.path().join("acme.yaml"), INTEGRATION).expect("a file");
    let with = ["--integration", "acme.yaml"];
    let output = validate(directory.path(), "job.json", job, &with);
    assert_eq!(
        out(&output),
        "ok: sync job for the integration `acme`\n  orders  list, once for each element of args.shops, \
         again for what its records have below them, filtered, mapped\n"
    );
    let output = validate(
        directory.path(),
        "job.json",
        &job.replace("total > 0", "total >"),
        &with,
    );
    assert!(
        err(&output)
            .starts_with("/resources/0/filter: is no JSONata: ends too early, at position 7"),
        "{}",
        err(&output)
    );
}

#[test]
fn every_fault_of_a_sync_job_is_named_with_its_pointer() {
    let directory = directory();
    let text = SYNC_JOB
        .replace(
            "\"depends_on\": \"wms/orders\"",
            "\"depends_on\": \"wms/products\"",
        )
        .replace(
            "\"integration_name\": \"sample\"",
            "\"integration_name\": \"sample\", \"lable\": \"x\"",
        );
    let output = validate(directory.path(), "job.json", &text, &[]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(1), ""));
    let faults = err(&output);
    assert!(
        faults.contains("/lable: is not a known field; did you mean `label`?"),
        "{faults}"
    );
    assert!(faults.contains("/resources/1/depends_on: "), "{faults}");
}

#[test]
fn an_integration_in_yaml_is_checked_and_its_capabilities_shown() {
    let directory = directory();
    let output = validate(directory.path(), "acme.yaml", INTEGRATION, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(
        out(&output),
        "ok: integration `acme` (Acme)\n  orders  list\n"
    );

    let output = validate(
        directory.path(),
        "bad.yaml",
        &INTEGRATION.replace("path: /orders", "pth: /orders"),
        &[],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("/config/resources/orders/list/pth: "),
        "{}",
        err(&output)
    );
}

#[test]
fn a_sync_job_for_an_own_integration_names_its_file() {
    let directory = directory();
    let job =
        r#"{"integration_name": "acme", "resources": [{"resource": "orders", "method": "list"}]}"#;
    let output = validate(directory.path(), "job.json", job, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("/integration_name: ") && err(&output).contains("--integration"),
        "{}",
        err(&output)
    );

    std::fs::write(directory.path().join("acme.yaml"), INTEGRATION).expect("a file");
    let output = validate(
        directory.path(),
        "job.json",
        job,
        &["--integration", "acme.yaml"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));

    let other = job.replace("acme", "other");
    let output = validate(
        directory.path(),
        "job.json",
        &other,
        &["--integration", "acme.yaml"],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).starts_with("/integration_name: is `other`"),
        "{}",
        err(&output)
    );
}

#[test]
fn text_that_is_no_document_has_a_fault() {
    let directory = directory();
    for (file, text, says) in [
        ("a.json", "{\"config\": ", "document: isn't JSON"),
        ("a.yaml", "config: [", "document: isn't YAML"),
        (
            "b.yaml",
            "just words",
            "document: is neither an integration",
        ),
        ("b.json", "[1]", "document: is neither an integration"),
    ] {
        let output = validate(directory.path(), file, text, &[]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(err(&output).starts_with(says), "{file}: {}", err(&output));
    }
}

#[test]
fn wrong_use_is_exit_code_2() {
    let directory = directory();
    for arguments in [
        &["validate", "missing.json"][..],
        &["validate"],
        &["validat"],
        &["validate", "."],
        &[],
    ] {
        assert_eq!(
            run(directory.path(), arguments).status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
    let output = validate(
        directory.path(),
        "acme.yaml",
        INTEGRATION,
        &["--integration", "acme.yaml"],
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn help_and_version_are_fine() {
    let directory = directory();
    let help = run(directory.path(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in ["demo", "dev", "validate"] {
        assert!(out(&help).contains(command));
    }
    assert_eq!(run(directory.path(), &["--version"]).status.code(), Some(0));
}

//! The OpenAPI 3.1 document, made from the handlers. What all operations have in
//! common (authentication, errors, idempotency) is added here by rule, so that no
//! handler can forget it.

use serde::Serialize;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, OpenApi as Document, PathItem, Ref, RefOr, Required, Response,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::{ObjectBuilder, Schema, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    error::{Detail, ErrorBody, ErrorContent},
    router::BASE_PATH,
    routes::{
        cron_triggers, integrated_accounts as accounts, integrations, service,
        sync_job_run_states as states, sync_job_runs as runs, sync_jobs as jobs, webhooks,
        workflow_runs, workflows,
    },
};

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct List<T> {
    pub result: Vec<T>,
    /// For the next page; `null` on the last one. A page of a filtered list may be
    /// shorter than its limit and still have a next one.
    pub next_cursor: Option<String>,
    pub limit: u32,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Syncline", description = "Pulls records out of third-party systems and pushes them, signed, complete and in order, to webhooks."),
    paths(
        webhooks::list::list, webhooks::create::create, webhooks::get::get, webhooks::update::update,
        webhooks::delete::delete, webhooks::rotate_secret::rotate_secret,
        webhooks::attempts::attempts, webhooks::test::test, webhooks::test::test_named,
        webhooks::dead_letters::list::list, webhooks::dead_letters::get::get, webhooks::dead_letters::delete::delete,
        webhooks::dead_letters::export::export, webhooks::redrives::list::list, webhooks::redrives::create::create,
        webhooks::redrives::get::get, webhooks::redrives::cancel::cancel,
        integrations::list::list, integrations::put::create, integrations::get::get, integrations::put::put,
        integrations::delete::delete, integrations::capabilities::capabilities,
        accounts::list::list, accounts::create::create, accounts::get::get, accounts::update::update,
        accounts::delete::delete, accounts::credentials::patch, accounts::credentials::put, accounts::validate::validate,
        jobs::list::list, jobs::create::create, jobs::get::get, jobs::update::update, jobs::delete::delete,
        jobs::plan::plan,
        runs::list::list, runs::create::create, runs::get::get, runs::stop::update, runs::stop::delete,
        runs::errors::errors, runs::events::events, runs::timeline::timeline, runs::stop::stop, runs::retry::retry,
        jobs::watermark::get, jobs::watermark::update,
        states::list::list, states::create::create, states::get::get, states::update::update, states::delete::delete,
        cron_triggers::list::list, cron_triggers::create::create, cron_triggers::get::get, cron_triggers::update::update,
        cron_triggers::delete::delete, cron_triggers::schedule::schedule,
        workflows::list::list, workflows::create::create, workflows::get::get, workflows::update::update,
        workflows::delete::delete, workflow_runs::list::list, workflow_runs::get::get,
        service::livez, service::readyz, service::metrics, service::openapi_document,
    ),
    components(schemas(ErrorBody, ErrorContent, Detail)),
    modifiers(&Conventions),
)]
struct Description;

/// The document.
pub fn document() -> Document {
    Description::openapi()
}

/// The name of the security scheme.
const BEARER: &str = "bearer";

struct Conventions;

impl Modify for Conventions {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Default::default);
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "An API token; it belongs to one environment and sees nothing of another one.",
            ))
            .build();
        components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
        for (path, item) in &mut document.paths.paths {
            for (verb, operation) in operations(item) {
                if path.starts_with(BASE_PATH) {
                    describe(path, verb, operation);
                }
            }
        }
    }
}

/// The operations of a path, with their verbs.
fn operations(item: &mut PathItem) -> Vec<(&'static str, &mut Operation)> {
    [
        ("get", &mut item.get),
        ("post", &mut item.post),
        ("put", &mut item.put),
        ("patch", &mut item.patch),
        ("delete", &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(verb, operation)| operation.as_mut().map(|operation| (verb, operation)))
    .collect()
}

fn describe(path: &str, verb: &str, operation: &mut Operation) {
    operation.security = Some(vec![utoipa::openapi::SecurityRequirement::new(
        BEARER,
        Vec::<String>::new(),
    )]);
    let is_list = verb == "get"
        && operation
            .operation_id
            .as_deref()
            .is_some_and(|id| id.starts_with("list_"));
    let parameters = operation.parameters.get_or_insert_with(Vec::new);
    for name in path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    {
        let meaning = if name == "name" { "Name or id" } else { "Id" };
        parameters.push(text_parameter(name, ParameterIn::Path, meaning));
    }
    if is_list {
        parameters.push(limit_parameter());
        parameters.push(text_parameter(
            "next_cursor",
            ParameterIn::Query,
            "From the answer before; empty: the first page",
        ));
    }
    if verb == "post" {
        let meaning = "1 to 255 characters; the same key and request within 24 hours replays the first answer";
        parameters.push(text_parameter(
            "Idempotency-Key",
            ParameterIn::Header,
            meaning,
        ));
    }
    let mut errors = vec![
        ("400", "`invalid_parameter`, `invalid_json`"),
        ("401", "`unauthorized`"),
        ("403", "`forbidden`: the token lacks the scope"),
        ("500", "`internal_error`"),
        (
            "503",
            "`store_unavailable`: it may have taken effect if only the store's answer was lost; send an `Idempotency-Key`",
        ),
    ];
    if path.contains('{') {
        errors.push(("404", "`not_found`"));
    }
    if matches!(verb, "post" | "put" | "patch") {
        errors.extend([
            ("408", "`request_timeout`"),
            ("413", "`payload_too_large`"),
            ("415", "`unsupported_media_type`"),
            (
                "422",
                "`validation_failed`: every fault with a JSON pointer",
            ),
        ]);
    }
    if verb != "get" {
        errors.push((
            "409",
            "`conflict`, `idempotency_key_reused`, `run_already_active`",
        ));
    }
    for (status, meaning) in errors {
        let content = RefOr::T(Content::new(Some(Ref::from_schema_name("ErrorBody"))));
        let mut response = Response::new(meaning);
        response
            .content
            .insert("application/json".to_owned(), content);
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert(RefOr::T(response));
    }
}

fn text_parameter(name: &str, place: ParameterIn, meaning: &str) -> RefOr<Parameter> {
    let required = if place == ParameterIn::Path {
        Required::True
    } else {
        Required::False
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(meaning))
        .schema(Some(Schema::Object(
            ObjectBuilder::new().schema_type(Type::String).build(),
        )))
        .build()
        .into()
}

fn limit_parameter() -> RefOr<Parameter> {
    let schema = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(200))
        .default(Some(serde_json::json!(50)))
        .build();
    ParameterBuilder::new()
        .name("limit")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some("Rows of the page at most"))
        .schema(Some(Schema::Object(schema)))
        .build()
        .into()
}

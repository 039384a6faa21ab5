//! `PUT /integration/{name}` and `POST /integration`

use actix_web::HttpResponse;
use serde_json::{Map, Value};
use shared::{
    catalog::Entry,
    clock::Timestamp,
    fault::Faults,
    ids::{EnvironmentId, IntegrationId},
    integration::Integration,
    model::{input::MAX_LABEL_CHARS, integration::IntegrationRow},
    store::objects::{Creation, UPDATE_ATTEMPTS},
};

use super::view::IntegrationView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Write},
    new_id::new_id,
    state::AppState,
};

/// A document as a client sends it.
#[derive(Debug, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body in the OpenAPI document; the integration reads it"
)]
pub struct IntegrationInput {
    /// Letters, digits, `-` and `_`; with PUT, the one of the path.
    name: Option<String>,
    label: Option<String>,
    description: Option<String>,
    /// See the guide to integrations.
    #[schema(value_type = Object)]
    config: Map<String, Value>,
}

/// Stores an integration, or a new version of it. Runs keep the version they
/// started with. A bundled one of the same name is shadowed by it.
#[utoipa::path(
    put, path = "/api/v1/ipaas/integration/{name}", tag = "integration", operation_id = "put_integration",
    request_body = IntegrationInput,
    responses(
        (status = 201, description = "Made", body = IntegrationView),
        (status = 200, description = "A new version, or the same document as before", body = IntegrationView),
    )
)]
pub async fn put(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    let name = caller.segment("name");
    caller.query(&[])?;
    let body = caller.json().await?;
    let document = document(&body.value, Some(&name), caller.environment)?;
    Ok(store(&caller.state, caller.environment, new_id(), document)
        .await?
        .into())
}

/// As PUT, with the name in the document.
#[utoipa::path(
    post, path = "/api/v1/ipaas/integration", tag = "integration", operation_id = "create_integration",
    request_body = IntegrationInput,
    responses(
        (status = 201, description = "Made", body = IntegrationView),
        (status = 200, description = "A new version, or the same document as before", body = IntegrationView),
    )
)]
pub async fn create(mut caller: Caller<Write>) -> Result<HttpResponse, ApiError> {
    caller.query(&[])?;
    let body = caller.json().await?;
    let make = async |id| {
        let document = document(&body.value, None, caller.environment)?;
        store(&caller.state, caller.environment, id, document).await
    };
    caller.once(&body, make).await
}

/// The document in a body: without what has no effect, with the name of the path.
fn document(
    body: &Value,
    name: Option<&str>,
    environment: EnvironmentId,
) -> Result<Value, ApiError> {
    let mut document = body.clone();
    let mut faults = Faults::default();
    if let Value::Object(fields) = &mut document {
        fields.shift_remove("meta");
        if let Some(given) = fields.shift_remove("environment_id")
            && given.as_str() != Some(&environment.to_string())
        {
            faults.push(
                "/environment_id",
                "must be the environment of the token; leave it out",
            );
        }
        if let Some(name) = name {
            match fields.get("name") {
                None => {
                    fields.shift_insert(0, "name".to_owned(), Value::from(name));
                }
                Some(given) if given.as_str() != Some(name) => {
                    faults.push("/name", "must be the name in the path; leave it out");
                }
                Some(_) => {}
            }
        }
        if fields
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(|name| name.chars().count() > MAX_LABEL_CHARS)
        {
            faults.push(
                "/name",
                format!("must have at most {MAX_LABEL_CHARS} characters"),
            );
        }
        if fields
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(|name| name.parse::<IntegrationId>().is_ok())
        {
            faults.push("/name", "must not look like an id");
        }
    }
    if let Err(found) = Integration::compile(&document) {
        for fault in found.as_slice() {
            faults.push(&fault.pointer, &fault.message);
        }
    }
    faults
        .into_result(document)
        .map_err(|faults| ApiError::validation(&faults))
}

async fn store(
    state: &AppState,
    environment: EnvironmentId,
    id: u128,
    document: Value,
) -> Result<Answer, ApiError> {
    let integration =
        Integration::compile(&document).map_err(|faults| ApiError::validation(&faults))?;
    // The document first: a row never points to one that isn't there.
    let hash = state
        .store
        .put_document(&document, Some(environment))
        .await?;
    let now = Timestamp::now();
    let new = IntegrationRow {
        id: IntegrationId::from_bits(id),
        environment_id: environment,
        name: integration.name,
        label: integration.label,
        version: 1,
        hash,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    let objects = state.store.objects();
    for _ in 0..UPDATE_ATTEMPTS {
        let holder = match objects.create(&new).await? {
            Creation::Created => return created(&new, &document),
            Creation::Existed(row) => return created(&row, &document),
            Creation::NameTaken(holder) => holder.parse().map_err(|_| ApiError::internal())?,
        };
        let change = |row: &mut IntegrationRow| {
            if row.hash != new.hash {
                row.version += 1;
                row.hash.clone_from(&new.hash);
                row.label.clone_from(&new.label);
                row.updated_at = now;
            }
            Ok::<(), ApiError>(())
        };
        let changed = objects
            .update(environment, holder, change)
            .await
            .map_err(ApiError::from)?;
        // `None`: it was deleted in between, and the name is free again.
        if let Some(row) = changed {
            return Answer::ok(&IntegrationView::with_document(
                &Entry::from(&row),
                &document,
            ));
        }
    }
    Err(ApiError::contended())
}

fn created(row: &IntegrationRow, document: &Value) -> Result<Answer, ApiError> {
    Answer::created(&IntegrationView::with_document(&Entry::from(row), document))
}

//! An entry as the API shows it, and what a request says about it.

use serde::Serialize;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    fault::{Faults, Fields},
    ids::RunId,
    model::input::MAX_FREE_FORM_BYTES,
    store::states::StateEntry,
};

use crate::{
    error::ApiError,
    extract::{Caller, Level},
};

/// The parameter every call needs.
pub const STATE_KEY: &str = "state_key";
/// Characters of a state key and of a key at most.
const MAX_KEY_CHARS: usize = 255;

/// A value that is kept between runs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SyncJobRunState)]
pub struct StateView {
    #[schema(example = "last_processed_id")]
    pub key: String,
    /// Any JSON value.
    pub value: Value,
    /// The run it came from, if one was named.
    #[schema(value_type = Option<String>)]
    pub sync_job_run_id: Option<RunId>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<StateEntry> for StateView {
    fn from(entry: StateEntry) -> Self {
        Self {
            key: entry.key,
            value: entry.value,
            sync_job_run_id: entry.sync_job_run_id,
            created_at: entry.created_at,
            updated_at: entry.updated_at,
        }
    }
}

/// The `state_key` of a request that has no other parameter.
pub fn state_key<L: Level>(caller: &Caller<L>) -> Result<String, ApiError> {
    checked(caller.query(&[STATE_KEY])?.text(STATE_KEY))
}

/// A `state_key` as it was given.
pub fn checked(given: Option<&str>) -> Result<String, ApiError> {
    match given {
        Some(key) if is_key(key) => Ok(key.to_owned()),
        Some(_) => Err(ApiError::invalid_parameter(STATE_KEY, key_rule())),
        None => Err(ApiError::invalid_parameter(STATE_KEY, "is required")),
    }
}

/// Reads `key` of a body.
pub fn read_key(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<String> {
    let key = fields.required_string("key", faults)?;
    if !is_key(key) {
        faults.push(fields.pointer("key"), key_rule());
        return None;
    }
    Some(key.to_owned())
}

/// Reads `value` of a body; `null` is a value.
pub fn read_value(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Value> {
    let Some(value) = fields.nullable("value") else {
        faults.push(fields.pointer("value"), "is required");
        return None;
    };
    if value.to_string().len() > MAX_FREE_FORM_BYTES {
        let message = format!("must have at most {MAX_FREE_FORM_BYTES} bytes of JSON");
        faults.push(fields.pointer("value"), message);
        return None;
    }
    Some(value.clone())
}

fn is_key(key: &str) -> bool {
    let chars = key.chars().count();
    (1..=MAX_KEY_CHARS).contains(&chars) && !key.chars().any(char::is_control)
}

fn key_rule() -> String {
    format!("must have 1 to {MAX_KEY_CHARS} characters, none of them a control character")
}

pub fn not_found() -> ApiError {
    ApiError::not_found("sync job run state")
}

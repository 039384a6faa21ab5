//! An integrated account: one customer's connection to one integration.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::input::{
    MAX_FREE_FORM_BYTES, accept_common, label, plain_values, refuse_read_only, required_label,
};
use crate::{
    clock::Timestamp,
    fault::{Faults, Fields},
    ids::{AccountId, EnvironmentId, IntegrationId},
};

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// Made, not checked yet.
    Connecting,
    /// Runs may use it.
    Active,
    /// The steps after the connection failed.
    PostInstallError,
    /// The integration's check of the credentials failed.
    ValidationError,
    /// The source refused the credentials during a run; new ones are needed.
    NeedsReauth,
    /// Switched off by request.
    Disabled,
}

impl AccountStatus {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Active => "active",
            Self::PostInstallError => "post_install_error",
            Self::ValidationError => "validation_error",
            Self::NeedsReauth => "needs_reauth",
            Self::Disabled => "disabled",
        }
    }

    /// Every status, for filters.
    pub const ALL: &'static [Self] = &[
        Self::Connecting,
        Self::Active,
        Self::PostInstallError,
        Self::ValidationError,
        Self::NeedsReauth,
        Self::Disabled,
    ];
}

/// Why an account isn't active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccountError {
    pub code: String,
    /// For a person; holds no secret.
    pub message: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// An account as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub environment_id: EnvironmentId,
    pub integration_id: IntegrationId,
    pub integration_name: String,
    pub integration_label: String,
    /// The customer, in the user's own terms.
    pub tenant_id: String,
    pub label: Option<String>,
    pub status: AccountStatus,
    #[serde(default)]
    pub last_error: Option<AccountError>,
    /// The integration's credentials format that was used: `api_key`.
    pub authentication_method: Option<String>,
    /// Plain values for `{{context.…}}`.
    pub context: Map<String, Value>,
    /// The credentials as a JSON object, sealed for the account's id; empty when deleted.
    pub sealed_credentials: String,
    /// Raised whenever the credentials change, so that a failure of older ones
    /// doesn't disable newer ones.
    #[serde(default)]
    pub credentials_version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default)]
    pub last_validated_at: Option<Timestamp>,
    /// When it was active for the first time.
    #[serde(default)]
    pub activated_at: Option<Timestamp>,
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
}

/// Fields of an account that only the server sets.
const READ_ONLY: &[&str] = &[
    "id",
    "integration",
    "last_error",
    "created_at",
    "updated_at",
    "last_validated_at",
];

/// What a client sends to connect a customer.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct AccountInput {
    /// Name of the integration.
    pub integration_name: String,
    /// The customer, in your own terms.
    pub tenant_id: String,
    pub label: Option<String>,
    /// Format of the credentials, when the integration offers several.
    pub authentication_method: Option<String>,
    /// What the integration asks for; never shown again.
    #[schema(required = false, value_type = Object, write_only)]
    pub credentials: Value,
    /// Plain values for `{{context.…}}`, such as a shop's name.
    #[schema(required = false, value_type = Object)]
    pub context: Map<String, Value>,
}

impl std::fmt::Debug for AccountInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountInput")
            .field("integration_name", &self.integration_name)
            .finish_non_exhaustive()
    }
}

impl AccountInput {
    /// Reads the body of a creation; the credentials' fields are the integration's to check,
    /// whose faults can be added to the ones that come back here.
    #[must_use]
    pub fn read(body: &Value, environment: EnvironmentId) -> (Option<Self>, Faults) {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::new(body, "", &mut faults) else {
            return (None, faults);
        };
        accept_common(&mut fields, environment, &mut faults);
        refuse_read_only(&mut fields, READ_ONLY, &mut faults);
        refuse_read_only(&mut fields, &["status"], &mut faults);
        let input = Self {
            integration_name: required_label(&mut fields, "integration_name", &mut faults)
                .unwrap_or_default(),
            tenant_id: required_label(&mut fields, "tenant_id", &mut faults).unwrap_or_default(),
            label: label(&mut fields, "label", &mut faults),
            authentication_method: read_method(&mut fields, &mut faults),
            credentials: read_credentials(&mut fields, &mut faults)
                .unwrap_or_else(|| Value::Object(Map::new())),
            context: plain_values(&mut fields, "context", &mut faults),
        };
        fields.finish(&mut faults);
        (Some(input), faults)
    }
}

/// `authentication_method`: the one format of credentials there is.
fn read_method(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<String> {
    let method = fields.string("authentication_method", faults)?;
    if method != "api_key" {
        faults.push(
            fields.pointer("authentication_method"),
            "must be `api_key`; others are not supported yet",
        );
    }
    Some(method.to_owned())
}

/// `credentials`, which must be an object of bounded size when given.
fn read_credentials(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Value> {
    let object = fields.object("credentials", faults)?;
    if serde_json::to_vec(object).map_or(usize::MAX, |bytes| bytes.len()) > MAX_FREE_FORM_BYTES {
        faults.push(
            fields.pointer("credentials"),
            format!("must have at most {MAX_FREE_FORM_BYTES} bytes of JSON"),
        );
    }
    Some(Value::Object(object.clone()))
}

/// What a client may change of an account.
#[derive(Clone, Default, Serialize, utoipa::ToSchema)]
pub struct AccountPatch {
    /// `null` removes it.
    #[schema(value_type = Option<String>)]
    pub label: Option<Option<String>>,
    /// Merged into the one there is; `null` removes a value, or all of them in its place.
    #[schema(value_type = Option<Object>)]
    pub context: Option<Value>,
    /// Replace the ones there are, and are checked at once.
    #[schema(value_type = Option<Object>, write_only)]
    pub credentials: Option<Value>,
    /// `disabled`, or `active` to check the credentials and use the account again.
    pub status: Option<AccountStatus>,
}

impl std::fmt::Debug for AccountPatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountPatch")
            .field("label", &self.label)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl AccountPatch {
    /// Reads the body of a change; the credentials' fields are the integration's to check,
    /// whose faults can be added to the ones that come back here.
    #[must_use]
    pub fn read(body: &Value, environment: EnvironmentId) -> (Self, Faults) {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::new(body, "", &mut faults) else {
            return (Self::default(), faults);
        };
        accept_common(&mut fields, environment, &mut faults);
        refuse_read_only(&mut fields, READ_ONLY, &mut faults);
        for name in ["integration_name", "tenant_id", "authentication_method"] {
            if fields.nullable(name).is_some() {
                faults.push(
                    fields.pointer(name),
                    "can't be changed; make another integrated account",
                );
            }
        }
        let patch = Self {
            label: match fields.nullable("label") {
                Some(Value::Null) => Some(None),
                Some(_) => label(&mut fields, "label", &mut faults).map(Some),
                None => None,
            },
            context: {
                plain_values(&mut fields, "context", &mut faults);
                fields.nullable("context").cloned()
            },
            credentials: {
                if fields.nullable("credentials").is_some_and(Value::is_null) {
                    faults.push(
                        fields.pointer("credentials"),
                        "must be an object; to wipe credentials delete the account",
                    );
                }
                read_credentials(&mut fields, &mut faults)
            },
            status: read_status(&mut fields, &mut faults),
        };
        fields.finish(&mut faults);
        (patch, faults)
    }
}

/// `status` of a change. An account has no default one to go back to.
fn read_status(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<AccountStatus> {
    if fields.nullable("status").is_some_and(Value::is_null) {
        faults.push(
            fields.pointer("status"),
            "must be `disabled` or `active`, is null; leave it out to change nothing",
        );
    }
    fields.choice(
        "status",
        &[
            ("disabled", AccountStatus::Disabled),
            ("active", AccountStatus::Active),
        ],
        faults,
    )
}

/// The body of `…/credentials`: `{"credentials": {…}}`.
///
/// # Errors
/// Every fault at once.
pub fn read_new_credentials(body: &Value) -> Result<Value, Faults> {
    let mut faults = Faults::default();
    let Some(mut fields) = Fields::new(body, "", &mut faults) else {
        return Err(faults);
    };
    fields.required("credentials", &mut faults);
    let credentials = read_credentials(&mut fields, &mut faults).unwrap_or_default();
    fields.finish(&mut faults);
    faults.into_result(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_account_is_tied_to_cannot_be_patched() {
        let (_, faults) = AccountPatch::read(
            &json!({"tenant_id": "other", "status": "connecting"}),
            EnvironmentId::from_bits(1),
        );
        let pointers: Vec<_> = faults
            .as_slice()
            .iter()
            .map(|fault| fault.pointer.as_str())
            .collect();
        assert_eq!(pointers, ["/tenant_id", "/status"]);
    }

    #[test]
    fn debug_output_holds_no_credentials() {
        let (input, _) = AccountInput::read(
            &json!({"integration_name": "a", "tenant_id": "t", "credentials": {"api_key": "hunter2"}}),
            EnvironmentId::from_bits(1),
        );
        assert!(!format!("{input:?}").contains("hunter2"));
    }
}

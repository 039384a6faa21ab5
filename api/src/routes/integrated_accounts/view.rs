//! An integrated account as the API shows it: without its credentials.

use serde::Serialize;
use serde_json::{Map, Value};
use shared::{
    clock::Timestamp,
    ids::{AccountId, EnvironmentId, IntegrationId},
    model::account::{Account, AccountError, AccountStatus},
};

/// One customer's connection to one integration.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = IntegratedAccount)]
pub struct AccountView {
    #[schema(value_type = String, example = "acc_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2")]
    pub id: AccountId,
    pub integration_name: String,
    pub integration: IntegrationRef,
    pub tenant_id: String,
    #[schema(value_type = String)]
    pub environment_id: EnvironmentId,
    pub label: Option<String>,
    pub status: AccountStatus,
    /// Why it isn't active.
    pub last_error: Option<AccountError>,
    pub authentication_method: Option<String>,
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When the credentials were last checked, or last refused.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_validated_at: Option<Timestamp>,
}

/// The integration of an account.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct IntegrationRef {
    #[schema(value_type = String)]
    pub id: IntegrationId,
    pub name: String,
    pub label: String,
}

impl From<&Account> for AccountView {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id,
            integration_name: account.integration_name.clone(),
            integration: IntegrationRef {
                id: account.integration_id,
                name: account.integration_name.clone(),
                label: account.integration_label.clone(),
            },
            tenant_id: account.tenant_id.clone(),
            environment_id: account.environment_id,
            label: account.label.clone(),
            status: account.status,
            last_error: account.last_error.clone(),
            authentication_method: account.authentication_method.clone(),
            context: account.context.clone(),
            created_at: account.created_at,
            updated_at: account.updated_at,
            last_validated_at: account.last_validated_at,
        }
    }
}

//! What follows from a change of an integrated account: its events, and what becomes
//! of its runs.
//!
//! | change | follows |
//! |---|---|
//! | made | `integrated_account:created` |
//! | active for the first time | `:active` |
//! | active again | `:reactivated`; fetches that waited go on |
//! | label, context, credentials changed, switched off | `:updated` |
//! | the check failed | `:validation_error` |
//! | refused by the source in a run | `:authentication_error`, once |
//! | switched off | its runs fail: `account_disabled` |
//! | deleted | `:deleted`; its runs fail: `account_deleted`; what it leaves behind is taken away by a task |

use serde_json::{Value, json};

use super::effects::Effect;
use crate::model::account::{Account, AccountStatus};

/// Code with which runs of a deleted account fail.
pub const ACCOUNT_DELETED: &str = "account_deleted";
/// Code with which runs of an account that is switched off fail.
pub const ACCOUNT_DISABLED: &str = "account_disabled";
/// Messages beside these codes.
pub const DELETED_MESSAGE: &str = "the integrated account was deleted during the run";
/// See [`DELETED_MESSAGE`].
pub const DISABLED_MESSAGE: &str = "the integrated account was switched off during the run";

/// The table above; `before` is `None` for a new account.
pub(super) fn effects(account: &Account, before: Option<&Account>) -> Vec<Effect> {
    let Some(before) = before else {
        return vec![event("integrated_account:created", account)];
    };
    if account.deleted_at.is_some() {
        let (code, message) = (ACCOUNT_DELETED, DELETED_MESSAGE);
        return vec![
            end_runs(account, code, message),
            event("integrated_account:deleted", account),
            Effect::PurgeAccount(account.id),
        ];
    }
    let mut effects = Vec::new();
    let becomes = |status| account.status == status && before.status != status;
    let is_checked = account.last_validated_at != before.last_validated_at;
    let is_edited = account.label != before.label
        || account.context != before.context
        || account.credentials_version != before.credentials_version;
    if is_edited || becomes(AccountStatus::Disabled) {
        effects.push(event("integrated_account:updated", account));
    }
    if becomes(AccountStatus::Disabled) {
        effects.push(end_runs(account, ACCOUNT_DISABLED, DISABLED_MESSAGE));
    }
    if becomes(AccountStatus::Active) {
        let event_type = if before.activated_at.is_none() {
            "integrated_account:active"
        } else {
            "integrated_account:reactivated"
        };
        effects.push(event(event_type, account));
        effects.push(Effect::ReleaseAccount(account.id));
    }
    if account.status == AccountStatus::ValidationError && is_checked {
        effects.push(event("integrated_account:validation_error", account));
    }
    if becomes(AccountStatus::NeedsReauth) {
        effects.push(event("integrated_account:authentication_error", account));
    }
    effects
}

fn end_runs(account: &Account, code: &'static str, message: &'static str) -> Effect {
    Effect::EndRuns {
        account: account.id,
        code,
        message,
    }
}

fn event(event_type: &'static str, account: &Account) -> Effect {
    Effect::event(event_type, payload(account))
}

/// Payload of an account's events; `reason` is why it isn't active.
fn payload(account: &Account) -> Value {
    json!({
        "integrated_account_id": account.id,
        "tenant_id": account.tenant_id,
        "integration_name": account.integration_name,
        "integrated_account": {
            "id": account.id,
            "tenant_id": account.tenant_id,
            "status": account.status,
            "label": account.label,
        },
        "integration": {"name": account.integration_name, "label": account.integration_label},
        "reason": account.last_error.as_ref().map(|error| &error.message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        ids::{AccountId, EnvironmentId, IntegrationId},
        model::account::AccountError,
    };

    fn account(status: AccountStatus) -> Account {
        Account {
            id: AccountId::from_bits(1),
            environment_id: EnvironmentId::from_bits(2),
            integration_id: IntegrationId::from_bits(3),
            integration_name: "sample".to_owned(),
            integration_label: "Sample".to_owned(),
            tenant_id: "tenant".to_owned(),
            label: None,
            status,
            last_error: None,
            authentication_method: None,
            context: serde_json::Map::new(),
            sealed_credentials: "sealed".to_owned(),
            credentials_version: 1,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            last_validated_at: None,
            activated_at: None,
            deleted_at: None,
        }
    }

    fn told(before: Option<&Account>, after: &Account) -> Vec<String> {
        let effects = effects(after, before);
        let word = |effect: &Effect| match effect {
            Effect::Event { event_type, .. } => (*event_type).to_owned(),
            Effect::ReleaseAccount(_) => "release".to_owned(),
            Effect::EndRuns { code, .. } => (*code).to_owned(),
            Effect::PurgeAccount(_) => "purge".to_owned(),
            other => panic!("{other:?} is none of an account"),
        };
        effects.iter().map(word).collect()
    }

    #[test]
    fn an_account_is_active_once_and_reactivated_ever_after() {
        let connecting = account(AccountStatus::Connecting);
        assert_eq!(told(None, &connecting), ["integrated_account:created"]);
        let mut active = account(AccountStatus::Active);
        active.activated_at = Some(Timestamp(1));
        assert_eq!(
            told(Some(&connecting), &active),
            ["integrated_account:active", "release"]
        );
        let refused = Account {
            status: AccountStatus::NeedsReauth,
            ..active.clone()
        };
        assert_eq!(
            told(Some(&active), &refused),
            ["integrated_account:authentication_error"]
        );
        assert_eq!(
            told(Some(&refused), &active),
            ["integrated_account:reactivated", "release"]
        );
    }

    #[test]
    fn a_check_that_fails_again_is_told_again_with_its_reason() {
        let mut failed = account(AccountStatus::ValidationError);
        failed.last_validated_at = Some(Timestamp(1));
        let again = Account {
            last_validated_at: Some(Timestamp(2)),
            last_error: Some(AccountError {
                code: "unauthorized".to_owned(),
                message: "the source refuses these credentials".to_owned(),
                at: Timestamp(2),
            }),
            ..failed.clone()
        };
        let effects = effects(&again, Some(&failed));
        let [Effect::Event { payload, .. }] = &effects[..] else {
            panic!("{effects:?}");
        };
        assert_eq!(payload["reason"], "the source refuses these credentials");
    }

    #[test]
    fn an_account_that_goes_takes_its_runs_along() {
        let active = account(AccountStatus::Active);
        let disabled = account(AccountStatus::Disabled);
        assert_eq!(
            told(Some(&active), &disabled),
            ["integrated_account:updated", "account_disabled"]
        );
        let deleted = Account {
            deleted_at: Some(Timestamp(1)),
            ..disabled.clone()
        };
        assert_eq!(
            told(Some(&active), &deleted),
            ["account_deleted", "integrated_account:deleted", "purge"]
        );
    }

    #[test]
    fn nothing_follows_from_a_change_that_nobody_sees() {
        let active = account(AccountStatus::Active);
        let touched = Account {
            updated_at: Timestamp(9),
            ..active.clone()
        };
        assert!(told(Some(&active), &touched).is_empty());
    }
}

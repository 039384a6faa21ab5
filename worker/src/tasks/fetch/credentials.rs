//! An account whose credentials the source refuses, and the runs that wait for new
//! ones.
//!
//! A 401 makes the account `needs_reauth`, once, with its event; an answer to older
//! credentials changes nothing. Under `fail_fast` the run fails; else its fetches go
//! back to their lane, which waits until the account is active again, [`LONGEST_WAIT`]
//! at most. A run that waited so long fails.

use std::time::Duration;

use shared::{
    clock::Timestamp,
    ids::{AccountId, EnvironmentId},
    model::account::{Account, AccountError, AccountStatus},
    store::{
        fetches::{AccountWait, FetchHandle},
        objects::ChangeError,
    },
};

use super::{outcome, until_available};
use crate::context::{Context, LoadError, LoadedAccount, OBJECT_TTL};

/// How long a run waits for new credentials.
pub const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// Marks the account, unless its credentials have changed since, or it isn't active any more.
pub(super) async fn refused(
    context: &Context,
    environment: EnvironmentId,
    account: AccountId,
    used: &LoadedAccount,
    message: &str,
) -> Result<(), LoadError> {
    let mut marked = false;
    let mark = |account: &mut Account| {
        marked = false;
        if account.status == AccountStatus::Active
            && account.credentials_version == used.credentials_version
        {
            marked = true;
            let now = Timestamp::now();
            account.status = AccountStatus::NeedsReauth;
            account.updated_at = now;
            account.last_error = Some(AccountError {
                code: "unauthorized".to_owned(),
                message: message.to_owned(),
                at: now,
            });
        }
        Ok::<(), std::convert::Infallible>(())
    };
    let objects = context.store.objects();
    match objects.update(environment, account, mark).await {
        Ok(_) => {}
        Err(ChangeError::Store(error)) => return Err(error.into()),
        // Others change the account at this moment; the next refusal marks it.
        Err(ChangeError::Contended) => return Ok(()),
        Err(ChangeError::Refused(never)) => match never {},
    }
    if marked {
        tracing::warn!(account.id = %account, "the source refuses the credentials of an account; its runs wait for new ones");
    }
    Ok(())
}

/// Lets a fetch wait for its account, or fails its run; what the account is now decides, not what it was a moment ago.
pub(super) async fn wait(
    context: &Context,
    handle: &FetchHandle,
    environment: EnvironmentId,
    requests: u32,
    fail_fast: bool,
    message: &str,
) -> Result<&'static str, LoadError> {
    let too_long = format!(
        "the source refuses the account's credentials, and no new ones came within {} hours",
        LONGEST_WAIT.as_secs() / 3600
    );
    let wait = AccountWait {
        environment,
        requests,
        longest: LONGEST_WAIT,
        // By then nobody works with what the account was before.
        if_active: OBJECT_TTL,
        fail_fast,
        message,
        too_long: &too_long,
    };
    let step = until_available(|| context.store.await_account(handle, &wait)).await?;
    Ok(outcome(step, "awaits_account"))
}

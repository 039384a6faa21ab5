//! One bounded step of a purge, which may be made again at any time.

use std::time::Duration;

use shared::{
    ids::{AccountId, EnvironmentId, WebhookId},
    model::{
        account::Account,
        attempt::AttemptOutcome,
        cron_trigger::CronTrigger,
        integration::IntegrationRow,
        purge::{Purge, PurgeStep},
        sync_job::SyncJob,
        webhook::Webhook,
        workflow::Workflow,
    },
    store::{
        Store, StoreResult,
        objects::{Found, Object},
        purge::{LettersOf, Place, TASK_SETS},
    },
};

/// Before the second round, and between looks at an account's runs that are under way: longer than a request takes that
/// was let in before the deletion (15 s for its body, some 7 s for a call to Redis; test events aside, which log their
/// attempt in the end), and than a worker takes to see that a task is gone.
const PAUSE: Duration = Duration::from_secs(30);
/// Objects of a step.
const OBJECTS_AT_ONCE: usize = 100;
/// Separates the outcome of attempts from the last entry that was looked at.
const FAILED: &str = "failed ";

/// How it goes on after a step.
pub(super) enum Next {
    Further(Purge),
    Wait(Purge, Duration),
    Done,
}

/// The step that `purge` is at; `own`: the task of the purge.
pub(super) async fn make(
    store: &Store,
    environment: EnvironmentId,
    own: &str,
    purge: &Purge,
) -> StoreResult<Next> {
    let after = purge.after.as_deref();
    let account = purge.account();
    Ok(match purge.step {
        PurgeStep::Tokens => {
            store.tokens().purge(environment).await?;
            following(purge)
        }
        PurgeStep::Triggers => {
            let found = walk::<CronTrigger>(store, environment, purge).await?;
            let is_its = |trigger: &CronTrigger| {
                account.is_none_or(|account| trigger.input.integrated_account_id == account)
            };
            let ids: Vec<_> = found
                .iter()
                .filter_map(|(_, trigger)| trigger.as_ref().filter(|trigger| is_its(trigger)))
                .map(|trigger| trigger.id)
                .collect();
            store.purge_schedule(&ids).await?;
            let (last, full) = end_of(&found);
            let keeps = |trigger: &Option<CronTrigger>| match trigger {
                Some(trigger) => is_its(trigger),
                None => account.is_none(),
            };
            let goes: Vec<_> = found
                .into_iter()
                .filter(|(_, trigger)| keeps(trigger))
                .collect();
            store.objects().purge(environment, &goes).await?;
            further(purge, last.filter(|_| full))
        }
        PurgeStep::Workflows => {
            let found = walk::<Workflow>(store, environment, purge).await?;
            let ids: Vec<_> = found.iter().filter_map(|(id, _)| id.parse().ok()).collect();
            store.purge_workflows(&ids).await?;
            take_all(store, environment, purge, &found).await?
        }
        PurgeStep::Jobs => {
            let found = walk::<SyncJob>(store, environment, purge).await?;
            take_all(store, environment, purge, &found).await?
        }
        PurgeStep::Integrations => {
            let found = walk::<IntegrationRow>(store, environment, purge).await?;
            if found.is_empty() {
                all(purge, store.release_documents(environment).await?)
            } else {
                store.objects().purge(environment, &found).await?;
                Next::Further(purge.clone())
            }
        }
        PurgeStep::Runs => all(purge, store.purge_runs(environment, account).await?),
        PurgeStep::Letters => match account {
            Some(account) => {
                let of = LettersOf::Account(account);
                all(purge, store.purge_letters(of).await?)
            }
            None => following(purge),
        },
        PurgeStep::Attempts => match account {
            Some(account) => attempts(store, purge, account).await?,
            None => following(purge),
        },
        PurgeStep::Webhooks => of_a_webhook(store, environment, purge).await?,
        PurgeStep::Accounts => match account {
            Some(account) => all(purge, store.purge_account(environment, account).await?),
            None => of_an_account(store, environment, purge).await?,
        },
        PurgeStep::WorkflowRuns => {
            let place = store.purge_workflow_runs(environment, account, after);
            further(purge, place.await?)
        }
        PurgeStep::States => all(purge, store.purge_states(environment).await?),
        PurgeStep::IdempotencyKeys => all(purge, store.purge_idempotency_keys(environment).await?),
        PurgeStep::Tasks => {
            let at = after.and_then(|at| at.parse().ok()).unwrap_or(0);
            let Some(set) = TASK_SETS.get(at) else {
                return Ok(following(purge));
            };
            let within = purge.within.as_deref();
            // Other runs of an account's environment go on.
            let lane = account.is_none().then_some(environment);
            let place = store.purge_tasks(*set, lane, own, within).await?;
            let at = if place.is_some() { at } else { at + 1 };
            Next::Further(purge.further(Some(at.to_string()), place))
        }
        PurgeStep::Pause => {
            let waited = purge.within.is_some();
            let is_told = match account {
                Some(account) => store.untold_runs(account).await? == 0,
                None => true,
            };
            if waited && is_told {
                following(purge)
            } else {
                Next::Wait(purge.further(None, Some("waited".to_owned())), PAUSE)
            }
        }
        PurgeStep::Objects => match account {
            Some(account) => {
                let objects = store.objects();
                let found = objects.get_with_deleted::<Account>(environment, account);
                let found = (account.to_string(), found.await?);
                objects.purge(environment, &[found]).await?;
                following(purge)
            }
            None => the_last_objects(store, environment, purge).await?,
        },
    })
}

/// On to the next step.
fn following(purge: &Purge) -> Next {
    purge.following().map_or(Next::Done, Next::Further)
}

/// Further in this step, or on to the next one at the end of it.
fn further(purge: &Purge, place: Place) -> Next {
    match place {
        Some(after) => Next::Further(purge.further(Some(after), None)),
        None => following(purge),
    }
}

/// A step that is made until it is `done`.
fn all(purge: &Purge, done: bool) -> Next {
    if done {
        following(purge)
    } else {
        Next::Further(purge.clone())
    }
}

async fn walk<O: Object>(
    store: &Store,
    environment: EnvironmentId,
    purge: &Purge,
) -> StoreResult<Vec<Found<O>>> {
    let after = purge.after.as_deref();
    let objects = store.objects();
    objects.walk(environment, after, OBJECTS_AT_ONCE).await
}

/// The last one found, and whether there may be more.
fn end_of<O>(found: &[Found<O>]) -> (Place, bool) {
    let last = found.last().map(|(id, _)| id.clone());
    (last, found.len() == OBJECTS_AT_ONCE)
}

async fn take_all<O: Object>(
    store: &Store,
    environment: EnvironmentId,
    purge: &Purge,
    found: &[Found<O>],
) -> StoreResult<Next> {
    store.objects().purge(environment, found).await?;
    let (last, full) = end_of(found);
    Ok(further(purge, last.filter(|_| full)))
}

/// A step at the next webhook after the last one that is dealt with: its dead letters, then all else.
async fn of_a_webhook(
    store: &Store,
    environment: EnvironmentId,
    purge: &Purge,
) -> StoreResult<Next> {
    let objects = store.objects();
    let after = purge.after.as_deref();
    let mut found = objects.walk::<Webhook>(environment, after, 1).await?;
    let Some((id, _)) = found.pop() else {
        return Ok(following(purge));
    };
    let done = match id.parse::<WebhookId>() {
        Ok(webhook) => {
            store.purge_letters(LettersOf::Webhook(webhook)).await?
                && store.purge_webhook(webhook).await?
        }
        Err(_) => true,
    };
    let after = if done { Some(id) } else { purge.after.clone() };
    Ok(Next::Further(purge.further(after, None)))
}

/// A step through the attempts for an account at the next one of its webhooks: those that were delivered, then those that
/// failed.
async fn attempts(store: &Store, purge: &Purge, account: AccountId) -> StoreResult<Next> {
    let (after, within) = (purge.after.as_deref(), purge.within.as_deref());
    let webhooks = store.webhooks_of(account).await?;
    let Some(id) = webhooks
        .into_iter()
        .find(|id| after.is_none_or(|after| id.as_str() > after))
    else {
        return Ok(following(purge));
    };
    let Ok(webhook) = id.parse::<WebhookId>() else {
        return Ok(Next::Further(purge.further(Some(id), None)));
    };
    let (outcome, last) = match within.and_then(|within| within.strip_prefix(FAILED)) {
        Some(last) => (AttemptOutcome::Failed, Some(last)),
        None => (AttemptOutcome::Delivered, within),
    };
    let last = last.filter(|last| !last.is_empty());
    let place = store
        .purge_attempts(webhook, outcome, account, last)
        .await?;
    Ok(Next::Further(match (outcome, place) {
        (AttemptOutcome::Delivered, place) => {
            let place = place.unwrap_or_else(|| FAILED.to_owned());
            purge.further(purge.after.clone(), Some(place))
        }
        (AttemptOutcome::Failed, Some(place)) => {
            purge.further(purge.after.clone(), Some(format!("{FAILED}{place}")))
        }
        (AttemptOutcome::Failed, None) => purge.further(Some(id), None),
    }))
}

/// A step at the next account after the last one that is dealt with.
async fn of_an_account(
    store: &Store,
    environment: EnvironmentId,
    purge: &Purge,
) -> StoreResult<Next> {
    let objects = store.objects();
    let after = purge.after.as_deref();
    let mut found = objects.walk::<Account>(environment, after, 1).await?;
    let Some((id, _)) = found.pop() else {
        return Ok(following(purge));
    };
    let done = match id.parse::<AccountId>() {
        Ok(account) => store.purge_account(environment, account).await?,
        Err(_) => true,
    };
    let after = if done { Some(id) } else { purge.after.clone() };
    Ok(Next::Further(purge.further(after, None)))
}

/// Webhooks and accounts, by which the rest was found; then the environment's own keys.
async fn the_last_objects(
    store: &Store,
    environment: EnvironmentId,
    purge: &Purge,
) -> StoreResult<Next> {
    let objects = store.objects();
    let webhooks = objects
        .walk::<Webhook>(environment, None, OBJECTS_AT_ONCE)
        .await?;
    objects.purge(environment, &webhooks).await?;
    let accounts = objects
        .walk::<Account>(environment, None, OBJECTS_AT_ONCE)
        .await?;
    objects.purge(environment, &accounts).await?;
    if !webhooks.is_empty() || !accounts.is_empty() {
        return Ok(Next::Further(purge.clone()));
    }
    store.purge_environment(environment).await?;
    Ok(following(purge))
}

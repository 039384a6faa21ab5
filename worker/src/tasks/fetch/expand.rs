//! The task of a looping node that has no element yet: it makes a task for each
//! element of the array, and no request.
//!
//! Elements become tasks of the same node, a bounded number in each commit; the
//! checkpoint counts those made. Running it twice is harmless as it is for a page:
//! each commit checks the lease and its own number. It ends with the last element,
//! at once when there is none, or with an error when there is nothing to loop over.

use serde_json::Value;
use shared::{
    failure::FailurePoint,
    plan::{LOOP_ITEM, Loop, LoopError},
    queue::task::{FetchBody, TaskFault},
    store::{
        fetches::{After, Child, Committed, FetchHandle, PageCommit},
        queue::LEASE,
    },
};

use super::{
    Fetch,
    builder::{MAX_CARRIED_BYTES, is_usable},
    reader::PART_BYTES,
    report::Failing,
    task_body, until_available,
};
use crate::context::{Context, LoadError};

/// Elements that become tasks in one commit, at most; fewer where their tasks have [`PART_BYTES`].
const ITEMS_AT_ONCE: usize = 1_000;

/// Makes the tasks; the word is the outcome in metrics and logs.
pub(super) async fn execute(
    context: &Context,
    fetch: &Fetch,
    over: &Loop,
    handle: &FetchHandle,
    failing: &Failing<'_>,
    attempt: u32,
) -> Result<&'static str, LoadError> {
    let items = match elements(fetch, over) {
        Ok(items) => items,
        Err(error) => {
            let (code, message) = (error.code(), error.to_string());
            return failing.give_up_because(code, &message, attempt, 0).await;
        }
    };
    let mut made = usize::try_from(fetch.body.skip).unwrap_or(usize::MAX);
    let mut step = 0;
    loop {
        let rest = items.get(made..).unwrap_or_default();
        let bodies = rest
            .iter()
            .map(|item| element_body(fetch, over, item).to_json());
        let children: Vec<_> = of_one_commit(bodies)
            .map(|body| Child {
                node: fetch.node,
                position: 0,
                body,
            })
            .collect();
        made += children.len();
        let (after, body) = if children.len() == rest.len() {
            (After::Done, String::new())
        } else {
            let body = FetchBody {
                skip: made as u64,
                ..fetch.body.clone()
            };
            (After::NextPage, task_body(fetch, body))
        };
        let commit = PageCommit {
            handle,
            step,
            after,
            body,
            requests: 0,
            pages: 0,
            records: 0,
            chunks: Vec::new(),
            children,
            lease: LEASE,
        };
        FailurePoint::ElementsRead.reach()?;
        match until_available(|| context.store.commit_page(&commit)).await? {
            Committed::Done { .. } if after == After::Done => return Ok("looped"),
            Committed::Done { .. } => step += 1,
            Committed::Parked => return Ok("parked"),
            Committed::Stale => return Ok("stale"),
            Committed::RunEnded => return Ok("run_ended"),
        }
    }
}

/// As many tasks as one commit takes, at least one: each carries all that its ancestors' records give.
fn of_one_commit(bodies: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut bytes = 0;
    bodies.take(ITEMS_AT_ONCE).take_while(move |body| {
        let has_room = bytes < PART_BYTES;
        bytes += body.len();
        has_room
    })
}

fn elements(fetch: &Fetch, over: &Loop) -> Result<Vec<Value>, LoopError> {
    let (args, exact) = (fetch.run.args(), fetch.exact());
    over.elements(&fetch.scope(&args, &exact))
}

/// The task of one element. One that can't be asked with becomes an error of its own.
fn element_body(fetch: &Fetch, over: &Loop, item: &Value) -> FetchBody {
    let mut parents = fetch.body.parents.clone();
    for placeholder in &over.spent {
        parents.remove(placeholder);
    }
    parents.remove(LOOP_ITEM);
    let fault = if is_usable(item) {
        parents.insert(LOOP_ITEM.to_owned(), item.clone());
        None
    } else if item.is_null() || item == "" {
        Some(TaskFault {
            code: "placeholder_missing".to_owned(),
            message: "an element of `loop_on` is null or empty".to_owned(),
        })
    } else {
        Some(TaskFault {
            code: "loop_item_too_large".to_owned(),
            message: format!(
                "an element of `loop_on` has more than {MAX_CARRIED_BYTES} bytes of JSON; loop over ids instead"
            ),
        })
    };
    FetchBody {
        parents,
        looped: true,
        fault,
        ..FetchBody::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(count: usize, bytes: usize) -> usize {
        of_one_commit(std::iter::repeat_n("x".repeat(bytes), count)).count()
    }

    #[test]
    fn tasks_of_elements_are_committed_by_number_and_by_bytes() {
        assert_eq!(taken(0, 1), 0);
        assert_eq!(taken(999, 10), 999);
        assert_eq!(taken(5_000, 10), ITEMS_AT_ONCE);
        assert_eq!(taken(5_000, MAX_CARRIED_BYTES), 64);
        assert_eq!(taken(3, 2 * PART_BYTES), 1, "or it would not go on");
    }
}

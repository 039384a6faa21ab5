//! Looks names up and lets only admitted addresses through.
//!
//! The connector dials exactly what this returns, so a name that resolves to
//! something else a moment later (rebinding) gains nothing.

use std::{
    collections::HashMap,
    error::Error,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::{
    guard::{Admission, TargetPolicy},
    trace,
};

/// Look-ups at once of sources' names, and as many of receivers'. Each holds a thread until the system's resolver answers, and
/// tokio's blocking pool (512 threads) has other users.
const MAX_LOOKUPS: usize = 192;
/// Look-ups of one name at once: a name whose servers don't answer leaves room for others.
const MAX_OF_ONE_NAME: usize = 4;
/// Names that are remembered before those that nobody looks up any more are forgotten.
const MAX_NAMES: usize = 256;
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// No address of the name may be dialled.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Blocked(pub(super) String);

/// The name could not be looked up.
#[derive(Debug, thiserror::Error)]
#[error("the host name could not be resolved: {0}")]
pub(super) struct LookupFailed(String);

/// The resolver of one port and scheme.
pub(super) struct GuardedResolver {
    pub(super) policy: TargetPolicy,
    pub(super) port: u16,
    pub(super) plain: bool,
    pub(super) lookups: Arc<Lookups>,
}

/// The look-ups that are under way.
#[derive(Debug)]
pub(super) struct Lookups {
    all: Arc<Semaphore>,
    of_names: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            of_names: Mutex::default(),
        }
    }
}

impl Lookups {
    /// Waits for a place; it is free again when both permits are dropped.
    async fn place(&self, name: &str) -> Result<[OwnedSemaphorePermit; 2], AcquireError> {
        let of_name = self.of_name(name).acquire_owned().await?;
        Ok([of_name, self.all.clone().acquire_owned().await?])
    }

    fn of_name(&self, name: &str) -> Arc<Semaphore> {
        let mut names = self.of_names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = names.get(name).and_then(Weak::upgrade) {
            return places;
        }
        if names.len() >= MAX_NAMES {
            names.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(MAX_OF_ONE_NAME));
        names.insert(name.to_owned(), Arc::downgrade(&places));
        places
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, port, plain) = (self.policy.clone(), self.port, self.plain);
        let lookups = self.lookups.clone();
        Box::pin(async move {
            trace::lookup_began();
            let found = look_up(name, lookups).await;
            let admitted = found.and_then(|found| Ok(admit(policy.admission(port, plain), found)?));
            trace::lookup_ended(admitted.is_ok());
            Ok(Box::new(admitted?.into_iter()) as Addrs)
        })
    }
}

async fn look_up(
    name: Name,
    lookups: Arc<Lookups>,
) -> Result<std::vec::IntoIter<SocketAddr>, Box<dyn Error + Send + Sync>> {
    let place = lookups.place(name.as_str()).await?;
    let found = tokio::task::spawn_blocking(move || {
        // Held until the system answers, also when the caller has given up.
        let _place = place;
        (name.as_str(), 0).to_socket_addrs()
    })
    .await?
    .map_err(|error| LookupFailed(error.to_string()))?;
    Ok(found)
}

/// What of `found` may be dialled.
fn admit(
    admission: Admission<'_>,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, Blocked> {
    let admitted: Vec<_> = found
        .filter(|address| admission.admits(address.ip()))
        .take(MAX_ADDRESSES)
        .collect();
    if admitted.is_empty() {
        Err(Blocked(admission.refusal()))
    } else {
        Ok(admitted)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn admitted(allow: &[&str], plain: bool, found: &[&str]) -> Option<Vec<String>> {
        let allow: Vec<_> = allow.iter().map(|rule| (*rule).to_owned()).collect();
        let policy = TargetPolicy::new(&allow, true).expect("rules");
        let found = found
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().expect("an address"), 0));
        let admitted = admit(policy.admission(443, plain), found).ok()?;
        Some(
            admitted
                .iter()
                .map(|address| address.ip().to_string())
                .collect(),
        )
    }

    #[test]
    fn of_a_mix_only_the_public_addresses_are_dialled() {
        let found = [
            "10.0.0.1",
            "93.184.215.14",
            "::1",
            "::ffff:127.0.0.1",
            "2606:4700::1111",
        ];
        assert_eq!(
            admitted(&[], false, &found),
            Some(vec![
                "93.184.215.14".to_owned(),
                "2606:4700::1111".to_owned()
            ])
        );
        assert_eq!(admitted(&[], false, &["10.0.0.1", "::1"]), None);
        assert_eq!(admitted(&[], false, &[]), None);
    }

    #[test]
    fn plain_http_dials_allowed_addresses_only() {
        let found = ["10.0.0.1", "93.184.215.14"];
        assert_eq!(
            admitted(&["10.0.0.0/8"], true, &found),
            Some(vec!["10.0.0.1".to_owned()])
        );
        assert_eq!(admitted(&["10.0.0.0/8:80"], true, &found), None);
    }

    #[tokio::test]
    async fn a_name_that_is_looked_up_without_an_answer_leaves_room_for_others() {
        let lookups = Lookups::default();
        let mut hanging = Vec::new();
        for _ in 0..MAX_OF_ONE_NAME {
            hanging.push(lookups.place("dead.example").await.expect("a place"));
        }
        let (dead, alive) = (lookups.place("dead.example"), lookups.place("live.example"));
        assert!(dead.now_or_never().is_none(), "all of its places are taken");
        assert!(alive.now_or_never().is_some());
        drop(hanging);
        let again = lookups.place("dead.example").now_or_never();
        assert!(again.is_some(), "they are free again");
        for i in 0..2 * MAX_NAMES {
            drop(
                lookups
                    .place(&format!("{i}.example"))
                    .await
                    .expect("a place"),
            );
        }
        assert!(lookups.of_names.lock().expect("names").len() <= MAX_NAMES);
    }

    #[test]
    fn a_name_with_many_addresses_costs_a_bounded_number_of_tries() {
        let found: Vec<_> = (0..100).map(|i| format!("8.8.8.{i}")).collect();
        let found: Vec<_> = found.iter().map(String::as_str).collect();
        assert_eq!(
            admitted(&[], false, &found).map(|a| a.len()),
            Some(MAX_ADDRESSES)
        );
    }
}

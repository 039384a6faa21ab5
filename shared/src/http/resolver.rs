//! Looks names up and lets only admitted addresses through.
//!
//! The connector dials exactly what this returns, so a name that resolves to
//! something else a moment later (rebinding) gains nothing.

use std::{
    collections::HashMap,
    error::Error,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::{
    guard::{Admission, TargetPolicy},
    trace,
};

/// Look-ups at once of sources' names, and as many of receivers'. Each holds a thread until the system's resolver answers, and
/// tokio's blocking pool (512 threads) has other users.
const MAX_LOOKUPS: usize = 192;
/// Names that are remembered before those that nobody waits for any more are forgotten.
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

/// Addresses of a name, or why there are none.
type Found = Result<Arc<[SocketAddr]>, String>;
type LookUp = Shared<BoxFuture<'static, Found>>;
type WeakLookUp = WeakShared<BoxFuture<'static, Found>>;

/// The look-ups that are under way. Whoever asks for a name that is being looked up waits for the same answer, so that a name
/// whose servers don't answer takes one place, however many wait for it.
#[derive(Debug)]
pub(super) struct Lookups {
    places: Arc<Semaphore>,
    of_names: Mutex<HashMap<String, WeakLookUp>>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            of_names: Mutex::default(),
        }
    }
}

impl Lookups {
    /// The look-up of a name: the one under way, or a new one by `system`, which blocks its thread.
    fn of(
        &self,
        name: &str,
        system: impl FnOnce() -> std::io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> LookUp {
        let mut names = self.of_names.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = names.get(name).and_then(WeakShared::upgrade);
        if let Some(under_way) = under_way.filter(|look_up| look_up.peek().is_none()) {
            return under_way;
        }
        if names.len() >= MAX_NAMES {
            names.retain(|_, look_up| look_up.upgrade().is_some());
        }
        let itself = Arc::new(OnceLock::new());
        let look_up = look_up(self.places.clone(), itself.clone(), system);
        let look_up = look_up.boxed().shared();
        if let Some(weak) = look_up.downgrade() {
            names.insert(name.to_owned(), weak.clone());
            itself.get_or_init(|| weak);
        }
        look_up
    }
}

/// `itself`: kept while the system works on it, so that whoever asks next waits for the same answer although all have given up
/// who asked before.
async fn look_up(
    places: Arc<Semaphore>,
    itself: Arc<OnceLock<WeakLookUp>>,
    system: impl FnOnce() -> std::io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Found {
    let place = places.acquire_owned().await;
    let place = place.map_err(|error| error.to_string())?;
    let kept = itself.get().and_then(WeakShared::upgrade);
    let found = tokio::task::spawn_blocking(move || {
        let found = system();
        drop((place, kept));
        found
    });
    let found = found.await.map_err(|error| error.to_string())?;
    found.map(Arc::from).map_err(|error| error.to_string())
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, port, plain) = (self.policy.clone(), self.port, self.plain);
        let lookups = self.lookups.clone();
        Box::pin(async move {
            trace::lookup_began();
            let system = {
                let name = name.as_str().to_owned();
                move || Ok((name, 0).to_socket_addrs()?.collect())
            };
            let found = lookups.of(name.as_str(), system).await;
            let found = found.map_err(|error| Box::new(LookupFailed(error)).into());
            let admitted: Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> = found
                .and_then(|found| Ok(admit(policy.admission(port, plain), found.iter().copied())?));
            trace::lookup_ended(admitted.is_ok());
            Ok(Box::new(admitted?.into_iter()) as Addrs)
        })
    }
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
    async fn whoever_asks_for_a_name_that_is_being_looked_up_waits_for_the_same_answer() {
        let (lookups, address) = (Lookups::default(), SocketAddr::from(([8, 8, 8, 8], 0)));
        let (answer, wait) = std::sync::mpsc::channel::<()>();
        let slow = move || {
            wait.recv().map_err(std::io::Error::other)?;
            Ok(vec![address])
        };
        let first = lookups.of("slow.example", slow);
        assert_eq!(first.now_or_never(), None, "it is being looked up");
        // The one who asked has given up.
        let others = (0..2 * MAX_LOOKUPS)
            .map(|_| lookups.of("slow.example", || panic!("it is being looked up")));
        let others = futures::future::join_all(others);
        let alive = lookups.of("live.example", move || Ok(vec![address]));
        assert_eq!(alive.await.expect("an address")[..], [address]);
        answer.send(()).expect("it waits");
        for found in others.await {
            assert_eq!(found.expect("an address")[..], [address]);
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_again_once_it_was_answered_and_forgotten_when_nobody_waits() {
        let lookups = Lookups::default();
        let failed = lookups.of("a.example", || Err(std::io::Error::other("no such name")));
        assert_eq!(failed.clone().await, Err("no such name".to_owned()));
        let again = lookups.of("a.example", || Ok(Vec::new()));
        assert!(
            again.await.is_ok(),
            "also while somebody holds the first answer"
        );
        for i in 0..2 * MAX_NAMES {
            drop(lookups.of(&format!("{i}.example"), || Ok(Vec::new())));
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

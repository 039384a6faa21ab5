//! Idempotency keys: a POST that is sent again has no second effect.
//!
//! State: one reservation a key and environment, kept for [`KEPT`]: the fingerprint
//! of the request, the id that the object made by it gets, its owner while it is
//! being worked on, and in the end the answer. Failures: an owner that died is
//! replaced after [`WORK_TIME`]; its successor makes the object under the same id,
//! and the store says that it exists if it was made. Keys are stored hashed.

use std::time::Duration;

use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::{Store, StoreError, StoreResult, scripts};
use crate::ids::EnvironmentId;

/// How long a key is remembered, from its first use.
pub const KEPT: Duration = Duration::from_hours(24);
/// After this long without an answer, the work on a request counts as given up.
pub const WORK_TIME: Duration = Duration::from_mins(1);

/// What a key stands for now.
#[derive(Debug)]
pub enum Reserved {
    /// The caller carries the request out and settles the reservation.
    Yours(Reservation),
    /// The request was answered: the sealed answer, and what it is sealed for.
    Answered { sealed: String, key: String },
    /// Somebody is at it, for this long at most.
    InProgress(Duration),
    /// The key belongs to another request.
    Reused,
}

/// A key that the caller owns.
#[derive(Debug)]
pub struct Reservation {
    /// Also what the answer is sealed for.
    pub key: String,
    /// Bits of the id that the object to be made gets.
    pub object: u128,
    /// An earlier owner may have made it.
    pub taken_over: bool,
    owner: String,
}

/// How the work on a reservation ended.
#[derive(Debug)]
pub enum Settlement<'a> {
    /// With an answer (sealed), which is replayed from now on.
    Answer(&'a str),
    /// Nothing was made; the key is free again.
    Forget,
    /// Something may have been made; the same request may go on.
    HandBack,
}

/// The fingerprint of a request; `target` is its path with the query, which may say what the body is about.
#[must_use]
pub fn fingerprint(method: &str, target: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [method.as_bytes(), b"\n", target.as_bytes(), b"\n", body] {
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// The reservations in a store.
#[derive(Debug, Clone)]
pub struct Idempotency {
    store: Store,
}

impl Store {
    #[must_use]
    pub fn idempotency(&self) -> Idempotency {
        Idempotency {
            store: self.clone(),
        }
    }
}

impl Idempotency {
    /// Binds `key` to the request with this fingerprint, and to the bits of the id that
    /// the object made by it gets, unless the key has some.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reserve(
        &self,
        environment: EnvironmentId,
        key: &str,
        fingerprint: &str,
        object: u128,
    ) -> StoreResult<Reserved> {
        let key = self
            .store
            .keys()
            .idempotency(environment, &hex::encode(Sha256::digest(key.as_bytes())));
        let owner = Ulid::generate().to_string();
        let mut call = self.store.call(&scripts::IDEMPOTENCY_RESERVE);
        call.key(&key)
            .key(self.store.keys().idempotency_index(environment))
            .arg(fingerprint)
            .arg(Ulid(object).to_string())
            .arg(&owner)
            .arg(millis(KEPT))
            .arg(millis(WORK_TIME));
        let reply: Vec<String> = self.store.invoke(&call).await?;
        let unexpected =
            || StoreError::Unexpected("idempotency_reserve gave an unknown answer".to_owned());
        match reply.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [word @ ("reserved" | "taken_over"), id] => {
                let object = Ulid::from_string(id).map_err(|_| unexpected())?.0;
                let taken_over = word == "taken_over";
                Ok(Reserved::Yours(Reservation {
                    key,
                    object,
                    taken_over,
                    owner,
                }))
            }
            ["answered", answer] => Ok(Reserved::Answered {
                sealed: answer.to_owned(),
                key,
            }),
            ["in_progress", rest] => Ok(Reserved::InProgress(Duration::from_millis(
                rest.parse().map_err(|_| unexpected())?,
            ))),
            ["reused"] => Ok(Reserved::Reused),
            _ => Err(unexpected()),
        }
    }

    /// Ends the work on a reservation; a no-op when somebody else took it over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle(
        &self,
        reservation: &Reservation,
        settlement: &Settlement<'_>,
    ) -> StoreResult<()> {
        let (how, answer) = match settlement {
            Settlement::Answer(answer) => ("answer", *answer),
            Settlement::Forget => ("forget", ""),
            Settlement::HandBack => ("hand_back", ""),
        };
        let mut call = scripts::IDEMPOTENCY_SETTLE.prepare();
        call.key(&reservation.key)
            .arg(&reservation.owner)
            .arg(how)
            .arg(answer);
        let _word: String = self.store.invoke(&call).await?;
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

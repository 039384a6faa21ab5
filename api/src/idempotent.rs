//! `Idempotency-Key` on every POST: the same key and request within 24 hours
//! replays the first answer.
//!
//! The key is bound to the request and to the id of the object to be made before any
//! work. An answer of success is kept, sealed; a refusal frees the key; an answer
//! that nobody knows the effect of (the store went away) leaves the binding, so that
//! the retry makes the object under the same id, and the store says if it exists. A
//! refusal of such a retry leaves it too: what the first one made may be there.

use std::future::Future;

use actix_web::{
    HttpResponse,
    http::{StatusCode, uri::PathAndQuery},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    failure::FailurePoint,
    store::idempotency::{Reservation, Reserved, Settlement, fingerprint},
};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Body, Caller, Write},
    new_id::new_id,
};

const KEY_HEADER: &str = "idempotency-key";
const REPLAYED_HEADER: &str = "idempotent-replayed";
/// Characters of a key at most.
const MAX_KEY_CHARS: usize = 255;

#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    body: Value,
}

impl Caller<Write> {
    /// Does `work` once for each idempotency key. It gets the bits of the id of
    /// the object to be made.
    pub async fn once<F>(
        &self,
        body: &Body,
        work: impl FnOnce(u128) -> F,
    ) -> Result<HttpResponse, ApiError>
    where
        F: Future<Output = Result<Answer, ApiError>>,
    {
        let Some(key) = self.idempotency_key()? else {
            return Ok(work(new_id()).await?.into());
        };
        let target = self.request.uri().path_and_query();
        let print = fingerprint(
            self.request.method().as_str(),
            target.map_or_else(|| self.request.path(), PathAndQuery::as_str),
            &body.bytes,
        );
        match self
            .state
            .store
            .idempotency()
            .reserve(self.environment, &key, &print, new_id())
            .await?
        {
            Reserved::Yours(reservation) => {
                let outcome = work(reservation.object).await;
                self.settle(&reservation, &outcome).await;
                FailurePoint::AnswerReady.reach()?;
                Ok(outcome?.into())
            }
            Reserved::Answered { sealed, key } => self.replay(&key, &sealed),
            Reserved::InProgress(rest) => Err(ApiError::in_progress(rest)),
            Reserved::Reused => Err(ApiError::idempotency_key_reused()),
        }
    }

    fn idempotency_key(&self) -> Result<Option<String>, ApiError> {
        let mut given = self.request.headers().get_all(KEY_HEADER);
        let Some(value) = given.next() else {
            return Ok(None);
        };
        let key = value.to_str().unwrap_or_default();
        if key.is_empty() || key.len() > MAX_KEY_CHARS || given.next().is_some() {
            return Err(ApiError::invalid_parameter(
                "Idempotency-Key",
                format!("must be given once, with 1 to {MAX_KEY_CHARS} printable ASCII characters"),
            ));
        }
        Ok(Some(key.to_owned()))
    }

    /// Keeps the answer or frees the key. A failure is only logged: the outcome
    /// stands, and the reservation is taken over under the same id when it expires.
    async fn settle(&self, reservation: &Reservation, outcome: &Result<Answer, ApiError>) {
        let idempotency = self.state.store.idempotency();
        let settled = match outcome {
            Ok(answer) => {
                let kept = Kept {
                    status: answer.status.as_u16(),
                    body: answer.body.clone(),
                };
                let json = serde_json::to_vec(&kept).unwrap_or_default();
                let sealed = self.state.sealer.seal(&reservation.key, &json);
                idempotency
                    .settle(reservation, &Settlement::Answer(&sealed))
                    .await
            }
            Err(error) if error.nothing_was_made() && !reservation.taken_over => {
                idempotency.settle(reservation, &Settlement::Forget).await
            }
            Err(_) => idempotency.settle(reservation, &Settlement::HandBack).await,
        };
        if let Err(error) = settled {
            tracing::warn!(%error, "an idempotency key could not be settled");
        }
    }

    fn replay(&self, key: &str, sealed: &str) -> Result<HttpResponse, ApiError> {
        let kept = self
            .state
            .sealer
            .open(key, sealed)
            .ok()
            .and_then(|json| serde_json::from_slice::<Kept>(&json).ok());
        let Some(kept) = kept else {
            tracing::error!("a kept answer can't be opened; was the master key changed?");
            return Err(ApiError::internal());
        };
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        Ok(HttpResponse::build(status)
            .insert_header((REPLAYED_HEADER, "true"))
            .json(kept.body))
    }
}

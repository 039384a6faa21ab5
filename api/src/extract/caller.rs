//! The authenticated caller. A handler names the scope it needs in its signature,
//! `Caller<Read>` or `Caller<Write>`, and gets path, query and body from here,
//! so that nothing of a request is looked at before its token.

use std::{future::Future, marker::PhantomData, pin::Pin, str::FromStr};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header,
    web::{self, Data},
};
use shared::{ids::EnvironmentId, model::token::Scope};

use super::{Body, ListQuery, Query, body};
use crate::{error::ApiError, middleware::request::RequestEnvironment, state::AppState};

/// Bytes of a token at most.
const MAX_TOKEN_BYTES: usize = 512;

/// A scope in a handler's signature.
pub trait Level: 'static {
    const SCOPE: Scope;
}

/// Handlers that only look.
#[derive(Debug)]
pub enum Read {}
/// Handlers that change something.
#[derive(Debug)]
pub enum Write {}

impl Level for Read {
    const SCOPE: Scope = Scope::Read;
}

impl Level for Write {
    const SCOPE: Scope = Scope::Write;
}

/// Who calls, and what with.
pub struct Caller<L: Level> {
    pub state: Data<AppState>,
    /// The token's environment; the caller sees nothing of another one.
    pub environment: EnvironmentId,
    pub(crate) request: HttpRequest,
    payload: Payload,
    level: PhantomData<L>,
}

impl<L: Level> Caller<L> {
    /// An id in the path. One that can't be an id of its kind is one that doesn't exist.
    pub fn id<T: FromStr>(&self, what: &str) -> Result<T, ApiError> {
        self.segment("id")
            .parse()
            .map_err(|_| ApiError::not_found(what))
    }

    /// A segment of the path, by its name in the route.
    pub fn segment(&self, name: &str) -> String {
        let raw = self.request.match_info().query(name);
        percent_decoded(raw)
    }

    /// The query, in which only `known` parameters may be.
    pub fn query(&self, known: &[&str]) -> Result<Query, ApiError> {
        Query::parse(self.request.query_string(), known)
    }

    /// As [`Self::query`], for a list: with `limit` and `next_cursor`, whose content `is_row` must accept.
    pub fn list_query(
        &self,
        filters: &[&str],
        is_row: impl Fn(&str) -> bool,
    ) -> Result<ListQuery, ApiError> {
        ListQuery::parse(self.request.query_string(), filters, is_row)
    }

    /// The body, which must be JSON.
    pub async fn json(&mut self) -> Result<Body, ApiError> {
        body::read(&self.request, &mut self.payload, body::Empty::Refused).await
    }

    /// The body, which may be absent: then an empty object.
    pub async fn optional_json(&mut self) -> Result<Body, ApiError> {
        body::read(&self.request, &mut self.payload, body::Empty::IsAnObject).await
    }
}

impl<L: Level> FromRequest for Caller<L> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            let Some(state) = request.app_data::<web::Data<AppState>>().cloned() else {
                return Err(ApiError::internal());
            };
            let secret = bearer_token(&request).ok_or_else(ApiError::unauthorized)?;
            if !state.is_store_checked() {
                return Err(ApiError::store_unavailable());
            }
            let token = state
                .store
                .tokens()
                .find(&secret)
                .await?
                .ok_or_else(ApiError::unauthorized)?;
            request
                .extensions_mut()
                .insert(RequestEnvironment(token.environment_id));
            if token.scope < L::SCOPE {
                return Err(ApiError::forbidden(L::SCOPE, token.scope));
            }
            Ok(Self {
                state,
                environment: token.environment_id,
                request,
                payload,
                level: PhantomData,
            })
        })
    }
}

/// The token of the one `Authorization` header (RFC 6750 section 2.1).
fn bearer_token(request: &HttpRequest) -> Option<String> {
    let mut given = request.headers().get_all(header::AUTHORIZATION);
    let (Some(value), None) = (given.next(), given.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let fits = scheme.eq_ignore_ascii_case("bearer")
        && !token.is_empty()
        && token.len() <= MAX_TOKEN_BYTES;
    fits.then(|| token.to_owned())
}

/// What is left encoded by the router (`%2F`, `%25`, …), decoded.
fn percent_decoded(raw: &str) -> String {
    url::form_urlencoded::parse(
        format!("v={}", raw.replace('+', "%2B").replace('&', "%26")).as_bytes(),
    )
    .next()
    .map(|(_, value)| value.into_owned())
    .unwrap_or_default()
}

//! Environments and API tokens.
//!
//! A token is stored under the SHA-256 of its secret, which has 256 random bits, so
//! a lookup reveals nothing by its time and the store holds nothing to log in with.
//! Revoking marks the row; it takes effect with the next request.

use redis::AsyncCommands;

use super::{
    Store, StoreError, StoreResult, purge::purge_task, runs::RUNS_LANE_LIMIT, scripts,
    scripts::unexpected,
};
use crate::{
    clock::Timestamp,
    ids::{EnvironmentId, TokenId},
    model::{
        purge::Purge,
        token::{Environment, EnvironmentLimits, Scope, Token},
    },
    queue::task::TaskBody,
    seal::token::hash_token,
};

/// The environment that a bootstrap token makes.
pub const DEFAULT_ENVIRONMENT: &str = "default";
/// Tries of one deletion against others that make tokens meanwhile.
const DELETE_ATTEMPTS: u32 = 20;

/// What became of the bootstrap token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bootstrap {
    /// The store was empty: environment and token were made.
    Created,
    /// The token exists.
    Present,
    /// The store has environments and doesn't know the token: nothing was made.
    Refused,
}

/// Environments and tokens in a store.
#[derive(Debug, Clone)]
pub struct Tokens {
    store: Store,
}

impl Store {
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        Tokens {
            store: self.clone(),
        }
    }
}

impl Tokens {
    /// Makes an environment; `None` when the name is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_environment(&self, name: &str) -> StoreResult<Option<Environment>> {
        let environment = new_environment(name);
        let mut call = scripts::ENVIRONMENT_CREATE.prepare();
        call.key(self.store.keys().environments())
            .arg(name)
            .arg(write(&environment)?);
        let reply: Vec<String> = self.store.invoke(&call).await?;
        Ok((reply.first().map(String::as_str) == Some("created")).then_some(environment))
    }

    /// All environments, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn environments(&self) -> StoreResult<Vec<Environment>> {
        let rows: Vec<String> = self
            .store
            .connection()
            .hvals(self.store.keys().environments())
            .await?;
        let mut environments = rows
            .iter()
            .map(|row| read(row))
            .collect::<StoreResult<Vec<Environment>>>()?;
        environments.sort_by_key(|environment| environment.id);
        Ok(environments)
    }

    /// The environment with this name or id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn environment(&self, name_or_id: &str) -> StoreResult<Option<Environment>> {
        let environments = self.environments().await?;
        Ok(environments
            .into_iter()
            .find(|one| one.name == name_or_id || one.id.to_string() == name_or_id))
    }

    /// Sets how an environment shares the workers; holds from its next turn on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_limits(
        &self,
        environment: EnvironmentId,
        limits: EnvironmentLimits,
    ) -> StoreResult<()> {
        let mut call = self.store.call(&scripts::ENVIRONMENT_LIMITS);
        call.arg(environment.to_string()).arg(limits.weight).arg(
            limits
                .max_fetches
                .map_or_else(String::new, |most| most.to_string()),
        );
        let _set: u64 = self.store.invoke(&call).await?;
        Ok(())
    }

    /// What was set for an environment, or the defaults.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn limits(&self, environment: EnvironmentId) -> StoreResult<EnvironmentLimits> {
        let key = self.store.keys().environment_limits(environment);
        let fields = ["weight", "fetches"];
        let (weight, max_fetches): (Option<u32>, Option<u32>) =
            self.store.connection().hmget(key, &fields).await?;
        Ok(EnvironmentLimits {
            weight: weight.unwrap_or(EnvironmentLimits::default().weight),
            max_fetches,
        })
    }

    /// Deletes an environment: its tokens stop working at once, and a task takes away all that is in it. False: somebody
    /// else deleted it.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Unexpected`] when tokens or environments keep changing meanwhile.
    pub async fn delete_environment(&self, environment: &Environment) -> StoreResult<bool> {
        let id = environment.id;
        let mut connection = self.store.connection();
        for _ in 0..DELETE_ATTEMPTS {
            let row: Option<String> = connection
                .hget(self.store.keys().environments(), &environment.name)
                .await?;
            let Some(row) = row else { return Ok(false) };
            if read::<Environment>(&row)?.id != id {
                return Ok(false);
            }
            let all: u64 = connection.hlen(self.store.keys().tokens()).await?;
            let tokens = self.list().await?;
            let mut call = self.store.call(&scripts::ENVIRONMENT_DELETE);
            call.arg(id.to_string())
                .arg(&environment.name)
                .arg(row)
                .arg(RUNS_LANE_LIMIT)
                .arg(purge_task(id))
                .arg(TaskBody::Purge(Purge::of_environment()).to_string())
                .arg(all);
            for token in tokens.iter().filter(|token| token.environment_id == id) {
                call.arg(token.id.to_string()).arg(&token.hash);
            }
            match self.store.invoke::<String>(&call).await?.as_str() {
                "deleted" => return Ok(true),
                "missing" => return Ok(false),
                "changed" => {}
                other => return Err(unexpected("environment_delete", other)),
            }
        }
        Err(StoreError::Unexpected(
            "others keep making tokens and environments at the same time".to_owned(),
        ))
    }

    /// Takes away tokens of an environment that is gone: those made while it was being deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge(&self, environment: EnvironmentId) -> StoreResult<()> {
        let (keys, mut connection) = (self.store.keys(), self.store.connection());
        for token in self.list().await? {
            if token.environment_id == environment {
                let _: u64 = connection.del(keys.token(&token.hash)).await?;
                let id = token.id.to_string();
                let _: u64 = connection.hdel(keys.tokens(), id).await?;
            }
        }
        Ok(())
    }

    /// Stores a token with this secret.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Unexpected`] when the secret is in use.
    pub async fn create(
        &self,
        environment: EnvironmentId,
        scope: Scope,
        label: Option<String>,
        secret: &str,
    ) -> StoreResult<Token> {
        let token = new_token(environment, scope, label, secret);
        let mut call = scripts::TOKEN_CREATE.prepare();
        call.key(self.store.keys().token(&token.hash))
            .key(self.store.keys().tokens())
            .arg(token.id.to_string())
            .arg(&token.hash)
            .arg(write(&token)?);
        let reply: String = self.store.invoke(&call).await?;
        if reply == "created" {
            Ok(token)
        } else {
            Err(StoreError::Unexpected(
                "the token exists already".to_owned(),
            ))
        }
    }

    /// The token with this secret, unless it is revoked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, secret: &str) -> StoreResult<Option<Token>> {
        let hash = hash_token(secret);
        let row: Option<String> = self
            .store
            .connection()
            .get(self.store.keys().token(&hash))
            .await?;
        let Some(row) = row else { return Ok(None) };
        let token: Token = read(&row)?;
        let same: bool =
            subtle::ConstantTimeEq::ct_eq(token.hash.as_bytes(), hash.as_bytes()).into();
        Ok(Some(token).filter(|token| same && token.revoked_at.is_none()))
    }

    /// All tokens, oldest first, revoked ones included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self) -> StoreResult<Vec<Token>> {
        let mut connection = self.store.connection();
        let hashes: Vec<String> = connection.hvals(self.store.keys().tokens()).await?;
        let mut tokens = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let row: Option<String> = connection.get(self.store.keys().token(&hash)).await?;
            tokens.extend(row.as_deref().map(read::<Token>).transpose()?);
        }
        tokens.sort_by_key(|token| token.id);
        Ok(tokens)
    }

    /// Revokes a token; doing it again changes nothing. `None` when there is no such token.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke(&self, id: TokenId) -> StoreResult<Option<Token>> {
        let mut connection = self.store.connection();
        let hash: Option<String> = connection
            .hget(self.store.keys().tokens(), id.to_string())
            .await?;
        let Some(hash) = hash else { return Ok(None) };
        let key = self.store.keys().token(&hash);
        let row: Option<String> = connection.get(&key).await?;
        let Some(mut token) = row.as_deref().map(read::<Token>).transpose()? else {
            return Ok(None);
        };
        if token.revoked_at.is_none() {
            token.revoked_at = Some(Timestamp::now());
            // A token's row changes in no other way, so there is no update to lose.
            let mut call = scripts::TOKEN_REVOKE.prepare();
            call.key(&key).arg(write(&token)?);
            match self.store.invoke::<String>(&call).await?.as_str() {
                "revoked" => {}
                "missing" => return Ok(None),
                other => return Err(unexpected("token_revoke", other)),
            }
        }
        Ok(Some(token))
    }

    /// On an empty store, makes environment [`DEFAULT_ENVIRONMENT`] with this token. Several
    /// programs may do so at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn bootstrap(&self, secret: &str) -> StoreResult<Bootstrap> {
        let environment = new_environment(DEFAULT_ENVIRONMENT);
        let token = new_token(
            environment.id,
            Scope::Admin,
            Some("bootstrap".to_owned()),
            secret,
        );
        let keys = self.store.keys();
        let mut call = scripts::BOOTSTRAP.prepare();
        call.key(keys.environments())
            .key(keys.token(&token.hash))
            .key(keys.tokens())
            .arg(&environment.name)
            .arg(write(&environment)?)
            .arg(token.id.to_string())
            .arg(&token.hash)
            .arg(write(&token)?);
        let reply: String = self.store.invoke(&call).await?;
        match reply.as_str() {
            "created" => Ok(Bootstrap::Created),
            "present" => Ok(Bootstrap::Present),
            "refused" => Ok(Bootstrap::Refused),
            _ => Err(StoreError::Unexpected(
                "bootstrap gave an unknown word".to_owned(),
            )),
        }
    }
}

fn new_environment(name: &str) -> Environment {
    Environment {
        id: EnvironmentId::generate(),
        name: name.to_owned(),
        created_at: Timestamp::now(),
    }
}

fn new_token(
    environment: EnvironmentId,
    scope: Scope,
    label: Option<String>,
    secret: &str,
) -> Token {
    Token {
        id: TokenId::generate(),
        environment_id: environment,
        scope,
        label,
        hash: hash_token(secret),
        created_at: Timestamp::now(),
        revoked_at: None,
    }
}

fn write<T: serde::Serialize>(row: &T) -> StoreResult<String> {
    serde_json::to_string(row)
        .map_err(|error| StoreError::Unexpected(format!("a row can't be written: {error}")))
}

fn read<T: serde::de::DeserializeOwned>(row: &str) -> StoreResult<T> {
    serde_json::from_str(row).map_err(|error| {
        StoreError::Unexpected(format!(
            "a stored row can't be read: {:?}",
            error.classify()
        ))
    })
}

//! Keys of what the API keeps: objects, their indexes, tokens, reservations.
//!
//! | key after the base | type | what |
//! |---|---|---|
//! | `object:<kind>:<env>:<id>` | string | a webhook, integrated account, sync job or custom integration, as JSON |
//! | `environment:<env>:<kind>` | zset | ids of a kind, all of score 0: newest first is reverse lexical order |
//! | `environment:<env>:<kind>:<field>:<value>` | zset | the same, for one value of a field that never changes |
//! | `environment:<env>:<kind>_name:<name>` | string | id of the object with this name |
//! | `environment:<env>:<kind>_deleted` | zset | ids of those that were deleted and are still kept |
//! | `environments` | hash | name → environment |
//! | `token:<hash>` | string | a token, by the hash of its secret |
//! | `tokens` | hash | token id → hash of its secret |
//! | `idempotency:<env>:<hash>` | hash | `fingerprint`, `id`, `owner`, `until`, `answer` of one idempotency key |
//! | `environment:<env>:idempotency` | zset | their keys → when each expires, ms |

use super::keys::Keys;
use crate::ids::EnvironmentId;

impl Keys {
    /// An object of the API. The environment is part of the key: an id of
    /// another environment finds nothing.
    #[must_use]
    pub fn object(&self, kind: &str, environment: EnvironmentId, id: &str) -> String {
        self.join(&["object", kind, &environment.to_string(), id])
    }

    /// All objects of a kind in an environment.
    #[must_use]
    pub fn object_index(&self, kind: &str, environment: EnvironmentId) -> String {
        self.join(&["environment", &environment.to_string(), kind])
    }

    /// Those whose `field` has `value`.
    #[must_use]
    pub fn object_facet(
        &self,
        kind: &str,
        environment: EnvironmentId,
        field: &str,
        value: &str,
    ) -> String {
        self.join(&["environment", &environment.to_string(), kind, field, value])
    }

    /// The object with a unique name.
    #[must_use]
    pub fn object_name(&self, kind: &str, environment: EnvironmentId, name: &str) -> String {
        self.join(&[
            "environment",
            &environment.to_string(),
            &format!("{kind}_name"),
            name,
        ])
    }

    /// Deleted objects of a kind that are still kept.
    #[must_use]
    pub fn deleted_objects(&self, kind: &str, environment: EnvironmentId) -> String {
        let kind = format!("{kind}_deleted");
        self.join(&["environment", &environment.to_string(), &kind])
    }

    #[must_use]
    pub fn environments(&self) -> String {
        self.join(&["environments"])
    }

    /// How an environment shares the workers.
    #[must_use]
    pub fn environment_limits(&self, environment: EnvironmentId) -> String {
        self.join(&["environment", &environment.to_string(), "limits"])
    }

    /// `hash`: of the token's secret, hex.
    #[must_use]
    pub fn token(&self, hash: &str) -> String {
        self.join(&["token", hash])
    }

    #[must_use]
    pub fn tokens(&self) -> String {
        self.join(&["tokens"])
    }

    /// `hash`: of the idempotency key, hex.
    #[must_use]
    pub fn idempotency(&self, environment: EnvironmentId, hash: &str) -> String {
        self.join(&["idempotency", &environment.to_string(), hash])
    }

    /// All idempotency keys of an environment.
    #[must_use]
    pub fn idempotency_index(&self, environment: EnvironmentId) -> String {
        self.join(&["environment", &environment.to_string(), "idempotency"])
    }
}

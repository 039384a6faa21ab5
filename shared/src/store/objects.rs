//! Objects of the API: one generic aggregate for webhooks, integrated accounts,
//! sync jobs and custom integrations.
//!
//! State: one JSON string an object, an index a kind and environment, further ones
//! for fields that lists are narrowed by and that never change, and the holder of a
//! unique name. Authority: the string; the indexes change in the same script as it.
//! Failures: a creation repeated with the same id changes nothing and gives back
//! what is there; an update that lost a race is made again on the new state, a
//! bounded number of times; a deleted object leaves the indexes, frees its name and
//! stays readable through [`Objects::get_with_deleted`] for [`DELETED_KEPT`].

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use redis::AsyncCommands;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Page, PageRequest, Store, StoreError, StoreResult,
    effects::{Effect, add_effects},
    scripts,
};
use crate::{
    clock::Timestamp,
    ids::{
        AccountId, CronTriggerId, EnvironmentId, IntegrationId, SyncJobId, WebhookId, WorkflowId,
    },
    model::{
        account::Account, cron_trigger::CronTrigger, integration::IntegrationRow,
        sync_job::SyncJob, webhook::Webhook, workflow::Workflow,
    },
};

/// How long a deleted object's last state is kept: longer than any run that points to it.
pub const DELETED_KEPT: Duration = Duration::from_hours(90 * 24);
/// Tries of one update against others that are faster; also of what looks something up before it updates.
pub const UPDATE_ATTEMPTS: u32 = 20;
/// Rows read from an index at once.
const CHUNK: u32 = 200;
/// Rows looked at for one page of a filtered list; then the page ends short, with a cursor.
const MAX_SCANNED: u32 = 10_000;

/// Something the API keeps.
pub trait Object: Serialize + DeserializeOwned {
    /// The kind in keys: `webhook`.
    const KIND: &'static str;
    /// The kind's id.
    type Id: Display + Copy;

    fn id(&self) -> Self::Id;
    fn environment(&self) -> EnvironmentId;
    fn deleted_at(&self) -> Option<Timestamp>;
    fn set_deleted_at(&mut self, at: Timestamp);
    /// Fields that never change and that lists are narrowed by, with their values.
    fn facets(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    /// A name that only one live object of the environment may have.
    fn unique_name(&self) -> Option<&str> {
        None
    }
    /// What follows from a change, made in the same script: `before` is `None` at the creation, and `self` has
    /// [`Self::deleted_at`] at the deletion.
    fn effects(&self, _before: Option<&Self>) -> Vec<Effect> {
        Vec::new()
    }
}

macro_rules! object {
    ($type:ty, $id:ty, $kind:literal $(, facets: [$($facet:ident),*])? $(, unique: $unique:ident)? $(, effects: $effects:path)?) => {
        impl Object for $type {
            const KIND: &'static str = $kind;
            type Id = $id;

            fn id(&self) -> $id {
                self.id
            }
            fn environment(&self) -> EnvironmentId {
                self.environment_id
            }
            fn deleted_at(&self) -> Option<Timestamp> {
                self.deleted_at
            }
            fn set_deleted_at(&mut self, at: Timestamp) {
                self.deleted_at = Some(at);
            }
            $(fn facets(&self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($facet), self.$facet.to_string())),*]
            })?
            $(fn unique_name(&self) -> Option<&str> {
                Some(&self.$unique)
            })?
            $(fn effects(&self, before: Option<&Self>) -> Vec<Effect> {
                $effects(self, before)
            })?
        }
    };
}

object!(Webhook, WebhookId, "webhook", effects: super::webhooks::effects);
object!(Account, AccountId, "integrated_account", facets: [integration_name, tenant_id], effects: super::accounts::effects);
object!(SyncJob, SyncJobId, "sync_job", facets: [integration_name]);
object!(IntegrationRow, IntegrationId, "integration", unique: name);

impl Object for Workflow {
    const KIND: &'static str = "workflow";
    type Id = WorkflowId;

    fn id(&self) -> WorkflowId {
        self.id
    }
    fn environment(&self) -> EnvironmentId {
        self.environment_id
    }
    fn deleted_at(&self) -> Option<Timestamp> {
        self.deleted_at
    }
    fn set_deleted_at(&mut self, at: Timestamp) {
        self.deleted_at = Some(at);
    }
    fn facets(&self) -> Vec<(&'static str, String)> {
        vec![("trigger_name", self.input.trigger_name.clone())]
    }
}

impl Object for CronTrigger {
    const KIND: &'static str = "sync_job_cron_trigger";
    type Id = CronTriggerId;

    fn id(&self) -> CronTriggerId {
        self.id
    }
    fn environment(&self) -> EnvironmentId {
        self.environment_id
    }
    fn deleted_at(&self) -> Option<Timestamp> {
        self.deleted_at
    }
    fn set_deleted_at(&mut self, at: Timestamp) {
        self.deleted_at = Some(at);
    }
    fn facets(&self) -> Vec<(&'static str, String)> {
        let input = &self.input;
        vec![
            ("sync_job_id", input.sync_job_id.to_string()),
            (
                "integrated_account_id",
                input.integrated_account_id.to_string(),
            ),
        ]
    }
    fn effects(&self, before: Option<&Self>) -> Vec<Effect> {
        super::cron::effects(self, before)
    }
}

/// What became of a creation.
#[derive(Debug)]
pub enum Creation<O> {
    Created,
    /// The id exists: the same creation was made before.
    Existed(O),
    /// Another object, of this id, has the name.
    NameTaken(String),
}

/// Why an object wasn't changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E> {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change itself was refused.
    #[error("the change was refused")]
    Refused(E),
    /// Others kept changing the object.
    #[error("others keep changing the object at the same time")]
    Contended,
}

/// The objects in a store.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Store,
}

impl Store {
    #[must_use]
    pub fn objects(&self) -> Objects {
        Objects {
            store: self.clone(),
        }
    }
}

impl Objects {
    fn key<O: Object>(&self, environment: EnvironmentId, id: impl Display) -> String {
        self.store
            .keys()
            .object(O::KIND, environment, &id.to_string())
    }

    /// The keys a creation or deletion touches, in the order of the scripts.
    fn all_keys<O: Object>(&self, object: &O) -> Vec<String> {
        let (keys, environment) = (self.store.keys(), object.environment());
        let own = self.key::<O>(environment, object.id());
        let name = object.unique_name().map_or_else(
            || own.clone(),
            |name| keys.object_name(O::KIND, environment, name),
        );
        let mut all = vec![own, name, keys.object_index(O::KIND, environment)];
        all.extend(
            object
                .facets()
                .iter()
                .map(|(field, value)| keys.object_facet(O::KIND, environment, field, value)),
        );
        all
    }

    /// Stores a new object.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create<O: Object>(&self, object: &O) -> StoreResult<Creation<O>> {
        let mut call = self.store.call(&scripts::OBJECT_CREATE);
        for key in self.all_keys(object) {
            call.key(key);
        }
        call.arg(object.id().to_string())
            .arg(write(object)?)
            .arg(object.environment().to_string());
        add_effects(&mut call, &object.effects(None));
        let reply: Vec<String> = self.store.invoke(&call).await?;
        match reply.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["created"] => Ok(Creation::Created),
            ["existed", json] => Ok(Creation::Existed(read(json)?)),
            ["taken", holder] => Ok(Creation::NameTaken(holder.to_owned())),
            _ => Err(StoreError::Unexpected(
                "object_create gave an unknown word".to_owned(),
            )),
        }
    }

    /// An object that isn't deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get<O: Object>(
        &self,
        environment: EnvironmentId,
        id: O::Id,
    ) -> StoreResult<Option<O>> {
        let object = self.get_with_deleted::<O>(environment, id).await?;
        Ok(object.filter(|object| object.deleted_at().is_none()))
    }

    /// An object, or what is left of a deleted one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get_with_deleted<O: Object>(
        &self,
        environment: EnvironmentId,
        id: O::Id,
    ) -> StoreResult<Option<O>> {
        let json: Option<String> = self
            .store
            .connection()
            .get(self.key::<O>(environment, id))
            .await?;
        json.as_deref().map(read).transpose()
    }

    /// The object with a unique name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get_by_name<O: Object>(
        &self,
        environment: EnvironmentId,
        name: &str,
    ) -> StoreResult<Option<O>> {
        let mut connection = self.store.connection();
        let id: Option<String> = connection
            .get(self.store.keys().object_name(O::KIND, environment, name))
            .await?;
        let Some(id) = id else { return Ok(None) };
        let json: Option<String> = connection.get(self.key::<O>(environment, id)).await?;
        let object: Option<O> = json.as_deref().map(read).transpose()?;
        Ok(object.filter(|object| object.deleted_at().is_none()))
    }

    /// Objects of an environment, newest first.
    ///
    /// `facet` narrows by a field that is indexed, `keep` by anything else. A
    /// page may end short of its limit, with a cursor, after 10,000 rows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list<O: Object>(
        &self,
        environment: EnvironmentId,
        facet: Option<(&str, &str)>,
        page: &PageRequest,
        keep: impl Fn(&O) -> bool,
    ) -> StoreResult<Page<O>> {
        let keys = self.store.keys();
        let index = match facet {
            Some((field, value)) => keys.object_facet(O::KIND, environment, field, value),
            None => keys.object_index(O::KIND, environment),
        };
        let limit = page.limit as usize;
        let mut connection = self.store.connection();
        let mut after = page.after.clone();
        let (mut items, mut scanned) = (Vec::new(), 0);
        loop {
            let newest = after
                .as_ref()
                .map_or_else(|| "+".to_owned(), |after| format!("({after}"));
            let ids: Vec<String> = redis::cmd("ZREVRANGEBYLEX")
                .arg(&index)
                .arg(newest)
                .arg("-")
                .arg(&["LIMIT", "0"])
                .arg(CHUNK.min(page.limit + 1))
                .query_async(&mut connection)
                .await?;
            if ids.is_empty() {
                return Ok(Page { items, next: None });
            }
            let rows: Vec<String> = ids
                .iter()
                .map(|id| self.key::<O>(environment, id))
                .collect();
            let rows: Vec<Option<String>> = redis::cmd("MGET")
                .arg(rows)
                .query_async(&mut connection)
                .await?;
            for (id, row) in ids.iter().zip(rows) {
                let object = row.as_deref().map(read::<O>).transpose()?;
                if let Some(object) =
                    object.filter(|object| object.deleted_at().is_none() && keep(object))
                {
                    if items.len() == limit {
                        return Ok(Page { items, next: after });
                    }
                    items.push(object);
                }
                after = Some(id.clone());
                scanned += 1;
            }
            if scanned >= MAX_SCANNED {
                return Ok(Page { items, next: after });
            }
        }
    }

    /// Changes an object; `change` is called again on the newer state when
    /// somebody else was faster. `None` when there is no such object.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn update<O: Object, E>(
        &self,
        environment: EnvironmentId,
        id: O::Id,
        mut change: impl FnMut(&mut O) -> Result<(), E>,
    ) -> Result<Option<O>, ChangeError<E>> {
        let key = self.key::<O>(environment, id);
        let mut connection = self.store.connection();
        for _ in 0..UPDATE_ATTEMPTS {
            let before: Option<String> = connection.get(&key).await.map_err(StoreError::from)?;
            let Some(before) = before else {
                return Ok(None);
            };
            let old: O = read(&before)?;
            if old.deleted_at().is_some() {
                return Ok(None);
            }
            let mut object: O = read(&before)?;
            change(&mut object).map_err(ChangeError::Refused)?;
            let mut call = self.store.call(&scripts::OBJECT_UPDATE);
            call.key(&key)
                .arg(before)
                .arg(write(&object)?)
                .arg(environment.to_string());
            add_effects(&mut call, &object.effects(Some(&old)));
            let reply: String = self.store.invoke(&call).await?;
            match reply.as_str() {
                "updated" => return Ok(Some(object)),
                "missing" => return Ok(None),
                _ => {}
            }
        }
        Err(ChangeError::Contended)
    }

    /// Deletes an object softly; `last` changes what is kept of it. `None` when there is no such object.
    ///
    /// # Errors
    /// [`ChangeError`]; never [`ChangeError::Refused`].
    pub async fn delete<O: Object>(
        &self,
        environment: EnvironmentId,
        id: O::Id,
        last: impl Fn(&mut O),
    ) -> Result<Option<O>, ChangeError<std::convert::Infallible>> {
        let key = self.key::<O>(environment, id);
        let mut connection = self.store.connection();
        for _ in 0..UPDATE_ATTEMPTS {
            let before: Option<String> = connection.get(&key).await.map_err(StoreError::from)?;
            let Some(before) = before else {
                return Ok(None);
            };
            let old: O = read(&before)?;
            if old.deleted_at().is_some() {
                return Ok(None);
            }
            let mut object: O = read(&before)?;
            last(&mut object);
            object.set_deleted_at(Timestamp::now());
            let mut call = self.store.call(&scripts::OBJECT_DELETE);
            let [own, name, indexes @ ..] = &self.all_keys(&object)[..] else {
                return Err(StoreError::Unexpected("an object without a key".to_owned()).into());
            };
            let deleted = self.store.keys().deleted_objects(O::KIND, environment);
            call.key(own).key(name).key(deleted).key(indexes);
            call.arg(object.id().to_string())
                .arg(before)
                .arg(write(&object)?);
            call.arg(u64::try_from(DELETED_KEPT.as_millis()).unwrap_or(u64::MAX))
                .arg(environment.to_string());
            add_effects(&mut call, &object.effects(Some(&old)));
            let reply: String = self.store.invoke(&call).await?;
            match reply.as_str() {
                "deleted" => return Ok(Some(object)),
                "missing" => return Ok(None),
                _ => {}
            }
        }
        Err(ChangeError::Contended)
    }
}

/// What a walk finds under an id; no object when it can't be read, or is gone already.
pub type Found<O> = (String, Option<O>);

impl Objects {
    /// The next objects of a kind after an id, in their order, deleted ones that are still kept among them; at most `most`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn walk<O: Object>(
        &self,
        environment: EnvironmentId,
        after: Option<&str>,
        most: usize,
    ) -> StoreResult<Vec<Found<O>>> {
        let keys = self.store.keys();
        let oldest = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut pipeline = redis::pipe();
        for index in [
            keys.object_index(O::KIND, environment),
            keys.deleted_objects(O::KIND, environment),
        ] {
            pipeline
                .cmd("ZRANGEBYLEX")
                .arg(index)
                .arg(&oldest)
                .arg("+")
                .arg(&["LIMIT", "0"])
                .arg(most);
        }
        let mut connection = self.store.connection();
        let (live, deleted): (Vec<String>, Vec<String>) =
            pipeline.query_async(&mut connection).await?;
        let ids: BTreeSet<String> = live.into_iter().chain(deleted).collect();
        let ids: Vec<String> = ids.into_iter().take(most).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<_> = ids
            .iter()
            .map(|id| self.key::<O>(environment, id))
            .collect();
        let rows: Vec<Option<String>> = connection.mget(rows).await?;
        let objects = rows
            .iter()
            .map(|json| json.as_deref().and_then(|json| read(json).ok()));
        Ok(ids.iter().cloned().zip(objects).collect())
    }

    /// Takes objects away for good, from their indexes last; what followed from them must be seen to before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: call again.
    pub async fn purge<O: Object>(
        &self,
        environment: EnvironmentId,
        found: &[Found<O>],
    ) -> StoreResult<()> {
        if found.is_empty() {
            return Ok(());
        }
        let keys = self.store.keys();
        let (index, deleted) = (
            keys.object_index(O::KIND, environment),
            keys.deleted_objects(O::KIND, environment),
        );
        let mut pipeline = redis::pipe();
        for (id, object) in found {
            let facets = object.as_ref().map(Object::facets).unwrap_or_default();
            for (field, value) in facets {
                let facet = keys.object_facet(O::KIND, environment, field, &value);
                pipeline.zrem(facet, id).ignore();
            }
            // A name that was freed may be another one's by now.
            let live = object
                .as_ref()
                .filter(|object| object.deleted_at().is_none());
            if let Some(name) = live.and_then(Object::unique_name) {
                let name = keys.object_name(O::KIND, environment, name);
                pipeline.del(name).ignore();
            }
            pipeline.del(self.key::<O>(environment, id)).ignore();
            pipeline.zrem(&index, id).ignore();
            pipeline.zrem(&deleted, id).ignore();
        }
        Ok(pipeline.query_async(&mut self.store.connection()).await?)
    }
}

fn write<T: Serialize>(object: &T) -> StoreResult<String> {
    serde_json::to_string(object)
        .map_err(|error| StoreError::Unexpected(format!("an object can't be written: {error}")))
}

fn read<T: DeserializeOwned>(json: &str) -> StoreResult<T> {
    serde_json::from_str(json).map_err(|error| {
        StoreError::Unexpected(format!(
            "a stored object can't be read: {:?}",
            error.classify()
        ))
    })
}

//! `GET /sync-job/{id}/plan`

use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::Value;
use shared::{
    ids::SyncJobId,
    integration::{Integration, Method},
    model::{run::ErrorHandling, sync_job::SyncJob},
    plan::{Carried, Node, Plan, Source},
};

use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// What a sync job compiles to: its resources in the order in which they are worked on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SyncJobPlan)]
pub struct PlanView {
    #[schema(value_type = String)]
    pub sync_job_id: SyncJobId,
    pub integration_name: String,
    /// Parents before their children.
    pub nodes: Vec<NodeView>,
}

/// One resource of the job.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SyncJobPlanNode)]
pub struct NodeView {
    /// What the resource goes by in the job.
    pub name: String,
    pub resource: String,
    pub method: String,
    pub request: RequestView,
    /// The name of the resource for whose records it is fetched.
    pub parent: Option<String>,
    /// Names of those fetched for its records.
    pub children: Vec<String>,
    /// As given.
    #[schema(value_type = Option<Object>)]
    pub loop_on: Option<Value>,
    /// As given.
    #[schema(value_type = Option<Object>)]
    pub recurse: Option<Value>,
    /// JSONata: which records are kept.
    pub filter: Option<String>,
    /// JSONata: what is delivered in place of a record.
    pub map: Option<String>,
    /// Each placeholder, with what fills it.
    pub placeholders: Vec<PlaceholderView>,
    /// What is taken out of each of its records for resources below it.
    pub carries: Vec<CarriedView>,
    /// Whether it asks for what changed since the previous run.
    pub incremental: bool,
    /// Whether its records are delivered.
    pub persist: bool,
    /// `null`: as the run.
    pub error_handling: Option<ErrorHandling>,
}

/// What the integration's method sends.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SyncJobPlanRequest)]
pub struct RequestView {
    /// The HTTP method.
    #[schema(example = "GET")]
    pub method: String,
    /// Before its placeholders are filled.
    pub path: String,
    /// Whether pages are followed.
    pub paged: bool,
}

/// One placeholder.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SyncJobPlanPlaceholder)]
pub struct PlaceholderView {
    #[schema(example = "resources.wms.orders.id")]
    pub placeholder: String,
    pub source: SourceName,
    /// Of whose record or loop it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Where in the record or the element; absent: the whole element.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What fills a placeholder.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SyncJobPlanSource)]
pub enum SourceName {
    Args,
    Context,
    Account,
    Run,
    PreviousRunDate,
    /// A record of a resource that it depends on.
    ParentRecord,
    /// The record that `recurse` goes on from.
    Record,
    /// The current element of a loop.
    LoopItem,
}

/// What is carried from a record to the resources below.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SyncJobPlanCarried)]
pub struct CarriedView {
    pub placeholder: String,
    /// Where it is in the record.
    pub path: String,
}

/// What a sync job compiles to against its integration as that is now.
#[utoipa::path(
    get, path = "/api/v1/ipaas/sync-job/{id}/plan", tag = "sync-job", operation_id = "get_sync_job_plan",
    responses(
        (status = 200, description = "The plan", body = PlanView),
        (status = 409, description = "`conflict`: the job no longer fits its integration", body = crate::error::ErrorBody),
    )
)]
pub async fn plan(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let id: SyncJobId = caller.id("sync job")?;
    caller.query(&[])?;
    let state = &caller.state;
    let job = state
        .store
        .objects()
        .get::<SyncJob>(caller.environment, id)
        .await?
        .ok_or_else(|| ApiError::not_found("sync job"))?;
    let entry = state
        .catalog
        .by_name(&state.store, caller.environment, &job.integration_name)
        .await?
        .ok_or_else(|| {
            ApiError::conflict(format!(
                "the integration `{}` of this sync job was deleted",
                job.integration_name
            ))
        })?;
    let compiled = state.catalog.compiled(&state.store, &entry.hash).await?;
    let plan = Plan::compile(&job.resources, &compiled.integration).map_err(|faults| {
        ApiError::conflict(format!(
            "this sync job no longer fits its integration: {faults}"
        ))
    })?;
    let view = PlanView {
        sync_job_id: job.id,
        integration_name: job.integration_name,
        nodes: plan
            .nodes
            .iter()
            .map(|node| NodeView::of(node, &plan, &compiled.integration))
            .collect(),
    };
    Ok(Answer::ok(&view)?.into())
}

impl NodeView {
    fn of(node: &Node, plan: &Plan, integration: &Integration) -> Self {
        let name = |index: usize| plan.nodes[index].name.clone();
        // A plan only compiles with methods that are there.
        let method = integration.method(&node.resource, &node.method).ok();
        let looped = node
            .children
            .iter()
            .filter_map(|child| plan.nodes[*child].loop_on.as_ref())
            .flat_map(|over| &over.from_parent);
        Self {
            name: node.name.clone(),
            resource: node.resource.clone(),
            method: node.method.clone(),
            request: RequestView {
                method: method.map_or("GET", Method::verb).to_owned(),
                path: method.map_or("", Method::path_text).to_owned(),
                paged: method.is_some_and(Method::is_paged),
            },
            parent: node.parent.map(name),
            children: node.children.iter().copied().map(name).collect(),
            loop_on: node.loop_on.as_ref().map(|over| over.given().clone()),
            recurse: node
                .recurse
                .as_ref()
                .map(|recursion| recursion.given.clone()),
            filter: node
                .filter
                .as_ref()
                .map(|filter| filter.source().to_owned()),
            map: node.map.as_ref().map(|map| map.source().to_owned()),
            placeholders: node
                .placeholders
                .iter()
                .map(|(placeholder, source)| PlaceholderView::of(placeholder, source, node, plan))
                .collect(),
            carries: node
                .carried
                .iter()
                .chain(looped)
                .map(CarriedView::from)
                .collect(),
            incremental: node.incremental,
            persist: node.persist,
            error_handling: node.error_handling,
        }
    }
}

impl PlaceholderView {
    fn of(placeholder: &str, source: &Source, node: &Node, plan: &Plan) -> Self {
        let name = |index: usize| Some(plan.nodes[index].name.clone());
        let (source, of, path) = match source {
            Source::Run(root) => (SourceName::of_root(root), None, None),
            Source::Ancestor(at, path) => (SourceName::ParentRecord, name(*at), Some(path)),
            Source::Record(path) => (SourceName::Record, name(node.index), Some(path)),
            Source::Element(at, path) => (SourceName::LoopItem, name(*at), path.as_ref()),
        };
        Self {
            placeholder: placeholder.to_owned(),
            source,
            of,
            path: path.map(|path| path.as_str().to_owned()),
        }
    }
}

impl SourceName {
    fn of_root(root: &str) -> Self {
        match root {
            "args" => Self::Args,
            "context" => Self::Context,
            "account" => Self::Account,
            "run" => Self::Run,
            _ => Self::PreviousRunDate,
        }
    }
}

impl From<&Carried> for CarriedView {
    fn from(carried: &Carried) -> Self {
        Self {
            placeholder: carried.placeholder.clone(),
            path: carried.path.as_str().to_owned(),
        }
    }
}

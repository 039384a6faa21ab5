//! The whole route table.

use actix_web::{
    FromRequest, Handler, HttpResponse, Resource, Responder,
    guard::Method as MethodGuard,
    http::Method,
    web::{self, ServiceConfig},
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    error::ApiError,
    openapi,
    routes::{
        cron_triggers, integrated_accounts as accounts, integrations, service,
        sync_job_run_states as states, sync_job_runs as runs, sync_jobs as jobs, webhooks,
        workflow_runs, workflows,
    },
};

/// What every route of the API proper starts with.
pub const BASE_PATH: &str = "/api/v1/ipaas";

/// Whether `/metrics` is among the routes of the API's own port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figures {
    Here,
    /// On a port of their own.
    Elsewhere,
}

/// Registers the routes of a port that is for figures only.
pub fn configure_figures(config: &mut ServiceConfig) {
    config
        .service(at("/livez").get(service::livez).done())
        .service(at("/readyz").get(service::readyz).done())
        .service(at("/metrics").get(service::metrics).done())
        .default_service(web::to(no_route));
}

/// Registers every route.
pub fn configure(config: &mut ServiceConfig, figures: Figures) {
    let api = web::scope(BASE_PATH)
        .service(
            at("/webhook")
                .get(webhooks::list::list)
                .post(webhooks::create::create)
                .done(),
        )
        // Before `{id}`, which would take it.
        .service(at("/webhook/test").post(webhooks::test::test_named).done())
        .service(
            at("/webhook/{id}")
                .get(webhooks::get::get)
                .patch(webhooks::update::update)
                .delete(webhooks::delete::delete)
                .done(),
        )
        .service(
            at("/webhook/{id}/rotate-secret")
                .post(webhooks::rotate_secret::rotate_secret)
                .done(),
        )
        .service(
            at("/webhook/{id}/test")
                .post(webhooks::test::test)
                .done(),
        )
        .service(
            at("/webhook/{id}/attempt")
                .get(webhooks::attempts::attempts)
                .done(),
        )
        .service(
            at("/webhook/{id}/dead-letter")
                .get(webhooks::dead_letters::list::list)
                .done(),
        )
        .service(
            at("/webhook/{id}/dead-letter/export")
                .get(webhooks::dead_letters::export::export)
                .done(),
        )
        .service(
            at("/webhook/{id}/dead-letter/redrive")
                .get(webhooks::redrives::list::list)
                .post(webhooks::redrives::create::create)
                .done(),
        )
        .service(
            at("/webhook/{id}/dead-letter/redrive/{redrive_id}")
                .get(webhooks::redrives::get::get)
                .done(),
        )
        .service(
            at("/webhook/{id}/dead-letter/redrive/{redrive_id}/cancel")
                .post(webhooks::redrives::cancel::cancel)
                .done(),
        )
        .service(
            at("/webhook/{id}/dead-letter/{event_id}")
                .get(webhooks::dead_letters::get::get)
                .delete(webhooks::dead_letters::delete::delete)
                .done(),
        )
        .service(
            at("/integration")
                .get(integrations::list::list)
                .post(integrations::put::create)
                .done(),
        )
        .service(
            at("/integration/{name}")
                .get(integrations::get::get)
                .put(integrations::put::put)
                .delete(integrations::delete::delete)
                .done(),
        )
        .service(
            at("/integration/{name}/capabilities")
                .get(integrations::capabilities::capabilities)
                .done(),
        )
        .service(
            at("/integrated-account")
                .get(accounts::list::list)
                .post(accounts::create::create)
                .done(),
        )
        .service(
            at("/integrated-account/{id}")
                .get(accounts::get::get)
                .patch(accounts::update::update)
                .delete(accounts::delete::delete)
                .done(),
        )
        .service(
            at("/integrated-account/{id}/credentials")
                .patch(accounts::credentials::patch)
                .put(accounts::credentials::put)
                .done(),
        )
        .service(
            at("/integrated-account/{id}/validate")
                .post(accounts::validate::validate)
                .done(),
        )
        .service(
            at("/sync-job")
                .get(jobs::list::list)
                .post(jobs::create::create)
                .done(),
        )
        .service(
            at("/sync-job/{id}")
                .get(jobs::get::get)
                .patch(jobs::update::update)
                .delete(jobs::delete::delete)
                .done(),
        )
        .service(at("/sync-job/{id}/plan").get(jobs::plan::plan).done())
        .service(
            at("/sync-job/{id}/watermark")
                .get(jobs::watermark::get)
                .patch(jobs::watermark::update)
                .done(),
        )
        .service(
            at("/sync-job-run")
                .get(runs::list::list)
                .post(runs::create::create)
                .done(),
        )
        .service(
            at("/sync-job-run/{id}")
                .get(runs::get::get)
                .patch(runs::stop::update)
                .delete(runs::stop::delete)
                .done(),
        )
        .service(
            at("/sync-job-run/{id}/error")
                .get(runs::errors::errors)
                .done(),
        )
        .service(
            at("/sync-job-run/{id}/event")
                .get(runs::events::events)
                .done(),
        )
        .service(
            at("/sync-job-run/{id}/timeline")
                .get(runs::timeline::timeline)
                .done(),
        )
        .service(at("/sync-job-run/{id}/stop").post(runs::stop::stop).done())
        .service(
            at("/sync-job-cron-trigger")
                .get(cron_triggers::list::list)
                .post(cron_triggers::create::create)
                .done(),
        )
        .service(
            at("/sync-job-cron-trigger/{id}")
                .get(cron_triggers::get::get)
                .patch(cron_triggers::update::update)
                .delete(cron_triggers::delete::delete)
                .done(),
        )
        .service(
            at("/sync-job-cron-trigger/{id}/schedule")
                .post(cron_triggers::schedule::schedule)
                .done(),
        )
        .service(
            at("/sync-job-run/{id}/retry")
                .post(runs::retry::retry)
                .done(),
        )
        .service(
            at("/sync-job-run-state")
                .get(states::list::list)
                .post(states::create::create)
                .done(),
        )
        .service(
            at("/sync-job-run-state/{id}")
                .get(states::get::get)
                .patch(states::update::update)
                .delete(states::delete::delete)
                .done(),
        )
        .service(
            at("/workflow")
                .get(workflows::list::list)
                .post(workflows::create::create)
                .done(),
        )
        .service(
            at("/workflow/{id}")
                .get(workflows::get::get)
                .patch(workflows::update::update)
                .delete(workflows::delete::delete)
                .done(),
        )
        .service(at("/workflow-run").get(workflow_runs::list::list).done())
        .service(at("/workflow-run/{id}").get(workflow_runs::get::get).done())
        .default_service(web::to(no_route));
    config
        .service(api)
        .service(at("/livez").get(service::livez).done())
        .service(at("/readyz").get(service::readyz).done())
        .service(at("/openapi.json").get(service::openapi_document).done())
        .service(at("/docs").get(service::docs).done())
        .service(
            SwaggerUi::new("/docs/{_:.*}")
                .config(Config::default().validator_url("none"))
                .url("/docs/openapi.json", openapi::document()),
        )
        .default_service(web::to(no_route));
    if figures == Figures::Here {
        config.service(at("/metrics").get(service::metrics).done());
    }
}

async fn no_route() -> Result<HttpResponse, ApiError> {
    Err(ApiError::no_route())
}

/// The verbs of one path; all others answer 405 with `Allow`.
struct Verbs {
    resource: Resource,
    allow: Vec<&'static str>,
}

fn at(path: &str) -> Verbs {
    Verbs {
        resource: web::resource(path.to_owned()),
        allow: Vec::new(),
    }
}

impl Verbs {
    fn verb<F, A>(mut self, method: Method, name: &'static str, handler: F) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.resource = self
            .resource
            .route(web::route().guard(MethodGuard(method)).to(handler));
        self.allow.push(name);
        self
    }

    /// `HEAD` too: RFC 9110 section 9.1 asks it of every server, and the body is left out below us.
    fn get<F, A>(self, handler: F) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.verb(Method::GET, "GET", handler.clone())
            .verb(Method::HEAD, "HEAD", handler)
    }

    fn post<F, A>(self, handler: F) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.verb(Method::POST, "POST", handler)
    }

    fn put<F, A>(self, handler: F) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.verb(Method::PUT, "PUT", handler)
    }

    fn patch<F, A>(self, handler: F) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.verb(Method::PATCH, "PATCH", handler)
    }

    fn delete<F, A>(self, handler: F) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.verb(Method::DELETE, "DELETE", handler)
    }

    fn done(self) -> Resource {
        let allow = self.allow.join(", ");
        self.resource.default_service(web::to(move || {
            let error = ApiError::method_not_allowed(&allow);
            async move { Err::<HttpResponse, _>(error) }
        }))
    }
}

//! `GET /integration`

use actix_web::HttpResponse;
use shared::{
    catalog::Entry,
    ids::IntegrationId,
    model::integration::{IntegrationRow, IntegrationSource},
    store::{Page, PageRequest},
};

use super::view::IntegrationView;
use crate::{
    answer::Answer,
    error::ApiError,
    extract::{Caller, Read},
};

/// What the cursor of a bundled integration starts with: they come after all custom ones.
const BUNDLED_MARK: &str = "bundled:";

/// Integrations: custom ones, newest first, then the bundled ones that none of them shadows.
#[utoipa::path(
    get, path = "/api/v1/ipaas/integration", tag = "integration", operation_id = "list_integrations",
    params(
        ("name" = Option<String>, Query, description = "Only the one of this name"),
        ("source" = Option<IntegrationSource>, Query, description = "Only bundled, or only custom ones"),
    ),
    responses((status = 200, description = "A page", body = crate::openapi::List<IntegrationView>))
)]
pub async fn list(caller: Caller<Read>) -> Result<HttpResponse, ApiError> {
    let is_row = |row: &str| {
        row.strip_prefix(BUNDLED_MARK).map_or_else(
            || row.parse::<IntegrationId>().is_ok(),
            |name| !name.is_empty(),
        )
    };
    let query = caller.list_query(&["name", "source"], is_row)?;
    let name = query.filters.text("name");
    let source = query.filters.choice(
        "source",
        &[
            ("bundled", IntegrationSource::Bundled),
            ("custom", IntegrationSource::Custom),
        ],
    )?;
    let after_bundled = query
        .page
        .after
        .as_deref()
        .and_then(|after| after.strip_prefix(BUNDLED_MARK));

    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    if after_bundled.is_none() && source != Some(IntegrationSource::Bundled) {
        let keep = |row: &IntegrationRow| name.is_none_or(|name| row.name == name);
        page = caller
            .state
            .store
            .objects()
            .list(caller.environment, None, &query.page, keep)
            .await?
            .map(|row| Entry::from(&row));
    }
    if page.next.is_none() && source != Some(IntegrationSource::Custom) {
        append_bundled(&caller, &mut page, &query.page, after_bundled, name).await?;
    }
    Ok(Answer::page(
        &page.map(|entry| IntegrationView::from(&entry)),
        &query.page,
    )?
    .into())
}

async fn append_bundled(
    caller: &Caller<Read>,
    page: &mut Page<Entry>,
    request: &PageRequest,
    after: Option<&str>,
    name: Option<&str>,
) -> Result<(), ApiError> {
    let mut last = None;
    for entry in caller.state.catalog.bundled() {
        if after.is_some_and(|after| entry.name.as_str() <= after)
            || name.is_some_and(|name| entry.name != name)
        {
            continue;
        }
        let custom = caller
            .state
            .store
            .objects()
            .get_by_name::<IntegrationRow>(caller.environment, &entry.name)
            .await?;
        if custom.is_some() {
            continue;
        }
        if page.items.len() >= request.limit as usize {
            // Without a bundled one on this page, the next one starts before the first: a mark that no name is below.
            page.next = Some(format!(
                "{BUNDLED_MARK}{}",
                last.as_deref().unwrap_or("\u{1}")
            ));
            return Ok(());
        }
        page.items.push(entry.clone());
        last = Some(entry.name.clone());
    }
    Ok(())
}

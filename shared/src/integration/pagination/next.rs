//! Where the page after a page is.

use serde_json::Value;
use url::Url;

use super::{
    Cursor, CursorPlace, Format, MAX_CURSOR_BYTES, PageSeen, Pagination, PaginationError, link,
};
use crate::{expr::path::Path, integration::words::scalar_text};

impl Pagination {
    /// The cursor of the page after `seen`, `None` when that was the last one.
    /// Links are complete URLs then; `may_follow` says which of them may be
    /// requested, `clean` takes out of them what must not be stored.
    pub fn next(
        &self,
        cursor: &Cursor,
        seen: &PageSeen<'_>,
        may_follow: impl Fn(&Url) -> bool,
        clean: impl Fn(&mut Url),
    ) -> Result<Option<Cursor>, PaginationError> {
        let digest = (seen.records > 0).then_some(seen.digest);
        if digest.is_some() && digest == seen.previous_digest.or(cursor.digest) {
            return Err(PaginationError {
                code: "pagination_loop",
                message: format!(
                    "page {} holds the same {} records as the page before it; check the keys under `pagination`",
                    u64::from(cursor.page) + 1,
                    seen.records
                ),
            });
        }
        let follow = |target: &str| {
            let mut url = resolve(target, seen.url)?;
            if !may_follow(&url) {
                return Err(PaginationError::origin(&url));
            }
            clean(&mut url);
            bounded(url.as_str())?;
            Ok(Value::String(url.into()))
        };
        let Some(value) = self.next_value(cursor, seen, follow)? else {
            return Ok(None);
        };
        if value == cursor.value {
            return Err(PaginationError {
                code: "pagination_loop",
                message: format!(
                    "page {} points to itself as the next page; check where `pagination` takes the cursor from",
                    u64::from(cursor.page) + 1
                ),
            });
        }
        let page = cursor.page.saturating_add(1);
        if page >= self.max_pages {
            return Err(PaginationError {
                code: "max_pages",
                message: format!(
                    "there are more than {} pages; raise `max_pages` under `pagination` if that is right",
                    self.max_pages
                ),
            });
        }
        Ok(Some(Cursor {
            value,
            page,
            digest,
        }))
    }

    fn next_value(
        &self,
        cursor: &Cursor,
        seen: &PageSeen<'_>,
        follow: impl Fn(&str) -> Result<Value, PaginationError>,
    ) -> Result<Option<Value>, PaginationError> {
        match &self.format {
            Format::Page {
                start_page,
                total_pages,
                has_next,
                ..
            } => {
                let page = cursor.value.as_u64().unwrap_or(*start_page);
                let more = match (
                    flag(has_next.as_ref(), seen),
                    count(total_pages.as_ref(), seen)?,
                ) {
                    (Some(more), _) => more,
                    (None, Some(total)) => page.saturating_sub(*start_page) + 1 < total,
                    (None, None) => self.is_full(seen),
                };
                Ok(more.then(|| (page + 1).into()))
            }
            Format::Offset { total, .. } => {
                let offset = cursor.value.as_u64().unwrap_or(0);
                // An empty page in the middle (records hidden from this account) is stepped over.
                let step = match (seen.records, self.max_limit) {
                    (0, Some(limit)) => limit,
                    (records, _) => records,
                };
                let next = offset.saturating_add(step);
                let more = match count(total.as_ref(), seen)? {
                    Some(total) => step > 0 && next < total,
                    None => self.is_full(seen),
                };
                Ok(more.then(|| next.into()))
            }
            Format::Cursor {
                place,
                cursor_key,
                has_next,
            } => {
                if flag(has_next.as_ref(), seen) == Some(false) {
                    return Ok(None);
                }
                let Some(value) = cursor_value(place, seen)? else {
                    return Ok(None);
                };
                if cursor_key.is_some() {
                    return Ok(Some(value));
                }
                let text = scalar_text(&value).unwrap_or_default();
                follow(&text).map(Some)
            }
            Format::LinkHeader => link::next(seen.headers)?
                .map(|target| follow(&target))
                .transpose(),
        }
    }

    /// Whether a page is so long that another one may follow.
    fn is_full(&self, seen: &PageSeen<'_>) -> bool {
        seen.records > 0 && self.max_limit.is_none_or(|limit| seen.records >= limit)
    }
}

/// A next link, resolved against the URL it came from.
fn resolve(target: &str, base: &Url) -> Result<Url, PaginationError> {
    let mut url = base
        .join(target)
        .map_err(|_| PaginationError::invalid("the next page's link is no URL"))?;
    url.set_fragment(None);
    Ok(url)
}

/// The cursor in a page; `None` when there is none: null, empty, false or absent.
fn cursor_value(
    place: &CursorPlace,
    seen: &PageSeen<'_>,
) -> Result<Option<Value>, PaginationError> {
    let value = match place {
        CursorPlace::Body(path) => path.get(seen.envelope).cloned(),
        CursorPlace::Header(name) => match seen.headers.get(name) {
            Some(value) => {
                let text = value.to_str().map_err(|_| {
                    PaginationError::invalid(format!("the header `{name}` is not plain text"))
                })?;
                Some(Value::String(text.trim().to_owned()))
            }
            None => None,
        },
    };
    match value {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(value @ (Value::String(_) | Value::Number(_))) => {
            bounded(&scalar_text(&value).unwrap_or_default())?;
            Ok(Some(value))
        }
        Some(other) => Err(PaginationError::invalid(format!(
            "the cursor must be text or a number, is {}; check `cursor_path`",
            crate::fault::kind_of(&other)
        ))),
    }
}

fn bounded(text: &str) -> Result<(), PaginationError> {
    if text.len() > MAX_CURSOR_BYTES {
        return Err(PaginationError::invalid(format!(
            "the cursor is longer than {MAX_CURSOR_BYTES} bytes; check `cursor_path`"
        )));
    }
    Ok(())
}

/// What the source says about a next page; `None` when it says nothing.
fn flag(path: Option<&Path>, seen: &PageSeen<'_>) -> Option<bool> {
    Some(match path?.get(seen.envelope)? {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.as_str(), "" | "0" | "false"),
        Value::Array(_) | Value::Object(_) => true,
    })
}

/// A total that the source gives, as number or text; `None` when it gives none.
fn count(path: Option<&Path>, seen: &PageSeen<'_>) -> Result<Option<u64>, PaginationError> {
    let Some((path, value)) = path.and_then(|path| Some((path, path.get(seen.envelope)?))) else {
        return Ok(None);
    };
    if value.is_null() {
        return Ok(None);
    }
    scalar_text(value)
        .and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            PaginationError::invalid(format!(
                "the total at `{}` is no whole number",
                path.as_str()
            ))
        })
}

//! The API that is synced: every answer is rendered before the first request, so that serving costs little beside
//! what is measured (see [`serve`] for what it serves).

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    net::{TcpListener, TcpStream},
};

use anyhow::Result;
use syncline_tests::http::{Request, response, serve_forever};

pub const ITEM_PAGES: usize = 1_000;
pub const PARENT_PAGES: usize = 20;
pub const RECORDS_PER_PAGE: usize = 100;
pub const PARENTS: usize = PARENT_PAGES * RECORDS_PER_PAGE;
pub const CHILDREN_PER_PARENT: usize = 10;
pub const BIG_RECORDS: usize = 200_000;

/// The rendered responses, whole.
struct Responses {
    /// By page, the first is 1; the one after the last is an empty page.
    items: Vec<Vec<u8>>,
    parents: Vec<Vec<u8>>,
    /// By the parent's id.
    children: Vec<Vec<u8>>,
    big: Vec<u8>,
    not_found: Vec<u8>,
}

/// Serves until the process ends, on a port of the system's choice, which is printed:
///
/// | path | answer |
/// |---|---|
/// | `/items?page=N` | 1,000 pages of 100 records, about 370 bytes each |
/// | `/parents?page=N` | 20 pages of 100 small records |
/// | `/parents/{id}/children` | 10 records with their `parent_id` |
/// | `/big` | 200,000 records in one page, 77 MB |
///
/// Lists are `{"data": […], "has_more": bool}`.
pub fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let responses = Responses::render();
    println!("{}", listener.local_addr()?);
    serve_forever(&listener, move |request, stream| {
        responses.answer(&request, stream)
    })?;
    Ok(())
}

impl Responses {
    fn render() -> Self {
        let full_page = |page: usize, record: fn(usize) -> String| {
            (page * RECORDS_PER_PAGE..(page + 1) * RECORDS_PER_PAGE)
                .map(record)
                .collect::<Vec<_>>()
        };
        let pages = |count: usize, record: fn(usize) -> String| {
            let full = (0..count).map(|page| list(&full_page(page, record), page + 1 < count));
            full.chain([list(&[], false)]).collect()
        };
        Self {
            items: pages(ITEM_PAGES, |id| record(id, None)),
            parents: pages(PARENT_PAGES, |id| {
                format!(r#"{{"id":{id},"name":"parent {id}"}}"#)
            }),
            children: (0..PARENTS)
                .map(|parent| {
                    let ids = parent * CHILDREN_PER_PARENT..(parent + 1) * CHILDREN_PER_PARENT;
                    list(
                        &ids.map(|id| record(id, Some(parent))).collect::<Vec<_>>(),
                        false,
                    )
                })
                .collect(),
            big: list(
                &(0..BIG_RECORDS)
                    .map(|id| record(id, None))
                    .collect::<Vec<_>>(),
                false,
            ),
            not_found: response(404, &[], b""),
        }
    }

    fn answer(&self, request: &Request, stream: &mut TcpStream) -> io::Result<()> {
        let page = request
            .query("page")
            .and_then(|page| page.parse().ok())
            .unwrap_or(1_usize)
            .max(1);
        let bytes = match request.path() {
            "/items" => &self.items[page.min(self.items.len()) - 1],
            "/parents" => &self.parents[page.min(self.parents.len()) - 1],
            "/big" => &self.big,
            path => self.children_of(path).unwrap_or(&self.not_found),
        };
        stream.write_all(bytes)
    }

    fn children_of(&self, path: &str) -> Option<&Vec<u8>> {
        let id = path.strip_prefix("/parents/")?.strip_suffix("/children")?;
        self.children.get(id.parse::<usize>().ok()?)
    }
}

/// A list's response.
fn list(records: &[String], has_more: bool) -> Vec<u8> {
    let body = format!(
        r#"{{"data":[{}],"has_more":{has_more}}}"#,
        records.join(",")
    );
    response(
        200,
        &[("content-type", "application/json")],
        body.as_bytes(),
    )
}

/// A record of about 370 bytes, as an order system has them: nested, with text, dates and decimals.
pub fn record(id: usize, parent: Option<usize>) -> String {
    let owner = id % 50;
    let status = if id.is_multiple_of(3) {
        "closed"
    } else {
        "active"
    };
    let (units, cents) = (id * 5 / 4, id * 5 % 4 * 25);
    let mut record = format!(
        concat!(
            r#"{{"id":{id},"name":"record {id}","email":"user{id}@example.com","status":"{status}","amount":{units}.{cents:02},"#,
            r#""created_at":"2024-01-01T00:00:00Z","updated_at":"2024-06-{day:02}T12:00:00Z","tags":["new","paid","gift"],"#,
            r#""owner":{{"id":{owner},"name":"owner {owner}"}},"description":"{description}""#
        ),
        id = id,
        status = status,
        units = units,
        cents = cents,
        day = id % 28 + 1,
        owner = owner,
        description = "a line of text, repeated. ".repeat(4),
    );
    if let Some(parent) = parent {
        // Writing to a string can't fail.
        write!(record, r#","parent_id":{parent}"#).ok();
    }
    record.push('}');
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(response: &[u8]) -> serde_json::Value {
        let start = response
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap()
            + 4;
        serde_json::from_slice(&response[start..]).unwrap()
    }

    #[test]
    fn pages_are_complete_and_say_whether_more_follow() {
        let responses = Responses::render();
        assert_eq!(
            (
                responses.items.len(),
                responses.parents.len(),
                responses.children.len()
            ),
            (1_001, 21, 2_000)
        );
        let last = body(&responses.items[999]);
        assert_eq!(last["data"][99]["id"], 99_999);
        assert_eq!(last["has_more"], false);
        assert_eq!(body(&responses.items[998])["has_more"], true);
        assert_eq!(
            body(&responses.items[1_000])["data"]
                .as_array()
                .unwrap()
                .len(),
            0
        );
        let children = body(responses.children_of("/parents/7/children").unwrap());
        assert_eq!(
            (
                &children["data"][9]["id"],
                &children["data"][9]["parent_id"]
            ),
            (&79.into(), &7.into())
        );
        assert!(responses.children_of("/parents/2000/children").is_none());
        let megabytes = responses.big.len() / 1_000_000;
        assert!((70..=85).contains(&megabytes), "{megabytes} MB");
    }
}

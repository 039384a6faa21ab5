//! Requests pages and splits them, ahead of the commits.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use shared::{
    clock::Timestamp,
    http::{OutboundError, Redirects, Response},
    integration::{
        Cursor, HttpRequest, Method, PageSeen, PaginationError, RequestError,
        errors::{self, Classified, Failure, Secrets},
        records::{RecordSplitter, RecordsError, Rest, SplitLimits},
    },
    store::fetches::{Child, Chunk},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use xxhash_rust::xxh3::Xxh3;

use super::{Fetch, builder::PartBuilder};
use crate::{context::Context, measure};

/// Bytes of records, or of tasks of elements, after which a part is committed; a page may have many.
pub(super) const PART_BYTES: usize = 1024 * 1024;
/// Bytes of a body after which a part's size is looked at, shared out among the dependants of the node: each record makes
/// a child for each of them, and one read of a fast source brings some hundred kilobytes.
const SLICE_BYTES: usize = 8 * 1024;
const LEAST_SLICE_BYTES: usize = 512;
/// Bytes of a body whose records are held at once to be computed over.
const COMPUTED_SLICE_BYTES: usize = 64 * 1024;
/// How long records are computed over (`filter`, `map`) before others get their turn; one evaluation may take longer.
const COMPUTING_TURN: Duration = Duration::from_millis(10);
/// After so long a part is committed however little is in it, so that slow expressions notice that their run has ended.
const PART_TIME: Duration = Duration::from_secs(2);
/// How often a page that was committed in part and then interrupted is begun anew because it has changed meanwhile.
const MAX_RESTARTS: u64 = 3;
/// Bytes of one page's body, decompressed.
const MAX_PAGE_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes of an error's body that are read.
const ERROR_BODY_BYTES: usize = 4 * 1024;
/// Bytes of one record, as it comes and as it is mapped.
pub(super) const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;
const LIMITS: SplitLimits = SplitLimits {
    record_bytes: MAX_RECORD_BYTES,
    envelope_bytes: 1024 * 1024,
    depth: 128,
};

/// What the reader tells the committer.
pub(super) enum Read {
    Part(Part),
    /// Nothing follows.
    Failed {
        failure: Classified,
        requests: u32,
        url: Option<(String, String)>,
    },
}

/// A part of a page, up to a whole one.
pub(super) struct Part {
    pub chunks: Vec<Chunk>,
    pub children: Vec<Child>,
    pub records: u64,
    pub requests: u32,
    pub pages: u32,
    pub next: Next,
    /// Its share of the memory for bodies, given back once it is committed.
    pub permit: Arc<OwnedSemaphorePermit>,
}

/// Where the fetch stands after a part.
pub(super) enum Next {
    Done,
    Page(Cursor),
    /// The next page is read under another claim, perhaps by another process.
    PageElsewhere(Cursor),
    /// In the middle of the page at this cursor.
    SamePage(Option<Cursor>, Progress),
}

/// How far into a page a fetch is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Records read, and their digest.
    pub skip: u64,
    pub digest: u64,
    /// How often the page was begun anew since it had changed.
    pub restarts: u64,
}

enum Stop {
    Failed(Classified),
    /// The page doesn't begin as it did when it was committed in part.
    Changed,
    /// Nobody wants the rest.
    Unwanted,
}

impl From<Failure<'_>> for Stop {
    fn from(failure: Failure<'_>) -> Self {
        Self::Failed(errors::classify(&failure, Timestamp::now()))
    }
}

impl From<OutboundError> for Stop {
    fn from(error: OutboundError) -> Self {
        Failure::Outbound {
            kind: error.kind,
            message: &error.message,
        }
        .into()
    }
}

impl From<RecordsError> for Stop {
    fn from(error: RecordsError) -> Self {
        Failure::Records(&error).into()
    }
}

impl From<RequestError> for Stop {
    fn from(error: RequestError) -> Self {
        Failure::Request(&error).into()
    }
}

impl From<PaginationError> for Stop {
    fn from(error: PaginationError) -> Self {
        Failure::Pagination(&error).into()
    }
}

/// The records of the page being read.
struct Page {
    builder: PartBuilder,
    digest: Xxh3,
    seen: u64,
    /// Records committed before this reading began, and their digest.
    skip: u64,
    skip_digest: u64,
    changed: bool,
    /// When the part at hand was begun.
    since: Instant,
}

/// Where in a fetch a page is, for the parts that are sent of it.
struct Here<'a> {
    at: Option<&'a Cursor>,
    resume: Progress,
    permit: &'a Arc<OwnedSemaphorePermit>,
}

impl Page {
    fn record(&mut self, record: &[u8]) {
        self.seen += 1;
        self.digest.update(record);
        if self.seen > self.skip {
            self.builder.push(record);
        } else if self.seen == self.skip {
            self.changed = self.digest.digest() != self.skip_digest;
        }
    }

    fn progress(&self, restarts: u64) -> Progress {
        Progress {
            skip: self.seen,
            digest: self.digest.digest(),
            restarts,
        }
    }
}

pub(super) struct Reader {
    context: Arc<Context>,
    fetch: Arc<Fetch>,
    parts: mpsc::Sender<Read>,
    requests: u32,
    /// The header that the last request was authorized with.
    authorization: Option<http::HeaderValue>,
    /// Method and URL of the last request, for people.
    url: Option<(String, String)>,
}

impl Reader {
    pub fn new(context: Arc<Context>, fetch: Arc<Fetch>, parts: mpsc::Sender<Read>) -> Self {
        Self {
            context,
            fetch,
            parts,
            requests: 0,
            authorization: None,
            url: None,
        }
    }

    pub async fn run(mut self) {
        let mut failure = match self.read_pages().await {
            Ok(()) | Err(Stop::Unwanted) => return,
            Err(Stop::Failed(failure)) => failure,
            Err(Stop::Changed) => internal("the page changed while it was read again"),
        };
        failure.message = self.secrets().redact(&failure.message);
        let failed = Read::Failed {
            failure,
            requests: self.requests,
            url: self.url.take(),
        };
        // The committer is gone only when the task is over.
        self.parts.send(failed).await.ok();
    }

    async fn read_pages(&mut self) -> Result<(), Stop> {
        let fetch = self.fetch.clone();
        let method = fetch
            .method()
            .map_err(|message| Stop::Failed(internal(&message)))?;
        let mut cursor = fetch.body.cursor.clone();
        let mut resume = Progress {
            skip: fetch.body.skip,
            digest: fetch.body.skip_digest,
            restarts: fetch.body.restarts,
        };
        loop {
            let next = match self.read_page(method, cursor.as_ref(), resume).await {
                Err(Stop::Changed) if resume.restarts >= MAX_RESTARTS => {
                    return Err(Stop::Failed(page_changed()));
                }
                Err(Stop::Changed) => {
                    tracing::info!(run.id = %fetch.run.spec.id, resource = fetch.node().resource,
                        "the page changed since it was committed in part; it is committed anew");
                    let anew = Progress {
                        restarts: resume.restarts + 1,
                        ..Progress::default()
                    };
                    self.read_page(method, cursor.as_ref(), anew).await?
                }
                other => other?,
            };
            let Some(next) = next else { return Ok(()) };
            cursor = Some(next);
            resume = Progress::default();
        }
    }

    /// At a pace each page takes a claim, and with it a place in time; and a process that stops lets others go on.
    fn reads_next_page(&self) -> bool {
        let pace = self.fetch.run.integration.budget().pace;
        pace.is_none() && !self.context.stop.is_cancelled()
    }

    fn request(&self, method: &Method, cursor: &Cursor) -> Result<HttpRequest, RequestError> {
        let fetch = &*self.fetch;
        let node = fetch.node();
        let (args, exact) = (fetch.run.args(), fetch.exact());
        let mut scope = fetch.scope(&args, &exact);
        let given = node.given(&scope, fetch.body.depth)?;
        scope.roots.push(("query", &given.query));
        scope
            .roots
            .push(("credentials", &fetch.account.credentials));
        for (name, value) in [
            ("id", &given.id),
            ("body", &given.body),
            ("path", &given.path),
        ] {
            if let Some(value) = value {
                scope.roots.push((name, value));
            }
        }
        method.request(&scope, cursor)
    }

    /// Reads one page and sends its parts; gives the next page's cursor, if that is read here.
    async fn read_page(
        &mut self,
        method: &Method,
        at: Option<&Cursor>,
        resume: Progress,
    ) -> Result<Option<Cursor>, Stop> {
        let cursor = at.cloned().unwrap_or_else(|| method.first_cursor());
        let request = self.request(method, &cursor)?;
        let url = request.url.clone();
        self.url = Some((request.method.to_string(), request.display_url()));
        self.authorization = request.headers.get(http::header::AUTHORIZATION).cloned();
        self.requests += 1;
        let mut response = self.exchange(request).await?;
        let permit = self.context.body_permit().await;
        let permit = permit.map_err(|error| Stop::Failed(internal(&error.to_string())))?;
        let mut page = Page {
            builder: PartBuilder::new(&self.fetch),
            digest: Xxh3::new(),
            seen: 0,
            skip: resume.skip,
            skip_digest: resume.digest,
            changed: false,
            since: Instant::now(),
        };
        let here = Here {
            at,
            resume,
            permit: &permit,
        };
        let mut splitter = RecordSplitter::new(method.response_path(), LIMITS);
        while let Some(bytes) = response.chunk().await? {
            self.take(&mut splitter, &bytes, &mut page, &here).await?;
        }
        let envelope = loop {
            let mut last = None;
            let rest = splitter.finish(&mut |record| last = Some(record.to_vec()))?;
            if let Some(record) = last {
                self.take_whole(record, &mut page, &here).await?;
            }
            match rest {
                Rest::Envelope(envelope) => break envelope,
                Rest::Held(inner, body) => {
                    splitter = *inner;
                    self.take(&mut splitter, &body, &mut page, &here).await?;
                }
            }
        };
        if page.changed || page.seen < resume.skip {
            return Err(Stop::Changed);
        }
        let seen = PageSeen {
            records: page.seen,
            digest: page.digest.digest(),
            previous_digest: None,
            envelope: &envelope,
            headers: &response.headers,
            url: &url,
        };
        match method.next(&cursor, &seen) {
            Ok(next) => {
                let goes_on = self.reads_next_page();
                let after = match next.clone() {
                    None => Next::Done,
                    Some(next) if goes_on => Next::Page(next),
                    Some(next) => Next::PageElsewhere(next),
                };
                self.send(page.builder.take(), 1, after, &permit).await?;
                Ok(next.filter(|_| goes_on))
            }
            Err(error) => {
                // The page itself is good, unless it is the one before it once more.
                let repeated = page.seen > 0 && cursor.digest == Some(seen.digest);
                if !repeated {
                    self.send_part(&mut page, &here).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Takes bytes of the body into the page, and sends the parts that are full.
    async fn take(
        &mut self,
        splitter: &mut RecordSplitter,
        bytes: &[u8],
        page: &mut Page,
        here: &Here<'_>,
    ) -> Result<(), Stop> {
        let node = self.fetch.node();
        if node.computes() {
            for slice in bytes.chunks(COMPUTED_SLICE_BYTES) {
                let mut waiting = VecDeque::new();
                splitter.push(slice, &mut |record| waiting.push_back(record.to_vec()))?;
                self.compute(page, waiting, here).await?;
            }
            return Ok(());
        }
        let slice_bytes = (SLICE_BYTES / node.children.len().max(1)).max(LEAST_SLICE_BYTES);
        for slice in bytes.chunks(slice_bytes) {
            splitter.push(slice, &mut |record| page.record(record))?;
            if page.changed {
                return Err(Stop::Changed);
            }
            if page.builder.bytes() >= PART_BYTES {
                self.send_part(page, here).await?;
            }
        }
        Ok(())
    }

    /// Takes a record that is the body itself.
    async fn take_whole(
        &mut self,
        record: Vec<u8>,
        page: &mut Page,
        here: &Here<'_>,
    ) -> Result<(), Stop> {
        if self.fetch.node().computes() {
            return self.compute(page, VecDeque::from([record]), here).await;
        }
        page.record(&record);
        Ok(())
    }

    /// Sends what the page has so far; it goes on after that.
    async fn send_part(&mut self, page: &mut Page, here: &Here<'_>) -> Result<(), Stop> {
        let next = Next::SamePage(here.at.cloned(), page.progress(here.resume.restarts));
        self.send(page.builder.take(), 0, next, here.permit).await
    }

    /// Takes records that are computed over into the page, a turn at a time: parts are sent as they are full or old, and
    /// no more records of this process are computed over at once than leave room for other work.
    async fn compute(
        &mut self,
        page: &mut Page,
        mut waiting: VecDeque<Vec<u8>>,
        here: &Here<'_>,
    ) -> Result<(), Stop> {
        while !waiting.is_empty() {
            let turn = self.context.computing_permit().await;
            let turn = turn.map_err(|error| Stop::Failed(internal(&error.to_string())))?;
            off_the_runtime(|| {
                let began = Instant::now();
                while let Some(record) = waiting.pop_front() {
                    page.record(&record);
                    let is_full = page.builder.bytes() >= PART_BYTES;
                    if page.changed || is_full || began.elapsed() >= COMPUTING_TURN {
                        break;
                    }
                }
            });
            drop(turn);
            if page.changed {
                return Err(Stop::Changed);
            }
            let is_new = page.seen > page.skip;
            let is_due = page.builder.bytes() >= PART_BYTES || page.since.elapsed() >= PART_TIME;
            if is_new && is_due {
                self.send_part(page, here).await?;
                page.since = Instant::now();
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn secrets(&self) -> Secrets {
        let authorization = self.authorization.as_ref();
        let authorization = authorization.and_then(|value| value.to_str().ok());
        Secrets::of(&self.fetch.account.credentials, authorization)
    }

    async fn exchange(&self, request: HttpRequest) -> Result<Response, Stop> {
        let began = Instant::now();
        let sent = self
            .context
            .outbound
            .send(request, Redirects::SameOrigin, MAX_PAGE_BYTES);
        let sent = sent.await;
        // Up to the head of the answer; the body is read at the pace of the commits.
        measure::requested(began.elapsed());
        let mut response = sent?;
        if response.status.is_success() {
            return Ok(response);
        }
        // The status says what went wrong; a body that can't be read adds nothing to it.
        let body = response.prefix(ERROR_BODY_BYTES).await.unwrap_or_default();
        let body = self.secrets().redact(&String::from_utf8_lossy(&body));
        let (status, headers) = (response.status, &response.headers);
        Err(Failure::Status {
            status,
            headers,
            body_prefix: body.as_bytes(),
        }
        .into())
    }

    async fn send(
        &mut self,
        built: super::builder::Built,
        pages: u32,
        next: Next,
        permit: &Arc<OwnedSemaphorePermit>,
    ) -> Result<(), Stop> {
        let requests = std::mem::take(&mut self.requests);
        let part = Part {
            chunks: built.chunks,
            children: built.children,
            records: built.records,
            requests,
            pages,
            next,
            permit: permit.clone(),
        };
        self.parts
            .send(Read::Part(part))
            .await
            .map_err(|_| Stop::Unwanted)
    }
}

/// Runs what may block its thread so that other tasks of the thread go on elsewhere.
fn off_the_runtime(work: impl FnOnce()) {
    let flavor = tokio::runtime::Handle::current().runtime_flavor();
    if flavor == tokio::runtime::RuntimeFlavor::MultiThread {
        tokio::task::block_in_place(work);
    } else {
        work();
    }
}

/// Another attempt would send the records of this page once more, and end the same way.
fn page_changed() -> Classified {
    Classified {
        verdict: errors::Verdict::Fail,
        code: "page_changed",
        status: None,
        message: format!(
            "the page was interrupted and had changed each of the {} times it was read again; ask for smaller pages, or for a stable order",
            MAX_RESTARTS + 1
        ),
    }
}

/// A failure of ours, not of the source: it is tried again.
pub(super) fn internal(message: &str) -> Classified {
    Classified {
        verdict: errors::Verdict::Retry { after: None },
        code: errors::INTERNAL,
        status: None,
        message: message.to_owned(),
    }
}

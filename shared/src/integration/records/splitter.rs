//! The push parser: bytes in, the raw bytes of each record out.

use serde_json::Value;

use super::lexer::{Container, Event, Fault, Lexer};
use super::path::ResponsePath;
use super::place::{Place, Tracker};
use super::{ENVELOPE_DEPTH, ROOT_OBJECT_BYTES, RecordsError, SHOWN_BYTES, SplitLimits};
use crate::fault::kind_of;

/// Names listed in a message.
const NAMES_SHOWN: usize = 10;

/// The UTF-8 byte order mark, which some sources send although JSON forbids it (RFC 8259 section 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Push parser: bytes in, the raw bytes of each record out.
#[derive(Debug)]
pub struct RecordSplitter {
    path: Option<ResponsePath>,
    limits: SplitLimits,
    lexer: Lexer,
    tracker: Tracker,
    mode: Mode,
    /// The document without its records, so far.
    envelope: Vec<u8>,
    /// The incomplete record, when it began in an earlier piece.
    partial: Vec<u8>,
    /// The key being read, if it matters, as far as earlier pieces had it; without its opening quote.
    key: Option<Vec<u8>>,
    /// Names of the root object's array members, where no path is given; no more than a message shows.
    arrays: Vec<String>,
    /// What of a byte order mark may still come; empty once decided.
    mark_left: &'static [u8],
    /// Bytes of earlier pieces, for positions in messages.
    read: u64,
    /// The first [`SHOWN_BYTES`] of the body.
    head: Vec<u8>,
}

/// What the bytes at the current position belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Envelope,
    /// The commas and spaces of an array of records.
    Between,
    Record {
        /// Open containers around the record.
        depth: usize,
        /// The record is the value at the path itself, not an element of it.
        single: bool,
    },
    /// A root object that is held whole, since no path is given.
    Whole,
}

/// What there is of a body at its end.
#[derive(Debug)]
pub enum Rest {
    /// All records came out; the document without them.
    Envelope(Value),
    /// A root object that had to be held whole, since no path is given. Its records come out of this splitter, of which it
    /// is the body; pushed in pieces, so that however many they are they come a few at a time.
    Held(Box<RecordSplitter>, Vec<u8>),
}

impl RecordSplitter {
    #[must_use]
    pub fn new(path: Option<&ResponsePath>, limits: SplitLimits) -> Self {
        Self {
            path: path.cloned(),
            limits,
            lexer: Lexer::new(limits.depth),
            tracker: Tracker::new(path),
            mode: Mode::Envelope,
            envelope: Vec::new(),
            partial: Vec::new(),
            key: None,
            arrays: Vec::new(),
            mark_left: BYTE_ORDER_MARK,
            read: 0,
            head: Vec::new(),
        }
    }

    /// Calls `record` with the exact bytes of each record completed by `bytes`.
    ///
    /// # Errors
    /// As soon as the body can't be JSON or a limit is passed. The splitter is of no use afterwards.
    pub fn push(
        &mut self,
        bytes: &[u8],
        record: &mut dyn FnMut(&[u8]),
    ) -> Result<(), RecordsError> {
        let room = SHOWN_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        let bytes = self.without_mark(bytes)?;

        let mut position = 0;
        // Bytes from here on belong to the envelope or to the record in work and are not kept yet.
        let mut from = 0;
        let mut key_from = 0;
        loop {
            let event = match self.lexer.step(bytes, &mut position) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(fault) => return Err(self.not_json(fault, position)),
            };
            match (self.mode, event) {
                (Mode::Record { depth, single }, Event::Close | Event::ScalarEnd) => {
                    if self.lexer.depth() == depth {
                        self.emit(&bytes[from..position], record)?;
                        from = position;
                        self.mode = if single {
                            Mode::Envelope
                        } else {
                            Mode::Between
                        };
                    }
                }
                (Mode::Between, Event::Open(_)) => {
                    from = position - 1;
                    self.mode = Mode::Record {
                        depth: self.lexer.depth() - 1,
                        single: false,
                    };
                }
                (Mode::Between, Event::ScalarStart(_)) => {
                    from = position - 1;
                    self.mode = Mode::Record {
                        depth: self.lexer.depth(),
                        single: false,
                    };
                }
                (Mode::Between, Event::Close) => {
                    from = position - 1;
                    self.mode = Mode::Envelope;
                }
                (Mode::Envelope | Mode::Whole, Event::KeyStart)
                    if self.tracker.watches(self.lexer.depth()) =>
                {
                    key_from = position;
                    self.key = Some(Vec::new());
                }
                (Mode::Envelope | Mode::Whole, Event::KeyEnd) => {
                    if let Some(mut key) = self.key.take() {
                        key.extend_from_slice(&bytes[key_from..position - 1]);
                        self.set_key(&key)?;
                        key_from = 0;
                    }
                }
                (Mode::Envelope | Mode::Whole, Event::Close) => {
                    self.tracker.close(self.lexer.depth());
                }
                (Mode::Envelope | Mode::Whole, Event::ScalarStart(first)) => {
                    self.begin_scalar(first)?;
                }
                (Mode::Envelope | Mode::Whole, Event::Open(container)) => {
                    self.begin_container(container, bytes, position, &mut from)?;
                }
                (Mode::Record { .. } | Mode::Between, _)
                | (Mode::Envelope | Mode::Whole, Event::KeyStart | Event::ScalarEnd) => {}
            }
        }
        match self.mode {
            Mode::Envelope | Mode::Whole => {
                self.keep(&bytes[from..])?;
                if let Some(key) = &mut self.key {
                    key.extend_from_slice(&bytes[key_from..]);
                }
            }
            Mode::Between => {}
            Mode::Record { .. } => {
                self.check_record(self.partial.len() + bytes.len() - from)?;
                self.partial.extend_from_slice(&bytes[from..]);
            }
        }
        self.read += bytes.len() as u64;
        Ok(())
    }

    /// The end of the body. May still emit one record: a root object without an array.
    ///
    /// # Errors
    /// When the document is incomplete or nothing was found at the path.
    pub fn finish(self, record: &mut dyn FnMut(&[u8])) -> Result<Rest, RecordsError> {
        if self.lexer.untouched() {
            return Err(invalid(
                "the body is empty: expected a JSON document".to_owned(),
            ));
        }
        if let Err(Fault::Expected(expected)) = self.lexer.finish() {
            return Err(invalid(format!(
                "the body ends after {} bytes, before its JSON does: expected {expected}; it begins {}",
                self.read,
                self.shown()
            )));
        }
        if self.mode == Mode::Whole {
            return self.finish_whole(record);
        }
        let envelope: Value = serde_json::from_slice(&self.envelope).map_err(|error| {
            invalid(format!(
                "the body is not valid JSON beside its records: {error}; it begins {}",
                self.shown()
            ))
        })?;
        if self.tracker.found() {
            return Ok(Rest::Envelope(envelope));
        }
        let body = match &envelope {
            Value::Object(members) => {
                format!("an object with the members {}", listed(members.keys()))
            }
            other => kind_of(other).to_owned(),
        };
        Err(missing(format!(
            "nothing stands at {}: the body is {body}",
            self.path_shown()
        )))
    }

    /// A root object without a path: its only array, or itself.
    fn finish_whole(mut self, record: &mut dyn FnMut(&[u8])) -> Result<Rest, RecordsError> {
        let body = std::mem::take(&mut self.envelope);
        if self.arrays.len() > 1 {
            return Err(RecordsError {
                code: "response_path_ambiguous",
                message: format!(
                    "the body has several arrays, {}: name the one that holds the records in response_path",
                    listed(self.arrays.iter())
                ),
            });
        }
        let Some(name) = self.arrays.pop() else {
            self.emit(body.trim_ascii(), record)?;
            return Ok(Rest::Envelope(Value::Null));
        };
        let inner = Self::new(Some(&ResponsePath::member(name)), self.limits);
        Ok(Rest::Held(Box::new(inner), body))
    }

    /// `bytes` without what belongs to a byte order mark.
    fn without_mark<'b>(&mut self, mut bytes: &'b [u8]) -> Result<&'b [u8], RecordsError> {
        while let (Some(expected), Some(byte)) = (self.mark_left.first(), bytes.first()) {
            if expected != byte {
                if self.mark_left.len() < BYTE_ORDER_MARK.len() {
                    return Err(self.not_json(Fault::Expected("a JSON value"), 0));
                }
                self.mark_left = &[];
                break;
            }
            self.mark_left = &self.mark_left[1..];
            self.read += 1;
            bytes = &bytes[1..];
        }
        Ok(bytes)
    }

    fn set_key(&mut self, raw: &[u8]) -> Result<(), RecordsError> {
        let text = std::str::from_utf8(raw).map_err(|_| self.not_utf8())?;
        if raw.contains(&b'\\') {
            let key: String = serde_json::from_str(&format!("\"{text}\"")).map_err(|error| {
                invalid(format!(
                    "the body has a key that can't be read: {error}; it begins {}",
                    self.shown()
                ))
            })?;
            self.tracker.set_key(&key);
        } else {
            self.tracker.set_key(text);
        }
        Ok(())
    }

    /// A string, number, boolean or null begins outside the records.
    fn begin_scalar(&mut self, first: u8) -> Result<(), RecordsError> {
        let kind = match first {
            b'n' => "null",
            b'"' => "a string",
            b't' | b'f' => "a boolean",
            _ => "a number",
        };
        match self.tracker.begin(self.lexer.depth()) {
            Place::OnTheWay if first == b'n' => self.tracker.null(),
            Place::Target if first != b'n' => {
                return Err(missing(format!(
                    "{kind} stands at {}: expected an array or an object",
                    self.path_shown()
                )));
            }
            _ => {}
        }
        Ok(())
    }

    /// An object or array begins outside the records; `position` is after its bracket.
    fn begin_container(
        &mut self,
        container: Container,
        bytes: &[u8],
        position: usize,
        from: &mut usize,
    ) -> Result<(), RecordsError> {
        let depth = self.lexer.depth() - 1;
        if depth >= ENVELOPE_DEPTH {
            return Err(self.not_json(Fault::TooDeep, position));
        }
        match (self.tracker.begin(depth), container) {
            (Place::Elsewhere, Container::Array) if self.mode == Mode::Whole && depth == 1 => {
                let name = self.tracker.key();
                if self.arrays.len() <= NAMES_SHOWN
                    && !self.arrays.iter().any(|array| array == name)
                {
                    self.arrays.push(name.to_owned());
                }
            }
            (Place::Elsewhere, _) => {}
            (Place::OnTheWay, _) => self.tracker.enter(container),
            (Place::Target, Container::Array) => {
                self.keep(&bytes[*from..position])?;
                self.mode = Mode::Between;
            }
            (Place::Target, Container::Object) if self.path.is_none() => {
                self.tracker.enter(container);
                self.mode = Mode::Whole;
            }
            (Place::Target, Container::Object) => {
                self.keep(&bytes[*from..position - 1])?;
                self.keep(b"null")?;
                *from = position - 1;
                self.mode = Mode::Record {
                    depth,
                    single: true,
                };
            }
        }
        Ok(())
    }

    /// Hands out the record that ends with `tail`.
    #[inline]
    fn emit(&mut self, tail: &[u8], record: &mut dyn FnMut(&[u8])) -> Result<(), RecordsError> {
        self.check_record(self.partial.len() + tail.len())?;
        if self.partial.is_empty() {
            std::str::from_utf8(tail).map_err(|_| self.not_utf8())?;
            record(tail);
        } else {
            self.partial.extend_from_slice(tail);
            std::str::from_utf8(&self.partial).map_err(|_| self.not_utf8())?;
            record(&self.partial);
            self.partial.clear();
        }
        Ok(())
    }

    fn check_record(&self, bytes: usize) -> Result<(), RecordsError> {
        if bytes <= self.limits.record_bytes {
            return Ok(());
        }
        Err(RecordsError {
            code: "record_too_large",
            message: format!(
                "a record is larger than {} bytes: ask the source for fewer fields, or check that {} leads to the records",
                self.limits.record_bytes,
                self.path_shown()
            ),
        })
    }

    /// Adds to the envelope.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), RecordsError> {
        let whole = self.mode == Mode::Whole;
        let limit = if whole {
            ROOT_OBJECT_BYTES
        } else {
            self.limits.envelope_bytes
        };
        if self.envelope.len() + bytes.len() > limit {
            let message = if whole {
                format!(
                    "the body is an object of more than {limit} bytes: name the array of its records in response_path"
                )
            } else {
                format!(
                    "the body has more than {limit} bytes beside its records: check that {} leads to all of them",
                    self.path_shown()
                )
            };
            return Err(RecordsError {
                code: "envelope_too_large",
                message,
            });
        }
        self.envelope.extend_from_slice(bytes);
        Ok(())
    }

    fn not_json(&self, fault: Fault, position: usize) -> RecordsError {
        let at = self.read + position as u64;
        match fault {
            Fault::Expected(expected) => invalid(format!(
                "the body is not valid JSON at byte {at}: expected {expected}; it begins {}",
                self.shown()
            )),
            Fault::TooDeep => RecordsError {
                code: "too_deep",
                message: format!(
                    "the body nests deeper than {} levels at byte {at}",
                    if matches!(self.mode, Mode::Envelope | Mode::Whole) {
                        self.limits.depth.min(ENVELOPE_DEPTH)
                    } else {
                        self.limits.depth
                    }
                ),
            },
        }
    }

    fn not_utf8(&self) -> RecordsError {
        invalid(format!(
            "the body is not valid JSON: a record or key is not UTF-8; it begins {}",
            self.shown()
        ))
    }

    /// The start of the body, for messages.
    fn shown(&self) -> String {
        format!("{:?}", String::from_utf8_lossy(&self.head))
    }

    fn path_shown(&self) -> String {
        match &self.path {
            Some(path) => format!("response_path `{path}`"),
            None => "the root".to_owned(),
        }
    }
}

fn invalid(message: String) -> RecordsError {
    RecordsError {
        code: "invalid_body",
        message,
    }
}

fn missing(message: String) -> RecordsError {
    RecordsError {
        code: "response_path_missing",
        message,
    }
}

/// `a, b, c`, cut after [`NAMES_SHOWN`].
fn listed<'n>(names: impl ExactSizeIterator<Item = &'n String>) -> String {
    let more = names.len() > NAMES_SHOWN;
    let mut text = names
        .take(NAMES_SHOWN)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if more {
        text.push_str(", …");
    }
    if text.is_empty() {
        "(none)".to_owned()
    } else {
        text
    }
}

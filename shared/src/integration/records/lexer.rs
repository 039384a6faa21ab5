//! A strict JSON lexer (RFC 8259) that can be stopped and resumed at any byte.
//!
//! It checks the grammar and keeps only the kinds of the open containers, so its
//! memory is one byte a level. Whether text is UTF-8 is for the caller to check,
//! who has whole values in hand.

/// What the lexer has just passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// `{` or `[` was consumed; it is the innermost container now.
    Open(Container),
    /// The innermost container was closed and is gone from the stack.
    Close,
    /// The opening quote of a key was consumed.
    KeyStart,
    /// The closing quote of a key was consumed.
    KeyEnd,
    /// The first byte of a string, a number, `true`, `false` or `null` was consumed.
    ScalarStart(u8),
    /// That value ends before the current position.
    ScalarEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Object,
    Array,
}

/// Why the bytes cannot be JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// What would have been right at this place.
    Expected(&'static str),
    /// More containers are open than allowed.
    TooDeep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value must begin.
    Value,
    /// After `[`: a value or `]`.
    FirstElement,
    /// After `{`: a key or `}`.
    FirstKey,
    /// After a comma in an object: a key.
    Key,
    Colon,
    /// After a value inside a container: a comma or the end of the container.
    AfterValue,
    /// The root value is complete.
    Done,
    Text {
        key: bool,
    },
    Escape {
        key: bool,
    },
    /// Inside `\uXXXX`, with this many digits to come.
    Hex {
        key: bool,
        left: u8,
    },
    Number(Number),
    /// Inside `true`, `false` or `null`, with these bytes to come.
    Word(&'static [u8]),
}

/// How far a number has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

#[derive(Debug)]
pub(super) struct Lexer {
    state: State,
    open: Vec<Container>,
    max_depth: usize,
}

impl Lexer {
    pub(super) fn new(max_depth: usize) -> Self {
        Self {
            state: State::Value,
            open: Vec::new(),
            max_depth,
        }
    }

    /// Containers open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// The innermost open container.
    pub(super) fn container(&self) -> Option<Container> {
        self.open.last().copied()
    }

    /// Whether nothing but whitespace was seen.
    pub(super) fn untouched(&self) -> bool {
        self.state == State::Value && self.open.is_empty()
    }

    /// The end of the document.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        let whole_number = self.open.is_empty()
            && matches!(
                self.state,
                State::Number(
                    Number::Zero | Number::Integer | Number::Fraction | Number::ExponentDigits
                )
            );
        if self.state == State::Done || whole_number {
            Ok(())
        } else {
            Err(Fault::Expected(self.expected()))
        }
    }

    /// What may come next, for messages.
    fn expected(&self) -> &'static str {
        match self.state {
            State::Value => "a JSON value",
            State::FirstElement => "a JSON value or `]`",
            State::FirstKey => "a key in quotes or `}`",
            State::Key => "a key in quotes",
            State::Colon => "`:`",
            State::AfterValue => match self.container() {
                Some(Container::Object) => "`,` or `}`",
                _ => "`,` or `]`",
            },
            State::Done => "the end of the body",
            State::Text { .. } => "the rest of a string, control characters escaped",
            State::Escape { .. } => "one of `\"\\/bfnrtu` after a backslash",
            State::Hex { .. } => "four hexadecimal digits after `\\u`",
            State::Number(_) => "a digit",
            State::Word(_) => "`true`, `false` or `null`",
        }
    }

    fn fail<T>(&self) -> Result<T, Fault> {
        Err(Fault::Expected(self.expected()))
    }

    /// Goes on from `*position` to the next event; `None` when the bytes are used up.
    #[inline]
    pub(super) fn step(
        &mut self,
        bytes: &[u8],
        position: &mut usize,
    ) -> Result<Option<Event>, Fault> {
        while let Some(&byte) = bytes.get(*position) {
            let event = match self.state {
                State::Text { key } => {
                    *position = skip_plain(bytes, *position);
                    match bytes.get(*position) {
                        None => return Ok(None),
                        Some(b'"') => {
                            *position += 1;
                            if key {
                                self.state = State::Colon;
                                Some(Event::KeyEnd)
                            } else {
                                self.state = self.after_value();
                                Some(Event::ScalarEnd)
                            }
                        }
                        Some(b'\\') => {
                            *position += 1;
                            self.state = State::Escape { key };
                            None
                        }
                        Some(_) => return self.fail(),
                    }
                }
                State::Number(number) => {
                    let event = self.number(number, bytes, position)?;
                    if event.is_none() {
                        return Ok(None);
                    }
                    event
                }
                _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') && self.between_tokens() => {
                    *position += 1;
                    None
                }
                State::AfterValue => self.after(byte, position)?,
                State::Colon if byte == b':' => {
                    *position += 1;
                    self.state = State::Value;
                    None
                }
                State::Key | State::FirstKey if byte == b'"' => {
                    *position += 1;
                    self.state = State::Text { key: true };
                    Some(Event::KeyStart)
                }
                State::FirstKey if byte == b'}' => Some(self.close(position)),
                State::FirstElement if byte == b']' => Some(self.close(position)),
                State::Value | State::FirstElement => Some(self.value(byte, position)?),
                State::Escape { key } => {
                    self.state = match byte {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                            State::Text { key }
                        }
                        b'u' => State::Hex { key, left: 4 },
                        _ => return self.fail(),
                    };
                    *position += 1;
                    None
                }
                State::Hex { key, left } if byte.is_ascii_hexdigit() => {
                    *position += 1;
                    self.state = if left == 1 {
                        State::Text { key }
                    } else {
                        State::Hex {
                            key,
                            left: left - 1,
                        }
                    };
                    None
                }
                State::Word(rest) if rest.first() == Some(&byte) => {
                    *position += 1;
                    self.word(&rest[1..])
                }
                State::Colon
                | State::Key
                | State::FirstKey
                | State::Hex { .. }
                | State::Word(_)
                | State::Done => return self.fail(),
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn between_tokens(&self) -> bool {
        !matches!(
            self.state,
            State::Escape { .. } | State::Hex { .. } | State::Word(_)
        )
    }

    fn after_value(&self) -> State {
        if self.open.is_empty() {
            State::Done
        } else {
            State::AfterValue
        }
    }

    #[inline]
    fn value(&mut self, byte: u8, position: &mut usize) -> Result<Event, Fault> {
        let (state, event) = match byte {
            b'"' => (State::Text { key: false }, Event::ScalarStart(byte)),
            b'{' => (State::FirstKey, Event::Open(Container::Object)),
            b'[' => (State::FirstElement, Event::Open(Container::Array)),
            b'-' => (State::Number(Number::Minus), Event::ScalarStart(byte)),
            b'0' => (State::Number(Number::Zero), Event::ScalarStart(byte)),
            b'1'..=b'9' => (State::Number(Number::Integer), Event::ScalarStart(byte)),
            b't' => (State::Word(b"rue"), Event::ScalarStart(byte)),
            b'f' => (State::Word(b"alse"), Event::ScalarStart(byte)),
            b'n' => (State::Word(b"ull"), Event::ScalarStart(byte)),
            _ => return self.fail(),
        };
        if let Event::Open(container) = event {
            if self.open.len() >= self.max_depth {
                return Err(Fault::TooDeep);
            }
            self.open.push(container);
        }
        *position += 1;
        self.state = state;
        Ok(event)
    }

    #[inline]
    fn after(&mut self, byte: u8, position: &mut usize) -> Result<Option<Event>, Fault> {
        match (byte, self.container()) {
            (b',', Some(container)) => {
                *position += 1;
                self.state = if container == Container::Object {
                    State::Key
                } else {
                    State::Value
                };
                Ok(None)
            }
            (b'}', Some(Container::Object)) | (b']', Some(Container::Array)) => {
                Ok(Some(self.close(position)))
            }
            _ => self.fail(),
        }
    }

    fn close(&mut self, position: &mut usize) -> Event {
        *position += 1;
        self.open.pop();
        self.state = self.after_value();
        Event::Close
    }

    fn word(&mut self, rest: &'static [u8]) -> Option<Event> {
        if rest.is_empty() {
            self.state = self.after_value();
            Some(Event::ScalarEnd)
        } else {
            self.state = State::Word(rest);
            None
        }
    }

    /// Reads on in a number; its end is known only by the byte after it, which is left alone.
    #[inline]
    fn number(
        &mut self,
        mut number: Number,
        bytes: &[u8],
        position: &mut usize,
    ) -> Result<Option<Event>, Fault> {
        while let Some(&byte) = bytes.get(*position) {
            number = match (number, byte) {
                (Number::Minus, b'0') => Number::Zero,
                (Number::Minus, b'1'..=b'9') | (Number::Integer, b'0'..=b'9') => Number::Integer,
                (Number::Zero | Number::Integer, b'.') => Number::Point,
                (Number::Point | Number::Fraction, b'0'..=b'9') => Number::Fraction,
                (Number::Zero | Number::Integer | Number::Fraction, b'e' | b'E') => {
                    Number::Exponent
                }
                (Number::Exponent, b'+' | b'-') => Number::ExponentSign,
                (Number::Exponent | Number::ExponentSign | Number::ExponentDigits, b'0'..=b'9') => {
                    Number::ExponentDigits
                }
                (Number::Zero | Number::Integer | Number::Fraction | Number::ExponentDigits, _) => {
                    self.state = self.after_value();
                    return Ok(Some(Event::ScalarEnd));
                }
                _ => return self.fail(),
            };
            *position += 1;
        }
        self.state = State::Number(number);
        Ok(None)
    }
}

/// The position of the next quote, backslash or control character at or after `from`; eight bytes at a time.
#[inline]
fn skip_plain(bytes: &[u8], mut from: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // The lowest flagged byte is exact; a borrow can only flag bytes above it wrongly.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    while let Some(chunk) = bytes.get(from..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let hits = below(word, 0x20)
            | below(word ^ (ONES * u64::from(b'"')), 1)
            | below(word ^ (ONES * u64::from(b'\\')), 1);
        if hits != 0 {
            return from + hits.trailing_zeros() as usize / 8;
        }
        from += 8;
    }
    while let Some(&byte) = bytes.get(from) {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            break;
        }
        from += 1;
    }
    from
}

#[cfg(test)]
#[path = "lexer_tests.rs"]
mod tests;

//! `Link` headers, RFC 8288 section 3.

use http::{HeaderMap, header::LINK};

use super::PaginationError;

/// One link of a header.
#[derive(Debug, Default, PartialEq, Eq)]
struct Link {
    target: String,
    /// Relation types, lower case.
    relations: Vec<String>,
    /// The link is about another resource than the one requested.
    anchored: bool,
}

/// The target of the first link whose relation is `next`, over all `Link` headers.
pub(super) fn next(headers: &HeaderMap) -> Result<Option<String>, PaginationError> {
    for header in headers.get_all(LINK) {
        let text = std::str::from_utf8(header.as_bytes())
            .map_err(|_| PaginationError::invalid("the `Link` header is not UTF-8"))?;
        let next = parse(text).into_iter().find(|link| {
            !link.anchored && link.relations.iter().any(|relation| relation == "next")
        });
        if let Some(link) = next {
            return Ok(Some(link.target));
        }
    }
    Ok(None)
}

/// The links of one header value. What can't be read is skipped up to the next comma.
fn parse(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    let mut input = Input { rest: text };
    loop {
        input.skip(|character| character.is_whitespace() || character == ',');
        if input.rest.is_empty() {
            return links;
        }
        match input.link() {
            Some(link) => links.push(link),
            None => {
                input.take_while(|character| character != ',');
            }
        }
    }
}

struct Input<'a> {
    rest: &'a str,
}

impl<'a> Input<'a> {
    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(what);
    }

    fn take_while(&mut self, what: impl Fn(char) -> bool) -> &'a str {
        let end = self
            .rest
            .find(|character| !what(character))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn eat(&mut self, character: char) -> bool {
        let eaten = self.rest.strip_prefix(character);
        self.rest = eaten.unwrap_or(self.rest);
        eaten.is_some()
    }

    /// `<target>` and its parameters.
    fn link(&mut self) -> Option<Link> {
        if !self.eat('<') {
            return None;
        }
        let (target, rest) = self.rest.split_once('>')?;
        self.rest = rest;
        let mut link = Link {
            target: target.trim().to_owned(),
            ..Link::default()
        };
        let mut relation_seen = false;
        loop {
            self.skip(char::is_whitespace);
            if !self.eat(';') {
                return Some(link);
            }
            self.skip(char::is_whitespace);
            let name = self
                .take_while(|character| {
                    !matches!(character, '=' | ';' | ',') && !character.is_whitespace()
                })
                .to_ascii_lowercase();
            self.skip(char::is_whitespace);
            let value = if self.eat('=') {
                self.skip(char::is_whitespace);
                self.value()
            } else {
                String::new()
            };
            match name.as_str() {
                // Only the first `rel` counts.
                "rel" if !relation_seen => {
                    relation_seen = true;
                    link.relations = value
                        .split_whitespace()
                        .map(str::to_ascii_lowercase)
                        .collect();
                }
                "anchor" => link.anchored = true,
                _ => {}
            }
        }
    }

    /// A token, or a quoted string with `\` escapes.
    fn value(&mut self) -> String {
        if !self.eat('"') {
            return self
                .take_while(|character| {
                    !matches!(character, ';' | ',') && !character.is_whitespace()
                })
                .to_owned();
        }
        let mut value = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return value;
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        self.rest = "";
        value
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn next_of(headers: &[&str]) -> Option<String> {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(
                LINK,
                HeaderValue::from_bytes(value.as_bytes()).expect("a header"),
            );
        }
        next(&map).expect("readable")
    }

    #[test]
    fn the_next_link_is_found_in_any_form_the_rfc_allows() {
        for (headers, expected) in [
            (
                &["<https://a.test/?page=2>; rel=\"next\""][..],
                Some("https://a.test/?page=2"),
            ),
            (
                &["<https://a.test/?page=1>; rel=\"prev\", <https://a.test/?page=3>; rel=\"next\""],
                Some("https://a.test/?page=3"),
            ),
            (&["</orders?page=2>;rel=next"], Some("/orders?page=2")),
            (&["<?page=2>; REL=\"NEXT last\""], Some("?page=2")),
            (
                &[
                    "<a?b=1,2;3>; title=\"one, two; <x>; rel=\\\"next\\\"\"; rel=\"last\", <b>; rel=\"last next\"",
                ],
                Some("b"),
            ),
            (&["<a>; rel=prev", "<b> ; rel = next"], Some("b")),
            (&["<a>; rel=\"last\"; rel=\"next\""], None),
            (&["<a>; rel=\"next\"; anchor=\"/other\""], None),
            (&["<a>; title=\"next\""], None),
            (&["<a>; rel=\"nextish\""], None),
            (&["rubbish, <b>; rel=next"], Some("b")),
            (&["<unclosed; rel=next"], None),
            (&["<a>; rel=\"unclosed"], None),
            (
                &["<a>; title*=UTF-8''n%c3%a4chste; rel=next; hreflang=de"],
                Some("a"),
            ),
            (&[",, <a> ; rel=next ,"], Some("a")),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(next_of(headers).as_deref(), expected, "{headers:?}");
        }
    }

    #[test]
    fn no_header_makes_the_reader_of_links_loop_or_panic() {
        let pieces = ["<", ">", ";", ",", "rel", "=", "\"", "\\", "next", " ", "é"];
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    for d in pieces {
                        parse(&format!("{a}{b}{c}{d}"));
                        parse(&format!("<x>;{a}{b}{c}{d}"));
                    }
                }
            }
        }
    }
}

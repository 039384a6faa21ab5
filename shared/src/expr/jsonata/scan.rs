//! Where the tokens of an expression are, since the engine's faults don't say. Knows no more of
//! the language than that.

/// One token, in characters from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub start: usize,
    pub end: usize,
    /// A string, name, regular expression or comment that the source ends in.
    pub open: bool,
}

/// The tokens of `source`; comments and blanks are none.
pub(super) fn tokens(source: &[char]) -> Vec<Token> {
    const PAIRS: [&str; 12] = [
        "..", ":=", "!=", ">=", "<=", "~>", "**", "??", "?:", "&&", "||", "==",
    ];
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&first) = source.get(at) {
        if first.is_whitespace() {
            at += 1;
            continue;
        }
        let next = source.get(at + 1).copied();
        let (end, open, is_token) = if first == '/' && next == Some('*') {
            match (at + 2..source.len().saturating_sub(1))
                .find(|&i| source[i] == '*' && source[i + 1] == '/')
            {
                Some(end) => (end + 2, false, false),
                None => (source.len(), true, true),
            }
        } else if matches!(first, '"' | '\'') {
            let (end, open) = closing(source, at, first, true);
            (end, open, true)
        } else if first == '`' {
            let (end, open) = closing(source, at, first, false);
            (end, open, true)
        } else if first == '/' && opens_pattern(source, &tokens) {
            let (end, open) = closing(source, at, first, true);
            (end, open, true)
        } else if first.is_ascii_digit() {
            (number_end(source, at), false, true)
        } else if is_name(first) {
            (name_end(source, at), false, true)
        } else {
            let pair =
                next.is_some_and(|next| PAIRS.iter().any(|pair| pair.chars().eq([first, next])));
            (at + if pair { 2 } else { 1 }, false, true)
        };
        if is_token {
            tokens.push(Token {
                start: at,
                end,
                open,
            });
        }
        at = end;
    }
    tokens
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

fn name_end(source: &[char], start: usize) -> usize {
    (start..source.len())
        .find(|&i| !is_name(source[i]))
        .unwrap_or(source.len())
}

fn number_end(source: &[char], start: usize) -> usize {
    let digits = |from: usize| {
        (from..source.len())
            .find(|&i| !source[i].is_ascii_digit())
            .unwrap_or(source.len())
    };
    let is_digit = |i: usize| source.get(i).is_some_and(char::is_ascii_digit);
    let mut end = digits(start);
    if source.get(end) == Some(&'.') && is_digit(end + 1) {
        end = digits(end + 1);
    }
    if matches!(source.get(end), Some('e' | 'E')) {
        let sign = usize::from(matches!(source.get(end + 1), Some('+' | '-')));
        if is_digit(end + 1 + sign) {
            end = digits(end + 1 + sign);
        }
    }
    end
}

/// The end of what is closed by the character that opens it, and whether that is missing.
fn closing(source: &[char], start: usize, quote: char, escapes: bool) -> (usize, bool) {
    let mut at = start + 1;
    while let Some(&letter) = source.get(at) {
        if letter == quote {
            return (at + 1, false);
        }
        at += if escapes && letter == '\\' { 2 } else { 1 };
    }
    (source.len(), true)
}

/// Whether a `/` after `tokens` begins a regular expression, not a division.
fn opens_pattern(source: &[char], tokens: &[Token]) -> bool {
    let Some(last) = tokens.last() else {
        return true;
    };
    let text: String = source[last.start..last.end.min(source.len())]
        .iter()
        .collect();
    matches!(
        text.as_str(),
        "(" | "["
            | "{"
            | ","
            | ";"
            | ":"
            | "="
            | "!="
            | "<"
            | ">"
            | "<="
            | ">="
            | "+"
            | "-"
            | "&"
            | "?"
            | "~>"
            | ":="
            | "??"
            | "?:"
            | "and"
            | "or"
            | "in"
    )
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[test]
    fn strings_patterns_comments_and_numbers_are_one_token_each() {
        let source: Vec<char> =
            "a.`b c`[1..2] ~> $match(/x\\/[a]/i) & \"q\\\"r\" /* c */ / 1.5e-3 'open"
                .chars()
                .collect();
        let found = tokens(&source);
        let texts: Vec<String> = found
            .iter()
            .map(|token| source[token.start..token.end].iter().collect())
            .collect();
        assert_eq!(
            texts,
            [
                "a",
                ".",
                "`b c`",
                "[",
                "1",
                "..",
                "2",
                "]",
                "~>",
                "$match",
                "(",
                "/x\\/[a]/",
                "i",
                ")",
                "&",
                "\"q\\\"r\"",
                "/",
                "1.5e-3",
                "'open"
            ]
        );
        assert!(found.last().is_some_and(|token| token.open));
    }
}

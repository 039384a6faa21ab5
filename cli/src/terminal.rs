//! How output looks: colours where the terminal has them and `NO_COLOR` doesn't
//! forbid them, shortened lines, grouped digits.

use console::{StyledObject, style};

/// Columns that a shortened line has at most.
pub const LINE_WIDTH: usize = 100;

/// A heading.
#[must_use]
pub fn heading(text: &str) -> StyledObject<&str> {
    style(text).bold()
}

/// Something of less weight.
#[must_use]
pub fn faint<T>(text: T) -> StyledObject<T> {
    style(text).dim()
}

/// `✓` or `✗`.
#[must_use]
pub fn mark(holds: bool) -> StyledObject<&'static str> {
    if holds {
        style("✓").green()
    } else {
        style("✗").red().bold()
    }
}

/// `text` on one line of at most `width` characters.
#[must_use]
pub fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 order`, `2 orders`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        grouped(number),
        if number == 1 { "" } else { "s" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_long_lines_shortened() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1000), grouped(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [counted(1, "order"), counted(2000, "order")],
            ["1 order", "2,000 orders"]
        );
        assert_eq!(
            [shorten("größe", 5), shorten("größer", 5)],
            ["größe", "größ…"]
        );
    }
}

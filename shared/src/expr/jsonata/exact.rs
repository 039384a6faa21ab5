//! Which numbers a double may not carry from the source to the output unharmed.

use serde_json::Number;

/// A decimal of so many significant digits is the only one of them near its double.
const SAFE_DIGITS: usize = 15;
/// Powers of ten within which that holds.
const SAFE_EXPONENT: i64 = 300;
/// Up to here every whole number has a double of its own: 2^53, the next one, is also that of 2^53 + 1.
const SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Whether `number` may lose digits on its way through a double or through `$string`, which
/// rounds to 15 digits. Cheap for the usual, short numbers; some that would do are counted in.
pub(super) fn needs_care(number: &Number) -> bool {
    let text = number.as_str();
    let bytes = text.as_bytes();
    let has_exponent = bytes.iter().any(|byte| matches!(byte, b'e' | b'E'));
    if bytes.len() <= SAFE_DIGITS && !has_exponent {
        return false;
    }
    let magnitude = text.trim_start_matches('-');
    if magnitude.bytes().all(|byte| byte.is_ascii_digit()) {
        return !magnitude
            .parse::<u64>()
            .is_ok_and(|integer| integer <= SAFE_INTEGER);
    }
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let leading = digits.iter().take_while(|digit| **digit == b'0').count();
    let trailing = digits
        .iter()
        .rev()
        .take_while(|digit| **digit == b'0')
        .count();
    if leading == digits.len() {
        return false;
    }
    let Ok(exponent) = exponent.parse::<i64>() else {
        return true;
    };
    let reach = i64::try_from(mantissa.len()).unwrap_or(i64::MAX);
    digits.len() - leading - trailing > SAFE_DIGITS
        || exponent.saturating_abs().saturating_add(reach) > SAFE_EXPONENT
}

#[cfg(test)]
mod tests {
    use super::needs_care;

    #[test]
    fn only_numbers_that_a_double_may_change_need_care() {
        for (text, needs) in [
            ("0", false),
            ("-12.5", false),
            ("1234567890.12345", false),
            ("9007199254740991", false),
            ("9007199254740992", true),
            ("9007199254740993", true),
            ("-9007199254740993", true),
            ("0.1", false),
            ("0.1000000000000000000", false),
            ("0.1000000000000000055511151231257827", true),
            ("0.30000000000000004", true),
            ("1e5", false),
            ("1e400", true),
            ("1e-400", true),
            ("1e99999999999999999999", true),
            ("0e999", false),
            ("100000000000000000000", true),
        ] {
            let number = text.parse().expect("a number");
            assert_eq!(needs_care(&number), needs, "{text}");
        }
    }
}

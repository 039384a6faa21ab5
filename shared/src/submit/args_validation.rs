//! `args_validation`: a JSONata expression over `{args}` that may refuse the arguments of a run.
//!
//! Nothing or null lets them pass; an object with a text `message` refuses them with it. What an expression gives besides,
//! and one that fails, refuses them too: a check that doesn't work must not let everything pass.

use serde_json::{Map, Value, json};

use crate::{
    expr::jsonata::Expression,
    fault::{Faults, kind_of},
};

/// Characters of a message at most.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// Checks a job's expression.
pub fn check(source: &str, pointer: &str, faults: &mut Faults) {
    if let Err(fault) = Expression::compile(source) {
        faults.push(pointer, fault.to_string());
    }
}

/// Why the expression refuses the arguments; `None`: it doesn't.
pub fn refusal(source: &str, args: Map<String, Value>) -> Option<String> {
    let expression = match Expression::compile(source) {
        Ok(expression) => expression,
        Err(fault) => return Some(format!("the job's args_validation {fault}")),
    };
    let value = match expression.evaluate(&json!({"args": Value::Object(args)})) {
        Ok(value) => value.unwrap_or_default(),
        Err(error) => return Some(format!("the job's args_validation failed: {error}")),
    };
    match (&value, value.get("message")) {
        (Value::Null, _) => None,
        (_, Some(Value::String(message))) => {
            Some(message.chars().take(MAX_MESSAGE_CHARS).collect())
        }
        _ => Some(format!(
            "the job's args_validation must give null or an object with a text `message`, and gave {}",
            kind_of(&value)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str, args: &Value) -> Option<String> {
        refusal(source, args.as_object().expect("an object").clone())
    }

    #[test]
    fn nothing_and_null_let_pass_and_a_message_refuses() {
        let source = r#"args.from > args.to ? {"message": "`from` is after `to`: " & args.from}"#;
        assert_eq!(refused(source, &json!({"from": 1, "to": 2})), None);
        assert_eq!(refused("null", &json!({})), None);
        let why = refused(source, &json!({"from": 3, "to": 2}));
        assert_eq!(why.as_deref(), Some("`from` is after `to`: 3"));
    }

    #[test]
    fn a_check_that_does_not_work_lets_nothing_pass() {
        for source in ["true", r#"{"mesage": "x"}"#, r#"$number("x")"#, "\"no\""] {
            let why = refused(source, &json!({})).expect(source);
            assert!(why.contains("args_validation"), "{why}");
        }
    }
}

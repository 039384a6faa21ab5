//! JSONata: what a sync job or an integration computes over records and
//! responses (`filter`, `map`, `run_if`, mappings).
//!
//! An [`Expression`] is compiled once, is `Send + Sync` and cheap to clone, and
//! may be evaluated by any number of tasks at once. The engine is the crate
//! `jsonata-core`, of which nothing shows outside this module (`docs/adr/0010-jsonata-core.md`).
//!
//! **Bounds.** An evaluation ends by itself, whatever the expression and the
//! input: [`MAX_TIME`], [`MAX_DEPTH`], [`MAX_SEQUENCE`] are the engine's own,
//! checked between two steps; what a single step may make is bounded by
//! [`MAX_WEIGHT`], for which `rewrite.rs` puts checks into the expression. An
//! evaluation blocks its thread, for up to [`MAX_TIME`] of a processor, and does no I/O; `$eval` is refused.
//!
//! **Numbers stay exact.** The engine computes in doubles. A number of the input that a
//! double may not carry (`exact.rs`) is replaced by a marker while the expression runs and is
//! put back afterwards, so that what is only carried over, compared for equality, or turned
//! into text keeps its digits; where it is computed with, it counts as the nearest double.
//! Literals of the expression are doubles.
//!
//! **Failures.** [`ExpressionFault`] when it is compiled, [`EvaluationError`] when it is
//! evaluated; a panic of the engine becomes either.

mod convert;
mod error;
mod exact;
mod fault;
mod functions;
mod guards;
mod patience;
mod rewrite;
mod scan;
mod session;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorError, EvaluatorOptions};
use jsonata_core::value::JValue;
use serde_json::Value;

pub use error::EvaluationError;
pub use fault::ExpressionFault;

use convert::Restore;
use rewrite::Program;
use session::Session;

/// The longest source of an expression, in bytes.
pub const MAX_SOURCE: usize = 32 * 1024;
/// The processor's time an evaluation may take.
pub const MAX_TIME: Duration = Duration::from_millis(250);
/// How deep evaluation may nest; a call of a function costs about three levels.
pub const MAX_DEPTH: usize = 1_000;
/// Items of a sequence that an expression makes, or of a range.
pub const MAX_SEQUENCE: usize = 100_000;
/// How deep a value may nest: what JSON parsers commonly read, `serde_json` among them.
pub const MAX_NESTING: usize = 127;
/// The weight of the input, of the output, and of what a step makes: the bytes of its strings
/// and keys, and [`NODE_WEIGHT`] for each value in it.
pub const MAX_WEIGHT: usize = 16 * 1024 * 1024;
/// What a value weighs beside its text.
pub const NODE_WEIGHT: usize = 16;

/// A compiled JSONata expression. Clones share it.
#[derive(Clone)]
pub struct Expression(Arc<Compiled>);

struct Compiled {
    source: String,
    parsed: AstNode,
    plain: Program,
    /// Made when the first record comes that has numbers a double can't carry.
    exact: OnceLock<Program>,
}

impl Expression {
    /// Compiles `source`.
    ///
    /// # Errors
    /// The first fault, with its position; it reads well after the name of a field.
    pub fn compile(source: &str) -> Result<Self, ExpressionFault> {
        if source.len() > MAX_SOURCE {
            return Err(ExpressionFault::too_long());
        }
        catch_unwind(|| {
            let parsed = jsonata_core::parser::parse(source)
                .map_err(|error| ExpressionFault::of_parser(source, &error))?;
            let plain = rewrite::program(&parsed, false)
                .map_err(|refused| ExpressionFault::of_refused(source, &refused))?;
            Ok(Self(Arc::new(Compiled {
                source: source.to_owned(),
                parsed,
                plain,
                exact: OnceLock::new(),
            })))
        })
        .unwrap_or_else(|_| Err(ExpressionFault::crashed()))
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Evaluates over `input`; `None` when the result is nothing (JSONata's undefined, or a function).
    ///
    /// Blocks the thread, for [`MAX_TIME`] at most but for what a single step takes; longer where the thread has to wait for
    /// a processor.
    ///
    /// # Errors
    /// What JSONata calls an error, and each bound of this module when it is passed.
    pub fn evaluate(&self, input: &Value) -> Result<Option<Value>, EvaluationError> {
        self.evaluate_within(input, MAX_TIME)
    }

    fn evaluate_within(
        &self,
        input: &Value,
        time: Duration,
    ) -> Result<Option<Value>, EvaluationError> {
        let attempt = |wall| {
            catch_unwind(AssertUnwindSafe(|| self.run(input, wall)))
                .unwrap_or_else(|_| Err("the JSONata engine crashed on it".to_owned()))
        };
        let too_late = |outcome: &Result<_, String>| matches!(outcome, Err(message) if *message == error::too_late());
        patience::patiently(time, patience::computed_by_thread, too_late, attempt)
            .map_err(|message| EvaluationError::new(message, &self.0.source, input))
    }

    /// Whether the result over `input` is true as `$boolean` says: not false, zero, empty, null or
    /// nothing, and of an array any item.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn is_true(&self, input: &Value) -> Result<bool, EvaluationError> {
        Ok(self.evaluate(input)?.is_some_and(|value| truth(&value)))
    }

    fn run(&self, input: &Value, time: Duration) -> Result<Option<Value>, String> {
        let deadline = Instant::now() + time;
        let session = Rc::new(Session::exact());
        let marked = convert::into_engine(input, &session)?;
        if session.has_no_numbers() {
            let session = Rc::new(Session::plain());
            let outcome = run_program(&self.0.plain, &session, &marked, deadline);
            if !session.wants_exact() {
                return convert::from_engine(&outcome.map_err(error::of_engine)?, &Restore::None);
            }
        }
        let program = self.exact_program()?;
        match run_program(program, &session, &marked, deadline) {
            Ok(result) => convert::from_engine(&result, &Restore::Markers(&session)),
            Err(error) if error::is_bound(&error) => Err(error::of_engine(error)),
            // A marker may be where only a number can be, such as behind the signature of a
            // function of the expression: once more with doubles.
            Err(_) => {
                let doubles = convert::doubles(&marked, &session);
                let session_of_doubles = Rc::new(Session::doubles());
                let result = run_program(&self.0.plain, &session_of_doubles, &doubles, deadline)
                    .map_err(error::of_engine)?;
                convert::from_engine(&result, &Restore::Doubles(session.by_double()))
            }
        }
    }

    fn exact_program(&self) -> Result<&Program, String> {
        if let Some(program) = self.0.exact.get() {
            return Ok(program);
        }
        let program = rewrite::program(&self.0.parsed, true).map_err(|refused| refused.message)?;
        Ok(self.0.exact.get_or_init(|| program))
    }
}

fn run_program(
    program: &Program,
    session: &Rc<Session>,
    input: &JValue,
    deadline: Instant,
) -> Result<JValue, EvaluatorError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let options = EvaluatorOptions {
        timeout_ms: Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        max_stack_depth: Some(MAX_DEPTH),
        max_sequence_length: Some(MAX_SEQUENCE),
        ..EvaluatorOptions::default()
    };
    let mut evaluator = Evaluator::with_options(Context::new(), options);
    for (name, function) in &program.functions {
        let (session, function) = (Rc::clone(session), *function);
        evaluator.register_fn(*name, move |arguments: &[JValue]| {
            function(&session, arguments)
        })?;
    }
    evaluator.evaluate(&program.root, input)
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        // Beyond a double's range, and so not zero.
        Value::Number(number) => number.as_f64().is_none_or(|number| number != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(truth),
        Value::Object(fields) => !fields.is_empty(),
    }
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.0.source).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl Eq for Expression {}

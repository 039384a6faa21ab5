//! The actions of a document: `validation`, the check of an account.

use serde_json::Value;

use super::{
    defaults::Defaults,
    method::{Method, Purpose},
    placeholders::Known,
    words::word,
};
use crate::fault::{Faults, Fields, child};

/// Steps of an action at most.
const MAX_STEPS: usize = 10;

/// Reads `config.actions`; the requests of `validation`.
pub(super) fn read_actions(
    actions: &Value,
    pointer: &str,
    defaults: &Defaults,
    known: Known<'_>,
    faults: &mut Faults,
) -> Vec<Method> {
    let mut read = Vec::new();
    let Some(mut actions) = Fields::new(actions, pointer, faults) else {
        return read;
    };
    for later in ["post_install", "refresh_token"] {
        actions.not_supported_yet(later, faults);
    }
    let at = actions.pointer("validation");
    if let Some(validation) = actions.value("validation")
        && let Some(mut validation) = Fields::new(validation, &at, faults)
    {
        let at = validation.pointer("steps");
        validation.required("steps", faults);
        let steps = validation
            .array("steps", faults)
            .map_or(&[][..], Vec::as_slice);
        if steps.len() > MAX_STEPS {
            faults.push(&at, format!("must not hold more than {MAX_STEPS} steps"));
        }
        for (index, step) in steps.iter().take(MAX_STEPS).enumerate() {
            read.extend(read_step(step, &child(&at, index), defaults, known, faults));
        }
        validation.finish(faults);
    }
    actions.finish(faults);
    read
}

fn read_step(
    step: &Value,
    pointer: &str,
    defaults: &Defaults,
    known: Known<'_>,
    faults: &mut Faults,
) -> Option<Method> {
    let mut step = Fields::new(step, pointer, faults)?;
    step.required("type", faults);
    word(
        &mut step,
        "type",
        &[("request", ())],
        &["update_context", "expression"],
        faults,
    );
    let name = step
        .string("name", faults)
        .unwrap_or("validation")
        .to_owned();
    step.not_supported_yet("run_if", faults);
    let at = step.pointer("config");
    let method = step.required("config", faults).and_then(|config| {
        Method::read(&name, config, &at, Purpose::Step, defaults, known, faults)
    });
    step.finish(faults);
    method
}

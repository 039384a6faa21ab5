//! `/webhook`: where events go.
pub mod attempts;
pub mod create;
pub mod dead_letters;
pub mod delete;
pub mod get;
pub mod list;
pub mod redrives;
pub mod rotate_secret;
pub mod test;
pub mod update;
pub mod view;

use shared::{fault::Faults, http::TargetPolicy, model::webhook::WebhookInput};
use url::Url;

/// Adds what the policy of outbound calls says about the target.
fn check_target(input: WebhookInput, policy: &TargetPolicy) -> Result<WebhookInput, Faults> {
    let mut faults = Faults::default();
    match Url::parse(&input.target_url) {
        Ok(url) => {
            if let Err(message) = policy.check_url(&url) {
                faults.push("/target_url", message);
            }
        }
        Err(error) => faults.push("/target_url", format!("is not a URL: {error}")),
    }
    faults.into_result(input)
}

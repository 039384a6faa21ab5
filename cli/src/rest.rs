//! A client of the public REST API, with the curl command that each call stands for.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Method;
use serde_json::Value;
use shared::seal::Secret;

/// One call, from connecting to the end of its answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bodies up to this many characters are shown on one line.
const ONE_LINE: usize = 80;

/// One call of the API.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    /// After `/api/v1/ipaas`.
    path: String,
    body: Option<Value>,
}

impl Call {
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: None,
        }
    }

    #[must_use]
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            body: Some(body),
        }
    }

    /// The same as a curl command, for a shell that has `SYNCLINE_URL` and `SYNCLINE_TOKEN`.
    #[must_use]
    pub fn curl(&self) -> String {
        let mut command = format!(
            "curl -sS \"$SYNCLINE_URL/api/v1/ipaas{}\" -H \"Authorization: Bearer $SYNCLINE_TOKEN\"",
            self.path
        );
        if let Some(body) = &self.body {
            let mut text = body.to_string();
            if text.len() > ONE_LINE {
                text = layout(body);
            }
            command.push_str(" \\\n  -H 'Content-Type: application/json' -d '");
            command.push_str(&text.replace('\'', r"'\''"));
            command.push('\'');
        }
        command
    }
}

/// One line for each field of an object, and for each element of an array in it.
fn layout(body: &Value) -> String {
    let Value::Object(fields) = body else {
        return body.to_string();
    };
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| match value {
            Value::Array(elements) if elements.iter().any(Value::is_object) => {
                let elements: Vec<_> = elements
                    .iter()
                    .map(|element| format!("      {element}"))
                    .collect();
                format!(
                    "{}: [\n{}]",
                    Value::from(name.as_str()),
                    elements.join(",\n")
                )
            }
            _ => format!("{}: {value}", Value::from(name.as_str())),
        })
        .collect();
    format!("{{\n    {}}}", fields.join(",\n    "))
}

/// A client of one environment.
pub struct Rest {
    http: reqwest::Client,
    base_url: String,
    token: Secret,
}

impl Rest {
    /// # Errors
    /// When the HTTP client can't be made.
    pub fn new(base_url: &str, token: Secret) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(CALL_TIMEOUT)
            .build()?;
        Ok(Self {
            http,
            base_url: format!("{base_url}/api/v1/ipaas"),
            token,
        })
    }

    /// The answer's body.
    ///
    /// # Errors
    /// No answer, or an error answer with what the API said.
    pub async fn send(&self, call: &Call) -> anyhow::Result<Value> {
        let title = format!("{} {}", call.method, call.path);
        let mut request = self
            .http
            .request(
                call.method.clone(),
                format!("{}{}", self.base_url, call.path),
            )
            .bearer_auth(self.token.expose());
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let answer = request
            .send()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| title.clone())?;
        let status = answer.status();
        let text = answer
            .text()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| title.clone())?;
        if !status.is_success() {
            bail!("{title} was answered {status}: {}", explain(&text));
        }
        serde_json::from_str(&text).with_context(|| format!("{title} was answered without JSON"))
    }
}

/// An error answer as one line; what isn't one, as it is.
fn explain(text: &str) -> String {
    let Ok(body) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    let Some(message) = body["error"]["message"].as_str() else {
        return text.to_owned();
    };
    let details = body["error"]["details"].as_array().into_iter().flatten();
    let details: Vec<_> = details
        .map(|fault| {
            let text = |name: &str| fault[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}", text("pointer"), text("message"))
        })
        .collect();
    if details.is_empty() {
        message.to_owned()
    } else {
        format!("{message} ({})", details.join("; "))
    }
}

/// The text at `name` of an answer.
///
/// # Errors
/// When the answer has none.
pub fn text<'v>(answer: &'v Value, name: &str) -> anyhow::Result<&'v str> {
    answer[name]
        .as_str()
        .with_context(|| format!("an answer lacks `{name}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_shown_as_a_curl_command_that_a_shell_reads_back() {
        assert_eq!(
            Call::get("/webhook?limit=1").curl(),
            "curl -sS \"$SYNCLINE_URL/api/v1/ipaas/webhook?limit=1\" -H \"Authorization: Bearer $SYNCLINE_TOKEN\""
        );
        let body = json!({"label": "it's", "resources": [{"resource": "wms/orders", "method": "list"}, {"a": 1}], "long": "x".repeat(80)});
        let curl = Call::post("/sync-job", body.clone()).curl();
        let program = format!("curl() {{ printf '%s' \"${{@: -1}}\"; }}\n{curl}");
        let output = std::process::Command::new("bash")
            .args(["-c", &program])
            .output()
            .expect("bash");
        let given: Value = serde_json::from_slice(&output.stdout).expect("the body as JSON");
        assert_eq!(given, body);
        assert_eq!(curl.lines().count(), 7, "{curl}");
    }

    #[test]
    fn an_error_answer_is_explained_on_one_line() {
        let body = json!({"error": {"code": "validation_failed", "message": "mend it",
                                    "details": [{"pointer": "/a", "message": "is required"}]}});
        assert_eq!(explain(&body.to_string()), "mend it (/a is required)");
        assert_eq!(explain("<html>"), "<html>");
    }
}

//! Records that a receiver names as failed in an answer that accepts the rest:
//! `{"failed": [{"seq": 8, "reason": "…"}]}`.

use std::collections::BTreeMap;

use serde_json::Value;
use shared::{
    delivery::{ANSWER_BYTES, Attempt, Failed},
    http::OutboundErrorKind,
    model::event::{self, Batch},
};

/// Characters of a reason that are kept.
const MAX_REASON: usize = 500;
const NO_REASON: &str = "the receiver refused the record";

/// A record that the receiver did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tasks) struct Refusal {
    pub seq: u64,
    pub reason: String,
}

/// Takes what an accepting answer refuses out of it. One whose list of refused records broke off makes the attempt a failure.
pub(in crate::tasks) fn take_refused(attempt: &mut Attempt, batch: &Batch) -> Vec<Refusal> {
    let Ok(answered) = &attempt.result else {
        return Vec::new();
    };
    if !answered.status.is_success() || batch.event_type != event::RECORD {
        return Vec::new();
    }
    match refusals(&answered.body, batch) {
        Refusals::Of(refused) => refused,
        Refusals::CutOff => {
            let status = answered.status;
            attempt.result = Err(Failed {
                kind: OutboundErrorKind::Protocol,
                status: Some(status),
                message: format!(
                    "the receiver answered {status}, but its list of failed records goes on beyond the {ANSWER_BYTES} bytes that are read"
                ),
            });
            Vec::new()
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Refusals {
    /// In the order of `seq`; those that are not in the batch are left out.
    Of(Vec<Refusal>),
    /// The answer names failed records and was longer than what is read of it.
    CutOff,
}

/// Reads the answer to a batch of records. An answer of any other form refuses nothing.
fn refusals(answer: &[u8], batch: &Batch) -> Refusals {
    let text = String::from_utf8_lossy(answer);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let failed = match serde_json::from_str::<Value>(text) {
        Ok(mut whole) => whole.get_mut("failed").map(Value::take),
        Err(_) if answer.len() >= ANSWER_BYTES && text.starts_with('{') => {
            match failed_within(text) {
                Ok(failed) => failed,
                Err(CutOff) => return Refusals::CutOff,
            }
        }
        Err(_) => None,
    };
    let end = batch.first_seq + batch.records;
    let mut refused = BTreeMap::new();
    let mut nameless = 0;
    for failed in failed
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let Some(seq) = failed.get("seq").and_then(whole_number) else {
            nameless += 1;
            continue;
        };
        if (batch.first_seq..end).contains(&seq) {
            let reason = failed.get("reason").and_then(Value::as_str);
            let reason = reason.filter(|reason| !reason.is_empty());
            let reason = reason.unwrap_or(NO_REASON).chars().take(MAX_REASON);
            refused.entry(seq).or_insert_with(|| reason.collect());
        }
    }
    if nameless > 0 {
        tracing::warn!(event.id = %batch.event, records = nameless, "failed records that the receiver names have no `seq`; they count as accepted");
    }
    let refused = refused.into_iter();
    Refusals::Of(
        refused
            .map(|(seq, reason)| Refusal { seq, reason })
            .collect(),
    )
}

struct CutOff;

/// The list of failed records in the part that was read of an answer, if it begins there.
fn failed_within(text: &str) -> Result<Option<Value>, CutOff> {
    const NAME: &str = "\"failed\"";
    let Some(at) = text.find(NAME) else {
        return Ok(None);
    };
    let Some(value) = text[at + NAME.len()..].trim_start().strip_prefix(':') else {
        return Ok(None);
    };
    if !value.trim_start().starts_with('[') {
        return Ok(None);
    }
    match serde_json::Deserializer::from_str(value).into_iter().next() {
        Some(Ok(failed)) => Ok(Some(failed)),
        _ => Err(CutOff),
    }
}

/// Also one that is written as text or with decimals that say nothing.
fn whole_number(seq: &Value) -> Option<u64> {
    let text = match seq {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let digits = text.split_once('.').map_or(&*text, |(digits, decimals)| {
        if decimals.bytes().all(|digit| digit == b'0') {
            digits
        } else {
            ""
        }
    });
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::ids::EventId;

    use super::*;

    fn seqs(answer: &[u8]) -> Option<Vec<u64>> {
        let batch = Batch {
            event: EventId::generate(),
            created_ms: 0,
            event_type: event::RECORD.to_owned(),
            first_seq: 10,
            records: 5,
            attempts: 0,
            failing: Duration::ZERO,
            most_bytes: 0,
            chunks: Vec::new(),
        };
        match refusals(answer, &batch) {
            Refusals::Of(refused) => Some(refused.iter().map(|refusal| refusal.seq).collect()),
            Refusals::CutOff => None,
        }
    }

    #[test]
    fn only_records_of_the_batch_can_be_refused_each_once() {
        let answer =
            br#"{"failed": [{"seq": 14}, {"seq": 10, "reason": ""}, {"seq": 10, "reason": "x"},
            {"seq": 9}, {"seq": 15}, {"seq": -1}, {"seq": "11"}, {"seq": 12.0}, {"seq": 13.5}, 12, null]}"#;
        assert_eq!(seqs(answer), Some(vec![10, 11, 12, 14]));
    }

    #[test]
    fn an_answer_of_any_other_form_refuses_nothing() {
        for answer in [
            "",
            "ok",
            "[]",
            r#"{"failed": 3}"#,
            r#"{"failed": null}"#,
            "{\"failed\"",
            "\u{0}",
        ] {
            assert_eq!(seqs(answer.as_bytes()), Some(Vec::new()), "{answer}");
        }
    }

    #[test]
    fn a_byte_that_is_no_text_spoils_only_the_reason_it_is_in() {
        let answer = b"\xef\xbb\xbf{\"failed\": [{\"seq\": 10, \"reason\": \"\xe9\"}]}";
        assert_eq!(seqs(answer), Some(vec![10]));
    }

    #[test]
    fn a_list_of_failed_records_that_was_cut_off_is_not_taken_for_a_success() {
        let mut answer = br#"{"failed": [{"seq": 10, "reason": ""#.to_vec();
        answer.resize(ANSWER_BYTES, b'x');
        assert_eq!(seqs(&answer), None);
        let mut long = br#"{"failed": [{"seq": 11}], "received": ""#.to_vec();
        long.resize(ANSWER_BYTES, b'x');
        assert_eq!(seqs(&long), Some(vec![11]), "the list is there whole");
        let mut page = b"<html>".to_vec();
        page.resize(ANSWER_BYTES, b'x');
        assert_eq!(seqs(&page), Some(Vec::new()));
    }
}

//! Records that a receiver names as failed in an answer that accepts the rest:
//! `{"failed": [{"seq": 8, "reason": "…"}]}`.

use std::collections::BTreeMap;

use serde_json::Value;
use shared::{delivery::ANSWER_BYTES, model::event::Batch};

/// Characters of a reason that are kept.
const MAX_REASON: usize = 500;
const NO_REASON: &str = "the receiver refused the record";

/// A record that the receiver did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tasks) struct Refusal {
    pub seq: u64,
    pub reason: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusals {
    /// In the order of `seq`; those that are not in the batch are left out.
    Of(Vec<Refusal>),
    /// The answer names failed records and was longer than what is read of it.
    CutOff,
}

/// Reads the answer to a batch of records. An answer of any other form refuses nothing.
pub(super) fn refusals(answer: &[u8], batch: &Batch) -> Refusals {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        let names_failed = answer.trim_ascii_start().starts_with(b"{")
            && String::from_utf8_lossy(answer).contains("\"failed\"");
        return if answer.len() >= ANSWER_BYTES && names_failed {
            Refusals::CutOff
        } else {
            Refusals::Of(Vec::new())
        };
    };
    let end = batch.first_seq + batch.records;
    let mut refused = BTreeMap::new();
    let failed = answer.get("failed").and_then(Value::as_array);
    for failed in failed.into_iter().flatten() {
        let Some(seq) = failed.get("seq").and_then(number) else {
            tracing::warn!(event.id = %batch.event, "a failed record that the receiver names has no `seq`; it counts as accepted");
            continue;
        };
        if (batch.first_seq..end).contains(&seq) {
            let reason = failed.get("reason").and_then(Value::as_str);
            let reason = reason.filter(|reason| !reason.is_empty());
            let reason = reason.unwrap_or(NO_REASON).chars().take(MAX_REASON);
            refused.entry(seq).or_insert_with(|| reason.collect());
        }
    }
    let refused = refused.into_iter();
    Refusals::Of(
        refused
            .map(|(seq, reason)| Refusal { seq, reason })
            .collect(),
    )
}

/// A whole number, or one as text.
fn number(seq: &Value) -> Option<u64> {
    seq.as_u64().or_else(|| seq.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::{ids::EventId, model::event};

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
            {"seq": 9}, {"seq": 15}, {"seq": -1}, {"seq": "11"}, {"seq": 1.5}, 12, null]}"#;
        assert_eq!(seqs(answer), Some(vec![10, 11, 14]));
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
    fn a_list_of_failed_records_that_was_cut_off_is_not_taken_for_a_success() {
        let mut answer = br#"{"failed": [{"seq": 10, "reason": ""#.to_vec();
        answer.resize(ANSWER_BYTES, b'x');
        assert_eq!(seqs(&answer), None);
        let mut page = b"<html>".to_vec();
        page.resize(ANSWER_BYTES, b'x');
        assert_eq!(seqs(&page), Some(Vec::new()));
    }
}

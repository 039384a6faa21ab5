//! One request to a webhook: what it is sent with, how it is signed, what came back.
//!
//! Workers send batches and redriven dead letters through it, the API its test
//! events, so a test shows what a delivery would meet. Nothing here knows the store.

mod body;
mod headers;
mod record;
mod send;
mod target;

pub use self::{
    record::Sent,
    send::{ANSWER_BYTES, Answered, Attempt, Exchange, Failed, Message, send},
    target::{Target, TargetError},
};

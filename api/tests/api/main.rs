//! The API over the wire, against a real Redis: every convention, every object.
mod conventions;
mod idempotency;
mod openapi;
mod service;
mod support;
mod tokens;
mod webhooks;

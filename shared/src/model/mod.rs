//! Plain data: what the store holds and the API shows. No I/O.
pub mod event;
pub mod run;

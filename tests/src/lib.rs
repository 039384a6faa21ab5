//! What end-to-end tests and benchmarks start and watch: a private Redis, the programs of this workspace, a receiver.
//!
//! Processes and stand-ins are blocking and built on threads: what is under test has its own processes, and a harness
//! that needs no runtime works in every kind of test. Only the REST client is asynchronous.

pub mod forwarder;
pub mod http;
pub mod ledger;
pub mod process;
pub mod receiver;
pub mod redis;
pub mod rest;
pub mod source;
pub mod stack;

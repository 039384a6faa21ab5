//! The command line `syncline`: one file a command.
//!
//! `demo` and `dev` run the whole of Syncline in this process ([`stack`]) beside
//! the [`sample`] source and receiver; `validate` needs nothing but a file.

pub mod demo;
pub mod dev;
pub mod rest;
pub mod sample;
pub mod stack;
pub mod terminal;
pub mod validate;

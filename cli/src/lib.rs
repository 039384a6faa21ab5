//! The command line `syncline`: one file a command.

pub mod sample;

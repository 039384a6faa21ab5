//! What the workers do: one folder or file for each kind of task.

pub mod deliver;
pub mod fetch;
pub mod patience;
pub mod purge;
pub mod redrive;
pub mod start_run;
pub mod start_workflows;
#[cfg(test)]
mod tests;

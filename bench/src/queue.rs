//! Claim and commit of empty tasks, with 100 and with 1,000,000 tasks queued: the cost of a task must not depend on
//! the length of the backlog.

//! Syncline as a user runs it: the built programs, a real Redis, real HTTP. Each promise has a test of its name.

mod lane;
mod scenario;

mod accounts;
mod control;
mod crash;
mod cron;
mod dead_letters;
mod dead_receiver;
mod deletion;
mod depot;
mod draining;
mod fields;
mod hostile_receiver;
mod hostile_source;
mod isolation;
mod load;
mod once_and_in_order;
mod promises;
mod receiver_down;
mod receiver_kit;
mod redis_answers;
mod redis_away;
mod reference;
mod signing;
mod workflows;

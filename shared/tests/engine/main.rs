//! The scripts of the engine, called one by one against a real Redis.

mod support;

mod budget;
mod commit;
mod control;
mod deliver;
mod lifecycle;
mod outbox;
mod receiver;
mod redrive;
mod retention;
mod stored;

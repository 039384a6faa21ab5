//! The two ends of a demonstration: a small order API to sync from, and a
//! webhook receiver that checks everything it is promised.

pub mod inbox;
pub mod ledger;
pub mod orders;
pub mod receiver;
pub mod signature;
pub mod source;

/// The bundled integration that describes [`source`].
pub const INTEGRATION: &str = "sample";

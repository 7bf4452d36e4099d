//! Lines with octet counts, or newlines, over TCP and TLS, to a peer that gives no answers.

pub mod client;
pub mod config;

//! Lines over plain TCP or TLS, with octet counts: a peer that gives no answers.

pub mod client;

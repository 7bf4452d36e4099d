//! Lines with octet counts over TCP and TLS.

pub mod config;

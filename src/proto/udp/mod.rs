//! UDP: raw lines in datagrams, in and out.

pub mod config;

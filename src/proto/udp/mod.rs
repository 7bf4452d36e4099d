//! Raw lines in UDP datagrams, in and out.

pub mod config;
pub mod input;

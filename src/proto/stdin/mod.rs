//! Lines from standard input.

pub mod config;
pub mod input;

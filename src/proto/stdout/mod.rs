//! The daemon's standard output.

pub mod config;
pub mod worker;

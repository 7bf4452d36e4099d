//! The daemon's standard input.

pub mod config;

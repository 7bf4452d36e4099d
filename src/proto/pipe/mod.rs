//! Processes that read lines.

pub mod config;

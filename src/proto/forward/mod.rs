//! Outputs to other hosts.

pub mod config;

//! The terminals of users who are logged in.
//!
//! - `sessions.rs`: who is logged in, and where;
//! - `worker.rs`: writing to the terminals.

pub mod config;
pub mod sessions;
mod worker;

//! Output files.

pub mod config;
pub mod worker;

//! Files.

pub mod config;
pub mod worker;

//! Files.

pub mod config;

//! Named pipes.

pub mod config;

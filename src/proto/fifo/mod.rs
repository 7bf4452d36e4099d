//! Lines from a named pipe.

pub mod config;
pub mod input;

//! Lines from a named pipe.

pub mod input;

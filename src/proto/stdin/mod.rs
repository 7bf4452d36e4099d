//! Lines from the standard input.

pub mod input;

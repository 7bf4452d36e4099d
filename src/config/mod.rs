//! From a file to a checked plan.

pub mod plan;

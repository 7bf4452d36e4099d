//! One integration test binary.
mod filters;

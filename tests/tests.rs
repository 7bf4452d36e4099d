//! One integration test binary.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

// `logweir check`: exit codes and messages.
mod check;

//! One integration test binary.

// `logweir check`: exit codes and messages.
mod check;

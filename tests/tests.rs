//! The integration tests, in one binary. Each module is about one thing a user does:
//!
//! - `check`: the configuration is checked and drawn;
//! - `flow`: lines go in and come out;
//! - `children`: filter processes behave, and misbehave;
//! - `files`: files are written, rotated, compressed, and the disk is full;
//! - `reload`: the configuration changes under load;
//! - `bad_start`: a start is refused;
//! - `tools`: lines are made and sent by hand.

#![expect(unreachable_pub, reason = "nothing outside a test binary reaches in")]

mod bad_start;
mod check;
mod children;
mod files;
mod flow;
mod reload;
mod tools;
mod util;

//! The integration tests, in one binary. Each module is about one thing a user does:
//!
//! - `check`: the configuration is checked and drawn;
//! - `flow`: lines go in and come out;
//! - `children`: filter processes behave, and misbehave;
//! - `files`: files are written, rotated, compressed, and the disk is full;
//! - `reload`: the configuration changes under load;
//! - `sequence`: gaps in the numbers of lines are counted;
//! - `dropins`: loss, demux and the tools that stand in for Wikimedia's;
//! - `bad_start`: a start is refused.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(unreachable_pub, reason = "nothing outside a test binary reaches in")]

mod bad_start;
mod check;
mod children;
mod dropins;
mod files;
mod flow;
mod reload;
mod sequence;
mod util;

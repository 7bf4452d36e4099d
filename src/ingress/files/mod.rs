//! Following files that grow: discovery, rotation, positions.

pub mod core;
pub mod decode;
pub mod disk;
pub mod identity;
mod mail;
pub mod packed;
pub mod positions;
pub mod progress;
mod reading;
mod refused;
pub mod source;
pub mod watch;

#[cfg(test)]
mod core_tests;

//! Following files that grow: discovery, rotation, positions.

pub mod core;
pub mod decode;
pub mod disk;
pub mod identity;
mod reading;

#[cfg(test)]
mod core_tests;

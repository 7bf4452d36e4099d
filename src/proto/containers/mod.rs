//! The output of containers, from the files that their runtime writes.
//!
//! - `record.rs`: one line of a file: CRI, or Docker's json-file;
//! - `origin.rs`: whose output a file is, by its path and by what stands beside it;
//! - `decoder.rs`: pieces joined, and records written as lines.

pub mod config;
pub mod decoder;
pub mod origin;
pub mod record;

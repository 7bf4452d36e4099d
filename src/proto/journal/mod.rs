//! The system's journal, read by journalctl(1).
//!
//! - `export.rs`: the format it writes;
//! - `message.rs`: an entry as a line;
//! - `source.rs`: the program, where reading goes on, and what is handed over.

pub mod config;
pub mod export;
mod message;
mod source;

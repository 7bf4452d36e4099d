//! The kernel's messages, from /dev/kmsg.
//!
//! - `record.rs`: what one read of it gives;
//! - `message.rs`: a record as a line;
//! - `source.rs`: reading it, where reading goes on, and what was overwritten.

pub mod config;
mod message;
pub mod record;
mod source;

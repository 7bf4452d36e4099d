//! Marks: a message from time to time that says that logging works.

pub mod config;
mod source;

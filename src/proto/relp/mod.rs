//! RELP: messages that are acknowledged.

pub mod config;

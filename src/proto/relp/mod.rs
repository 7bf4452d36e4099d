//! RELP, the Reliable Event Logging Protocol: messages that are acknowledged (librelp, doc/relp.md).

pub mod client;
pub mod config;
pub mod input;
pub mod session;
pub mod wire;

//! RELP, the Reliable Event Logging Protocol: messages that are acknowledged (librelp,
//! doc/relp.md).

mod certificate;
pub mod client;
pub mod config;
pub mod input;
pub mod origins;
pub mod server_session;
pub mod session;
pub mod wire;

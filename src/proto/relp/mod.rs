//! RELP, the Reliable Event Logging Protocol (librelp, doc/relp.md).

pub mod client;

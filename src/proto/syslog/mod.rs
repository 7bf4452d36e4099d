//! Syslog messages over UDP, TCP, TLS and Unix sockets.

pub mod config;
pub mod input;
pub mod session;

//! Syslog messages: over UDP, TCP, TLS and Unix sockets.

pub mod config;

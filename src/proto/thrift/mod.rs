//! Scribe and Flume over Thrift: framed binary Thrift, strict and not
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-binary-protocol.md>).
//!
//! One input serves three methods, `Log` of Scribe and `append` and `appendBatch` of Flume, and the
//! status calls of fb303. The client speaks `Log`.

pub mod call;
pub mod client;
pub mod config;
mod input;
mod record;
pub mod session;
pub mod wire;

//! Fluent forward, version 1.5: the protocol of fluentd, Fluent Bit and Docker's `fluentd` driver
//! (<https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1.5>).
//!
//! A connection carries a stream of [MessagePack](msgpack) values, each a message with one or many
//! records. A message with a chunk's id is answered once its lines are on disk.

pub mod auth;
pub mod client;
pub mod config;
mod entry;
mod fields;
mod heartbeat;
mod input;
pub mod message;
pub mod msgpack;
pub mod out_config;
mod partial;
mod record;
pub mod session;

//! Kafka, without a client library: the identity and the sequences that make delivery exactly once
//! have to be ours to keep across a restart, which no library allows.
//!
//! Each layer knows only those before it. All but the last line make no system call and read no
//! clock:
//!
//! - `wire`: numbers, texts, lists and tagged fields; every count is checked against the bytes that
//!   are there before anything is allocated;
//! - `messages`: the requests that we make and their answers, each for a range of versions;
//! - `records`, `compress`, `murmur2`: batches of records, their compression, Java's hash of keys;
//! - `sasl`: what is said to a broker that wants to know who we are;
//! - `frames`: answers out of a stream of bytes, and their memory;
//! - `session`: one connection: versions, authentication, which answer is to which request;
//! - `cluster`: the brokers, who leads what, when to connect and to ask again;
//! - `producer`: lines into partitions, their sequences, and what is kept with the position;
//! - `consumer`: partitions into lines, whose offsets are their numbers;
//! - `secrets`, `offset_files`, `sockets`, `output`, `input`: the thread of an output or an input:
//!   passwords, offsets that other programs kept, sockets, TLS, names, time.
//!
//! The formats are those of the Apache Kafka protocol guide
//! (<https://kafka.apache.org/protocol.html>) and of the message definitions in its source
//! (`clients/src/main/resources/common/message`).

mod cluster;
pub mod compress;
pub mod config;
pub mod consumer;
mod frames;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod input;
pub mod input_config;
mod messages;
mod murmur2;
pub mod offset_files;
mod output;
pub mod producer;
mod records;
pub mod sasl;
pub mod secrets;
mod session;
pub mod sockets;
pub mod topic_name;
mod wire;

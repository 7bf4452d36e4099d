//! What each fuzz target checks. A target is a module with a function `check`, and a file in
//! `fuzz_targets/` that hands libFuzzer's input to it.
//!
//! A check does more than wait for a panic: input split at other bytes must give the same
//! result, what was encoded must decode to itself, counts must add up, and what is held must
//! stay within its bound.

pub mod audit;
pub mod config;
pub mod containers;
pub mod control;
pub mod cursor;
pub mod datagrams;
pub mod field;
pub mod file_name;
pub mod fluent;
pub mod framing;
pub mod glob;
pub mod http;
pub mod journal;
pub mod kafka_broker;
pub mod kafka_records;
pub mod kernel;
pub mod lines;
pub mod packed_segment;
pub mod parameters;
pub mod patterns;
pub mod positions;
mod records;
pub mod relp_client;
pub mod relp_server;
pub mod segment;
pub mod selectors;
pub mod sequence;
pub mod services;
pub mod spool_folder;
pub mod spool_row;
pub mod sums;
pub mod syslog;
pub mod template;
pub mod thrift;
pub mod tls;
pub mod udp2log;
pub mod untrue_rows;
pub mod url;

//! Code that several protocols share: keys with their readers, UDP sockets, and decimal numbers.

pub mod answers;
pub mod connections;
pub mod datagrams;
pub mod decimal;
pub mod follow;
pub mod format;
pub mod keyed;
pub mod lines;
pub mod process;
pub mod queue;
pub mod record;
pub mod tls;
pub mod udp_socket;
pub mod unix_socket;

//! Code that several protocols share, such as keys with their readers, and UDP sockets.

pub mod answers;
pub mod connections;
pub mod datagrams;
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

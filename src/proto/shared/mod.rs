//! Keys that several protocols have, each with its reader.

pub mod connections;
pub mod datagrams;
pub mod format;
pub mod keyed;
pub mod lines;
pub mod process;
pub mod queue;
pub mod tls;

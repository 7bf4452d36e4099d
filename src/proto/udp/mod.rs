//! Raw lines in UDP datagrams.

pub mod input;
pub mod socket;

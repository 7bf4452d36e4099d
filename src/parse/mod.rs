//! Parsing the bytes of a line.

pub mod field;
pub mod framing;
pub mod sequence;
pub mod syslog;
